"""Permanent 403 and 404: the run fails and names the permission or the id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, red
from local.faults.scenario import CaseScenario

HELD_JOB, HELD_MODEL = frozenset({"job"}), frozenset({"model"})
EDIT, MANAGE = "Edit on the data pool", "view and manage the data pool"


def cases() -> Iterator[FaultCase]:
    for status, error in ((403, "PermissionDenied"), (404, "NotFound")):
        yield from _jobs(status, error)
        yield from _loads(status, error)
    yield job_case("403 without a body to execute", red("PermissionDenied", executions=0), faults=(
        {"call": "execute", "status": 403, "shape": "empty", "count": None},
    ), says=("API is disabled", MANAGE))  # fmt: skip
    yield _token()
    yield from _gone()
    yield from _never_a_run()


def _jobs(status: int, error: str) -> Iterator[FaultCase]:
    says = (MANAGE,) if status == 403 else ("Check the ids",)
    always = {"status": status, "count": None}
    yield job_case(
        f"{status} to the poll before execute",
        red(error, executions=0),
        faults=({"call": "job", **always},),
        says=says,
    )
    yield job_case(
        f"{status} to execute", red(error, executions=0), faults=({"call": "execute", **always},), says=says
    )
    yield job_case(
        f"{status} to a poll of the job",
        red(error),
        faults=({"call": "job", **always, "skip": 1},),
        says=says,
        holds=HELD_JOB,
    )


def _loads(status: int, error: str) -> Iterator[FaultCase]:
    says = (EDIT,) if status == 403 else ("Check the ids",)
    always = {"status": status, "count": None}
    nothing = red(error, executions=0)
    partial = {"load_step": {"kind": "partial", "tables": ["VBAK"]}}
    yield load_case(f"{status} to a load", nothing, faults=({"call": "load", **always},), says=says)
    yield load_case(
        f"{status} to a load of tables",
        nothing,
        faults=({"call": "load_tables", **always},),
        says=says,
        **partial,
    )
    yield load_case(
        f"{status} to the request for tables",
        nothing,
        faults=({"call": "tables", **always},),
        says=says,
        **partial,
    )
    if status == 403:
        yield load_case(
            "403 to the poll before a load", nothing, faults=({"call": "last_load", **always},), says=says
        )
        polled = {"call": "last_load", **always, "skip": 1}
        yield load_case(
            "403 to a poll of the load",
            red(error, loads=1, executions=0),
            faults=(polled,),
            says=says,
            holds=HELD_MODEL,
        )


def _token() -> FaultCase:
    """An address that is not the team's own answers like this."""
    return job_case(
        "404 to the token request",
        red("NotFound", executions=0),
        alone=True,
        faults=({"call": "token", "status": 404, "count": None},),
        says=("base_url",),
    )


def _gone() -> Iterator[FaultCase]:
    def job_deleted(scenario: CaseScenario) -> None:
        scenario.until_started()
        scenario.team.control("DELETE", f"/jobs/{scenario.job}")

    def model_deleted(scenario: CaseScenario) -> None:
        scenario.until_started()
        scenario.team.control("DELETE", f"/models/{scenario.model}")

    yield job_case(
        "the job is deleted while it runs",
        red("NotFound"),
        job={"seconds": 60},
        runs_on=None,
        during=job_deleted,
        holds=HELD_JOB,
        says=("Check the ids",),
    )
    yield load_case(
        "the model is deleted while it loads",
        red("NotFound", executions=0, loads=1),
        model={"seconds": 60},
        runs_on=None,
        during=model_deleted,
        holds=HELD_MODEL,
        says=("Check the ids",),
    )
    unknown = {"kind": "partial", "tables": ["NO_SUCH_TABLE"]}
    yield load_case(
        "a table that the model does not have",
        red("UnknownTable", executions=0),
        load_step=unknown,
        says=("NO_SUCH_TABLE",),
    )
    for status in (400, 422):
        yield load_case(
            f"a load is refused with {status}",
            red("CelonisRejected", executions=0),
            faults=({"call": "load", "status": status, "count": None},),
        )


def _never_a_run() -> Iterator[FaultCase]:
    """An invalid input ends the execution before it becomes a run; a notification is sent."""
    step = {"job": "0b8a1f2e-7c4d-4f6a-8e21-3a9d5c7b1e10"}
    for name, error, document in (
        ("a pipeline that nobody defined", "UnknownPipeline", {"pipeline": "nobody"}),
        ("an input with an unknown field", "InvalidTrigger", {"pipeline": "nobody", "speed": 1}),
        ("an input that is no object", "InvalidTrigger", ["nobody"]),
        (
            "a definition with more steps than a history holds",
            "InvalidDefinition",
            {"pipeline": {"name": "long", "data_pool": "p", "jobs": [[step]] * 41}},
        ),
    ):
        yield job_case(
            name, ExpectedOutcome((), 0, 0), start=_started_with(document), also=_notified_of(error)
        )


def _started_with(document: Any) -> Callable[[CaseScenario], None]:
    return lambda scenario: scenario.environment.start_execution(f"{scenario.name}-1", document)


def _notified_of(error: str) -> Callable[[CaseScenario], Iterator[str]]:
    def poll(scenario: CaseScenario) -> Iterator[str]:
        if scenario.execution().error != error:
            yield f"the execution ended with {scenario.execution().error}"
        name = scenario.execution().name
        scenario.until(lambda: any(name in text for text in scenario.environment.notices()), "a notice")

    return poll

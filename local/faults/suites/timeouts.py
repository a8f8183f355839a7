"""A step exceeds its timeout: our execution is cancelled, and the record has the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local.faults.case import FaultCase, job_case, load_case, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import another_user

SHORT = {"timeout": 10}
LONG = {"seconds": 100}
HELD = frozenset({"job"})


def cases() -> Iterator[FaultCase]:
    yield _job("cancel works at once", says=("It was cancelled.",))
    yield _job("cancel takes 4 s", {"cancel_seconds": 4}, says=("It was cancelled.",))
    yield _job(
        "cancel is ignored",
        {"cancel_ignored": True, "seconds": 200},
        says=("cancellation was requested, but it has not ended",),
        runs_on=True,
        holds=HELD,
        max_wait=300,
    )
    yield _job(
        "cancel comes too late, it succeeds",
        {"cancel_ignored": True, "seconds": 55},
        says=("It ended by itself, too late (SUCCESS)",),
    )
    yield _job(
        "the pipeline has cancel_on_stop: false",
        definition={"cancel_on_stop": False},
        says=("has cancel_on_stop: false",),
        runs_on=True,
        holds=HELD,
    )
    for status in (403, 404):
        yield _job(
            f"cancel is answered with {status}",
            faults=({"call": "cancel", "status": status, "count": None},),
            says=("could not be cancelled",),
            runs_on=True,
            holds=HELD,
        )
    for what, fault in (("reset", {"kind": "reset"}), ("503", {"status": 503})):
        for when in ("before", "after"):
            yield _job(
                f"cancel meets a {what} {when} it took effect",
                faults=({"call": "cancel", "when": when, **fault},),
                says=("It was cancelled.",),
            )
    yield load_case(
        "load: time-out, and no call cancels it",
        red("LoadTimedOut", executions=0, loads=1),
        model=LONG,
        load_step=SHORT,
        says=("no call is known that cancels a load",),
        runs_on=True,
        holds=frozenset({"model"}),
    )
    yield _theirs_runs()


def _job(name: str, job: Mapping[str, Any] | None = None, **more: Any) -> FaultCase:
    return job_case(
        f"job: time-out, {name}", red("JobTimedOut"), job={**LONG, **(job or {})}, job_step=SHORT, **more
    )


def _theirs_runs() -> FaultCase:
    """Ours has ended between polls and theirs is running: theirs is not cancelled."""

    def theirs(scenario: CaseScenario) -> None:
        scenario.until_started()
        another_user(scenario, when="when_idle", seconds=60)

    def still_there(scenario: CaseScenario) -> Iterator[str]:
        if scenario.team.requests("cancel", scenario.job):
            yield "another user's execution was cancelled"

    return job_case(
        "job: time-out, only another user's is running",
        red("JobTimedOut"),
        job={"seconds": 1},
        job_step=SHORT,
        faults=({"call": "job", "status": 503, "skip": 1, "count": None},),
        during=theirs,
        also=still_there,
        holds=HELD,
        max_wait=240,
    )

"""403 and 404: nothing to wait for. The run ends at once, and names the permission or the id."""

from __future__ import annotations

from collections.abc import Iterator

from local.faults.case import Case, job_case, load_case, red
from local.faults.scene import Scene

HELD_JOB, HELD_MODEL = frozenset({"job"}), frozenset({"model"})
EDIT, MANAGE = "Edit on the data pool", "view and manage the data pool"


def cases() -> Iterator[Case]:
    for status, error in ((403, "PermissionDenied"), (404, "NotFound")):
        yield from _jobs(status, error)
        yield from _loads(status, error)
    yield job_case("403 without a body to execute", red("PermissionDenied", executions=0), faults=(
        {"call": "execute", "status": 403, "shape": "empty", "count": None},
    ), says=(MANAGE,))  # fmt: skip
    yield from _gone()


def _jobs(status: int, error: str) -> Iterator[Case]:
    says = (MANAGE,) if status == 403 else ("Check the ids",)
    always = {"status": status, "count": None}
    yield job_case(
        f"{status} to the look before execute",
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


def _loads(status: int, error: str) -> Iterator[Case]:
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
        f"{status} to the question for tables",
        nothing,
        faults=({"call": "tables", **always},),
        says=says,
        **partial,
    )
    if status == 403:
        yield load_case(
            "403 to the look before a load", nothing, faults=({"call": "last_load", **always},), says=says
        )
        polled = {"call": "last_load", **always, "skip": 1}
        yield load_case(
            "403 to a poll of the load",
            red(error, loads=1, executions=0),
            faults=(polled,),
            says=says,
            holds=HELD_MODEL,
        )


def _gone() -> Iterator[Case]:
    def job_deleted(scene: Scene) -> None:
        scene.until_started()
        scene.team.control("DELETE", f"/jobs/{scene.job}")

    def model_deleted(scene: Scene) -> None:
        scene.until_started()
        scene.team.control("DELETE", f"/models/{scene.model}")

    yield job_case(
        "the job is deleted while it runs",
        red("NotFound"),
        during=job_deleted,
        holds=HELD_JOB,
        says=("Check the ids",),
    )
    yield load_case(
        "the model is deleted while it loads",
        red("NotFound", executions=0, loads=1),
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

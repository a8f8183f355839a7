"""What people ask of the runs API, while its function dies: asked again, it comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from local.aws.runtime.armory import Fault
from local.faults.case import Case, Expected, job_case
from local.faults.scene import Scene
from local.faults.themes.crashes import CLAIM, HANDED_OVER, PARAMETER, RECORD, Call, with_fault

STOPPED = Call("stopping the execution", "StopExecution")
LISTED = Call("asking for later runs", "Query")

Ask = Callable[[Scene], int]


def cases() -> Iterator[Case]:
    yield from _killed("a start", (PARAMETER, CLAIM, HANDED_OVER), start=_twice(_start))
    yield from _killed(
        "a cancel",
        (RECORD, HANDED_OVER, STOPPED),
        expected=Expected(("ABORTED Canceled",), 1, 0),
        job={"seconds": 60},
        during=_cancelled,
    )
    yield from _killed(
        "a retry",
        (RECORD, LISTED, PARAMETER, CLAIM, HANDED_OVER),
        expected=Expected(("FAILED JobFailed", "SUCCEEDED"), 2, 0),
        job={"outcome": "FAIL"},
        during=_retried,
    )


def _killed(
    what: str, calls: tuple[Call, ...], expected: Expected | None = None, **more: Any
) -> Iterator[Case]:
    for call in calls:
        for moment in ("before", "after"):
            case = job_case(f"api dies {moment} {call.name} of {what}", expected, **more)
            yield with_fault(case, "Api", Fault(moment, call.number, call.pattern, "{}"))


def _twice(ask: Ask) -> Callable[[Scene], None]:
    """The first answer is none, the second is."""

    def act(scene: Scene) -> None:
        first, second = ask(scene), ask(scene)
        if first < 500 or second >= 500:
            scene.complaints.append(f"the answers were {first} and {second}")

    return act


def _start(scene: Scene) -> int:
    return scene.ask("/runs", {"pipeline": scene.name})


def _cancelled(scene: Scene) -> None:
    scene.until_started()
    scene.until_in("WaitJob")
    _twice(lambda scene: scene.ask(f"/runs/{scene.name}-1/cancel"))(scene)


def _retried(scene: Scene) -> None:
    scene.until(lambda: scene.runs() and scene.runs()[0]["status"] == "FAILED", "the end of the run")
    scene.team.control("PUT", f"/jobs/{scene.job}", outcome="SUCCESS")
    _twice(lambda scene: scene.ask(f"/runs/{scene.name}-1/retry"))(scene)

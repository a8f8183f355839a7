"""A function that dies at one of its calls, before the call is made or after its answer came.

The state machine tries a task again, EventBridge the end of a run, and a sender its delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from local.faults.case import Case, Expected, job_case, load_case
from local.faults.scene import Scene
from local.faults.themes.acts import join, stop_while_running

PARTIAL = {"kind": "partial", "tables": ["VBAK"]}
SOON = {"settle": 3}
GET_JOB, EXECUTE, EXECUTIONS = r"GET .*/jobs/", r"POST .*/execute", r"GET .*/executions"
LAST_LOAD, LOAD, TABLES, CANCEL = r"GET .*/last-load", r"POST .*/load$", r"GET .*/tables", r"POST .*/cancel"
TOKEN, PUBLISH = r"POST .*/oauth2/token", r"POST http://[^/]*/$"


class Call(NamedTuple):
    """An outgoing call of a function: its name, a pattern of it, and the how manieth of that pattern."""

    name: str
    pattern: str
    number: int = 1


CLAIM = Call("the claim", "TransactWriteItems")
RECORD, STATE = Call("reading the record", "DynamoDB_.*GetItem"), Call("the first note", "UpdateItem")
SECOND = Call("the second note", "UpdateItem", 2)
SIGN_IN, SECRET = Call("signing in", TOKEN), Call("reading the secret", "GetSecretValue")
PARAMETER = Call("reading the parameter", "GetParameter")
LOOK, POST = Call("the look at the job", GET_JOB), Call("execute", EXECUTE)
LEASE, FREED = Call("the lease", "TransactWriteItems"), Call("freeing the lease", "DeleteItem")
LOAD_LOOK, LOAD_POST = Call("the look at the load", LAST_LOAD), Call("the load", LOAD)

TRIGGER = (PARAMETER, SECRET, CLAIM, SIGN_IN, LOOK, STATE, POST, Call("handing over", "StartExecution"))
OPEN_RUN = (PARAMETER, CLAIM, STATE, SIGN_IN, Call("asking for tables", TABLES), SECOND)
START_JOB = (RECORD, SECRET, LEASE, SIGN_IN, LOOK, STATE, POST, SECOND)
CHECK_JOB = (RECORD, SIGN_IN, LOOK, Call("the list of executions", EXECUTIONS), STATE, FREED)
START_LOAD = (RECORD, LEASE, LOAD_LOOK, STATE, LOAD_POST, SECOND)
CHECK_LOAD = (RECORD, LOAD_LOOK, STATE, FREED)
CLOSE_RUN = (
    Call("describing the execution", "DescribeExecution"),
    RECORD,
    LOOK,
    Call("cancel", CANCEL),
    Call("the end", "TransactWriteItems"),
    FREED,
    Call("the notice", PUBLISH),
    STATE,
    Call("starting what waited", "StartExecution"),
)


def cases() -> Iterator[Case]:
    yield from _killed("trigger", "Trigger", TRIGGER, job_case, start=_delivered_again, definition=SOON)
    yield from _killed("open_run", "OpenRun", OPEN_RUN, load_case, load_step=PARTIAL)
    yield from _killed("start_job", "StartJob", START_JOB, job_case, definition=SOON)
    yield from _killed("check_job", "CheckJob", CHECK_JOB, job_case, job={"seconds": 0.3})
    yield from _killed("start_load", "StartLoad", START_LOAD, load_case, definition=SOON)
    yield from _killed("check_load", "CheckLoad", CHECK_LOAD, load_case, model={"seconds": 0.3})
    followed = Expected(("ABORTED Aborted", "SUCCEEDED"), 2, 0)
    stopped: dict[str, Any] = {"job": {"seconds": 60}, "during": _joined_and_stopped}
    yield from _killed("close_run", "CloseRun", CLOSE_RUN, job_case, expected=followed, **stopped)
    yield from _hangs()


def _killed(name: str, function: str, calls: tuple[Call, ...], make: Any, **more: Any) -> Iterator[Case]:
    """A case before and a case after each call."""
    for call in calls:
        for moment in ("before", "after"):
            yield make(
                f"{name} dies {moment} {call.name}",
                before=_armed(function, call, moment),
                also=_died(function, moment),
                patience=120,
                **more,
            )


def _armed(function: str, call: Call, moment: str, **more: Any) -> Any:
    def act(scene: Scene) -> None:
        scene.kill(function, call.pattern, moment, call.number, **more)

    return act


def _died(function: str, moment: str, verb: str = "ended") -> Any:
    """Complains where the process never met the call at which it should have died."""

    def look(scene: Scene) -> Iterator[str]:
        told = f"fault: {verb} {moment} "
        lines = [line.text for line in scene.ground.stack.logs(function)]
        if not any(line.startswith(told) and scene.marker in line for line in lines):
            yield f"{function} did not die"

    return look


def _delivered_again(scene: Scene) -> None:
    """The sender gets no good answer, and sends the same delivery again."""
    scene.listen()
    first = scene.deliver()
    if first["status"] < 500:
        scene.complaints.append(f"the first delivery was answered with {first['status']}")
    second = scene.deliver()
    if second["status"] not in (200, 202):
        scene.complaints.append(f"the second delivery was answered with {second['status']}")


def _joined_and_stopped(scene: Scene) -> None:
    scene.until(lambda: scene.runs(), "the run's record")
    join(scene)
    stop_while_running(scene)


def _hangs() -> Iterator[Case]:
    """A function that does nothing any more until its time-out ends it: a minute for a task."""
    tasks: Mapping[str, tuple[str, Call, Any, Mapping[str, Any]]] = {
        "start_job": ("StartJob", POST, job_case, {}),
        "check_job": ("CheckJob", LOOK, job_case, {}),
        "start_load": ("StartLoad", LOAD_POST, load_case, {}),
    }
    for name, (function, call, make, more) in tasks.items():
        yield make(
            f"{name} hangs after {call.name} until its time-out",
            before=_armed(function, call, "after", hangs=True),
            also=_died(function, "after", "hangs"),
            job_step={"timeout": 300},
            load_step={"timeout": 300},
            patience=200,
            **more,
        )

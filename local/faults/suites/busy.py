"""The job or model is already running, or starts between our poll and our POST."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, ok, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import another_user
from local.faults.suites.record_shapes import NO_LIST

JOB, LOAD = ok(), ok(0, 1)


def cases() -> Iterator[FaultCase]:
    yield from _already_running()
    yield from _refused_in_between()
    yield from _jobs_in_between()
    yield from _loads_in_between()
    yield _stopped_in_queue()


def theirs(**fields: object) -> Callable[[CaseScenario], None]:
    return lambda scenario: another_user(scenario, **fields)


def _already_running() -> Iterator[FaultCase]:
    for kind, case, good, bad, timed_out in (
        ("job", job_case, JOB, "JobBusy", "JobTimedOut"),
        ("load", load_case, LOAD, "ModelBusy", "LoadTimedOut"),
    ):
        fails = "FAIL" if kind == "job" else "ERROR"
        yield case(f"{kind}: theirs is running, then ours", good, before=theirs(seconds=20))
        yield case(
            f"{kind}: theirs is running and fails, then ours",
            good,
            before=theirs(seconds=20, outcome=fails),
        )
        yield case(
            f"{kind}: theirs is running, when_busy fail",
            red(bad, executions=0),
            before=theirs(seconds=240),
            definition={"when_busy": "fail"},
            says=("is busy with",),
        )
        step = {"timeout": 10}
        yield case(
            f"{kind}: theirs is running for longer than our time-out",
            red(timed_out, executions=0),
            before=theirs(seconds=300),
            says=("running in Celonis already",),
            job_step=step,
            load_step=step,
        )
    queued = {"queue_seconds": 8}
    yield job_case("job: theirs is queued, then ours", job=queued, before=theirs(seconds=1))


def _refused_in_between() -> Iterator[FaultCase]:
    """Celonis may reject a start while something is running, with any status."""
    for status in (409, 400, 422):
        knobs = {"while_running": "refuse", "refuse_status": status}
        race = theirs(when="before_next", seconds=15)
        yield job_case(f"job: theirs in between, ours refused with {status}", job=knobs, before=race)
        yield load_case(f"load: theirs in between, ours refused with {status}", model=knobs, before=race)
        unseen = {**knobs, "stale": 6}
        yield job_case(
            f"job: theirs in between, ours refused with {status}, shown late", job=unseen, before=race
        )
        longer = theirs(when="before_next", seconds=240)
        fail = {"definition": {"when_busy": "fail"}, "before": longer}
        yield job_case(
            f"job: theirs in between, ours refused with {status}, when_busy fail",
            red("JobBusy", executions=0),
            job=knobs,
            **fail,
        )
    yield job_case(
        "job: refused with 400 though nothing is running",
        red("CelonisRejected", executions=0),
        faults=({"call": "execute", "status": 400, "count": None},),
    )


def _jobs_in_between() -> Iterator[FaultCase]:
    """Another user's starts between our poll and our POST. A response with an id distinguishes them."""
    ambiguous: dict[str, Any] = {"says": ("more than one execution began",), "holds": frozenset({"job"})}
    for policy in ("queue", "parallel", "restart"):
        knobs = {"while_running": policy}
        yield _job(f"{policy}, id in the answer", JOB, {**knobs, "execute_answer": "execution_id"})
        yield _job(
            f"{policy}, no id in the answer",
            red("StartAmbiguous"),
            {**knobs, "seconds": 240},
            runs_on=True,
            **ambiguous,
        )
    # Without the list, polls see theirs first and then ours, or only ours.
    yield _job(
        "queue, no list",
        red("TakenOver"),
        {"while_running": "queue", "seconds": 240},
        runs_on=True,
        faults=(NO_LIST,),
        holds=frozenset({"job"}),
    )
    yield _job(
        "parallel, no list", JOB, {"while_running": "parallel", "seconds": 4}, faults=(NO_LIST,), seconds=1
    )
    # Documented: this start cannot be distinguished from ours.
    ignored = {"while_running": "ignore"}
    yield _job("ours ignored (assumption: taken for ours)", ok(0), ignored, assumption=True)


def _job(
    name: str, expected: ExpectedOutcome, job: Mapping[str, Any], *, seconds: float = 20, **more: Any
) -> FaultCase:
    race = theirs(when="before_next", seconds=seconds)
    return job_case(f"job: theirs in between, {name}", expected, job=job, before=race, **more)


def _loads_in_between() -> Iterator[FaultCase]:
    taken = red("TakenOver", executions=0, loads=1)
    held = frozenset({"model"})
    for policy, expected, more in (
        ("queue", taken, {"runs_on": True, "holds": held}),
        ("parallel", LOAD, {}),
        ("restart", LOAD, {}),
    ):
        race = theirs(when="before_next", seconds=1 if policy == "parallel" else 10)
        knobs = {"while_running": policy, "seconds": 240 if expected is taken else 4}
        yield load_case(f"load: theirs in between, {policy}", expected, model=knobs, before=race, **more)
        reported = {**knobs, "seconds": 4, "load_answer": "load_id"}
        yield load_case(
            f"load: theirs in between, {policy}, id in the answer", LOAD, model=reported, before=race
        )
    ignored = {"while_running": "ignore"}
    name = "load: theirs in between, ours ignored (assumption: taken for ours)"
    yield load_case(
        name, ok(0), model=ignored, before=theirs(when="before_next", seconds=10), assumption=True
    )


def _stopped_in_queue() -> FaultCase:
    """Ours is queued behind theirs, and a cancel would end theirs."""

    def stopped(scenario: CaseScenario) -> None:
        scenario.until_proven()
        scenario.stop()

    def theirs_ran(scenario: CaseScenario) -> Iterator[str]:
        if scenario.team.requests("cancel", scenario.job):
            yield "another user's execution was cancelled"

    return job_case(
        "job: stopped while ours waits behind theirs",
        red("Aborted", status="ABORTED"),
        job={"while_running": "queue", "execute_answer": "execution_id", "seconds": 60},
        before=theirs(when="before_next", seconds=400),
        during=stopped,
        also=theirs_ran,
        says=("it is not proven that our execution is running",),
        runs_on=True,
        holds=frozenset({"job"}),
        max_wait=400,
    )

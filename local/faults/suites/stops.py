"""Executions stopped in each state, with a pending trigger, and the outcome in the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, nothing
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import another_user, finish, join, shorten, stop_while_running
from local.faults.suites.crashes import LOAD_POLL, POLL, with_fault

LONG = 8
HANG_SECONDS = 20.0
"""Longer than the stop takes on a slow machine."""
PARTIAL = {"kind": "partial", "tables": ["VBAK"]}


def cases() -> Iterator[FaultCase]:
    yield from _each_state()
    yield from _stopped_in_queue()
    yield from _side_by_side()
    yield from _expired()
    yield from _what_is_said()


def then_follows(executions: int, loads: int) -> ExpectedOutcome:
    return ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), executions, loads)


def stopped_in(name: str, then: Callable[[CaseScenario], None] = nothing) -> Callable[[CaseScenario], None]:
    """Stop a run in a state, while another trigger waits for its end. ``then``: what follows the stop."""
    state = name.partition(",")[0]

    def act(scenario: CaseScenario) -> None:
        join(scenario)
        scenario.until_in(state)
        if "the POST" in name:
            scenario.until_noted()
        if "has arrived" in name:
            scenario.until_started()
        shorten(scenario)
        scenario.stop()
        then(scenario)

    return act


def theirs(scenario: CaseScenario) -> None:
    """Start the job or the model as another user, until the case finishes it."""
    another_user(scenario, seconds=600)


def _each_state() -> Iterator[FaultCase]:
    slow: dict[str, Any] = {"kind": "delay", "seconds": LONG}
    slow_polls = {"call": "job", **slow}
    hangs = partial(CrashFault, "before", event='{}-1"', hangs=HANG_SECONDS)
    posts = {"call": "execute", **slow}
    long = {"seconds": 60}
    for state, again, job, fault in (
        ("StartJob, nothing sent yet", 0, None, hangs(pattern=POLL.pattern)),
        ("StartJob, the POST has arrived", 1, long, {**posts, "when": "after"}),
        ("StartJob, the POST is on its way", 1, long, {**posts, "when": "before"}),
        ("WaitJob", 1, long, None),
        ("CheckJob", 1, long, {**slow_polls, "skip": 1}),
    ):
        yield _in(state, job_case, then_follows(1 + again, 0), fault, job=job)
    tables, slow_polls, posts = ({"call": call, **slow} for call in ("tables", "last_load", "load"))
    yield _in("OpenRun", load_case, then_follows(0, 1), tables, load_step=PARTIAL)
    for state, again, model, fault in (
        ("StartLoad, nothing sent yet", 0, None, hangs(pattern=LOAD_POLL.pattern)),
        ("StartLoad, the POST has arrived", 1, {"seconds": 30}, {**posts, "when": "after"}),
        ("WaitLoad", 1, {"seconds": 30}, None),
        ("CheckLoad", 1, {"seconds": 30}, {**slow_polls, "skip": 1}),
    ):
        yield _in(state, load_case, then_follows(0, 1 + again), fault, model=model)


def _in(
    name: str, make: Callable[..., FaultCase], expected: ExpectedOutcome, fault: Any, **more: Any
) -> FaultCase:
    """``fault``: of the simulator, or of the first run's start_step."""
    case = make(f"stopped in {name}", expected, during=stopped_in(name), **more)
    if isinstance(fault, CrashFault):
        return with_fault(case, "StartStep", fault)
    return case.but(faults=(fault,) if fault else ())


def _stopped_in_queue() -> Iterator[FaultCase]:
    """Stopped while it waits for a lease: nothing was sent, and what is running is not cancelled."""
    waiting = ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), 1, 0)
    yield job_case(
        "stopped in WaitJob, theirs is running",
        waiting,
        before=theirs,
        during=stopped_in("WaitJob", finish),
        also=_not_cancelled,
    )
    loading = ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), 0, 1)
    yield load_case(
        "stopped in WaitLoad, theirs is running",
        loading,
        before=theirs,
        during=stopped_in("WaitLoad", finish),
    )
    yield job_case(
        "stopped in WaitJob, another run of ours uses the job",
        ExpectedOutcome(("SUCCEEDED", "ABORTED Aborted"), 1, 0),
        job={"seconds": 300},
        before=lambda scenario: scenario.define(f"{scenario.name}-b"),
        during=_second_stopped,
        also=_not_cancelled,
    )


def _side_by_side() -> Iterator[FaultCase]:
    """Stopped while one job of a group is running and the start of the other is polling."""
    yield job_case(
        "a group is stopped while its second StartJob polls",
        ExpectedOutcome(("ABORTED Aborted",), 1, 0),
        job={"seconds": 60, "cancel_seconds": LONG + 6},
        before=_group,
        during=_stopped_in_the_second_poll,
        says=("was cancelled.",),
        quiet=True,
    )


def _group(scenario: CaseScenario) -> None:
    second = scenario.new_job(seconds=60)
    scenario.define(scenario.name, jobs=[[{"job": job} for job in (scenario.job, second)]])
    scenario.fault("job", "delay", seconds=LONG, target=second)


def _stopped_in_the_second_poll(scenario: CaseScenario) -> None:
    scenario.until_started()
    scenario.until(lambda: not list(scenario.unused_faults()), "the poll of the second start")
    scenario.stop()


def _second_stopped(scenario: CaseScenario) -> None:
    scenario.until_started()
    second = scenario.start(f"{scenario.name}-b")
    scenario.until(lambda: any("waiting_for" in state for state in scenario.first_steps()), "a run in line")
    scenario.until_in("WaitJob", second)
    scenario.stop(second)
    finish(scenario)


def _not_cancelled(scenario: CaseScenario) -> Iterator[str]:
    if scenario.team.requests("cancel", scenario.job):
        yield "what was not ours was asked to cancel"


def _expired() -> Iterator[FaultCase]:
    """The timeout of the state machine, two weeks, ends the execution."""

    def expire(scenario: CaseScenario) -> None:
        scenario.until_started()
        scenario.until_in("WaitJob" if scenario.jobs else "WaitLoad")
        scenario.expire()

    yield job_case(
        "the state machine times out while the job runs",
        ExpectedOutcome(("TIMED_OUT States.Timeout",), 1, 0),
        job={"seconds": 60},
        during=expire,
        says=("timeout of the state machine", "was cancelled."),
    )
    yield load_case(
        "the state machine times out while the load runs",
        ExpectedOutcome(("TIMED_OUT States.Timeout",), 0, 1),
        model={"seconds": 60},
        during=expire,
        says=("timeout of the state machine", "no call is known that cancels a load"),
        holds=frozenset({"model"}),
        runs_on=True,
    )


def _what_is_said() -> Iterator[FaultCase]:
    stopped = ExpectedOutcome(("ABORTED Aborted",), 1, 0)
    yield job_case(
        "stopped, and cancel takes 5 s",
        stopped,
        job={"seconds": 60, "cancel_seconds": 5},
        during=stop_while_running,
        says=("was cancelled.",),
    )
    yield job_case(
        "stopped, and cancel is ignored",
        stopped,
        job={"seconds": 200, "cancel_ignored": True},
        during=stop_while_running,
        says=("cancellation was requested, but it has not ended yet",),
        holds=frozenset({"job"}),
        runs_on=True,
        max_wait=260,
    )
    yield job_case(
        "stopped, and the pipeline has cancel_on_stop: false",
        stopped,
        job={"seconds": 60},
        definition={"cancel_on_stop": False},
        during=stop_while_running,
        says=("has cancel_on_stop: false",),
        holds=frozenset({"job"}),
        runs_on=True,
    )
    yield load_case(
        "stopped, and a load cannot be cancelled",
        ExpectedOutcome(("ABORTED Aborted",), 0, 1),
        model={"seconds": 60},
        during=stop_while_running,
        says=("no call is known that cancels a load",),
        holds=frozenset({"model"}),
        runs_on=True,
    )
    yield load_case(
        "stopped right after a load was started, all stale for 5 s, the next run waits for it",
        ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), 0, 2),
        model={"seconds": 45, "stale": 5},
        definition={"settle": 8},
        during=_joined_and_stopped,
    )


def _joined_and_stopped(scenario: CaseScenario) -> None:
    join(scenario)
    scenario.until_started()
    shorten(scenario)
    scenario.stop()

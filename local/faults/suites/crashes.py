"""A function crashes at one of its calls, before the call is made or after its response arrived.

The state machine retries a task, EventBridge the end of a run, and a sender its delivery.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import ExpectedOutcome, FaultCase, Knobs, job_case, load_case, red
from local.faults.scenario import SERVER_ERROR, CaseScenario, repeated
from local.faults.suites.actions import join, send_messages, stop_while_running
from local.faults.suites.inner_loads import loading_case

PARTIAL = {"kind": "partial", "tables": ["VBAK"]}
TABLES_TOO: dict[str, Any] = {"load_step": PARTIAL}
NOTHING_MORE: dict[str, Any] = {}
SOON = {"settle": 3}
QUICK = {"seconds": 0.3}
PROVEN_AT_ONCE = {"seconds": 1.5}
"""Seconds of a job that ends later than its start, also in dates of whole seconds."""
LATER = {"settle": 1, "poll": {"floor": 3}}
"""Poll settings with which the first poll comes after the end, and the next one ``settle`` later."""
MEET_SECONDS = 10.0


class CallPattern(NamedTuple):
    """An outgoing call of a function: its name, its pattern, and its number among the calls that match."""

    name: str
    pattern: str
    number: int = 1


CLAIM = CallPattern("the claim", "TransactWriteItems")
RECORD, STATE = (
    CallPattern("reading the record", "DynamoDB_.*GetItem"),
    CallPattern("the first write", "UpdateItem"),
)
SECOND = CallPattern("the second write", "UpdateItem", 2)
DURATIONS = CallPattern("reading past durations", "DynamoDB_.*GetItem", 2)
DURATION_SAVED = CallPattern("recording the duration", "UpdateItem")
RATE_LIMIT = CallPattern("reading the rate limiter", "DynamoDB_.*GetItem")
SECRET, PARAMETER = (
    CallPattern("reading the secret", "GetSecretValue"),
    CallPattern("reading the parameter", "GetParameter"),
)
SIGN_IN = CallPattern("signing in", r"POST .*/oauth2/token")
POLL, POST = CallPattern("the poll of the job", r"GET .*/jobs/"), CallPattern("execute", r"POST .*/execute")
LIST, CANCEL = (
    CallPattern("the list of executions", r"GET .*/executions"),
    CallPattern("cancel", r"POST .*/cancel"),
)
LEASE = CallPattern("the lease", "TransactWriteItems")
ENDED = CallPattern("the end of the step, which frees its lease", "TransactWriteItems")
FREED_LAST = CallPattern("freeing the lease", "TransactWriteItems", 2)
BASELINE = CallPattern("recording the baseline", "TransactWriteItems", 2)
ANSWERED = CallPattern("recording the answer", "UpdateItem")
MARKED = CallPattern("marking the run as closing", "UpdateItem")
TABLES = CallPattern("asking for tables", r"GET .*/tables")
LOAD_POLL, LOAD = (
    CallPattern("the poll of the load", r"GET .*/last-load"),
    CallPattern("the load", r"POST .*/load$"),
)
DESCRIBED, END = (
    CallPattern("describing the execution", "DescribeExecution"),
    CallPattern("the end", "TransactWriteItems"),
)
NOTIFICATION = CallPattern("the notification", r"POST http://[^/]*/$")
EVENTS = CallPattern("sending the events", r"AWSEvents\.PutEvents")
CALLBACKS = CallPattern("the query of callbacks", r"DynamoDB_.*\.Query")
REMOVED = CallPattern("removing the message", "DeleteItem")
STARTED = CallPattern("starting the execution", "StartExecution")

COPY_READ = CallPattern("reading the copy of the configuration", "DynamoDB_.*GetItem")
COPIED = CallPattern("copying the configuration", "UpdateItem")

TRIGGER = (COPY_READ, PARAMETER, COPIED, CLAIM, POLL, LIST, BASELINE, POST, STARTED)
OPEN_RUN = (PARAMETER, CLAIM, RECORD, STATE, TABLES, EVENTS, SECOND)
START_JOB = (RECORD, DURATIONS, LEASE, POLL, LIST, BASELINE, POST, EVENTS, ANSWERED)
LOADED_BY_JOB = (
    CallPattern("the leases of the job and of a model that it loads", "TransactWriteItems"),
    CallPattern("the poll of a model that the job loads", LOAD_POLL.pattern),
    CallPattern("the write of the job and of a model that it loads", "UpdateItem"),
)
WHY = (
    CallPattern("asking for the failed tasks", r"GET .*/logs/executions\?"),
    CallPattern("reading the log of a failed task", r"GET .*/logs/executions/detail"),
)
CHECK_JOB = (RECORD, POLL, LIST, ENDED, EVENTS, DURATION_SAVED)
START_LOAD = (RECORD, DURATIONS, LEASE, LOAD_POLL, BASELINE, LOAD, EVENTS, ANSWERED)
CHECK_LOAD = (RECORD, LOAD_POLL, ENDED, EVENTS, DURATION_SAVED)
CLOSE_RUN = (
    DESCRIBED, RECORD, MARKED, POLL, LIST, CANCEL, PARAMETER, END, FREED_LAST, STARTED,
)  # fmt: skip
SENDING = (NOTIFICATION, REMOVED, EVENTS, CALLBACKS)


def cases() -> Iterator[FaultCase]:
    yield from _killed("trigger", "Trigger", TRIGGER, _in_the_trigger)
    yield from _killed("open_run", "OpenRun", OPEN_RUN, load_case, load_step=PARTIAL)
    yield from _killed("start_step of a job", "StartStep", START_JOB, job_case, definition=SOON)
    yield from _killed(
        "check_step of a job", "CheckStep", CHECK_JOB, job_case, job=PROVEN_AT_ONCE, definition=LATER
    )
    yield from _killed("start_step of a load", "StartStep", START_LOAD, _starting_load, definition=SOON)
    # The first poll shows and proves the end.
    yield from _killed(
        "check_step of a load", "CheckStep", CHECK_LOAD, load_case, model=QUICK, definition=LATER
    )
    yield from _killed("close_run", "CloseRun", CLOSE_RUN, _stopped, event='"name": ?"{}-1"')
    yield from _killed("start_step of a job", "StartStep", LOADED_BY_JOB, _loading)
    failed: dict[str, Any] = {"expected": red("JobFailed"), "says": ("VBELN is missing",)}
    why = {"outcome": "FAIL", "error_messages": ["VBELN is missing."]}
    yield from _killed("check_step of a job", "CheckStep", WHY, job_case, job=why, **failed)
    ended = '"name": ?"{}-1"'
    sending: dict[str, Any] = {"job": why, "during": send_messages, "quiet": True, **failed}
    yield from _killed("close_run", "CloseRun", SENDING, job_case, event=ended, **sending)
    yield from _killed_at_the_time_out()
    yield from _first_calls()
    yield from _no_other_calls()
    yield from _hangs()


def _killed(
    name: str,
    function: str,
    calls: tuple[CallPattern, ...],
    make: Callable[..., FaultCase],
    event: str = "{}",
    **more: Any,
) -> Iterator[FaultCase]:
    """A case before and a case after each call."""
    for call in calls:
        for moment in ("before", "after"):
            fault = CrashFault(moment, call.number, call.pattern, event)
            case = with_fault(make(f"{name} dies {moment} {call.name}", **more), function, fault)
            yield _with_new_process(case, function) if call is EVENTS else case


def _with_new_process(case: FaultCase, function: str) -> FaultCase:
    """Return the case with a new process: one that had a slow PutEvents sends no events for a minute."""

    def before(scenario: CaseScenario) -> None:
        scenario.environment.stack.retire(function)
        case.before(scenario)

    return case.but(before=before, quiet=True)


def met(scenario: CaseScenario, function: str, fault: CrashFault) -> bool:
    """Return whether a process of the function crashed, or hung, by the fault of this case."""
    reported = f"fault: {'hangs' if fault.hangs else 'ended'} {fault.moment} "
    lines = [line.text for line in scenario.environment.stack.logs(function)]
    return any(line.startswith(reported) and scenario.marker in line for line in lines)


def meets(scenario: CaseScenario, function: str, fault: CrashFault) -> bool:
    """As :func:`met`, for a call that the function may make after everything of the case has ended."""
    try:
        scenario.until(lambda: met(scenario, function, fault), "the fault", MEET_SECONDS)
    except TimeoutError:
        return False
    return True


def with_fault(case: FaultCase, function: str, fault: CrashFault) -> FaultCase:
    """Return the case with a fault in a function; its ``event`` has a placeholder for the pipeline's name.

    The fault stays until it is met: on a slow machine an event may end before it comes to the call.
    """

    def armed(scenario: CaseScenario) -> None:
        case.before(scenario)
        scenario.arm(function, replace(fault, event=fault.event.format(scenario.marker), stays=True))

    def struck(scenario: CaseScenario) -> Iterator[str]:
        yield from case.also(scenario)
        if not meets(scenario, function, fault):
            yield f"{function} did not meet its fault"

    return case.but(before=armed, also=struck)


def _in_the_trigger(name: str, **more: Any) -> FaultCase:
    """The sender gets no success, and repeats the same delivery."""

    def delivered(scenario: CaseScenario) -> None:
        scenario.listen()
        first, second = scenario.deliver_directly(), repeated(scenario.deliver_directly, int)
        if first < SERVER_ERROR:
            scenario.complaints.append(f"the first delivery was answered with {first}")
        if second not in (200, 202):
            scenario.complaints.append(f"the second delivery was answered with {second}")

    # With little time left, the function leaves the start to the state machine and meets no fault.
    return job_case(name, start=delivered, definition=SOON, quiet=True, **more)


def _starting_load(name: str, **more: Any) -> FaultCase:
    """A load that may have been sent, of a model never seen running: polls cannot show its state."""
    if name.endswith((f"after {BASELINE.name}", f"before {LOAD.name}")):
        unproven = red("OutcomeUnproven", executions=0, loads=0)
        return load_case(name, unproven, holds=frozenset({"model"}), **more)
    return load_case(name, **more)


def _loading(name: str) -> FaultCase:
    return loading_case(name, {"success_before_load": True})


def _delivered(scenario: CaseScenario) -> None:
    scenario.listen()
    repeated(scenario.deliver_directly, int)


def _stopped(name: str, **more: Any) -> FaultCase:
    """A run that is stopped while its job runs and another trigger waits."""

    def stopped(scenario: CaseScenario) -> None:
        join(scenario)
        stop_while_running(scenario)

    expected = ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), 2, 0)
    return job_case(name, expected, job={"seconds": 60}, during=stopped, **more)


def _killed_at_the_time_out() -> Iterator[FaultCase]:
    more: dict[str, Any] = {
        "job": {"seconds": 150},
        "job_step": {"timeout": 10},
        "says": ("It was cancelled.",),
    }
    for moment in ("before", "after"):
        case = job_case(
            f"check_step of a job dies {moment} cancel at the time-out", red("JobTimedOut"), **more
        )
        yield with_fault(case, "CheckStep", CrashFault(moment, CANCEL.number, CANCEL.pattern, "{}"))


def _first_calls() -> Iterator[FaultCase]:
    """Calls that a process makes only once: read the secret, sign in. The case has its own new team."""
    for moment in ("before", "after"):
        case = _in_the_trigger(f"trigger dies {moment} {RATE_LIMIT.name}", alone=True)
        yield with_fault(case, "Trigger", CrashFault(moment, RATE_LIMIT.number, RATE_LIMIT.pattern, "{}"))
    for call in (SECRET, SIGN_IN):
        for moment in ("before", "after"):
            for name, function, make, more in (
                ("trigger", "Trigger", _in_the_trigger, NOTHING_MORE),
                ("open_run", "OpenRun", load_case, TABLES_TOO),
                ("start_step of a job", "StartStep", job_case, NOTHING_MORE),
                ("check_step of a job", "CheckStep", job_case, NOTHING_MORE),
                ("start_step of a load", "StartStep", load_case, NOTHING_MORE),
                ("check_step of a load", "CheckStep", load_case, NOTHING_MORE),
                ("close_run", "CloseRun", _stopped, NOTHING_MORE),
            ):
                event = '"name": ?"{}-1"' if function == "CloseRun" else "{}"
                case = make(f"{name} dies {moment} {call.name}", alone=True, **more)
                yield with_fault(case, function, CrashFault(moment, call.number, call.pattern, event))


def _no_other_calls() -> Iterator[FaultCase]:
    """A fault that never triggers logs every call; a case above has a crash at each of them."""
    for name, function, calls, make, more in (
        ("trigger", "Trigger", (*TRIGGER, RATE_LIMIT), job_case, {"start": _delivered}),
        ("open_run", "OpenRun", OPEN_RUN, load_case, TABLES_TOO),
        ("start_step", "StartStep", (*START_JOB, *LOADED_BY_JOB, *START_LOAD), job_case, NOTHING_MORE),
        ("check_step", "CheckStep", (*CHECK_JOB, *WHY, CANCEL, *CHECK_LOAD), job_case, NOTHING_MORE),
        ("close_run", "CloseRun", (*CLOSE_RUN, *SENDING), _stopped, NOTHING_MORE),
    ):
        expected = (*calls, SECRET, SIGN_IN)

        def armed(scenario: CaseScenario, function: str = function) -> None:
            scenario.arm(function, CrashFault("before", 0, "", scenario.marker))

        def named(
            scenario: CaseScenario, function: str = function, expected: tuple[CallPattern, ...] = expected
        ) -> Iterator[str]:
            texts = [line.text for line in scenario.environment.stack.logs(function)]
            lines = [text for text in texts if text.startswith("fault: call ")]
            others = [line for line in lines if not any(re.search(each.pattern, line) for each in expected)]
            yield from (f"{function} made another call: {line}" for line in others)
            if not lines:
                yield f"{function} made no call"

        case = make(f"{name} makes no calls but those at which it dies", alone=True, **more)
        yield case.but(before=armed, also=named)


def _hangs() -> Iterator[FaultCase]:
    """A function that hangs until its timeout ends it: a minute for a task."""
    steps: Knobs = {"job_step": {"timeout": 300}, "load_step": {"timeout": 300}, "max_wait": 300}
    for name, function, call, make in (
        ("start_step of a job", "StartStep", POST, job_case),
        ("check_step of a job", "CheckStep", POLL, job_case),
        ("start_step of a load", "StartStep", LOAD, load_case),
    ):
        case = make(f"{name} hangs after {call.name} until its time-out", **steps)
        yield with_fault(case, function, CrashFault("after", call.number, call.pattern, "{}", hangs=3600))

"""EventBridge does not take the events of a run: no step waits for it, and reconcile sends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from local.aws.gateway.outages import Outage
from local.faults.case import ExpectedOutcome, FaultCase, Knobs, job_case, ok, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import MAX_SEND_WAIT, ROUND_SECONDS
from local.faults.suites.channels import FAILS

HANG_SECONDS = 120.0
"""Longer than a run of two seconds takes on a busy machine: a task that waits for the answer is noticed."""
NAMES = ("started", "job-0/started", "job-0/ended", "ended")
"""The events of a run with one job."""


def cases() -> Iterator[FaultCase]:
    yield _served()
    for what, outage in (
        ("is down", Outage("PutEvents")),
        ("is throttled", Outage("PutEvents", code="ThrottlingException", status=400)),
        ("hangs", Outage("PutEvents", seconds=HANG_SECONDS)),
    ):
        yield _not_served(f"PutEvents {what} during a run", outage)
    down = Outage("PutEvents", code="InternalException", status=500)
    yield _not_served("PutEvents is down during a run that fails", down, FAILS, red("JobFailed"))


def _served() -> FaultCase:
    def arrived(scenario: CaseScenario) -> Iterator[str]:
        yield from _missing(scenario)
        ids = scenario.environment.received_events(scenario.name)
        if not _was_slow(scenario):
            repeated = {each for each in ids if ids.count(each) > 1}
            yield from (f"event {each} came {ids.count(each)} times" for each in repeated)

    return job_case(
        "PutEvents is served during a run",
        before=lambda scenario: scenario.environment.subscribe_events(scenario.name),
        during=_send_all,
        also=arrived,
        quiet=True,
        max_wait=MAX_SEND_WAIT,
    )


def _not_served(
    name: str, outage: Outage, job: Knobs | None = None, expected: ExpectedOutcome | None = None
) -> FaultCase:
    """``outage``: for the events of the case, until its end was recorded and its events were not sent."""
    lasting = ExitStack()

    def before(scenario: CaseScenario) -> None:
        scenario.environment.subscribe_events(scenario.name)
        outage.mentions = scenario.name
        lasting.enter_context(scenario.environment.stack.outage(outage))

    def during(scenario: CaseScenario) -> None:
        with lasting:
            scenario.until(lambda: _is_ended(scenario), "the end of the run", HANG_SECONDS)
            scenario.until(lambda: _is_left(scenario), "a message that is left to reconcile")
        _send_all(scenario)

    def arrived(scenario: CaseScenario) -> Iterator[str]:
        yield from _missing(scenario)
        events = scenario.execution().history.events()
        tasks = sum(each["type"] == "LambdaFunctionScheduled" for each in events)
        if not 1 <= outage.calls <= tasks + 1:  # one a task, and one of close_run
            yield f"PutEvents was called {outage.calls} times"

    return job_case(
        name,
        expected or ok(),
        job=job,
        before=before,
        during=during,
        also=arrived,
        quiet=True,
        max_wait=MAX_SEND_WAIT,
    )


def _is_ended(scenario: CaseScenario) -> bool:
    return any("ended_at" in run for run in scenario.runs())


def _message_id(scenario: CaseScenario) -> str:
    return f"{scenario.runs()[0]['run_id']}/events"


def _is_left(scenario: CaseScenario) -> bool:
    """Whether close_run has logged that it could not send the events."""
    message_id = _message_id(scenario)
    lines = (line.text for line in scenario.environment.stack.logs("CloseRun"))
    return any(message_id in line and "was not sent" in line for line in lines)


def _was_slow(scenario: CaseScenario) -> bool:
    """Whether a function got no answer in time, so that events that have arrived are sent again."""
    run_id = str(scenario.runs()[0]["run_id"])
    lines = [line.text for line in scenario.environment.stack.logs() if run_id in line.text]
    return any("events are sent later" in line or "was not sent" in line for line in lines)


def _send_all(scenario: CaseScenario) -> None:
    """Wait for the end of the run, and let reconcile send what is left."""
    scenario.until(lambda: _is_ended(scenario), "the end of the run", HANG_SECONDS)
    key = f"outbox#{_message_id(scenario)}"

    def is_sent() -> bool:
        if scenario.environment.item(key) is not None:
            scenario.environment.reconcile()
        return scenario.environment.item(key) is None

    scenario.until(is_sent, "the events", MAX_SEND_WAIT, pause=ROUND_SECONDS)
    scenario.environment.stack.settle()


def _missing(scenario: CaseScenario) -> Iterator[str]:
    run_id = scenario.runs()[0]["run_id"]
    missing = {f"{run_id}/{each}" for each in NAMES} - set(
        scenario.environment.received_events(scenario.name)
    )
    yield from (f"event {each} did not arrive" for each in sorted(missing))

"""Requests to the runs API whose function dies: repeated, they have the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import ExpectedOutcome, FaultCase, job_case
from local.faults.scenario import CaseScenario
from local.faults.suites.crashes import CLAIM, PARAMETER, RECORD, STARTED, CallPattern, met, with_fault
from local.faults.team import Json

STOPPED = CallPattern("stopping the execution", "StopExecution")
LISTED = CallPattern("asking for later runs", "Query")

Act = Callable[[CaseScenario, CrashFault], None]
TRIES = 8
"""A person who gets no answer asks again; a crowded machine may need more than one more."""


def cases() -> Iterator[FaultCase]:
    yield from _killed("a start", (PARAMETER, CLAIM, STARTED), "start", _started)
    yield from _killed(
        "a cancel",
        (RECORD, STARTED, STOPPED),
        "during",
        _cancelled,
        expected=ExpectedOutcome(("ABORTED Canceled",), 1, 0),
        job={"seconds": 150},
    )
    yield from _killed(
        "a retry",
        (RECORD, LISTED, PARAMETER, CLAIM, STARTED),
        "during",
        _retried,
        expected=ExpectedOutcome(("FAILED JobFailed", "SUCCEEDED"), 2, 0),
        job={"outcome": "FAIL"},
    )


def _killed(
    what: str, calls: tuple[CallPattern, ...], when: str, act: Act, **more: Any
) -> Iterator[FaultCase]:
    for call in calls:
        for moment in ("before", "after"):
            fault = CrashFault(moment, call.number, call.pattern, "{}")
            case = job_case(f"api dies {moment} {call.name} of {what}", **more)
            case_with_action = case.but(**{when: lambda scenario, fault=fault: act(scenario, fault)})
            yield with_fault(case_with_action, "Api", fault)


def _request(scenario: CaseScenario, fault: CrashFault, path: str, document: Json | None = None) -> None:
    """Asked until there is an answer; the one who met the fault gave none."""
    for _ in range(TRIES):
        status = scenario.ask(path, document)
        if status < 500:
            return
        if not met(scenario, "Api", fault):  # it had no time to come so far
            scenario.arm("Api", replace(fault, event=scenario.marker))
    scenario.complaints.append(f"asked {TRIES} times, the last answer was {status}")


def _started(scenario: CaseScenario, fault: CrashFault) -> None:
    _request(scenario, fault, "/runs", {"pipeline": scenario.name})


def _cancelled(scenario: CaseScenario, fault: CrashFault) -> None:
    scenario.until_started()
    scenario.until_in("WaitJob")
    _request(scenario, fault, f"/runs/{scenario.name}-1/cancel")


def _retried(scenario: CaseScenario, fault: CrashFault) -> None:
    scenario.until(lambda: scenario.runs() and scenario.runs()[0]["status"] == "FAILED", "the end of the run")
    scenario.team.control("PUT", f"/jobs/{scenario.job}", outcome="SUCCESS")
    _request(scenario, fault, f"/runs/{scenario.name}-1/retry")

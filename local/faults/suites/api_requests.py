"""Requests to the runs API whose function crashes: repeated, they have the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import ExpectedOutcome, FaultCase, job_case
from local.faults.scenario import CaseScenario
from local.faults.suites.crashes import CLAIM, PARAMETER, RECORD, STARTED, CallPattern, with_fault

STOPPED = CallPattern("stopping the execution", "StopExecution")
LISTED = CallPattern("asking for later runs", "Query")

Act = Callable[[CaseScenario], None]


def cases() -> Iterator[FaultCase]:
    yield from _killed("a start", (PARAMETER, CLAIM, STARTED), "start", _started)
    yield from _killed(
        "a cancel",
        (RECORD, STARTED, STOPPED),
        "during",
        _cancelled,
        expected=ExpectedOutcome(("ABORTED Canceled",), 1, 0),
        job={"seconds": 300},
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
            yield with_fault(case.but(**{when: act}), "Api", fault)


def _started(scenario: CaseScenario) -> None:
    scenario.ask("/runs", {"pipeline": scenario.name})


def _cancelled(scenario: CaseScenario) -> None:
    scenario.until_started()
    scenario.until_in("WaitJob")
    scenario.ask(f"/runs/{scenario.name}-1/cancel")


def _retried(scenario: CaseScenario) -> None:
    scenario.until(lambda: scenario.runs() and scenario.runs()[0]["status"] == "FAILED", "the end of the run")
    scenario.team.control("PUT", f"/jobs/{scenario.job}", outcome="SUCCESS")
    scenario.ask(f"/runs/{scenario.name}-1/retry")

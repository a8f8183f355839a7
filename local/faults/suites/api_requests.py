"""What people ask of the runs API, while its function dies: asked again, it comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from local.aws.runtime.fault_injector import Fault
from local.faults.case import Case, Expected, job_case
from local.faults.scenario import Scenario
from local.faults.suites.crashes import CLAIM, HANDED_OVER, PARAMETER, RECORD, Call, met, with_fault
from local.faults.team import Json

STOPPED = Call("stopping the execution", "StopExecution")
LISTED = Call("asking for later runs", "Query")

Act = Callable[[Scenario, Fault], None]
TRIES = 8
"""A person who gets no answer asks again; a crowded machine may need more than one more."""


def cases() -> Iterator[Case]:
    yield from _killed("a start", (PARAMETER, CLAIM, HANDED_OVER), "start", _started)
    yield from _killed(
        "a cancel",
        (RECORD, HANDED_OVER, STOPPED),
        "during",
        _cancelled,
        expected=Expected(("ABORTED Canceled",), 1, 0),
        job={"seconds": 150},
    )
    yield from _killed(
        "a retry",
        (RECORD, LISTED, PARAMETER, CLAIM, HANDED_OVER),
        "during",
        _retried,
        expected=Expected(("FAILED JobFailed", "SUCCEEDED"), 2, 0),
        job={"outcome": "FAIL"},
    )


def _killed(what: str, calls: tuple[Call, ...], when: str, act: Act, **more: Any) -> Iterator[Case]:
    for call in calls:
        for moment in ("before", "after"):
            fault = Fault(moment, call.number, call.pattern, "{}")
            case = job_case(f"api dies {moment} {call.name} of {what}", **more)
            played = case.but(**{when: lambda scenario, fault=fault: act(scenario, fault)})
            yield with_fault(played, "Api", fault)


def _asked(scenario: Scenario, fault: Fault, path: str, document: Json | None = None) -> None:
    """Asked until there is an answer; the one who met the fault gave none."""
    for _ in range(TRIES):
        status = scenario.ask(path, document)
        if status < 500:
            return
        if not met(scenario, "Api", fault):  # it had no time to come so far
            scenario.arm("Api", replace(fault, event=scenario.marker))
    scenario.complaints.append(f"asked {TRIES} times, the last answer was {status}")


def _started(scenario: Scenario, fault: Fault) -> None:
    _asked(scenario, fault, "/runs", {"pipeline": scenario.name})


def _cancelled(scenario: Scenario, fault: Fault) -> None:
    scenario.until_started()
    scenario.until_in("WaitJob")
    _asked(scenario, fault, f"/runs/{scenario.name}-1/cancel")


def _retried(scenario: Scenario, fault: Fault) -> None:
    scenario.until(lambda: scenario.runs() and scenario.runs()[0]["status"] == "FAILED", "the end of the run")
    scenario.team.control("PUT", f"/jobs/{scenario.job}", outcome="SUCCESS")
    _asked(scenario, fault, f"/runs/{scenario.name}-1/retry")

"""AWS itself fails: functions crash repeatedly. The run continues, and nothing is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, red
from local.faults.scenario import CaseScenario
from local.faults.suites.crashes import POST, RECORD

MORE_THAN_BEFORE = 14
"""Consecutive crashes: with thirteen attempts in all, a run once failed."""
FOR_GOOD = 60
SHORT = {"timeout": 10}
LONG = {"timeout": 900}
PATIENT: dict[str, Any] = {"job_step": LONG, "load_step": LONG, "max_wait": 600}
"""The state machine waits a third of the time elapsed before each attempt."""
KEEPS_RUNNING = "keeps running: its run failed, but was not stopped"


def cases() -> Iterator[FaultCase]:
    for function, what, make in (
        ("OpenRun", "open_run", job_case),
        ("StartStep", "start_step of a job", job_case),
        ("CheckStep", "check_step of a job", job_case),
        ("StartStep", "start_step of a load", load_case),
        ("CheckStep", "check_step of a load", load_case),
    ):
        yield make(
            f"{what} dies {MORE_THAN_BEFORE} times in a row",
            before=dies(function, MORE_THAN_BEFORE),
            **PATIENT,
        )
    yield job_case(
        "check_step of a job dies until the time-out of its step",
        red("Runtime.ExitError"),
        job={"seconds": 300},
        job_step=SHORT,
        before=dies("CheckStep", FOR_GOOD),
        says=(KEEPS_RUNNING,),
        holds=frozenset({"job"}),
        runs_on=True,
    )
    yield job_case(
        "start_step of a job dies after the POST until the time-out of its step",
        red("Runtime.ExitError"),
        job={"seconds": 300},
        job_step=SHORT,
        before=_dies_after_the_post,
        holds=frozenset({"job"}),
        runs_on=True,
    )
    yield job_case(
        "start_step of a job dies until the time-out of its step, and nothing was started",
        red("Runtime.ExitError", executions=0),
        job_step=SHORT,
        before=dies("StartStep", FOR_GOOD),
    )
    yield load_case(
        "check_step of a load dies until the time-out of its step",
        red("Runtime.ExitError", executions=0, loads=1),
        model={"seconds": 300},
        load_step=SHORT,
        before=dies("CheckStep", FOR_GOOD),
        says=(KEEPS_RUNNING,),
        holds=frozenset({"model"}),
        runs_on=True,
    )
    yield job_case(
        "check_step of a job dies until the time-out of its step, and a retry waits for the job",
        ExpectedOutcome(("FAILED Runtime.ExitError", "SUCCEEDED"), 1, 0),
        job={"seconds": 120},
        job_step=SHORT,
        before=dies("CheckStep", FOR_GOOD),
        during=_retried,
        also=_resumed,
    )


def dies(function: str, times: int) -> Callable[[CaseScenario], None]:
    """Crash this number of tasks of the first run before their first call."""

    def armed(scenario: CaseScenario) -> None:
        event = f'{scenario.marker}-1"'
        for _ in range(times):
            scenario.arm(function, CrashFault("before", RECORD.number, RECORD.pattern, event))

    return armed


def _dies_after_the_post(scenario: CaseScenario) -> None:
    event = f'{scenario.marker}-1"'
    scenario.arm("StartStep", CrashFault("after", POST.number, POST.pattern, event, stays=True))
    for function in ("StartStep", "CheckStep"):
        dies(function, FOR_GOOD)(scenario)


def _retried(scenario: CaseScenario) -> None:
    scenario.until(lambda: scenario.runs() and scenario.runs()[0]["status"] == "FAILED", "the end of the run")
    scenario.define(scenario.name, jobs=[{"job": scenario.job, "mode": "DELTA", "timeout": 120}])
    status = scenario.ask(f"/runs/{scenario.name}-1/retry")
    if status != HTTPStatus.ACCEPTED:
        scenario.complaints.append(f"the retry was answered with {status}")


def _resumed(scenario: CaseScenario) -> Iterator[str]:
    first, second = scenario.runs()
    if second["steps"]["job-0"].get("resumed_from") != first["run_id"]:
        yield "the retry does not say whose job it waited for"
    if scenario.team.requests("cancel", scenario.job):
        yield "a cancel was sent to the job"

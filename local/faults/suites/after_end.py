"""After the end of a run: its event is repeated, it is redriven, it is started again."""

from __future__ import annotations

import json
from collections.abc import Iterator

from local.aws.delivery.status_events import status_event
from local.faults.case import ExpectedOutcome, FaultCase, job_case
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import join, stop_while_running
from local.faults.suites.concurrent_triggers import at_once


def cases() -> Iterator[FaultCase]:
    stopped = ExpectedOutcome(("ABORTED Aborted",), 1, 0)
    yield job_case("redriven after its end", stopped, job={"seconds": 30}, during=_redriven, also=_closed)
    yield job_case("started again under the same name", during=_same_name)
    yield job_case("a closed run started under another name", during=_other_name, also=_refused)
    yield job_case("the event of its end comes five times at once", during=_five_events, also=_one_record)
    yield job_case(
        "the event of a stop comes five times at once, a trigger is queued",
        ExpectedOutcome(("ABORTED Aborted", "SUCCEEDED"), 2, 0),
        job={"seconds": 60},
        during=_stopped_with_five_events,
    )


def _redriven(scenario: CaseScenario) -> None:
    stop_while_running(scenario)
    scenario.until(lambda: scenario.runs()[0]["status"] == "ABORTED", "the end of the run")
    scenario.environment.stack.client("stepfunctions").redrive_execution(
        executionArn=scenario.execution().arn
    )
    scenario.until(lambda: scenario.execution().status != "RUNNING", "the end of what was redriven")


def _closed(scenario: CaseScenario) -> Iterator[str]:
    if scenario.execution().error != "RunClosed":
        yield f"the redriven execution ended with {scenario.execution().error}"


def _ended(scenario: CaseScenario) -> None:
    scenario.until(lambda: [run["status"] for run in scenario.runs()] == ["SUCCEEDED"], "the end of the run")


def _same_name(scenario: CaseScenario) -> None:
    _ended(scenario)
    client = scenario.environment.stack.client("stepfunctions")
    try:
        scenario.environment.start_execution(f"{scenario.name}-1", {"run_id": f"{scenario.name}-1"})
    except client.exceptions.ExecutionAlreadyExists:
        return
    scenario.complaints.append("an execution was started twice under one name")


def _other_name(scenario: CaseScenario) -> None:
    _ended(scenario)
    scenario.environment.start_execution(f"{scenario.name}-again", {"run_id": f"{scenario.name}-1"})


def _refused(scenario: CaseScenario) -> Iterator[str]:
    again = scenario.execution(f"{scenario.name}-again")
    if again.error != "InvalidTrigger":
        yield f"the second execution ended with {again.status} {again.error}"


def _send_end(scenario: CaseScenario) -> None:
    event = json.dumps(status_event(scenario.execution())).encode()
    outcomes = at_once(*[lambda: scenario.environment.stack.invoke("CloseRun", event)] * 5)
    failed = [outcome for outcome in outcomes if getattr(outcome, "failed", True)]
    scenario.complaints += [f"close_run failed: {outcome}" for outcome in failed]


def _five_events(scenario: CaseScenario) -> None:
    scenario.until(lambda: scenario.execution().status != "RUNNING", "the end of the execution")
    _send_end(scenario)


def _one_record(scenario: CaseScenario) -> Iterator[str]:
    if len(scenario.runs()) != 1:
        yield "there is not exactly one record"


def _stopped_with_five_events(scenario: CaseScenario) -> None:
    join(scenario)
    stop_while_running(scenario)
    _send_end(scenario)

"""Without one of its permissions, a run fails: every permission in the template is needed."""

from __future__ import annotations

import pytest

from local.aws.errors import LocalStackError
from local.serve import STACK_NAME
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.permissions import withheld
from tests.stack.runs.service import SAMPLE, DeployedService


@pytest.mark.parametrize(
    ("role", "action"),
    [
        ("OpenRunRole", "ssm:GetParameter"),
        ("OpenRunRole", "dynamodb:PutItem"),
        ("StartStepRole", "dynamodb:ConditionCheckItem"),
        ("CheckStepRole", "dynamodb:DeleteItem"),
        ("StartStepRole", "dynamodb:UpdateItem"),
        ("CheckStepRole", "dynamodb:GetItem"),
    ],
)
def test_without_it_an_execution_fails(
    service: DeployedService, celonis: CelonisControls, role: str, action: str
) -> None:
    steps = {"loads": [celonis.model().id]} if "Load" in role else {"jobs": [celonis.job()]}
    pipeline = service.pipeline(**steps)
    with withheld(service.stack, role, action):
        described = service.ended(service.execute({"pipeline": pipeline}))
    assert described["status"] == "FAILED"
    assert f"not authorized to perform: {action}" in described["cause"]
    until(lambda: service.is_free(pipeline), f"{pipeline} to be free")


def test_without_it_what_a_schedule_should_start_lies_in_the_queue(service: DeployedService) -> None:
    action = "states:StartExecution"
    with (
        withheld(service.stack, "RefreshScheduleRole", action),
        pytest.raises(LocalStackError, match=f"not authorized to perform: {action}"),
    ):
        service.stack.fire_schedule(f"{STACK_NAME}-full-refresh")
    (letter,) = service.dead_letters()
    assert SAMPLE in letter


def test_without_it_a_round_of_reconcile_is_lost_and_is_no_dead_letter(service: DeployedService) -> None:
    action = "lambda:InvokeFunction"
    with (
        withheld(service.stack, "ReconcileRoundRole", action),
        pytest.raises(LocalStackError, match=f"not authorized to perform: {action}"),
    ):
        service.stack.fire_schedule(f"{STACK_NAME}-reconcile")
    assert service.dead_letters() == []


def test_without_it_the_end_of_a_run_lies_in_the_queue(
    service: DeployedService, celonis: CelonisControls
) -> None:
    with withheld(service.stack, "CloseRunRole", "states:DescribeExecution"):
        name = service.execute({"pipeline": service.pipeline(jobs=[celonis.job()])})
        assert service.ended(name)["status"] == "SUCCEEDED"
        until(service.dead_letters, "a dead letter")
        assert service.stack.settle()
    service.dead_letters()  # the event may have come twice
    assert service.status(name) == "RUNNING"
    service.hand_to("CloseRun", {"detail": {"name": name, "executionArn": service.arn(name)}})
    assert service.closed(name)["status"] == "SUCCEEDED"


def test_without_its_policy_the_queue_takes_nothing_from_the_event_bus(
    service: DeployedService, celonis: CelonisControls
) -> None:
    with service.undeliverable_events(queue_policy="") as letters:
        name = service.execute({"pipeline": service.pipeline(jobs=[celonis.job()])})
        assert service.ended(name)["status"] == "SUCCEEDED"
    assert letters == []
    service.hand_to("CloseRun", {"detail": {"name": name, "executionArn": service.arn(name)}})
    assert service.closed(name)["status"] == "SUCCEEDED"

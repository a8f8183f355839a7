"""The executions of the state machine, as Step Functions answers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from botocore import endpoint
from botocore.exceptions import ClientError

from celonis_refresh.aws.executions import ExecutionsUnavailable, StateMachine
from celonis_refresh.responses import error_answer
from tests.fakes.aws import AwsFailure, FakeAws

Call = Callable[[StateMachine], object]
CALLS: dict[str, Call] = {
    "StartExecution": lambda machine: machine.start("otc-1"),
    "StopExecution": lambda machine: machine.stop("otc-1", "Canceled", "by ann"),
    "DescribeExecution": lambda machine: machine.find("otc-1"),
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    aws = FakeAws()
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(sleep=aws.clock.sleep))
    return aws


@pytest.fixture
def machine(aws: FakeAws) -> StateMachine:
    return StateMachine(
        aws.client("stepfunctions"), "arn:aws:states:eu-central-1:123456789012:stateMachine:refresh"
    )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("code", "status"), [("InternalServerError", 500), ("ThrottlingException", 400)])
def test_what_passes_is_reported_as_that(
    call: str, code: str, status: int, aws: FakeAws, machine: StateMachine
) -> None:
    aws.failures[call] = [AwsFailure(code, status)] * 3
    with pytest.raises(ExecutionsUnavailable) as caught:
        CALLS[call](machine)
    answer = error_answer(caught.value)
    assert answer["statusCode"] == 503
    assert "retry-after" in answer["headers"]


def test_no_answer_passes_too(aws: FakeAws, machine: StateMachine) -> None:
    aws.latencies["StartExecution"] = [60.0] * 3
    with pytest.raises(ExecutionsUnavailable):
        machine.start("otc-1")


@pytest.mark.parametrize("call", CALLS)
def test_what_does_not_pass_is_raised_as_it_is(call: str, aws: FakeAws, machine: StateMachine) -> None:
    aws.failures[call] = [AwsFailure("AccessDeniedException")]
    with pytest.raises(ClientError, match="AccessDeniedException"):
        CALLS[call](machine)


def test_an_execution_that_is_there_was_started(aws: FakeAws, machine: StateMachine) -> None:
    aws.failures["StartExecution"] = [AwsFailure("ExecutionAlreadyExists")]
    machine.start("otc-1")
    assert aws.started == []


def test_an_execution_that_is_not_there_is_none(aws: FakeAws, machine: StateMachine) -> None:
    aws.failures["DescribeExecution"] = [AwsFailure("ExecutionDoesNotExist")]
    assert machine.find("otc-1") is None

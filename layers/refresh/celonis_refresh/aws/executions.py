"""Starts, stops and describes executions of the state machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from celonis_refresh.aws.clients import is_transient
from celonis_refresh.errors import RefreshError
from celonis_refresh.timing import iso
from celonis_refresh.workflow.executions import ExecutionDescription

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

A = TypeVar("A")


class ExecutionsUnavailable(RefreshError):
    """Step Functions did not answer or throttled the call. All calls can be repeated."""

    def __init__(self) -> None:
        super().__init__("Step Functions did not answer in time.", hint="Try again.")


def _call(call: Callable[..., A], **request: Any) -> A:
    """Return the answer of Step Functions. Raises ``ExecutionsUnavailable`` for a transient error."""
    try:
        return call(**request)
    except Exception as error:
        if is_transient(error):
            raise ExecutionsUnavailable from None
        raise


class StateMachine(Struct, frozen=True):
    """Executions of one state machine. All methods raise ``ExecutionsUnavailable``."""

    client: SFNClient
    arn: str

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        """Start the execution of a run; False if it exists already."""
        try:
            document = json.dumps({"run_id": run_id, **({"answer": answer} if answer else {})})
            _call(self.client.start_execution, stateMachineArn=self.arn, name=run_id, input=document)
        except self.client.exceptions.ExecutionAlreadyExists:
            return False
        return True

    def stop(self, run_id: str, error: str, cause: str) -> None:
        """Stop the execution of a run; does nothing if it has ended."""
        arn = self.execution_arn(run_id)
        _call(self.client.stop_execution, executionArn=arn, error=error, cause=cause)

    def execution_arn(self, run_id: str) -> str:
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{run_id}"

    def find(self, run_id: str) -> ExecutionDescription | None:
        """Return the description of the execution of a run, or None."""
        try:
            return self.describe(self.execution_arn(run_id))
        except self.client.exceptions.ExecutionDoesNotExist:
            return None

    def describe(self, arn: str) -> ExecutionDescription:
        answer = _call(self.client.describe_execution, executionArn=arn)
        return ExecutionDescription(
            name=answer.get("name", ""),
            arn=arn,
            status=answer["status"],
            error=answer.get("error", ""),
            cause=answer.get("cause", ""),
            started_at=iso(answer["startDate"].timestamp()) if "startDate" in answer else "",
            input=answer.get("input", ""),
        )

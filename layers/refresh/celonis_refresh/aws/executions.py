"""The executions of the state machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from celonis_refresh.aws.clients import asked
from celonis_refresh.errors import RefreshError
from celonis_refresh.workflow.executions import EndedExecution

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

A = TypeVar("A")


class ExecutionsUnavailable(RefreshError):
    """Step Functions did not answer, or asked to come back later. All that is asked may be asked again."""

    def __init__(self) -> None:
        super().__init__("Step Functions did not answer in time.", hint="Try again.")


class StateMachine(Struct, frozen=True):
    """Starts runs and describes executions. Everything raises ``ExecutionsUnavailable``."""

    client: SFNClient
    arn: str

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        """Start the execution of a run; False if it exists already, with the input of its start."""
        try:
            document = json.dumps({"run_id": run_id, **({"answer": answer} if answer else {})})
            asked(
                ExecutionsUnavailable,
                self.client.start_execution,
                stateMachineArn=self.arn,
                name=run_id,
                input=document,
            )
        except self.client.exceptions.ExecutionAlreadyExists:
            return False
        return True

    def stop(self, run_id: str, error: str, cause: str) -> None:
        """Stop the execution of a run; one that has ended is left as it is."""
        arn = self.execution_arn(run_id)
        asked(ExecutionsUnavailable, self.client.stop_execution, executionArn=arn, error=error, cause=cause)

    def execution_arn(self, run_id: str) -> str:
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{run_id}"

    def find(self, run_id: str) -> EndedExecution | None:
        """Return how the execution of a run stands; None where there is none."""
        try:
            return self.describe(self.execution_arn(run_id))
        except self.client.exceptions.ExecutionDoesNotExist:
            return None

    def describe(self, arn: str) -> EndedExecution:
        """Return how the execution stands."""
        answer = asked(ExecutionsUnavailable, self.client.describe_execution, executionArn=arn)
        return EndedExecution(
            name=answer.get("name", ""),
            arn=arn,
            status=answer["status"],
            error=answer.get("error", ""),
            cause=answer.get("cause", ""),
        )

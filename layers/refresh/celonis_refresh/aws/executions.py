"""The executions of the state machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct

from celonis_refresh.passage.closing import EndedExecution

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class StateMachine(Struct, frozen=True):
    """Starts runs and describes executions."""

    client: SFNClient
    arn: str

    def start(self, run_id: str) -> None:
        """Starts the execution of a run. Its name is the run's id, so that a second start does nothing."""
        try:
            self.client.start_execution(
                stateMachineArn=self.arn, name=run_id, input=json.dumps({"run_id": run_id})
            )
        except self.client.exceptions.ExecutionAlreadyExists:
            return  # it was started: what was wanted

    def stop(self, run_id: str, error: str, cause: str) -> None:
        """Stops the execution of a run; one that has ended is left as it is."""
        self.client.stop_execution(executionArn=self.execution_arn(run_id), error=error, cause=cause)

    def execution_arn(self, run_id: str) -> str:
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{run_id}"

    def find(self, run_id: str) -> EndedExecution | None:
        """How the execution of a run stands; None where there is none."""
        try:
            return self.describe(self.execution_arn(run_id))
        except self.client.exceptions.ExecutionDoesNotExist:
            return None

    def describe(self, arn: str) -> EndedExecution:
        """How the execution stands."""
        answer = self.client.describe_execution(executionArn=arn)
        return EndedExecution(
            name=answer.get("name", ""),
            arn=arn,
            status=answer["status"],
            error=answer.get("error", ""),
            cause=answer.get("cause", ""),
        )

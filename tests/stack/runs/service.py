"""The service of the tests: its configuration, its ways in, its mail, and what became of everything."""

from __future__ import annotations

import json
import time

from celonis_refresh.timing import iso
from local.wait import until
from tests.stack.runs.celonis import Json
from tests.stack.runs.configuration import ServiceConfiguration
from tests.stack.runs.documents import (
    SAMPLE,
    WEBHOOK_SECRET,
    WORKFLOW_SUCCEEDED,
    definition,
    is_sentence,
    oauth_client,
)
from tests.stack.runs.entry_points import EntryPoints
from tests.stack.runs.notifications import NotificationInbox

__all__ = [
    "SAMPLE",
    "WEBHOOK_SECRET",
    "WORKFLOW_SUCCEEDED",
    "DeployedService",
    "definition",
    "is_sentence",
    "oauth_client",
    "until",
]

OPEN = {"OPENING", "RUNNING"}


class DeployedService(ServiceConfiguration, EntryPoints, NotificationInbox):
    """One deployed stack."""

    def run_by_hand(self, document: object) -> Json:
        """Executes, and gives the record of the run once it is closed."""
        return self.closed(self.execute(document))

    def arn(self, execution: str) -> str:
        machine = self.stack.outputs["StateMachineArn"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{execution}"

    def execution(self, name: str) -> Json:
        """The description of an execution, its output read as JSON."""
        found: Json = self.stack.client("stepfunctions").describe_execution(executionArn=self.arn(name))
        return {**found, "output": json.loads(found.get("output") or "null")}

    def ended(self, name: str) -> Json:
        """The description of an execution once it has ended."""

        until(lambda: self.is_over(name), f"the end of execution {name}")
        return self.execution(name)

    def states(self, name: str) -> list[str]:
        """The names of the states that the execution entered, in order."""
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in self.history(name)
            if "stateEnteredEventDetails" in event
        ]

    def history(self, name: str) -> list[Json]:
        answer = self.stack.client("stepfunctions").get_execution_history(executionArn=self.arn(name))
        events: list[Json] = answer["events"]
        return events

    def waits(self, name: str) -> list[int]:
        """The seconds until the next poll that the functions of an execution gave, in order."""
        details = [event.get("lambdaFunctionSucceededEventDetails") for event in self.history(name)]
        outputs = [json.loads(one["output"]) for one in details if one]
        return [one["wait"] for one in outputs if one.get("wait")]

    def item(self, pk: str) -> Json:
        """An item of the table in DynamoDB's own notation; empty where there is none."""
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["TableName"], Key={"pk": {"S": pk}}, ConsistentRead=True
        )
        found: Json = answer.get("Item", {})
        return found

    def status(self, run_id: str) -> str:
        return str(self.item(f"run#{run_id}").get("status", {}).get("S", "")) or "NONE"

    def running(self, run_id: str, step: str = "job-0") -> None:
        """Waits until a step was started and is proven to be running."""

        def proof() -> object:
            answer = self.call("GET", f"/runs/{run_id}")
            return answer.ok and answer.json()["steps"].get(step, {}).get("proven_by")

        until(proof, f"{step} of run {run_id}")

    def followed(self, pipeline: str) -> tuple[str, str]:
        """A run whose job is running, and one that is queued behind it."""
        first = self.execute({"pipeline": pipeline})
        self.running(first)
        return first, str(self.ended(self.execute({"pipeline": pipeline}))["output"]["run_id"])

    def waiting(self, run_id: str, step: str) -> None:
        """Waits until a step is queued for its lease."""

        def why() -> object:
            answer = self.call("GET", f"/runs/{run_id}")
            return answer.ok and answer.json()["steps"].get(step, {}).get("waiting_for")

        until(why, f"{step} of run {run_id} to wait")

    def stop(self, execution: str, cause: str = "") -> None:
        """Stops an execution, as a person does in the console."""
        self.stack.client("stepfunctions").stop_execution(
            executionArn=self.arn(execution), **({"cause": cause} if cause else {})
        )

    def closed(self, run_id: str) -> Json:
        """The record of a run, from the runs API, once it is closed."""
        try:
            until(lambda: self.is_over(run_id), f"the end of execution {run_id}")
            until(lambda: self.status(run_id) not in OPEN | {"NONE"}, f"the end of run {run_id}")
        except TimeoutError as error:
            error.add_note(json.dumps(self.item(f"run#{run_id}").get("steps"), indent=1))
            raise
        return self.show(run_id)

    def is_over(self, execution: str) -> bool:
        """Whether there is such an execution, and it has ended."""
        return any(one.name == execution and one.status != "RUNNING" for one in self.stack.executions)

    def show(self, run_id: str) -> Json:
        answer = self.call("GET", f"/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def is_free(self, pipeline: str) -> bool:
        """Whether no run holds the pipeline's slot."""
        return "run_id" not in self.item(f"slot#{pipeline}")

    def items(self) -> list[Json]:
        """Every item of the table."""
        pages = self.stack.client("dynamodb").get_paginator("scan")
        return [
            item
            for page in pages.paginate(TableName=self.stack.outputs["TableName"])
            for item in page["Items"]
        ]

    def age(self, pk: str, seconds: float | None = None) -> None:
        """Makes an item so old that no function can still be working on it: years, or some seconds."""
        item = self.item(pk)
        at = "2020-01-01T00:00:00.000Z" if seconds is None else iso(time.time() - seconds)
        old = f"{at} {item['position']['S'].split(' ', 1)[1]}"
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.outputs["TableName"],
            Key={"pk": {"S": pk}},
            UpdateExpression="SET #position = :old",
            ExpressionAttributeNames={"#position": "position"},
            ExpressionAttributeValues={":old": {"S": old}},
        )

"""What all cases share: the real template on the local stack, and the Celonis teams that it talks to."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import requests
from boto3.dynamodb.types import TypeDeserializer

from local.aws.http_api.events import RoutedRequest, to_event, to_response
from local.aws.http_api.routes import Route
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.runtime.pool import Limits
from local.aws.settings import EventSettings, Settings
from local.aws.stack import LocalStack
from local.aws.states.execution import MachineExecution
from local.faults.team import CelonisTeam, Json
from local.runs_api import RunsApi
from local.serve import PARAMETERS, REGION, ROOT, STACK_NAME, STATE

HTTP_SECONDS = 35.0
PLENTY_OF_TIME = 60.0
AT_ONCE = 20
"""Requests, and tasks of executions, that are served at the same time: a slow answer is no part of a case."""
ARRIVAL_LEAD = 5.0
"""The trigger answers within seconds of the arrival, and many cases run at the same time."""
EVENT = {"action": "completed", "workflow_run": {"conclusion": "success", "name": "load-erp"}}


class FaultEnvironment:
    """``webhook_secret``: what all sources of the cases sign with."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.teams: list[CelonisTeam] = []
        self.answers: list[str] = []
        """Every answer of the HTTP API, for the search for secrets."""
        self._lock = threading.Lock()
        self._notices: list[str] = []
        self._queue = self._subscribed()
        self.webhook_secret = f"webhook-{secrets.token_hex(16)}"
        self.store_secret("webhooks/faults", {"current": self.webhook_secret})
        self.shared = self.team("shared")
        self.runs_api = RunsApi(stack.api_url, stack.credentials, REGION)

    def close(self) -> None:
        self.shared.close()

    def team(self, connection: str) -> CelonisTeam:
        """A new team, and the connection to it."""
        team = CelonisTeam(connection)
        with self._lock:
            self.teams.append(team)
        self.store_secret(f"connections/{connection}", team.document())
        return team

    def store_secret(self, name: str, document: object) -> None:
        client, full = self.stack.client("secretsmanager"), f"{STACK_NAME}/{name}"
        try:
            client.create_secret(Name=full, SecretString=json.dumps(document))
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=full, SecretString=json.dumps(document))

    def store_parameter(self, name: str, document: Json) -> None:
        self.stack.client("ssm").put_parameter(
            Name=f"/{STACK_NAME}/{name}", Value=json.dumps(document), Type="String", Overwrite=True
        )

    def start_execution(self, name: str, document: Json) -> None:
        self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.outputs["StateMachineArn"], name=name, input=json.dumps(document)
        )

    def executions(self, pipelines: set[str]) -> list[MachineExecution]:
        """The executions whose names begin with the name of one of these pipelines."""
        found = self.stack.executions
        return [one for one in found if any(one.name.startswith(f"{name}-") for name in pipelines)]

    def post_webhook(self, source: str, delivery: str) -> requests.Response:
        """One delivery, over HTTP."""
        headers, body = self._signed(delivery)
        url = f"{self.stack.api_url}/webhooks/{source}"
        answer = requests.post(url, data=body, headers=headers, timeout=HTTP_SECONDS)
        with self._lock:
            self.answers.append(answer.text)
        return answer

    def hand_webhook(self, source: str, delivery: str) -> HttpResponse | None:
        """One delivery straight to the trigger, which finds plenty of time left; None when it failed."""
        headers, body = self._signed(delivery)
        request = HttpRequest("POST", f"/webhooks/{source}", list(headers.items()), body)
        route = Route("POST", "/webhooks/{source}", "Trigger", iam=False)
        at = time.time() + PLENTY_OF_TIME
        arrival = RoutedRequest(request, route, {"source": source}, "local", "local", "local", delivery, at)
        outcome = self.stack.invoke("Trigger", json.dumps(to_event(arrival)).encode())
        with self._lock:
            self.answers.append(outcome.payload.decode())
        return None if outcome.failed else to_response(outcome.payload)

    def _signed(self, delivery: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of a delivery, signed as GitHub signs it."""
        body = json.dumps(EVENT).encode()
        digest = hmac.new(self.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-github-event": "workflow_run",
            "x-github-delivery": delivery,
            "x-hub-signature-256": f"sha256={digest}",
        }
        return headers, body

    def runs_of(self, pipeline: str) -> list[Json]:
        """The records of a pipeline's runs, oldest first."""
        client, table = self.stack.client("dynamodb"), self.stack.outputs["TableName"]
        listed = client.query(
            TableName=table,
            IndexName="by_pipeline",
            KeyConditionExpression="pipeline = :name",
            ExpressionAttributeValues={":name": {"S": pipeline}},
        )["Items"]
        found = (self.item(f"run#{one['run_id']['S']}") for one in listed)
        return [one for one in found if one is not None]

    def item(self, key: str) -> Json | None:
        """One item of the table."""
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["TableName"], Key={"pk": {"S": key}}, ConsistentRead=True
        )
        item = answer.get("Item")
        return (
            {name: _plain(_DESERIALIZER.deserialize(value)) for name, value in item.items()} if item else None
        )

    def notices(self) -> list[str]:
        """All notifications so far."""
        client = self.stack.client("sqs")
        with self._lock:
            while True:
                got = client.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
                self._notices += [json.loads(one["Body"])["Message"] for one in got]
                for one in got:
                    client.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
                if not got:
                    return list(self._notices)

    def _subscribed(self) -> str:
        sqs = self.stack.client("sqs")
        url = str(sqs.create_queue(QueueName="faults-notices")["QueueUrl"])
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = self.stack.outputs["NoticesTopicArn"]
        self.stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url


_DESERIALIZER = TypeDeserializer()


def _plain(value: Any) -> Any:
    """JSON values: whole numbers as ``int``."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


@contextlib.contextmanager
def standing_ground() -> Iterator[FaultEnvironment]:
    """Everything up; everything gone at the end."""
    stack = LocalStack.deploy(
        template=ROOT / "template.yaml",
        stack_name=STACK_NAME,
        parameters={**PARAMETERS, "LogLevel": "DEBUG"},
        state_dir=STATE / "faults",
        # Late events are nothing to a case; events that come again are cases of their own.
        settings=Settings(
            events=EventSettings(twice_ratio=0),
            arrival_lead=ARRIVAL_LEAD,
            limits=Limits(requests_at_once=AT_ONCE, tasks_at_once=AT_ONCE),
        ),
    )
    with stack:
        environment = FaultEnvironment(stack)
        try:
            yield environment
        finally:
            environment.close()

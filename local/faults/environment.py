"""The environment of all cases: the real template on the local stack, and its Celonis teams."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
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
from local.receiver import Receiver, receiver
from local.runs_api import RunsApi
from local.serve import PARAMETERS, RECEIVES_CALLBACKS, REGION, ROOT, STACK_NAME, STATE

HTTP_SECONDS = 35.0
PLENTY_OF_TIME = 60.0
AT_ONCE = 20
"""Concurrent requests, and concurrent tasks of executions: a slow response belongs to no case."""
ARRIVAL_LEAD = 5.0
"""Seconds added to the arrival time: the trigger's deadline counts from it, and many cases run
concurrently."""
EVENT = {"action": "completed", "workflow_run": {"conclusion": "success", "name": "load-erp"}}


class FaultEnvironment:
    """The stack, its teams and its secrets.

    ``webhook_secret``: signing secret of all sources. ``channel_token``: part of the addresses of all
    channels; ``signing_secret``: the secret of channels that sign.
    """

    def __init__(self, stack: LocalStack, receiver: Receiver) -> None:
        self.stack, self.receiver = stack, receiver
        self.teams: list[CelonisTeam] = []
        self.answers: list[str] = []
        """All responses of the HTTP API, for the search for secrets."""
        self._lock, self._round = threading.Lock(), threading.Lock()
        self._notices: list[str] = []
        self._events: dict[str, tuple[str, list[str]]] = {}
        self._queue = self._subscribed()
        self.webhook_secret = f"webhook-{secrets.token_hex(16)}"
        self.channel_token = f"channel-{secrets.token_hex(16)}"
        self.signing_secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.store_secret("webhooks/faults", {"current": self.webhook_secret})
        self.shared = self.team("shared")
        self.runs_api = RunsApi(stack.api_url, stack.credentials, REGION)

    def close(self) -> None:
        self.shared.close()

    def reconcile(self, prepare: Callable[[], None] = lambda: None) -> None:
        """Run reconcile, one round at a time as in AWS: overlapping rounds may send a message twice.

        ``prepare``: called right before, when no round of another case runs.
        """
        with self._round:
            prepare()
            self.stack.invoke("Reconcile", b"{}")

    def team(self, connection: str) -> CelonisTeam:
        """Create a team and a connection to it."""
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

    def remove_parameters(self, names: list[str]) -> None:
        client = self.stack.client("ssm")
        for name in names:
            client.delete_parameters(Names=[f"/{STACK_NAME}/{name}"])

    def start_execution(self, name: str, document: Json) -> None:
        self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.outputs["StateMachineArn"], name=name, input=json.dumps(document)
        )

    def executions(self, pipelines: set[str]) -> list[MachineExecution]:
        """Return the executions whose names start with the name of one of these pipelines."""
        all_executions = self.stack.executions
        return [one for one in all_executions if any(one.name.startswith(f"{name}-") for name in pipelines)]

    def post_webhook(self, source: str, delivery: str) -> requests.Response:
        """Send a delivery over HTTP."""
        headers, body = self._signed(delivery)
        url = f"{self.stack.api_url}/webhooks/{source}"
        answer = requests.post(url, data=body, headers=headers, timeout=HTTP_SECONDS)
        with self._lock:
            self.answers.append(answer.text)
        return answer

    def invoke_trigger(self, source: str, delivery: str) -> HttpResponse:
        """Invoke the trigger with a delivery and plenty of time."""
        headers, body = self._signed(delivery)
        return self._hand(source, headers, body, delivery)

    def hand_activity(self, source: str, address: str) -> HttpResponse:
        """The request of a Webhook activity of Azure Data Factory, straight to the trigger."""
        headers = {"content-type": "application/json", "x-api-key": self.webhook_secret}
        body = json.dumps({"event": "load.finished", "callBackUri": address}).encode()
        return self._hand(source, headers, body, source)

    def _hand(self, source: str, headers: Json, body: bytes, request_id: str) -> HttpResponse:
        """Invoke the trigger; return 500 if the function failed, as API Gateway does."""
        request = HttpRequest("POST", f"/webhooks/{source}", list(headers.items()), body)
        route = Route("POST", "/webhooks/{source}", "Trigger", iam=False)
        at = time.time() + PLENTY_OF_TIME
        arrival = RoutedRequest(request, route, {"source": source}, "local", "local", "local", request_id, at)
        outcome = self.stack.invoke("Trigger", json.dumps(to_event(arrival)).encode())
        with self._lock:
            self.answers.append(outcome.payload.decode())
        return HttpResponse(500) if outcome.failed else to_response(outcome.payload)

    def _signed(self, delivery: str) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a delivery, signed as GitHub does."""
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
        """Return the records of a pipeline's runs, oldest first."""
        client, table = self.stack.client("dynamodb"), self.stack.outputs["TableName"]
        listed = client.query(
            TableName=table,
            IndexName="by_pipeline",
            KeyConditionExpression="pipeline = :name",
            ExpressionAttributeValues={":name": {"S": pipeline}},
        )["Items"]
        items = (self.item(f"run#{one['run_id']['S']}") for one in listed)
        return [one for one in items if one is not None]

    def item(self, key: str) -> Json | None:
        """Return an item of the table."""
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["TableName"], Key={"pk": {"S": key}}, ConsistentRead=True
        )
        item = answer.get("Item")
        return (
            {name: _plain(_DESERIALIZER.deserialize(value)) for name, value in item.items()} if item else None
        )

    def notices(self) -> list[str]:
        """Return all notifications so far."""
        with self._lock:
            self._notices += [json.loads(body)["Message"] for body in self._taken(self._queue)]
            return list(self._notices)

    def subscribe_events(self, pipeline: str) -> None:
        """Receive the events of a pipeline from now on."""
        url, arn = self._new_queue(f"events-{pipeline}")
        statement = {
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Principal": {"Service": "events.amazonaws.com"},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.stack.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        pattern = {"source": ["celonis-refresh"], "detail": {"pipeline": [pipeline]}}
        client = self.stack.client("events")
        client.put_rule(Name=f"events-{pipeline}", EventPattern=json.dumps(pattern))
        client.put_targets(Rule=f"events-{pipeline}", Targets=[{"Id": "queue", "Arn": arn}])
        with self._lock:
            self._events[pipeline] = (url, [])

    def received_events(self, pipeline: str) -> list[str]:
        """The ids of all events of a pipeline so far."""
        with self._lock:
            url, ids = self._events[pipeline]
            ids += [str(json.loads(body)["detail"]["event_id"]) for body in self._taken(url)]
            return list(ids)

    def _taken(self, url: str) -> list[str]:
        """The bodies of all messages of a queue, which are removed."""
        client, bodies = self.stack.client("sqs"), list[str]()
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [str(one["Body"]) for one in messages]
            for one in messages:
                client.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return bodies

    def _new_queue(self, name: str) -> tuple[str, str]:
        """The address and the ARN of a new queue."""
        sqs = self.stack.client("sqs")
        url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, str(found["Attributes"]["QueueArn"])

    def _subscribed(self) -> str:
        url, arn = self._new_queue("faults-notices")
        topic = self.stack.outputs["NoticesTopicArn"]
        self.stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url


_DESERIALIZER = TypeDeserializer()


def _plain(value: Any) -> Any:
    """Return JSON values, with whole numbers as ``int``."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


@contextlib.contextmanager
def running_environment() -> Iterator[FaultEnvironment]:
    """Start everything; stop everything at the end."""
    stack = LocalStack.deploy(
        template=ROOT / "template.yaml",
        stack_name=STACK_NAME,
        parameters={**PARAMETERS, "LogLevel": "DEBUG"},
        state_dir=STATE / "faults",
        # No case depends on late events; repeated events have their own cases.
        settings=Settings(
            events=EventSettings(twice_ratio=0),
            arrival_lead=ARRIVAL_LEAD,
            environment=RECEIVES_CALLBACKS,
            limits=Limits(requests_at_once=AT_ONCE, tasks_at_once=AT_ONCE),
        ),
    )
    with stack, receiver() as listening:
        environment = FaultEnvironment(stack, listening)
        try:
            yield environment
        finally:
            environment.close()

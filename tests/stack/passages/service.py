"""The service of the tests: its ways in, its records, and everything that it said."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from local.aws.stack import LocalStack
from local.celonis import world
from local.standing import REGION, STACK_NAME
from tests.stack.passages.celonis import POOL, Json

PATIENCE = 60.0
"""Seconds that a passage may take before its test fails; all of them take less than five."""
LOOK_SECONDS = 0.1
HTTP_SECONDS = 15.0
OPEN = {"OPENING", "RUNNING"}
WEBHOOK_SECRET = "a-secret-that-only-the-sender-knows-0001"
SAMPLE = "order-to-cash"
"""The pipeline of the template."""

T = TypeVar("T")


def until(found: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """What ``found`` gives once that is something. Raises AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"{what}: not within {seconds} s")


class Service:
    """One deployed stack. Names of pipelines, sources and connections are never used twice."""

    def __init__(self, stack: LocalStack, celonis_url: str) -> None:
        self.stack = stack
        self.said: list[str] = []
        """Every answer of the HTTP API."""
        self.secrets: list[str] = [WEBHOOK_SECRET]
        """Everything that must never be seen anywhere."""
        self.celonis_url = celonis_url
        self._numbers = itertools.count(1)
        self._session = requests.Session()
        self._session.trust_env = False
        self._notices: list[Json] = []
        self._queue = self._subscribe()

    def close(self) -> None:
        self._session.close()

    # ------------------------------------------------------------ configuration

    def name(self, of: str) -> str:
        return f"{of}-{next(self._numbers)}"

    def pipeline(self, *, jobs: Sequence[Any] = (), loads: Sequence[Any] = (), **fields: Any) -> str:
        """The name of a new pipeline. A job may be given as its id alone."""
        name = self.name("pipeline")
        self.define(name, jobs=jobs, loads=loads, **fields)
        return name

    def define(
        self, pipeline: str, *, jobs: Sequence[Any] = (), loads: Sequence[Any] = (), **fields: Any
    ) -> None:
        self.parameter(f"pipelines/{pipeline}", json.dumps(definition(jobs=jobs, loads=loads, **fields)))

    def hasten(self, pipeline: str) -> None:
        """Lets a pipeline look often and settle soon, and leaves it as it is otherwise."""
        path = f"pipelines/{pipeline}"
        found = self.stack.client("ssm").get_parameter(Name=f"/{STACK_NAME}/{path}")["Parameter"]["Value"]
        self.parameter(path, json.dumps({**json.loads(found), **PACE}))

    def source(self, *rules: Json, **fields: Any) -> str:
        """The name of a new source that signs as GitHub does, with WEBHOOK_SECRET."""
        name = self.name("source")
        document = {"sender": "github", "secret": self._webhook_secret(), "rules": list(rules), **fields}
        self.parameter(f"sources/{name}", json.dumps(document))
        return name

    def connection(self, auth: Json, **fields: Any) -> str:
        """The name of a new connection to the simulator."""
        return self.secret("connections", self._connection(auth, **fields))

    def change_connection(self, name: str, auth: Json) -> None:
        text = json.dumps(self._connection(auth))
        self.stack.client("secretsmanager").put_secret_value(
            SecretId=f"{STACK_NAME}/connections/{name}", SecretString=text
        )

    def _connection(self, auth: Json, **fields: Any) -> Json:
        known = {"base_url": self.celonis_url, "allow_http": True, "allow_any_host": True, "auth": auth}
        return {**known, **fields}

    def secret(self, kind: str, document: Json) -> str:
        """The name of a new secret below ``{stack}/{kind}/``."""
        name = self.name(kind.rstrip("s"))
        text = json.dumps(document)
        self.stack.client("secretsmanager").create_secret(
            Name=f"{STACK_NAME}/{kind}/{name}", SecretString=text
        )
        return name

    def parameter(self, path: str, text: str) -> None:
        self.stack.client("ssm").put_parameter(
            Name=f"/{STACK_NAME}/{path}", Value=text, Type="String", Overwrite=True
        )

    def _webhook_secret(self) -> str:
        client, name = self.stack.client("secretsmanager"), "tests"
        with contextlib.suppress(client.exceptions.ResourceExistsException):
            text = json.dumps({"current": WEBHOOK_SECRET})
            client.create_secret(Name=f"{STACK_NAME}/webhooks/{name}", SecretString=text)
        return name

    # ------------------------------------------------------------ ways in

    def webhook(
        self,
        source: str,
        body: object | None = None,
        *,
        delivery: str | None = None,
        secret: str = WEBHOOK_SECRET,
        headers: Json | None = None,
    ) -> requests.Response:
        """A webhook as GitHub sends it. ``body``: JSON, or bytes; a header of None is left out."""
        raw = body if isinstance(body, bytes) else json.dumps(body or WORKFLOW_SUCCEEDED).encode()
        digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        own: Json = {
            "content-type": "application/json",
            "x-github-event": "workflow_run",
            "x-github-delivery": delivery or self.name("delivery"),
            "x-hub-signature-256": f"sha256={digest}",
        }
        sent = {name: value for name, value in {**own, **(headers or {})}.items() if value is not None}
        return self.send("POST", f"/webhooks/{source}", raw, sent)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Json | None = None
    ) -> requests.Response:
        """One HTTP request, as it is."""
        answer = self._session.request(
            method, self.stack.api_url + path, data=body, headers=headers, timeout=HTTP_SECONDS
        )
        self.said.append(answer.text)
        return answer

    def call(
        self, method: str, path: str, body: object = None, headers: Json | None = None
    ) -> requests.Response:
        """One request to the runs API, signed. ``body``: JSON, or bytes as they are."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})} if raw else dict(headers or {})
        signed = AWSRequest(method=method, url=self.stack.api_url + path, data=raw, headers=given)
        SigV4Auth(self.stack.credentials, "execute-api", REGION).add_auth(signed)
        return self.send(method, path, raw, dict(signed.headers))

    def execute(self, document: object, name: str | None = None) -> str:
        """Starts an execution by hand; gives its name. ``document``: JSON, or text as it is."""
        text = document if isinstance(document, str) else json.dumps(document)
        started = self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.outputs["StateMachineArn"],
            name=name or self.name("by-hand"),
            input=text,
        )
        return str(started["executionArn"]).rsplit(":", 1)[1]

    def run_by_hand(self, document: object) -> Json:
        """Executes, and gives the record of the run once it is closed."""
        return self.closed(self.execute(document))

    # ------------------------------------------------------------ what became of it

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
        """Waits until a step was started and is proven to be under way."""

        def proof() -> object:
            answer = self.call("GET", f"/runs/{run_id}")
            return answer.ok and answer.json()["steps"].get(step, {}).get("proven_by")

        until(proof, f"{step} of run {run_id}")

    def waiting(self, run_id: str, step: str) -> None:
        """Waits until a step waits for its turn."""

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
        except AssertionError as error:
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

    def age(self, pk: str) -> None:
        """Makes an item as old as what nobody is at work on any more."""
        item = self.item(pk)
        old = f"2020-01-01T00:00:00.000Z {item['position']['S'].split(' ', 1)[1]}"
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.outputs["TableName"],
            Key={"pk": {"S": pk}},
            UpdateExpression="SET #position = :old",
            ExpressionAttributeNames={"#position": "position"},
            ExpressionAttributeValues={":old": {"S": old}},
        )

    def hand_to(self, function: str, event: Json) -> None:
        """Hands an event over as AWS does: later, and again if it fails."""
        self.stack.client("lambda").invoke(
            FunctionName=self.stack.physical_ids[function],
            Qualifier="live",
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )

    @contextlib.contextmanager
    def unheard(self, queue_policy: str | None = None) -> Iterator[list[Json]]:
        """Within the block, status changes reach no function. Gives those that lie in the queue after it."""
        events, sqs = self.stack.client("events"), self.stack.client("sqs")
        rule = next(
            one["Name"] for one in events.list_rules()["Rules"] if "aws.states" in one["EventPattern"]
        )
        (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
        url, letters = self.stack.outputs["DeadLettersUrl"], list[Json]()
        policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        nobody = {**target, "Arn": target["Arn"].replace(":function:", ":function:no-such-")}
        assert self.stack.settle()
        events.put_targets(Rule=rule, Targets=[nobody])
        if queue_policy is not None:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": queue_policy})
        try:
            yield letters
            assert self.stack.settle()
            letters += [json.loads(text) for text in self.dead_letters()]
        finally:
            events.put_targets(Rule=rule, Targets=[target])
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    # ------------------------------------------------------------ what it told people

    def notices(self) -> list[Json]:
        """Every message to the topic so far, as SNS delivers it (``Subject``, ``Message``)."""
        self._notices += [json.loads(text) for text in self.messages(self._queue)]
        return self._notices

    def notices_about(self, run_id: str) -> list[str]:
        return [notice["Message"] for notice in self.notices() if run_id in notice["Message"]]

    def notice_about(self, run_id: str) -> str:
        """The message about a run or an execution, sent after the record is closed, and at least once."""
        until(lambda: self.notices_about(run_id), f"a notice about {run_id}")
        (message,) = set(self.notices_about(run_id))
        return message

    def dead_letters(self) -> list[str]:
        """Takes what lies in the dead-letter queue."""
        return self.messages(self.stack.outputs["DeadLettersUrl"])

    def messages(self, url: str) -> list[str]:
        """Takes what lies in a queue."""
        client, found = self.stack.client("sqs"), []
        while batch := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                found.append(str(message["Body"]))
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _subscribe(self) -> str:
        sqs = self.stack.client("sqs")
        url = str(sqs.create_queue(QueueName="notices-of-the-tests")["QueueUrl"])
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.stack.client("sns").subscribe(
            TopicArn=self.stack.outputs["NoticesTopicArn"], Protocol="sqs", Endpoint=arn
        )
        return url


WORKFLOW_SUCCEEDED: Json = {
    "action": "completed",
    "workflow_run": {"name": "load-erp", "conclusion": "success"},
    "repository": {"full_name": "acme/elt"},
}


PACE: Json = {"poll": {"floor": 1}, "settle": 2}


def definition(*, jobs: Sequence[Any] = (), loads: Sequence[Any] = (), **fields: Any) -> Json:
    """A definition that looks often and settles soon: the simulator shows what is true, unless a test says
    otherwise. A job or a load may be given as its id alone."""
    return {
        "data_pool": POOL,
        "jobs": [_job(job) for job in jobs],
        "loads": [load if isinstance(load, dict) else {"data_model": load} for load in loads],
        **PACE,
        **fields,
    }


def _job(job: Any) -> Any:
    if isinstance(job, list):
        return [_job(one) for one in job]
    return job if isinstance(job, dict) else {"job": job}


def oauth_client(**fields: Any) -> Json:
    """The sign-in that the simulator accepts."""
    known = {"client_id": world.CLIENT_ID, "client_secret": world.CLIENT_SECRET}
    return {"type": "oauth_client", **known, **fields}


def is_sentence(text: str) -> bool:
    """What a person may read: words that end, no JSON, no stack trace, no name of a file."""
    signs = ("Traceback", 'File "', ".py", '{"', "{'", "errorType", "\n")
    return bool(text) and text.endswith(".") and not any(sign in text for sign in signs)

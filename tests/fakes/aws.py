"""A fake of botocore's HTTP session that answers boto3 clients without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import Any, NamedTuple

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from urllib3 import HTTPResponse

from celonis_refresh.aws.clients import CLIENT_TIMEOUTS
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB

Json = dict[str, Any]


class AwsAttempt(NamedTuple):
    """One attempt of an AWS call: the operation, the time, the request."""

    operation: str
    at: float
    body: Json


class AwsFailure(Exception):
    """An error response."""

    def __init__(self, code: str, status: int = 400, **more: Any) -> None:
        self.code, self.status, self.more = code, status, more
        super().__init__(code)


@dataclass
class FakeAws:
    """``latencies``: seconds of the next answers to an operation; of all others ``default_latency``.

    An operation takes effect even if its response comes too late. ``failures``: errors of the next calls of
    an operation, which then has no effect. ``executions``: what DescribeExecution returns, by ARN.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)
    parameters: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, Json] = field(default_factory=dict)
    default_latency: float = 0.01
    latencies: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, list[AwsFailure]] = field(default_factory=dict)
    attempts: list[AwsAttempt] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    executions: dict[str, Json] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client with the trigger's timeouts, without pauses between attempts."""
        timeouts = CLIENT_TIMEOUTS["response"]
        client: Any = boto3.Session(
            aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-central-1"
        ).client(
            service,
            config=Config(retries={"mode": "standard", "total_max_attempts": timeouts.attempts}),
        )
        client.meta.events.register_first("before-send", self.send)
        return client

    def attempts_of(self, operation: str) -> list[AwsAttempt]:
        return [attempt for attempt in self.attempts if attempt.operation == operation]

    def send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        body = json.loads(request.body)
        self.attempts.append(AwsAttempt(operation, self.clock(), body))
        latencies, read = self.latencies.get(operation), CLIENT_TIMEOUTS["response"].read
        seconds = latencies.pop(0) if latencies else self.default_latency
        answer = self._answer(request, operation, body)
        self.clock.sleep(min(seconds, read))
        if seconds > read:
            raise ReadTimeoutError(endpoint_url=request.url)
        return answer

    def _answer(self, request: AWSPreparedRequest, operation: str, body: Json) -> AWSResponse:
        failures = self.failures.get(operation)
        try:
            if failures:
                raise failures.pop(0)
            return _response(request, 200, self._operations[operation](body))
        except ClientError as error:
            reported: Json = dict(error.response)
            more = {name: reported[name] for name in reported if name in ("Item", "CancellationReasons")}
            return _response(request, 400, {"__type": reported["Error"]["Code"]} | more)
        except AwsFailure as failure:
            return _response(request, failure.status, {"__type": failure.code, **failure.more})

    @property
    def _operations(self) -> dict[str, Callable[[Json], Json]]:
        table = self.dynamodb
        return {
            "GetParameter": lambda body: {"Parameter": {"Value": json.dumps(self.parameters[body["Name"]])}},
            "GetParameters": self._parameters,
            "GetSecretValue": self._secret,
            "GetParametersByPath": self._parameters_by_path,
            "StartExecution": self._start,
            "DescribeExecution": lambda body: {"status": "RUNNING"} | self.executions[body["executionArn"]],
            "PutEvents": lambda body: {"FailedEntryCount": 0, "Entries": [{} for _ in body["Entries"]]},
            "GetItem": lambda body: table.get_item(**body),
            "TransactGetItems": lambda body: table.transact_get_items(**body),
            "UpdateItem": lambda body: table.update_item(**body),
            "DeleteItem": lambda body: table.delete_item(**body),
            "Query": lambda body: table.query(**body),
            "TransactWriteItems": lambda body: table.transact_write_items(**body),
        }

    def _parameters(self, body: Json) -> Json:
        found = [name for name in body["Names"] if name in self.parameters]
        return {
            "Parameters": [{"Name": name, "Value": json.dumps(self.parameters[name])} for name in found],
            "InvalidParameters": [name for name in body["Names"] if name not in found],
        }

    def _parameters_by_path(self, body: Json) -> Json:
        names = [name for name in self.parameters if name.startswith(body["Path"])]
        return {"Parameters": [{"Name": name, "Value": json.dumps(self.parameters[name])} for name in names]}

    def _secret(self, body: Json) -> Json:
        """Return the version of a secret: one per value."""
        text = json.dumps(self.secrets[body["SecretId"]])
        return {"SecretString": text, "VersionId": sha256(text.encode()).hexdigest()[:32]}

    def _start(self, body: Json) -> Json:
        self.started.append(body["name"])
        return {"executionArn": f"arn:{body['name']}", "startDate": self.clock()}


def _response(request: AWSPreparedRequest, status: int, body: Json) -> AWSResponse:
    raw = HTTPResponse(BytesIO(json.dumps(body).encode()), status=status, preload_content=False)
    return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, raw)

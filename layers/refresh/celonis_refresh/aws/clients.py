"""boto3 clients, each created once per process on first use, and which of their errors are transient."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

from typing import TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection


class ClientTimeouts(NamedTuple):
    """Timeouts of a call to AWS: seconds to connect and to read, for each of ``attempts``."""

    connect: float
    read: float
    attempts: int


CLIENT_TIMEOUTS: Mapping[str, ClientTimeouts] = {
    "task": ClientTimeouts(1.0, 3.0, 3),
    "response": ClientTimeouts(0.5, 1.0, 2),
}
"""Timeouts by the value of a function's variable CLIENT_TIMEOUTS.

``task``: three attempts that time out still fit into the function's own timeout. ``response``: a sender
waits, so a call that hangs is abandoned after a second and tried once more.
"""


@cache
def _session() -> boto3.Session:
    return boto3.Session()


@cache
def _client(service: str, timeouts: ClientTimeouts) -> Any:
    config = Config(
        connect_timeout=timeouts.connect,
        read_timeout=timeouts.read,
        retries={"mode": "standard", "total_max_attempts": timeouts.attempts},
    )
    return _session().client(cast("Any", service), config=config)


def dynamodb(timeouts: ClientTimeouts) -> DynamoDBClient:
    return cast("DynamoDBClient", _client("dynamodb", timeouts))


def secretsmanager(timeouts: ClientTimeouts) -> SecretsManagerClient:
    return cast("SecretsManagerClient", _client("secretsmanager", timeouts))


def ssm(timeouts: ClientTimeouts) -> SSMClient:
    return cast("SSMClient", _client("ssm", timeouts))


def stepfunctions(timeouts: ClientTimeouts) -> SFNClient:
    return cast("SFNClient", _client("stepfunctions", timeouts))


def sns(timeouts: ClientTimeouts) -> SNSClient:
    return cast("SNSClient", _client("sns", timeouts))


EVENTS_TIMEOUTS = ClientTimeouts(0.5, 1.0, 1)
"""An event that is not sent at once stays due: it must not delay a step."""


def events() -> Any:
    """Return the client of EventBridge."""
    return _client("events", EVENTS_TIMEOUTS)


A = TypeVar("A")

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TooManyRequestsException",
        "TooManyUpdates",
    }
)
SERVER_ERROR = 500


def is_transient(error: Exception) -> bool:
    """Return whether an error is transient: no answer, a server error or throttling."""
    if not isinstance(error, ClientError):
        return isinstance(error, NoConnection | HTTPClientError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= SERVER_ERROR or error.response["Error"]["Code"] in THROTTLED

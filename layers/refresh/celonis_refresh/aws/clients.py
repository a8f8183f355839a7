"""AWS clients, each made once per process, on first use.

They are botocore's: what boto3 adds to them is not used here, and importing it would cost every cold start.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import botocore.session
from botocore.config import Config

from celonis_refresh.aws.models import models

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

    from celonis_refresh.aws.connections import Connections


class Patience(NamedTuple):
    """How long a call to AWS may take: seconds to connect and to read, each time that it is tried.

    ``bounded``: each attempt ends with the block at hand too, and the next one begins only within it.
    """

    connect: float
    read: float
    attempts: int
    bounded: bool = False


PATIENCE: Mapping[str, Patience] = {
    "task": Patience(1.0, 3.0, 3),
    "answer": Patience(0.5, 1.0, 3, bounded=True),
}
"""By the name that the template gives a function. For a task: three attempts that use up both time-outs still
leave room in its own. For an answer that somebody waits for: what is left of the request's time, and no more
of it for one attempt than leaves time for another."""


@cache
def _session() -> botocore.session.Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", models(session.get_config_variable("data_path")))
    return session


@cache
def _client(service: str, patience: Patience) -> Any:
    config = Config(
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        # What is bounded decides itself whether and when to ask again (in_time).
        retries={"mode": "standard", "total_max_attempts": 1 if patience.bounded else patience.attempts},
    )
    client = _session().create_client(service, config=config)
    if patience.bounded:
        _bound(client.meta.events, patience)
    return client


def _bound(events: Any, patience: Patience) -> None:
    """The calls of a client end with the block at hand (``timing.within``)."""
    from celonis_refresh.aws.in_time import InTime

    InTime(patience, _connections().send).bind(events)


@cache
def _connections() -> Connections:
    """Of all clients that are bounded; only functions for whose answer somebody waits have some."""
    from celonis_refresh.aws.connections import Connections

    return Connections(_session().get_config_variable("ca_bundle"))


def dynamodb(patience: Patience) -> DynamoDBClient:
    return cast("DynamoDBClient", _client("dynamodb", patience))


def secretsmanager(patience: Patience) -> SecretsManagerClient:
    return cast("SecretsManagerClient", _client("secretsmanager", patience))


def ssm(patience: Patience) -> SSMClient:
    return cast("SSMClient", _client("ssm", patience))


def stepfunctions(patience: Patience) -> SFNClient:
    return cast("SFNClient", _client("stepfunctions", patience))


def sns(patience: Patience) -> SNSClient:
    return cast("SNSClient", _client("sns", patience))

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


class Patience(NamedTuple):
    """How long a call to AWS may take: seconds to connect and to read, each time that it is tried."""

    connect: float
    read: float
    attempts: int


PATIENCE: Mapping[str, Patience] = {"task": Patience(1.0, 3.0, 3), "answer": Patience(0.5, 1.0, 2)}
"""By the name that the template gives a function. For a task: three attempts that use up both time-outs still
leave room in its own. For an answer that a sender waits for: what does not come soon is told as a 503, in
time for somebody to read it, and the sender comes again."""


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
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
    )
    return _session().create_client(service, config=config)


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

"""AWS clients, each made once per process, on first use.

They are botocore's: what boto3 adds to them is not used here, and importing it would cost every cold start.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 1, 3, 3
"""Three attempts that use up both time-outs still leave room in the time-outs of the tasks."""


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def _client(service: str) -> Any:
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    return _session().create_client(service, config=config)


def dynamodb() -> DynamoDBClient:
    return cast("DynamoDBClient", _client("dynamodb"))


def secretsmanager() -> SecretsManagerClient:
    return cast("SecretsManagerClient", _client("secretsmanager"))


def ssm() -> SSMClient:
    return cast("SSMClient", _client("ssm"))


def stepfunctions() -> SFNClient:
    return cast("SFNClient", _client("stepfunctions"))


def sns() -> SNSClient:
    return cast("SNSClient", _client("sns"))

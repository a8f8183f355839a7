"""Finds the assumed role behind a temporary access key, which moto issues and no IAM API returns."""

from typing import NamedTuple

from moto.sts.models import sts_backends


class AssumedRole(NamedTuple):
    """The role behind an access key, and the secret that requests are signed with."""

    role_arn: str
    secret: str


def assumed_role(access_key: str, account: str) -> AssumedRole | None:
    """The assumed role behind an access key, or None."""
    role = sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)
    return None if role is None else AssumedRole(str(role.role_arn), str(role.secret_access_key))

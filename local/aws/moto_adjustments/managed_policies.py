"""AWS managed policies, one at a time.

moto loads all of them or none, and loading all takes a second.
"""

import functools
import json
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, iam_backends

from local.aws.errors import DeploymentError


@functools.cache
def _documents() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(aws_managed_policies_data)
    return parsed


@functools.cache
def managed_policy_arns() -> dict[str, str]:
    """Return the ARN by name of every AWS managed policy that moto knows."""
    return {name: f"arn:aws:iam::aws:policy{data['Path']}{name}" for name, data in _documents().items()}


def provide_managed_policy(arn: str, account: str) -> None:
    """Make one AWS managed policy attachable. Raises DeploymentError if there is none with this ARN."""
    name = arn.rsplit("/", 1)[-1]
    if managed_policy_arns().get(name) != arn:
        raise DeploymentError(f"there is no AWS managed policy {arn}")
    backend = iam_backends[account]["aws"]
    if arn not in backend.managed_policies:
        policy = AWSManagedPolicy.from_data(name, account, "us-east-1", _documents()[name])
        backend.managed_policies[arn] = policy
        backend.aws_managed_policies.append(policy)

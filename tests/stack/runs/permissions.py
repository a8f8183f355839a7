"""What the template allows its roles, and a way to take one permission out for a moment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from local.aws.roles.authorization import Denial, Grant
from local.aws.roles.evaluation import wildcard_match
from local.aws.stack import LocalStack


class Permission(NamedTuple):
    """One action on one resource, as a statement of a role allows it. Both may hold wildcards."""

    role: str
    action: str
    resource: str

    def was_used(self, grants: set[Grant]) -> bool:
        return any(
            grant.role_arn.endswith(f"/{self.role}")
            and wildcard_match(self.action, grant.action, ignore_case=True)
            and wildcard_match(self.resource, grant.resource)
            for grant in grants
        )


def permissions(stack: LocalStack) -> list[Permission]:
    """Everything that the roles of the stack are allowed, by their own policies and by attached ones."""
    return [
        Permission(role, action, resource)
        for role in _roles(stack)
        for document in (*_inline(stack, role).values(), *_attached(stack, role))
        for statement in as_list(document["Statement"])
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]


ON_PURPOSE: set[tuple[str, str]] = set()
"""Role and action of everything that was withheld so far."""


def unforeseen(stack: LocalStack) -> list[Denial]:
    """What roles were denied, except for what was withheld on purpose."""
    return sorted(
        refusal
        for refusal in stack.refusals
        if (refusal.role_arn.rsplit("/", 1)[-1], refusal.action) not in ON_PURPOSE
    )


@contextlib.contextmanager
def withheld(stack: LocalStack, role: str, action: str) -> Iterator[None]:
    """Within the block, the role of this logical id may not do ``action``, which it may before and after."""
    iam, name = stack.client("iam"), stack.physical_ids[role]
    before = _inline(stack, name)
    ON_PURPOSE.add((name, action))
    assert any(permission[:2] == (name, action) for permission in permissions(stack))
    for policy, document in before.items():
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
        if left := _without(document, action):
            text = json.dumps({**document, "Statement": left})
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=text)
    try:
        yield
    finally:
        for policy, document in before.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


def _without(document: dict[str, Any], action: str) -> list[dict[str, Any]]:
    """The statements that are left."""
    actions = [[one for one in as_list(each["Action"]) if one != action] for each in document["Statement"]]
    pairs = zip(document["Statement"], actions, strict=True)
    return [{**statement, "Action": left} for statement, left in pairs if left]


def _roles(stack: LocalStack) -> list[str]:
    return [role["RoleName"] for role in stack.client("iam").list_roles()["Roles"]]


def _inline(stack: LocalStack, role: str) -> dict[str, dict[str, Any]]:
    iam = stack.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    found = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}
    return {name: _document(document) for name, document in found.items()}


def _attached(stack: LocalStack, role: str) -> list[dict[str, Any]]:
    iam = stack.client("iam")
    documents = []
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
        documents.append(_document(found["Document"]))
    return documents


def _document(value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(unquote(value)) if isinstance(value, str) else dict(value)
    return document


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

"""Least privilege: actions by name, resources by ARN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.template import documents

WITHOUT_ARNS = {
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
}
"""Log delivery and X-Ray know no ARNs: AWS lets them be granted for ``*`` only."""

ROLES = documents.translated_resources("AWS::IAM::Role")
MANAGED = {
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaVPCAccessExecutionRole",
    "AWSXrayWriteOnlyAccess",
    "AWSXRayDaemonWriteAccess",
}
"""What SAM itself attaches for logs, traces, and network interfaces in a VPC."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: documents.Document) -> Iterator[documents.Document]:
    for policy in role.get("Policies", []):
        yield from as_list(policy["PolicyDocument"]["Statement"])


@pytest.mark.parametrize("name", ROLES)
def test_no_action_has_a_wildcard(name: str) -> None:
    actions = [action for each in statements(ROLES[name]) for action in as_list(each["Action"])]
    assert actions
    assert [action for action in actions if "*" in action] == []


@pytest.mark.parametrize("name", ROLES)
def test_every_resource_is_an_arn_where_there_is_one(name: str) -> None:
    for statement in statements(ROLES[name]):
        if "*" in as_list(statement["Resource"]):
            assert set(as_list(statement["Action"])) <= WITHOUT_ARNS


@pytest.mark.parametrize("name", ROLES)
def test_a_wildcard_in_an_arn_stays_within_this_stack(name: str) -> None:
    """A secret's or a parameter's name begins with the stack's; another ARN is of a resource or the bus."""
    own = ("${AWS::StackName}/", "${Refresh.Name}", ":event-bus/${EventBusName}")
    for statement in statements(ROLES[name]):
        for text in documents.strings(statement["Resource"]):
            if text.startswith("arn:"):
                assert "${AWS::Region}:${AWS::AccountId}" in text
                assert any(name in text for name in own)


@pytest.mark.parametrize("name", ROLES)
def test_only_logs_and_traces_come_from_managed_policies(name: str) -> None:
    arns = list(documents.strings(ROLES[name].get("ManagedPolicyArns", [])))
    assert {arn.rsplit("/", 1)[-1] for arn in arns} <= MANAGED


def test_every_role_has_the_permissions_boundary() -> None:
    boundary = {
        "Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]
    }
    assert {name for name, role in ROLES.items() if role.get("PermissionsBoundary") != boundary} == set()


def test_every_role_that_reads_or_writes_what_is_encrypted_may_use_the_key() -> None:
    policies = documents.resources("AWS::IAM::Policy")
    named = {name: {role["Ref"] for role in policy["Roles"]} for name, policy in policies.items()}
    actions = {name: [each["Action"] for each in statements_of(policies[name])] for name in policies}
    assert actions == {"KeyDecryption": ["kms:Decrypt"], "KeyEncryption": ["kms:GenerateDataKey"]}
    services = {name: {action.partition(":")[0] for action in actions_of(ROLES[name])} for name in ROLES}
    encrypted = {"secretsmanager", "dynamodb", "sns", "sqs"}
    assert named["KeyDecryption"] == {name for name in ROLES if services[name] & encrypted}
    assert named["KeyEncryption"] == {name for name in ROLES if services[name] & {"sns", "sqs"}}


def statements_of(policy: documents.Document) -> list[documents.Document]:
    found: list[documents.Document] = policy["PolicyDocument"]["Statement"]
    return found


def actions_of(role: documents.Document) -> list[str]:
    return [action for each in statements(role) for action in as_list(each["Action"])]


@pytest.mark.parametrize("name", ROLES)
def test_no_function_scans_the_table_or_lists_secrets(name: str) -> None:
    actions = {action for each in statements(ROLES[name]) for action in as_list(each["Action"])}
    assert not {"dynamodb:Scan", "secretsmanager:ListSecrets"} & actions

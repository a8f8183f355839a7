"""Rules like the AwsSolutions pack of cdk-nag, over what CloudFormation gets.

cdk-nag itself checks CDK applications, with Node.js. Here are those of its rules that concern a resource type
of this template; each finding that is meant has its reason beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.template import documents

RUNTIME = "python3.14"
"""The latest Python that Lambda has."""

BEFORE_THE_RESOURCE = re.compile(r"^arn:.*\$\{AWS::AccountId\}:")

Finder = Callable[[], Iterator[str]]


def items(kind: str) -> Iterator[tuple[str, documents.Document]]:
    yield from documents.translated_resources(kind).items()


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def denies_plain_http(kind: str, names: str, resource: str) -> bool:
    """Whether a policy of this kind denies requests without TLS to a resource."""
    return any(
        {"Ref": resource} in policy[names]
        and each["Effect"] == "Deny"
        and each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for _, policy in items(kind)
        for each in policy["PolicyDocument"]["Statement"]
    )


def managed_policies() -> Iterator[str]:
    for name, role in items("AWS::IAM::Role"):
        for arn in documents.strings(role.get("ManagedPolicyArns", [])):
            yield f"{name} {arn.rsplit('/', 1)[-1]}"


def wildcards() -> Iterator[str]:
    for name, role in items("AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            for statement in as_list(policy["PolicyDocument"]["Statement"]):
                for text in documents.strings([statement["Action"], statement["Resource"]]):
                    if "*" in text:
                        yield f"{name} {BEFORE_THE_RESOURCE.sub('', text)}"


def old_runtimes() -> Iterator[str]:
    for name, function in items("AWS::Lambda::Function"):
        if function["Runtime"] != RUNTIME:
            yield name


def queues_without_dead_letters() -> Iterator[str]:
    for name, queue in items("AWS::SQS::Queue"):
        if "RedrivePolicy" not in queue:
            yield name


def queues_without_tls() -> Iterator[str]:
    for name, _ in items("AWS::SQS::Queue"):
        if not denies_plain_http("AWS::SQS::QueuePolicy", "Queues", name):
            yield name


def topics_without_tls() -> Iterator[str]:
    for name, _ in items("AWS::SNS::Topic"):
        if not denies_plain_http("AWS::SNS::TopicPolicy", "Topics", name):
            yield name


def tables_without_backups() -> Iterator[str]:
    for name, table in items("AWS::DynamoDB::Table"):
        if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            yield name


def secrets_without_rotation() -> Iterator[str]:
    rotated = json.dumps(list(items("AWS::SecretsManager::RotationSchedule")))
    for name, _ in items("AWS::SecretsManager::Secret"):
        if f'"{name}"' not in rotated:
            yield name


def machines_without_all_events() -> Iterator[str]:
    for name, machine in items("AWS::StepFunctions::StateMachine"):
        if machine.get("LoggingConfiguration", {}).get("Level") != "ALL":
            yield name


def machines_without_traces() -> Iterator[str]:
    for name, machine in items("AWS::StepFunctions::StateMachine"):
        if not machine.get("TracingConfiguration", {}).get("Enabled"):
            yield name


def stages_without_access_log() -> Iterator[str]:
    for name, stage in items("AWS::ApiGatewayV2::Stage"):
        if not stage.get("AccessLogSettings", {}).get("DestinationArn"):
            yield name


def routes_without_authorization() -> Iterator[str]:
    for _, api in items("AWS::ApiGatewayV2::Api"):
        for path, methods in api["Body"]["paths"].items():
            for method, route in methods.items():
                if route.get("security") != [{"AWS_IAM": []}]:
                    yield f"{method.upper()} {path}"


RULES: dict[str, Finder] = {
    "IAM4": managed_policies,
    "IAM5": wildcards,
    "L1": old_runtimes,
    "SQS3": queues_without_dead_letters,
    "SQS4": queues_without_tls,
    "SNS3": topics_without_tls,
    "DDB3": tables_without_backups,
    "SMG4": secrets_without_rotation,
    "SF1": machines_without_all_events,
    "SF2": machines_without_traces,
    "APIG1": stages_without_access_log,
    "APIG4": routes_without_authorization,
}
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("IAM4", "AWSLambdaBasicExecutionRole"): "SAM attaches it; it allows a function to write its own logs",
    ("IAM4", "AWSLambdaVPCAccessExecutionRole"): "SAM attaches it wherever a VPC can be chosen",
    ("IAM4", "AWSXrayWriteOnlyAccess"): "SAM attaches it for traces",
    ("IAM5", "*"): "log delivery and X-Ray have no ARNs",
    ("IAM5", "parameter/${AWS::StackName}/pipelines/*"): "people add pipelines",
    ("IAM5", "parameter/${AWS::StackName}/pipelines*"): "the list of the pipelines",
    ("IAM5", "parameter/${AWS::StackName}/sources/*"): "people add sources",
    ("IAM5", "parameter/${AWS::StackName}/sources*"): "the list of the sources",
    ("IAM5", "secret:${AWS::StackName}/connections/*"): "people add connections",
    ("IAM5", "secret:${AWS::StackName}/channels/*"): "people add channels",
    ("IAM5", "secret:${AWS::StackName}/webhooks/*"): "people add secrets of webhooks",
    ("IAM5", "${Table.Arn}/index/*"): "both indexes of the table",
    ("IAM5", "execution:${Refresh.Name}:*"): "every execution of the state machine",
    **{
        ("IAM5", f"${{{name}.Arn}}:*"): "a running execution calls the version that it started with"
        for name in ("OpenRun", "StartStep", "CheckStep")
    },
    ("L1", "*"): "the layer is built and tested for python3.13",
    ("SQS3", "DeadLetters"): "it is the dead-letter queue",
    ("SMG4", "DefaultConnection"): "Celonis issues these credentials; nothing can rotate them from here",
    ("SMG4", "GithubWebhook"): "a sender would have to learn the new secret; docs/senders.md has the steps",
    ("SF1", "Refresh"): "each step is in the record and the history; the log has errors only, for its price",
    ("APIG4", "POST /webhooks/{source}"): "senders cannot sign for IAM; the trigger verifies each request",
    ("APIG4", "OPTIONS /webhooks/{source}"): "the handshake of CloudEvents, which starts nothing",
}


def excepting(rule: str, finding: str) -> tuple[str, str]:
    """The key of the exception that covers a finding, whatever role it is in."""
    in_role = finding.partition(" ")[2] if rule.startswith("IAM") else finding
    return rule, "*" if rule == "L1" else in_role


@pytest.mark.parametrize("rule", RULES)
def test_every_finding_has_a_reason(rule: str) -> None:
    assert [finding for finding in RULES[rule]() if excepting(rule, finding) not in EXCEPTIONS] == []


def test_every_exception_is_needed_and_says_why() -> None:
    needed = {excepting(rule, finding) for rule, find in RULES.items() for finding in find()}
    assert {key for key in EXCEPTIONS if key not in needed} == set()
    assert all(EXCEPTIONS.values())


def test_every_check_that_checkov_skips_has_its_reason_beside_it() -> None:
    text = (documents.ROOT / ".checkov.yaml").read_text(encoding="utf-8")
    skipped = [line.strip() for line in text.partition("skip-check:\n")[2].splitlines()]
    assert skipped
    assert all(line.startswith("- CKV") and len(line.partition(" # ")[2]) > 20 for line in skipped)

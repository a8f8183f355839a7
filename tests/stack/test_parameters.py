"""The template with every optional parameter set."""

from __future__ import annotations

from tests.stack.environment import TIME_FACTOR, deployed
from tests.stack.local_fixtures import calm_settings

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
EVERYTHING = {
    "DeletionProtection": "false",
    "KmsKeyArn": KEY,
    "LayerRetention": "Delete",
    "PermissionsBoundaryArn": BOUNDARY,
    "ReservedConcurrency": "7",
    "VpcSecurityGroupIds": "sg-0123456789abcdef0",
    "VpcSubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
}


def test_every_optional_parameter_takes_effect() -> None:
    with deployed("parameters", calm_settings(TIME_FACTOR), **EVERYTHING) as environment:
        service, stack = environment.service, environment.service.stack
        run = service.run_by_hand({"pipeline": service.pipeline(jobs=[environment.celonis.job(seconds=0.5)])})
        assert run["status"] == "SUCCEEDED"

        table = stack.client("dynamodb").describe_table(TableName=stack.outputs["TableName"])["Table"]
        assert (table["DeletionProtectionEnabled"], table["SSEDescription"]["KMSMasterKeyArn"]) == (
            False,
            KEY,
        )
        topic = stack.client("sns").get_topic_attributes(TopicArn=stack.outputs["NoticesTopicArn"])
        assert topic["Attributes"]["KmsMasterKeyId"] == KEY
        groups = stack.client("logs").describe_log_groups()["logGroups"]
        assert {group["kmsKeyId"] for group in groups} == {KEY}
        iam = stack.client("iam")
        roles = [iam.get_role(RoleName=role["RoleName"])["Role"] for role in iam.list_roles()["Roles"]]
        boundaries = {role["PermissionsBoundary"]["PermissionsBoundaryArn"] for role in roles}
        assert boundaries == {BOUNDARY}
        function = stack.client("lambda").get_function_configuration(FunctionName=stack.physical_ids["Api"])
        assert len(function["VpcConfig"]["SubnetIds"]) == 2

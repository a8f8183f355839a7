"""What the shop's template becomes: each resource as the API shows it, with nothing lost on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local.aws.errors import LocalStackError
from local.aws.runtime.code_folder import new_code_folder
from local.aws.stack import LocalStack
from local.wait import until
from tests.stack.local_fixtures import call, deploy_shop, shop

__all__ = ["shop"]


def test_outputs_are_resolved_and_conditional_ones_left_out(shop: LocalStack) -> None:
    assert shop.outputs["Machine"].endswith(":stateMachine:shop-orders")
    assert shop.outputs["MachineName"] == "shop-orders"
    assert shop.outputs["Url"].endswith(".execute-api.eu-central-1.amazonaws.com")
    assert "LiveOnly" not in shop.outputs


def test_describe_stacks_shows_the_outputs_with_the_address_on_this_machine(shop: LocalStack) -> None:
    client = shop.client("cloudformation")
    (stack,) = client.describe_stacks(StackName="shop")["Stacks"]
    shown = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert shown == shop.local_outputs
    assert shown["Url"] == shop.api_url
    assert shown.keys() == shop.outputs.keys()
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert client.describe_stacks(StackName=stack["StackId"])["Stacks"][0]["StackName"] == "shop"
    assert len(client.describe_stacks()["Stacks"]) == 1


def test_the_resources_of_the_stack_are_listed_with_their_physical_ids(shop: LocalStack) -> None:
    pages = shop.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="shop")
    found = {
        each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"])
        for page in pages
        for each in page["StackResourceSummaries"]
    }
    assert {name: physical for name, (_, physical) in found.items()} == shop.physical_ids
    assert found["OrdersNightly"] == ("AWS::Scheduler::Schedule", "shop-nightly")


def test_another_stack_does_not_exist_and_another_operation_is_refused(shop: LocalStack) -> None:
    client = shop.client("cloudformation")
    with pytest.raises(ClientError, match="Stack with id store does not exist"):
        client.describe_stacks(StackName="store")
    with pytest.raises(ClientError, match="DeleteStack is not available on the local stack"):
        client.delete_stack(StackName="shop")


@pytest.mark.parametrize(
    ("service", "operation"),
    [("logs", "describe_query_definitions"), ("sns", "list_sms_sandbox_phone_numbers")],
)
def test_an_operation_that_is_missing_here_is_refused_with_its_name(
    shop: LocalStack, service: str, operation: str
) -> None:
    with pytest.raises(ClientError, match="is not available on the local stack") as caught:
        getattr(shop.client(service), operation)()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_dynamic_reference_reads_the_secret(shop: LocalStack) -> None:
    assert shop.outputs["SecretPart"] == "shop"


def test_the_table_keeps_its_index_its_time_to_live_and_its_backups(shop: LocalStack) -> None:
    client, name = shop.client("dynamodb"), shop.outputs["TableName"]
    table = client.describe_table(TableName=name)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by-state"]
    lifetime = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert lifetime == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_an_item_that_has_expired_is_not_removed(shop: LocalStack) -> None:
    client, name = shop.client("dynamodb"), shop.outputs["TableName"]
    key = {"pk": {"S": "old"}, "sk": {"S": "-"}}
    client.put_item(TableName=name, Item={**key, "expires": {"N": "1"}})
    assert client.get_item(TableName=name, Key=key)["Item"]["expires"] == {"N": "1"}


def test_secrets_are_generated_or_given(shop: LocalStack) -> None:
    client = shop.client("secretsmanager")
    made = json.loads(client.get_secret_value(SecretId=shop.physical_ids["Credentials"])["SecretString"])
    assert made["user"] == "shop"
    assert len(made["password"]) == 24
    assert client.get_secret_value(SecretId="shop/fixed")["SecretString"] == "not-so-secret"


def test_the_parameter_has_its_tier(shop: LocalStack) -> None:
    client = shop.client("ssm")
    assert client.get_parameter(Name="/shop/catalogue/books")["Parameter"]["Value"] == '{"price": 12}'
    described = client.describe_parameters()["Parameters"]
    assert [parameter["Name"] for parameter in described] == ["/shop/catalogue/books"]


def test_functions_have_their_layers_versions_and_aliases(shop: LocalStack) -> None:
    client, name = shop.client("lambda"), shop.physical_ids["ApiFunction"]
    configuration = client.get_function_configuration(FunctionName=name)
    assert [layer["Arn"] for layer in configuration["Layers"]] == [
        arn for logical_id, arn in shop.physical_ids.items() if logical_id.startswith("Common")
    ]
    assert configuration["Environment"]["Variables"]["TABLE_NAME"] == shop.outputs["TableName"]
    assert configuration["TracingConfig"]["Mode"] == "Active"
    assert client.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"


def test_the_machine_has_its_substitutions_its_role_and_its_logging(shop: LocalStack) -> None:
    found = shop.client("stepfunctions").describe_state_machine(stateMachineArn=shop.outputs["Machine"])
    task = json.loads(found["definition"])["States"]["Steps"]["ItemProcessor"]["States"]["Do"]
    assert task["Resource"] == shop.physical_ids["StepFunctionAliaslive"].replace(":live", ":1")
    assert "${" not in found["definition"]
    assert found["loggingConfiguration"]["level"] == "ERROR"
    assert found["tracingConfiguration"] == {"enabled": True}


def test_managed_policies_are_attached_with_their_text(shop: LocalStack) -> None:
    iam = shop.client("iam")
    attached = iam.list_attached_role_policies(RoleName=shop.physical_ids["StepFunctionRole"])[
        "AttachedPolicies"
    ]
    assert {policy["PolicyName"] for policy in attached} == {
        "AWSLambdaBasicExecutionRole",
        "AWSXrayWriteOnlyAccess",
    }
    arn = next(policy["PolicyArn"] for policy in attached if policy["PolicyName"].startswith("AWSXray"))
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    assert "xray:PutTraceSegments" in document["Statement"][0]["Action"]


def test_rules_queues_topics_alarms_dashboards_and_schedules_are_there(shop: LocalStack) -> None:
    events = shop.client("events")
    targets = events.list_targets_by_rule(Rule=shop.physical_ids["ShopRule"])["Targets"]
    assert {target["Id"] for target in targets} == {"inbox", "unreachable"}
    ended = events.list_targets_by_rule(Rule=shop.physical_ids["ListenerFunctionEnded"])["Targets"][0]
    assert ended["RetryPolicy"] == {"MaximumRetryAttempts": 1}
    assert ended["DeadLetterConfig"]["Arn"].split(":")[5].startswith("shop-ListenerFunctionEndedQueue")
    queue = shop.client("sqs").get_queue_attributes(QueueUrl=shop.outputs["InboxUrl"], AttributeNames=["All"])
    assert "sqs:SendMessage" in queue["Attributes"]["Policy"]
    subscriptions = shop.client("sns").list_subscriptions()["Subscriptions"]
    assert [subscription["Protocol"] for subscription in subscriptions] == ["sqs"]
    alarm = shop.client("cloudwatch").describe_alarms()["MetricAlarms"][0]
    assert alarm["Threshold"] == 0
    assert alarm["AlarmActions"] == [shop.physical_ids["Notices"]]
    assert shop.client("cloudwatch").list_dashboards()["DashboardEntries"][0]["DashboardName"] == "shop-shop"
    assert {schedule["Name"] for schedule in shop.schedules()} == {
        "shop-nightly",
        shop.physical_ids["OrdersPaused"],
        shop.physical_ids["Sweep"],
    }
    group = shop.client("logs").describe_log_groups(logGroupNamePrefix="/aws/vendedlogs/states/")[
        "logGroups"
    ][0]
    assert group["retentionInDays"] == 7


def test_the_api_is_known_with_its_stage(shop: LocalStack) -> None:
    client = shop.client("apigatewayv2")
    api = client.get_apis()["Items"][0]
    stage = client.get_stage(ApiId=api["ApiId"], StageName="$default")
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 200
    assert stage["AccessLogSettings"]["Format"] == "$context.routeKey $context.status"


def test_a_second_stack_in_the_same_process_is_refused(shop: LocalStack, tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="one AWS per process"):
        deploy_shop(tmp_path)
    assert call(shop, do="context")["version"] == "$LATEST"


def test_a_reset_gives_everything_back_as_it_was(shop: LocalStack) -> None:
    client, name = shop.client("dynamodb"), shop.outputs["TableName"]
    client.put_item(TableName=name, Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
    call(shop, do="context")
    before = shop.process_ids()
    shop.reset()
    assert shop.client("dynamodb").scan(TableName=shop.outputs["TableName"])["Count"] == 0
    assert shop.executions == []
    assert shop.logs() == []
    until(lambda: not set(before) & set(shop.process_ids()), "other processes")
    assert call(shop, do="context")["version"] == "$LATEST"


def test_the_code_is_a_copy_that_goes_when_the_stack_closes(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("shop").close()
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").write_text("def handler(event, context): return 'first'\n", encoding="utf-8")
    template = tmp_path / "template.yaml"
    template.write_text(
        "Transform: AWS::Serverless-2016-10-31\nResources: {F: {Type: 'AWS::Serverless::Function', "
        "Properties: {Handler: app.handler, Runtime: python3.13, CodeUri: code}}}\n",
        encoding="utf-8",
    )
    with deploy_shop(tmp_path / "state", template=template) as stack:
        (code / "app.py").write_text("def handler(event, context): return 'second'\n", encoding="utf-8")
        assert stack.invoke("F", b"{}").payload == b'"first"'
        copied = stack.functions[0].code
        stack.reset()
        assert stack.invoke("F", b"{}").payload == b'"second"'
        assert not copied.exists()
        copied = stack.functions[0].code
        assert copied.is_dir()
    assert not copied.exists()
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / f"{ended.stdout.strip()}-killed").mkdir()
    kept = new_code_folder(tmp_path / "left")
    assert list((tmp_path / "left").iterdir()) == [kept]


def test_a_condition_that_holds_creates_its_resource(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("shop").close()
    with deploy_shop(tmp_path, parameters={"Mail": "ops@example.org", "Stage": "live"}) as stack:
        protocols = {each["Protocol"] for each in stack.client("sns").list_subscriptions()["Subscriptions"]}
        assert protocols == {"sqs", "email"}
        assert stack.outputs["LiveOnly"] == "yes"

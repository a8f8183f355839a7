"""Additions to moto: a failure here means that moto now does it itself."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.cloudformation.parsing import get_model_map
from moto.core.authorization import ActionAuthenticatorMixin
from moto.dynamodb import responses
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local.aws.errors import DeploymentError
from local.aws.moto_adjustments.assumed_roles import assumed_role
from local.aws.moto_adjustments.cheap_requests import (
    ITEMS_OF_MOTO,
    PROJECT_OF_MOTO,
    VALUE_OF_MOTO,
    all_items,
    project,
    value,
)
from local.aws.moto_adjustments.managed_policies import managed_policy_arns, provide_managed_policy

KEYS = {
    "aws_access_key_id": "AKIAXXXXXXXXXXXXXXXX",
    "aws_secret_access_key": "x",
    "region_name": "eu-central-1",
}


def client(service: str) -> Any:
    return boto3.client(service, **KEYS)


@pytest.mark.parametrize(
    "kind",
    [
        "AWS::SecretsManager::Secret",
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Scheduler::Schedule",
        "AWS::CloudWatch::Alarm",
        "AWS::SQS::QueuePolicy",
        "AWS::SNS::Subscription",
    ],
)
def test_moto_would_skip_this_type_of_a_template(kind: str) -> None:
    assert kind not in get_model_map()


def test_moto_reads_fewer_items_in_a_transaction_than_dynamodb() -> None:
    """DynamoDB has taken 100 since 2022."""
    source = Path(responses.__file__).read_text(encoding="utf-8")
    assert "TRANSACTION_MAX_ITEMS = 25" in source


@mock_aws
def test_moto_has_no_aws_managed_policies_by_default() -> None:
    arn = managed_policy_arns()["AWSLambdaBasicExecutionRole"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        client("iam").get_policy(PolicyArn=arn)
    provide_managed_policy(arn, "123456789012")
    assert client("iam").get_policy(PolicyArn=arn)["Policy"]["Arn"] == arn
    assert arn in iam_backends["123456789012"]["aws"].managed_policies


@mock_aws
def test_a_managed_policy_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DeploymentError, match="policy/Nothing"):
        provide_managed_policy("arn:aws:iam::aws:policy/Nothing", "123456789012")


@mock_aws
def test_moto_knows_whose_temporary_key_it_is() -> None:
    arn = "arn:aws:iam::123456789012:role/r"
    given = client("sts").assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]
    assert assumed_role(given["AccessKeyId"], "123456789012") == (arn, given["SecretAccessKey"])
    assert assumed_role("ASIAAAAAAAAAAAAAAAAA", "123456789012") is None
    assert sts_backends["123456789012"]["aws"].assumed_roles


@mock_aws
def test_moto_checks_most_services_against_any_resource() -> None:
    """So a permission for one resource would always be refused, and its own enforcement cannot be used."""
    assert ActionAuthenticatorMixin._authenticate_and_authorize_normal_action.__defaults__ == ("*",)


@mock_aws(config={"lambda": {"use_docker": False}})
def test_moto_runs_no_function_without_docker() -> None:
    role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    archive = b"PK\x05\x06" + b"\0" * 18
    client("lambda").create_function(
        FunctionName="f", Runtime="python3.13", Handler="a.b", Role=role, Code={"ZipFile": archive}
    )
    answer = client("lambda").invoke(FunctionName="f", Payload=b'{"echo": 1}')
    assert json.loads(answer["Payload"].read()) == {"echo": 1}


@pytest.mark.parametrize("names", [["pk"], ["pk", "text", "missing"], ["map", "list"], ["map.inner", "pk"]])
def test_attributes_are_projected_as_moto_projects_them(names: list[str]) -> None:
    attrs = {
        "pk": {"S": "one"},
        "text": {"S": "x"},
        "map": {"M": {"inner": {"N": "1"}, "other": {"BOOL": True}}},
        "list": {"L": [{"S": "a"}, {"NULL": True}]},
    }
    item = Item(DynamoType({"S": "one"}), None, attrs)
    paths = [name.split(".") for name in names]
    assert project(item, paths).to_json() == PROJECT_OF_MOTO(item, paths).to_json()


@pytest.mark.parametrize("kind", ["S", "N"])
def test_items_are_sorted_as_moto_sorts_them(kind: str) -> None:
    with mock_aws():
        client("dynamodb").create_table(
            TableName="table",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": kind}],
            BillingMode="PAY_PER_REQUEST",
        )
        for key in ("9", "10", "2", "-1"):
            client("dynamodb").put_item(TableName="table", Item={"pk": {kind: key}})
        table = dynamodb_backends["123456789012"][KEYS["region_name"]].get_table("table")
        keys = [item.hash_key.value for item in all_items(table)]
        assert keys == [item.hash_key.value for item in ITEMS_OF_MOTO(table)]
        assert keys == (["-1", "10", "2", "9"] if kind == "S" else ["-1", "2", "9", "10"])


@pytest.mark.parametrize(
    "attribute",
    [
        {"S": "1"},
        {"N": "1.50"},
        {"SS": ["b", "a"]},
        {"L": [{"S": "a"}]},
        {"M": {"a": {"N": "1"}}},
        {"NULL": True},
    ],
)
def test_attributes_have_the_values_that_moto_gives_them(attribute: dict[str, Any]) -> None:
    assert value(DynamoType(attribute)) == VALUE_OF_MOTO.fget(DynamoType(attribute))

"""Requests to the local table: same results as moto, without moto's unnecessary work for each of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from random import Random
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import DynamoDBBackend

from local.aws.moto_adjustments.cheap_requests import (
    FIELDS_OF_MOTO,
    METHODS_OF_MOTO,
    MODULES_OF_MOTO,
    modules,
    serialize_type_structure,
)
from local.aws.moto_adjustments.dynamodb_transactions import OF_MOTO, transact_write_items
from tests.stack.local_fixtures import deploy_shop

KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "eu-central-1"}
TABLE = "t"
Action = dict[str, dict[str, Any]]


@pytest.fixture
def client() -> Iterator[Any]:
    with mock_aws():
        made = boto3.client("dynamodb", **KEYS)
        made.create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield made


def written(client: Any, actions: list[Action]) -> Any:
    """What a transaction answers: None, or its error and reasons."""
    try:
        client.transact_write_items(TransactItems=actions)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response.get("CancellationReasons")
    return None


def some_action(random: Random) -> Action:
    key = {"pk": {"S": random.choice("abcdef")}}
    condition = random.choice(
        ["attribute_exists(pk)", "attribute_not_exists(pk)", "attribute_not_exists(pk) OR n < :five"]
    )
    values = {":five": {"N": "5"}}
    body: dict[str, Any] = {"TableName": TABLE, "ConditionExpression": condition}
    body |= random.choice([{}, {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}])
    kind = random.choice(["Put", "Update", "Delete", "ConditionCheck"])
    if kind == "Put":
        body["Item"] = {**key, "n": {"N": str(random.randrange(10))}}
    else:
        body["Key"] = key
    if kind == "Update":
        body["UpdateExpression"] = "SET n = if_not_exists(n, :zero) + :one"
        body["ConditionExpression"] = condition.replace("OR n < :five", "OR n < :one")
        values = {":zero": {"N": "0"}, ":one": {"N": "1"}}
    if ":" in body["ConditionExpression"] or kind == "Update":
        body["ExpressionAttributeValues"] = values
    return {kind: body}


def items(client: Any) -> list[Any]:
    return sorted(client.scan(TableName=TABLE)["Items"], key=str)


@pytest.mark.parametrize("seed", range(6))
def test_a_transaction_does_what_that_of_moto_does(
    client: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)  # noqa: S311
    sequence = [[some_action(random) for _ in range(random.randint(1, 4))] for _ in range(40)]
    seen = []
    for ours in (OF_MOTO, transact_write_items):
        monkeypatch.setattr(DynamoDBBackend, "transact_write_items", ours)
        for item in items(client):
            client.delete_item(TableName=TABLE, Key={"pk": item["pk"]})
        seen.append([(written(client, actions), items(client)) for actions in sequence])
    assert seen[0] == seen[1]
    outcomes = [outcome for outcome, _ in seen[1]]
    assert None in outcomes
    assert any(outcomes)


def test_a_write_that_fails_undoes_those_before_it(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DynamoDBBackend, "transact_write_items", transact_write_items)
    client.put_item(TableName=TABLE, Item={"pk": {"S": "old"}, "n": {"S": "text"}})
    before = items(client)
    put = {"Put": {"TableName": TABLE, "Item": {"pk": {"S": "new"}}}}
    add = {
        "Update": {
            "TableName": TABLE,
            "Key": {"pk": {"S": "old"}},
            "UpdateExpression": "SET n = n + :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }
    assert written(client, [put, add]) is not None
    assert items(client) == before


def test_an_item_is_returned_as_moto_returns_it(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = {"S": "", "N": "1.5", "BOOL": False, "NULL": True, "B": b"bytes", "SS": ["a", "b"], "NS": ["1"]}
    every = [{kind: value} for kind, value in inner.items() if value != ""]
    item = {
        "pk": {"S": "all"},
        **{kind: {kind: value} for kind, value in inner.items()},
        "L": {"L": [*every, {"M": {"deep": {"L": []}}}, {"BS": [b"x"]}]},
        "M": {"M": {"list": {"L": every}, "empty": {"M": {}}, "plain": {"S": "text"}}},
    }
    client.put_item(TableName=TABLE, Item=item)
    reported = []
    for ours in (FIELDS_OF_MOTO, serialize_type_structure):
        monkeypatch.setattr(BaseJSONSerializer, "_serialize_type_structure", ours)
        got = client.get_item(TableName=TABLE, Key={"pk": {"S": "all"}})["Item"]
        reported.append((got, items(client)))
    assert reported[0] == reported[1]
    assert reported[1][0]["M"] == item["M"]


def test_moto_would_list_its_folder_and_its_methods_for_every_request() -> None:
    assert list(modules()) == list(MODULES_OF_MOTO())
    assert "os.listdir" in inspect.getsource(MODULES_OF_MOTO)
    assert "getmembers" in inspect.getsource(METHODS_OF_MOTO)


def test_moto_would_copy_the_table() -> None:
    assert "copy.deepcopy" in inspect.getsource(OF_MOTO)


def test_a_transaction_whose_answer_was_lost_is_answered_as_before(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with deploy_shop(tmp_path_factory.mktemp("tokens")) as stack:
        dynamodb, table = stack.client("dynamodb"), stack.outputs["TableName"]
        put = {
            "TableName": table,
            "Item": {"pk": {"S": "once"}, "sk": {"S": "-"}},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        for _ in range(2):
            dynamodb.transact_write_items(TransactItems=[{"Put": put}], ClientRequestToken="token-1")
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            dynamodb.transact_write_items(TransactItems=[{"Put": put}], ClientRequestToken="token-2")

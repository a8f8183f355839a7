"""DynamoDB transactions: atomic under threads, and sometimes cancelled by a conflict."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.transactions import TableKeys, Transactions
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.settings import Settings, TransactionSettings
from local.aws.stack import LocalStack
from tests.stack.local_fixtures import deploy_shop

REQUEST = HttpRequest("POST", "/", [], b"")


@pytest.fixture(scope="module")
def unkind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with deploy_shop(tmp_path_factory.mktemp("unkind"), settings=Settings()) as stack:
        yield stack


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def reasons(error: ClientError) -> list[str]:
    assert error.response["Error"]["Code"] == "TransactionCanceledException"
    return [reason["Code"] for reason in error.response["CancellationReasons"]]


def test_of_two_that_claim_the_same_item_only_one_succeeds(unkind: LocalStack) -> None:
    client, table = unkind.client("dynamodb"), unkind.outputs["TableName"]
    outcomes: list[str] = []

    def claim(key: str) -> None:
        put = {
            "TableName": table,
            "Item": {"pk": {"S": key}, "sk": {"S": "-"}},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        other = {"Put": {"TableName": table, "Item": {"pk": {"S": f"{key}-other"}, "sk": {"S": "-"}}}}
        while True:
            try:
                client.transact_write_items(TransactItems=[{"Put": put}, other])
            except ClientError as error:
                codes = reasons(error)
                if "TransactionConflict" in codes:
                    continue
                outcomes.append(codes[0])
            else:
                outcomes.append("claimed")
            return

    for round_ in range(12):
        outcomes.clear()
        in_threads(6, lambda key=f"slot-{round_}": claim(key))  # type: ignore[misc]
        assert sorted(outcomes) == ["ConditionalCheckFailed"] * 5 + ["claimed"]


def test_counting_under_threads_loses_nothing(unkind: LocalStack) -> None:
    client, table = unkind.client("dynamodb"), unkind.outputs["TableName"]
    key = {"pk": {"S": "counter"}, "sk": {"S": "-"}}

    def add() -> None:
        for _ in range(5):
            client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    in_threads(6, add)
    assert client.get_item(TableName=table, Key=key)["Item"]["n"] == {"N": "30"}


ENOUGH = 3
"""Conflicts after which no further ones are provoked."""


def test_a_share_of_those_that_meet_on_an_item_is_cancelled_with_a_conflict(unkind: LocalStack) -> None:
    client, table = unkind.client("dynamodb"), unkind.outputs["TableName"]
    before = unkind.conflicts
    conflicts: list[list[str]] = []

    def write() -> None:
        entry = {"Put": {"TableName": table, "Item": {"pk": {"S": "busy"}, "sk": {"S": "-"}}}}
        mine = {"pk": {"S": f"mine-{threading.get_ident()}"}, "sk": {"S": "-"}}
        for _ in range(200):
            if len(conflicts) >= ENOUGH:
                return
            try:
                client.transact_write_items(
                    TransactItems=[{"Put": {"TableName": table, "Item": mine}}, entry]
                )
            except ClientError as error:
                conflicts.append(reasons(error))

    in_threads(8, write)
    assert conflicts
    assert {tuple(codes) for codes in conflicts} == {("None", "TransactionConflict")}
    assert unkind.conflicts - before == len(conflicts)


class ConflictingTransactions:
    """Two transactions of which the second comes while the first is in progress."""

    def __init__(self, ratio: float, seed: int = 1) -> None:
        keys = TableKeys(lambda **_: {"Table": {"KeySchema": [{"AttributeName": "k"}]}})
        self.settings = TransactionSettings(ratio)
        self.layer = Transactions(self.settings, random.Random(seed), keys)  # noqa: S311 - repeatable

    def second(self, first_entry: dict[str, Any], second_entry: dict[str, Any]) -> int:
        return self.response_to_second(_call(first_entry), _call(second_entry)).status

    def response_to_second(self, first: AwsCall, second: AwsCall) -> HttpResponse:
        responses: list[HttpResponse] = []

        def proceed() -> HttpResponse:
            thread = threading.Thread(
                target=lambda: responses.append(self.layer(second, REQUEST, lambda: HttpResponse(200)))
            )
            thread.start()
            thread.join(0.2)
            threads.append(thread)
            return HttpResponse(200)

        threads: list[threading.Thread] = []
        self.layer(first, REQUEST, proceed)
        threads[0].join()
        return responses[0]


def _call(entry: dict[str, Any], token: str = "") -> AwsCall:
    operation = "TransactGetItems" if "Get" in entry else "TransactWriteItems"
    with_token = {"ClientRequestToken": token} if token else {}
    return AwsCall("dynamodb", operation, "key", "json", {"TransactItems": [entry], **with_token})


PUT = {"Put": {"TableName": "t", "Item": {"k": {"S": "a"}, "v": {"S": "1"}}}}
DELETE = {"Delete": {"TableName": "t", "Key": {"k": {"S": "a"}}}}
GET = {"Get": {"TableName": "t", "Key": {"k": {"S": "a"}}}}
ELSEWHERE = {"Delete": {"TableName": "t", "Key": {"k": {"S": "b"}}}}


@pytest.mark.parametrize(
    ("ratio", "second", "status"),
    [(1, DELETE, 400), (1, PUT, 400), (1, GET, 400), (1, ELSEWHERE, 200), (0, DELETE, 200), (0, GET, 200)],
)
def test_only_those_that_meet_are_cancelled_and_only_as_often_as_set(
    ratio: float, second: dict[str, Any], status: int
) -> None:
    assert ConflictingTransactions(ratio).second(PUT, second) == status


def test_a_transaction_that_reads_cancels_none_that_writes() -> None:
    assert ConflictingTransactions(1).second(GET, PUT) == 200


@pytest.mark.parametrize("ratio", [0, 1])
def test_a_transaction_that_is_repeated_while_it_is_in_progress_conflicts_with_no_other(ratio: float) -> None:
    transactions = ConflictingTransactions(ratio)
    response = transactions.response_to_second(_call(PUT, "token"), _call(PUT, "token"))
    assert (response.status, json.loads(response.body)["__type"].rpartition("#")[2]) == (
        400,
        "TransactionInProgressException",
    )
    assert transactions.layer.conflicts == 0
    assert transactions.layer(_call(PUT, "token"), REQUEST, lambda: HttpResponse(500)).status == 200


def test_transactions_with_tokens_of_their_own_conflict() -> None:
    transactions = ConflictingTransactions(1)
    response = transactions.response_to_second(_call(PUT, "one"), _call(PUT, "other"))
    assert json.loads(response.body)["__type"].rpartition("#")[2] == "TransactionCanceledException"


def test_a_seed_makes_the_conflicts_the_same_again() -> None:
    def statuses(seed: int) -> list[int]:
        meeting = ConflictingTransactions(0.5, seed)
        return [meeting.second(PUT, DELETE) for _ in range(4)]

    first = statuses(3)
    assert first == statuses(3)
    assert {200, 400} == set(first) | set(statuses(4))


def test_a_plain_write_is_never_cancelled(unkind: LocalStack, tmp_path: Path) -> None:
    unkind.settings.transactions.conflict_ratio = 1.0
    client, table = unkind.client("dynamodb"), unkind.outputs["TableName"]
    in_threads(6, lambda: client.put_item(TableName=table, Item={"pk": {"S": "p"}, "sk": {"S": "-"}}))
    assert client.get_item(TableName=table, Key={"pk": {"S": "p"}, "sk": {"S": "-"}})["Item"]

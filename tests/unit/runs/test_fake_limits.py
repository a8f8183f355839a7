"""The limits of the fake table: those that moto has, compared with moto; the others, by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from celonis_refresh.runs.table import to_item
from tests.fakes.dynamodb import FakeDynamoDB
from tests.fakes.limits import MAX_ITEM, item_size
from tests.unit.runs.compared_clients import ComparedClients, create_table, outcome

Request = dict[str, Any]
Ask = Callable[[Any, str], dict[str, Any]]
KEY = {"pk": {"S": "a"}}


def text(size: int) -> dict[str, str]:
    return {"S": "x" * size}


def put(**item: Any) -> Request:
    return {"Put": {"Item": {**KEY, **item}}}


def update(value: Any = None, **fields: Any) -> Request:
    """Sets one attribute."""
    change = {"UpdateExpression": "SET #a = :a", "ExpressionAttributeNames": {"#a": "a"}}
    return {"Update": {"Key": KEY, **change, "ExpressionAttributeValues": {":a": value or text(1)}, **fields}}


def transact(*actions: Request) -> Ask:
    return lambda client, table: client.transact_write_items(TransactItems=_of(table, actions))


def alone(action: Request) -> Ask:
    """One update as a request of its own."""
    return lambda client, table: client.update_item(TableName=table, **action["Update"])


def _of(table: str, actions: tuple[Request, ...]) -> list[Request]:
    return [{kind: {"TableName": table, **body}} for action in actions for kind, body in action.items()]


def puts(number: int, size: int = 1) -> Ask:
    """``number`` items of about this size."""
    return transact(*(put(pk={"S": f"item-{each}"}, a=text(size)) for each in range(number)))


@dataclass(frozen=True)
class LimitCase:
    """A request within a limit, and one past it."""

    within: Ask
    past: Ask


BOTH: dict[str, LimitCase] = {
    "size of an item that is put": LimitCase(transact(put(a=text(404_000))), transact(put(a=text(410_000)))),
    "size of an item that is updated": LimitCase(alone(update(text(404_000))), alone(update(text(410_000)))),
    "size of an item that is updated in a transaction": LimitCase(
        transact(update(text(404_000))), transact(update(text(410_000)))
    ),
    "actions of a transaction": LimitCase(puts(100), puts(101)),
    "bytes of the key": LimitCase(transact(put(pk=text(2048))), transact(put(pk=text(2049)))),
    "bytes of the key of an update": LimitCase(
        alone(update(Key={"pk": text(2048)})), alone(update(Key={"pk": text(2049)}))
    ),
    "a key that is not empty": LimitCase(transact(put(pk=text(1))), transact(put(pk=text(0)))),
    "bytes of the partition key of an index": LimitCase(
        transact(put(status=text(2048), position=text(1))), transact(put(status=text(2049), position=text(1)))
    ),
    "bytes of the sort key of an index": LimitCase(
        transact(put(status=text(1), position=text(1024))), transact(put(status=text(1), position=text(1025)))
    ),
    "a sort key of an index that is not empty": LimitCase(
        transact(put(status=text(1), position=text(1))), transact(put(status=text(1), position=text(0)))
    ),
    "names that an expression uses": LimitCase(
        alone(update()), alone(update(ExpressionAttributeNames={"#a": "a", "#b": "b"}))
    ),
    "names that are defined": LimitCase(alone(update()), alone(update(ExpressionAttributeNames={"#b": "b"}))),
    "values that an expression uses": LimitCase(
        alone(update()), alone(update(ExpressionAttributeValues={":a": text(1), ":b": text(1)}))
    ),
    "values that are defined": LimitCase(
        alone(update()), alone(update(ExpressionAttributeValues={":b": text(1)}))
    ),
}
"""What moto refuses too. It counts an item's bytes in its own way: near the limit the two differ."""


def _compared(number: int) -> Request:
    """A condition with two operators for each time that it compares, and one more."""
    return update(ConditionExpression="attribute_not_exists(pk)" + " OR #a = :a" * number)


def _is_one_of(number: int) -> Request:
    """A condition that compares this many operands."""
    values = {f":v{at}": text(1) for at in range(number)}
    return update(
        ConditionExpression=f"attribute_not_exists(pk) OR #a IN ({', '.join(values)})",
        ExpressionAttributeValues={":a": text(1), **values},
    )


def _named(length: int) -> Request:
    name = "#" + "n" * (length - 1)
    return update(UpdateExpression=f"SET {name} = :a", ExpressionAttributeNames={name: "a"})


def _spaces(number: int) -> Request:
    return update(UpdateExpression="SET #a" + " " * number + "= :a")


def _nested(depth: int) -> dict[str, Any]:
    return {"M": {"a": _nested(depth - 1)}} if depth > 1 else text(1)


ALONE: dict[str, LimitCase] = {
    "bytes of all items of a transaction": LimitCase(puts(10, 400_000), puts(11, 400_000)),
    "bytes of an expression": LimitCase(alone(_spaces(4086)), alone(_spaces(4087))),
    "operators of an expression": LimitCase(alone(_compared(149)), alone(_compared(150))),
    "operands of an IN": LimitCase(alone(_is_one_of(100)), alone(_is_one_of(101))),
    "bytes of a placeholder": LimitCase(alone(_named(255)), alone(_named(256))),
    "bytes of a name": LimitCase(
        alone(update(ExpressionAttributeNames={"#a": "a" * 255})),
        alone(update(ExpressionAttributeNames={"#a": "a" * 256})),
    ),
    "depth of an item": LimitCase(transact(put(a=_nested(32))), transact(put(a=_nested(33)))),
}
"""What moto does not refuse: the fake follows the documentation."""


def _error_of(ask: Ask, client: Any, table: str) -> str:
    """The code of the error, or nothing."""
    return outcome(lambda: ask(client, table), {})[0]


@pytest.mark.parametrize("name", BOTH)
def test_a_limit_that_moto_has_is_the_same(client: ComparedClients, name: str) -> None:
    assert _error_of(BOTH[name].within, client, create_table(client.moto)) == ""
    assert _error_of(BOTH[name].past, client, create_table(client.moto)) == "ValidationException"


@pytest.mark.parametrize("name", ALONE)
def test_a_limit_that_moto_lacks_is_that_of_the_documentation(moto: Any, name: str) -> None:
    assert _error_of(ALONE[name].within, FakeDynamoDB(), "runs") == ""
    assert _error_of(ALONE[name].past, FakeDynamoDB(), "runs") == "ValidationException"
    assert _error_of(ALONE[name].within, moto, create_table(moto)) == ""
    assert _error_of(ALONE[name].past, moto, create_table(moto)) == "", "moto has this limit by now"


@pytest.mark.parametrize(
    "ask", [lambda size: transact(put(a=text(size))), lambda size: alone(update(text(size)))]
)
def test_an_item_may_have_exactly_400_kb(ask: Callable[[int], Ask]) -> None:
    room = MAX_ITEM - item_size({**KEY, "a": text(0)})
    assert _error_of(ask(room), FakeDynamoDB(), "runs") == ""
    assert _error_of(ask(room + 1), FakeDynamoDB(), "runs") == "ValidationException"


def test_what_exceeds_a_limit_writes_nothing() -> None:
    fake = FakeDynamoDB()
    with pytest.raises(ClientError):
        transact(put(pk={"S": "b"}), put(a=text(MAX_ITEM)))(fake, "runs")
    assert fake.items == {}


@pytest.mark.parametrize(
    ("document", "size"),
    [
        ({"a": ""}, 1),
        ({"ab": "äx"}, 5),
        ({"a": 0}, 3),
        ({"a": 1000}, 3),
        ({"a": 123}, 4),
        ({"a": -12.5}, 5),
        ({"a": True}, 2),
        ({"a": None}, 2),
        ({"a": []}, 4),
        ({"a": ["x", "yz"]}, 9),
        ({"a": {"b": "c"}}, 7),
    ],
)
def test_an_item_has_its_documented_size(document: dict[str, Any], size: int) -> None:
    assert item_size(to_item(document)) == size

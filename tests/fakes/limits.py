"""DynamoDB's limits of items, keys, expressions and transactions, over attribute values.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html, and for the size of an item
CapacityUnitCalculations.html there. moto has some of these limits: ``tests/unit/runs/test_fake_limits.py``
compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec.json import encode

Item = Mapping[str, Any]

MAX_ITEM = 400 * 1024
MAX_DEPTH = 32
MAX_HASH_KEY, MAX_RANGE_KEY = 2048, 1024
MAX_ACTIONS = 100
MAX_TRANSACTION = 4 * 1024 * 1024
MAX_EXPRESSION = 4096
MAX_OPERATORS = 300
MAX_OPERANDS = 100
"""Of one IN."""
MAX_PLACEHOLDER = 255
"""Bytes of one ``#name`` or ``:value``, and of the attribute name of a ``#name``."""
MAX_SUBSTITUTIONS = 2 * 1024 * 1024
"""Bytes of all names and values that the expressions of one request use."""
OPERATORS = re.compile(
    r"<=|>=|<>|[=<>+-]|\b(?:AND|OR|IN|NOT|BETWEEN|if_not_exists|attribute_exists|attribute_not_exists)\b"
)
EXPRESSIONS = ("ConditionExpression", "UpdateExpression", "FilterExpression", "KeyConditionExpression")


class LimitExceeded(Exception):
    """What DynamoDB answers with a ValidationException."""


def item_size(item: Item) -> int:
    """The size of an item in bytes: the names and values of its attributes."""
    return sum(_bytes(name) + size_of(value) for name, value in item.items())


def size_of(attribute: Mapping[str, Any]) -> int:
    """The size of one attribute value in bytes."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return _bytes(value)
        case "N":
            sign, digits, _ = Decimal(value).normalize().as_tuple()
            return (len(digits) + 1) // 2 + 1 + sign
        case "L":
            return 3 + sum(1 + size_of(entry) for entry in value)
        case "M":
            return 3 + sum(1 + _bytes(name) + size_of(entry) for name, entry in value.items())
    return 1  # NULL and BOOL


def check_item(item: Item, range_keys: Mapping[str, int]) -> None:
    """Checks an item as it would be stored. ``range_keys``: the keys besides ``pk``, with their limits."""
    _check_key("pk", item["pk"], MAX_HASH_KEY)
    for name, limit in range_keys.items():
        if name in item:
            _check_key(name, item[name], limit)
    written = encode(item)
    if _exceeds(item, MAX_ITEM, written):
        raise LimitExceeded("Item size has exceeded the maximum allowed size")
    nested = written.count(b'{"M":') + written.count(b'{"L":')
    if nested >= MAX_DEPTH and max(map(_depth, item.values())) > MAX_DEPTH:
        raise LimitExceeded("Nesting Levels have exceeded supported limits")


def check_request(request: Mapping[str, Any]) -> None:
    """Checks the key and the expressions of one action, or of a request of its own."""
    if "Key" in request:
        _check_key("pk", request["Key"]["pk"], MAX_HASH_KEY)
    used = set[str]().union(*(_placeholders(request[name]) for name in EXPRESSIONS if request.get(name)))
    names, values = (request.get(f"ExpressionAttribute{kind}", {}) for kind in ("Names", "Values"))
    defined = {*names, *values}
    if used != defined:
        raise LimitExceeded(f"unused or not defined in expressions: {sorted(used ^ defined)}")
    if any(_bytes(name) > MAX_PLACEHOLDER for name in (*defined, *names.values())):
        raise LimitExceeded("an expression attribute name or its placeholder is too long")
    if _exceeds({**values, **{name: {"S": found} for name, found in names.items()}}, MAX_SUBSTITUTIONS):
        raise LimitExceeded("the expression attribute names and values are too large together")


def check_actions(actions: Sequence[Mapping[str, Any]]) -> None:
    """Checks the actions of a transaction, one by one and in number."""
    if not 0 < len(actions) <= MAX_ACTIONS:
        raise LimitExceeded("Member must have length less than or equal to 100")
    for action in actions:
        check_request(*action.values())


def check_transaction(items: Iterable[Item]) -> None:
    """``items``: those that a transaction writes, as they are afterwards."""
    if sum(map(item_size, items)) > MAX_TRANSACTION:
        raise LimitExceeded("the items of the transaction exceed 4 MB together")


def _check_key(name: str, value: Mapping[str, Any], limit: int) -> None:
    text = value.get("S", "")
    if not 0 < _bytes(text) <= limit:
        raise LimitExceeded(f"key {name} needs a text of 1 to {limit} bytes")


def _exceeds(item: Item, limit: int, written: bytes | None = None) -> bool:
    """Whether an item is larger than ``limit``. Its JSON is larger than the item, and fast to make."""
    return len(encode(item) if written is None else written) > limit and item_size(item) > limit


@lru_cache(maxsize=1024)
def _placeholders(expression: str) -> frozenset[str]:
    """The names and values that an expression uses, once it is checked."""
    if _bytes(expression) > MAX_EXPRESSION:
        raise LimitExceeded("Expression size has exceeded the maximum allowed size")
    if len(OPERATORS.findall(expression)) > MAX_OPERATORS:
        raise LimitExceeded("the expression has too many operators")
    if any(operands > MAX_OPERANDS for operands in _operands(expression)):
        raise LimitExceeded("an IN has too many operands")
    return frozenset(re.findall(r"[#:]\w+", expression))


def _operands(expression: str) -> Iterator[int]:
    """How many operands each IN has."""
    for found in re.finditer(r"\bIN\s*\(([^)]*)\)", expression):
        yield found[1].count(",") + 1


def _depth(attribute: Mapping[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    inner = value if kind == "L" else value.values() if kind == "M" else ()
    return 1 + max(map(_depth, inner), default=0)


def _bytes(text: str) -> int:
    return len(text.encode())

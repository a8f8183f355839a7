"""DynamoDB's condition and update expressions over items of attribute values, as far as they are used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from operator import ge, gt, le, lt
from typing import Any

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Tree = tuple[Any, ...]

TOKEN = re.compile(r"\s*(<=|>=|<>|[().,=<>+-]|[#:]?\w+)")
ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


class InvalidExpression(Exception):
    """What DynamoDB answers with a ValidationException."""


class _ExpressionParser:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise InvalidExpression(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token != expected):
            raise InvalidExpression(f"{token!r} instead of {expected!r}")
        self.at += 1
        return token

    def either(self) -> Tree:
        tree = self.both()
        while self.peek() == "OR":
            self.take()
            tree = ("OR", tree, self.both())
        return tree

    def both(self) -> Tree:
        tree = self.single()
        while self.peek() == "AND":
            self.take()
            tree = ("AND", tree, self.single())
        return tree

    def single(self) -> Tree:
        if self.peek() == "(":
            self.take()
            tree = self.either()
            self.take(")")
            return tree
        if self.peek() in ("attribute_exists", "attribute_not_exists"):
            name = self.take()
            self.take("(")
            tree = (name, self.path())
            self.take(")")
            return tree
        return self.comparison()

    def comparison(self) -> Tree:
        left, sign = self.operand(), self.take()
        if sign != "IN":
            return ("compare", sign, left, self.operand())
        self.take("(")
        choices = [self.operand()]
        while self.peek() == ",":
            self.take()
            choices.append(self.operand())
        self.take(")")
        return ("IN", left, tuple(choices))

    def operand(self) -> Tree:
        return ("value", self.take()) if self.peek().startswith(":") else ("path", self.path())

    def path(self) -> tuple[str, ...]:
        parts = [self.take()]
        while self.peek() == ".":
            self.take()
            parts.append(self.take())
        return tuple(parts)

    def update(self) -> Tree:
        sets: list[Tree] = []
        removes: list[tuple[str, ...]] = []
        while self.peek():
            clause = self.take()
            if clause not in ("SET", "REMOVE"):
                raise InvalidExpression(clause)
            while True:
                if clause == "SET":
                    sets.append(self.assignment())
                else:
                    removes.append(self.path())
                if self.peek() != ",":
                    break
                self.take()
        return tuple(sets), tuple(removes)

    def assignment(self) -> Tree:
        path = self.path()
        self.take("=")
        term = self.term()
        if self.peek() == "+":
            self.take()
            term = ("+", term, self.term())
        return path, term

    def term(self) -> Tree:
        if self.peek() != "if_not_exists":
            return self.operand()
        self.take()
        self.take("(")
        path = self.path()
        self.take(",")
        tree = ("if_not_exists", path, self.operand())
        self.take(")")
        return tree


@lru_cache(maxsize=1024)
def _condition(text: str) -> Tree:
    reader = _ExpressionParser(text)
    tree = reader.either()
    if reader.peek():
        raise InvalidExpression(text)
    return tree


@lru_cache(maxsize=1024)
def _update(text: str) -> Tree:
    return _ExpressionParser(text).update()


def holds(condition: str, item: Item | None, names: Names, values: Values) -> bool:
    """Whether the condition holds for the item, None being no item."""
    return _holds(_condition(condition), item or {}, names, values)


def partition_value(condition: str, key: str, names: Names, values: Values) -> Any:
    """Return the value that a key condition requires of the partition key. Raises ``InvalidExpression``."""
    conditions = [_condition(condition)]
    while conditions:
        match conditions.pop():
            case ("AND", left, right):
                conditions += [right, left]
            case ("compare", "=", ("path", (part,)), ("value", value)) if _name(part, names) == key:
                return values[value]
    raise InvalidExpression(f"{condition} does not require a value of {key}")


def _holds(tree: Tree, item: Item, names: Names, values: Values) -> bool:
    match tree:
        case ("OR", left, right):
            return _holds(left, item, names, values) or _holds(right, item, names, values)
        case ("AND", left, right):
            return _holds(left, item, names, values) and _holds(right, item, names, values)
        case ("attribute_exists", path):
            return _find(item, path, names) is not None
        case ("attribute_not_exists", path):
            return _find(item, path, names) is None
        case ("IN", left, choices):
            found = _operand(left, item, names, values)
            return found is not None and found in [_operand(one, item, names, values) for one in choices]
        case ("compare", sign, left, right):
            return _compares(sign, _operand(left, item, names, values), _operand(right, item, names, values))
    raise InvalidExpression(str(tree))


def _compares(sign: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if sign in ("=", "<>"):
        return bool(_plain(left) == _plain(right)) is (sign == "=")
    (kind, one), (other_kind, other) = _plain(left), _plain(right)
    return kind == other_kind and ORDERS[sign](one, other)


def _plain(attribute: Any) -> tuple[str, Any]:
    ((kind, value),) = attribute.items()
    return kind, float(value) if kind == "N" else value


def _operand(tree: Tree, item: Item, names: Names, values: Values) -> Any:
    kind, what = tree
    if kind == "value":
        return values[what]
    return _find(item, what, names)


def _find(item: Item, path: tuple[str, ...], names: Names) -> Any:
    found: Any = {"M": item}
    for part in path:
        if found is None or "M" not in found:
            return None
        found = found["M"].get(_name(part, names))
    return found


def _name(part: str, names: Names) -> str:
    return names[part] if part.startswith("#") else part


def updated(expression: str, item: Item, names: Names, values: Values) -> Item:
    """The item after an update; every right side is read from the item as it was, which stays as it is."""
    sets, removes = _update(expression)
    after = item
    for path, term in sets:
        after = _with(after, [_name(part, names) for part in path], _term(term, item, names, values))
    for path in removes:
        after = _with(after, [_name(part, names) for part in path], None)
    return after


def _with(item: Item, path: list[str], value: Any) -> Item:
    """A copy with ``value`` at the end of the path, or without what is there; the rest is shared."""
    name, *rest = path
    if rest:
        inner = item.get(name)
        if inner is None or "M" not in inner:
            raise InvalidExpression("the document path is invalid for this update")
        value = {"M": _with(inner["M"], rest, value)}
    kept = {key: found for key, found in item.items() if key != name}
    return kept if value is None else {**kept, name: value}


def _term(tree: Tree, item: Item, names: Names, values: Values) -> Any:
    match tree:
        case ("+", left, right):
            one, other = _term(left, item, names, values), _term(right, item, names, values)
            return {"N": str(Decimal(one["N"]) + Decimal(other["N"]))}
        case ("if_not_exists", path, otherwise):
            found = _find(item, path, names)
            return _operand(otherwise, item, names, values) if found is None else found
    found = _operand(tree, item, names, values)
    if found is None:
        raise InvalidExpression("The provided expression refers to an attribute that does not exist")
    return found

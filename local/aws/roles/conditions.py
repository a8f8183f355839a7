"""The Condition element of a policy statement."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_Test = Callable[[str, str], bool]


def _like(value: str, pattern: str) -> bool:
    text = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch(text, value, re.DOTALL) is not None


# A test gets the request's value, then the policy's.
_TESTS: dict[str, _Test] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "NumericEquals": lambda value, wanted: float(value) == float(wanted),
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
    "NumericLessThanEquals": lambda value, wanted: float(value) <= float(wanted),
    "NumericGreaterThan": lambda value, wanted: float(value) > float(wanted),
    "NumericGreaterThanEquals": lambda value, wanted: float(value) >= float(wanted),
}


class UnknownConditionError(ValueError):
    """A condition operator that is not evaluated here; nothing is allowed by it."""


def conditions_hold(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, Sequence[str]]
) -> bool:
    """Whether every operator holds for every key. Raises UnknownConditionError for an operator not known."""
    return all(
        _holds(operator, key, wanted, context)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, key: str, wanted: Any, context: Mapping[str, Sequence[str]]) -> bool:
    expected = [_text(item) for item in (wanted if isinstance(wanted, list) else [wanted])]
    actual = next((values for name, values in context.items() if name.lower() == key.lower()), None)
    if operator == "Null":
        return (actual is None) == (expected[0] == "true")
    quantifier, _, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    if actual is None:
        return if_exists or quantifier == "ForAllValues" or _is_negated(name)
    return _compare(name, quantifier, list(actual), expected)


def _compare(name: str, quantifier: str, actual: list[str], expected: list[str]) -> bool:
    negated = _is_negated(name)
    test = _TESTS.get(name.replace("Not", "", 1) if negated else name)
    if test is None:
        raise UnknownConditionError(f"the condition operator {name} is not evaluated here")
    results = [any(test(value, wanted) for wanted in expected) != negated for value in actual]
    return all(results) if quantifier == "ForAllValues" else any(results)


def _is_negated(name: str) -> bool:
    return name.startswith(("StringNot", "ArnNot", "NumericNot"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

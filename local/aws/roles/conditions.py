"""The Condition element of a policy statement."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_Test = Callable[[str, str], bool]


def _like(value: str, pattern: str) -> bool:
    text = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch(text, value, re.DOTALL) is not None


# Arguments of a test: the request's value, then the policy's.
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
    """An unsupported condition operator; a statement with it allows nothing."""


def conditions_hold(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, Sequence[str]]
) -> bool:
    """Return whether every operator holds for every key. Raises UnknownConditionError."""
    return all(
        _holds(operator, key, values, context)
        for operator, keys in conditions.items()
        for key, values in keys.items()
    )


def _holds(operator: str, key: str, condition_values: Any, context: Mapping[str, Sequence[str]]) -> bool:
    expected = [
        _text(item)
        for item in (condition_values if isinstance(condition_values, list) else [condition_values])
    ]
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
    results = [any(test(value, expected_value) for expected_value in expected) != negated for value in actual]
    return all(results) if quantifier == "ForAllValues" else any(results)


def _is_negated(name: str) -> bool:
    return name.startswith(("StringNot", "ArnNot", "NumericNot"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Reads the query parameters and the JSON body of a request. An invalid value is a BadRequestError: 400."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

MAX_DEPTH = 200  # levels of nested lists and objects in a JSON text
MAX_DIGITS = 9  # of a whole number in a query


class BadRequestError(Exception):
    """An invalid parameter or body. The text is the ``detail`` of the response."""


def parse_json(text: bytes) -> Any:
    """Parse a JSON text. Raises ValueError for other texts, and for more than 200 levels."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as problem:
        raise ValueError("nested too deeply") from problem
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return value


def json_body(body: bytes) -> Any:
    """Return the JSON value of a request's body."""
    try:
        return parse_json(body)
    except ValueError as problem:
        raise BadRequestError("The body must be JSON.") from problem


def flag(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Read a parameter that is ``true`` or ``false`` in upper or lower case."""
    value = query.get(name, str(default)).lower()
    if value not in {"true", "false"}:
        raise BadRequestError(f"Parameter '{name}' must be true or false.")
    return value == "true"


def number(query: Mapping[str, str], name: str, *, default: int, minimum: int = 0) -> int:
    """Read a whole number of at most 9 digits, at least ``minimum``."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > MAX_DIGITS or int(text) < minimum:
        raise BadRequestError(f"Parameter '{name}' must be a whole number, {minimum} or more.")
    return int(text)


def choice(query: Mapping[str, str], name: str, options: Iterable[str], *, default: str) -> str:
    """Read a parameter that is one of ``options``."""
    value = query.get(name, default)
    if value not in options:
        raise BadRequestError(f"Parameter '{name}' must be one of {', '.join(options)}.")
    return value


def choices(query: Mapping[str, str], name: str, options: Iterable[str]) -> frozenset[str]:
    """Read a comma-separated list of some ``options``; all of them if the parameter is missing."""
    values = query[name].split(",") if name in query else list(options)
    if not set(values) <= set(options):
        raise BadRequestError(f"Parameter '{name}' must be some of {', '.join(options)}.")
    return frozenset(values)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [item for one in level for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()

"""Reads the JSON of control requests. An error names the invalid field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from local.celonis.parameters import parse_json
from local.celonis.setups import ASPECTS, RateLimitSetup, no_staleness

Reader = Callable[[Any], Any]
MAX_SKEW_SECONDS = 1_000_000_000


class FieldError(Exception):
    """An invalid field. ``field``: its name; the text: what it must be."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``; an empty body is an empty object."""
    try:
        value = parse_json(body) if body else {}
    except ValueError as problem:
        raise FieldError("body", "must be JSON") from problem
    if not isinstance(value, dict):
        raise FieldError("body", "must be a JSON object")
    return value


def read(document: Mapping[str, Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Read each field with the reader of its name; a field without a reader is rejected."""
    values = {}
    for field, value in document.items():
        if field not in readers:
            raise FieldError(field, f"is not known; known are {', '.join(sorted(readers))}")
        try:
            values[field] = readers[field](value)
        except ValueError as problem:
            raise FieldError(field, str(problem)) from problem
    return values


def seconds(value: Any) -> float:
    """A number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("must be a number of seconds, 0 or more")
    return float(value)


def skew(value: Any) -> float:
    """A number of seconds by which a clock is ahead, or behind when negative."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= MAX_SKEW_SECONDS:
        raise ValueError("must be a number of seconds from -1000000000 to 1000000000")
    return float(value)


def whole(value: Any) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number, 0 or more")
    return value


def status(value: Any) -> int:
    """An HTTP status of a final answer."""
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise ValueError("must be an HTTP status from 200 to 599")
    return value


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return _sendable(value)


def _sendable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise ValueError("must be a text without half a surrogate pair") from problem
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if isinstance(value, list):
        return tuple(text(one) for one in value)
    raise ValueError("must be a list of texts")


def flag(value: Any) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def anything(value: Any) -> Any:
    """Any JSON value."""
    return _sendable(value) if isinstance(value, str) else value


def choice(*options: str) -> Reader:
    """One of ``options``."""

    def reader(value: Any) -> str:
        if not isinstance(value, str) or value not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return value

    return reader


def some_of(*options: str) -> Reader:
    """A list of ``options``."""
    one = choice(*options)

    def reader(value: Any) -> tuple[str, ...]:
        return tuple(one(item) for item in texts(value))

    return reader


def optional(inner: Reader) -> Reader:
    """Null, or what ``inner`` reads."""
    return lambda value: None if value is None else inner(value)


def text_map(value: Any) -> dict[str, str]:
    """Read an object whose values are texts."""
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return {_sendable(name): _sendable(item) for name, item in value.items()}
    raise ValueError("must be an object of texts")


def staleness(value: Any) -> dict[str, float]:
    """Read seconds for all aspects, or an object of aspect and seconds; missing aspects are 0."""
    if not isinstance(value, dict):
        return dict.fromkeys(ASPECTS, seconds(value))
    unknown = set(value) - set(ASPECTS)
    if unknown:
        raise ValueError(f"knows {', '.join(ASPECTS)}, not {sorted(unknown)[0]}")
    return no_staleness() | {aspect: seconds(item) for aspect, item in value.items()}


def rate_limit(value: Any) -> RateLimitSetup:
    """An object of ``requests`` and ``seconds``; null for the default."""
    if value is None:
        return RateLimitSetup()
    if not isinstance(value, dict) or set(value) != {"requests", "seconds"}:
        raise ValueError("must be null, or an object of requests and seconds")
    if seconds(value["seconds"]) == 0:
        raise ValueError("needs more than 0 seconds")
    return RateLimitSetup(whole(value["requests"]), seconds(value["seconds"]))

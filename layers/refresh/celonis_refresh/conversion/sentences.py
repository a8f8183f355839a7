"""What a type expects, in words of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msgspec import inspect


def expected(annotation: Any) -> str:
    """``expected a whole number from 1 to 3600``; a ``Meta(description=…)`` takes the place of the type."""
    return f"expected {_named(inspect.type_info(annotation))}"


def _named(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata():
            return (info.extra_json_schema or {}).get("description") or _named(info.type)
        case inspect.UnionType():
            return listed([_named(each) for each in info.types if not isinstance(each, inspect.NoneType)])
        case inspect.LiteralType(values) | inspect.EnumType(cls=values):
            return listed([json.dumps(each) for each in values])
        case inspect.IntType():
            return _bounded("a whole number", info.ge, info.le, "", "from ")
        case inspect.StrType() | inspect.CustomType():
            longest = getattr(info, "max_length", None)
            return _bounded("a text", getattr(info, "min_length", None), longest, " characters", "of ")
        case inspect.VarTupleType():
            return _bounded("a list", info.min_length, info.max_length, " entries", "of ")
        case inspect.BoolType():
            return "true or false"
    return "a JSON object"


def listed(parts: Sequence[str]) -> str:
    """``a``; ``a or b``; ``a, b or c``."""
    *most, last = parts
    return f"{', '.join(most)} or {last}" if most else last


def _bounded(what: str, least: int | None, greatest: int | None, unit: str, between: str) -> str:
    if least is not None and greatest is not None:
        return f"{what} {between}{least} to {greatest}{unit}"
    if greatest is not None:
        return f"{what} of at most {greatest}{unit}"
    return what if least is None else f"{what} of at least {least}{unit}"

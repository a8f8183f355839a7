"""What a type expects, in words of JSON."""

from __future__ import annotations

import json
from typing import Any

from msgspec import inspect


def expected(annotation: Any) -> str:
    """``expected a whole number from 1 to 3600``; a ``Meta(description=…)`` takes the place of the type."""
    *most, last = _alternatives(inspect.type_info(annotation))
    return f"expected {', '.join(most)} or {last}" if most else f"expected {last}"


def _alternatives(info: inspect.Type) -> list[str]:
    match info:
        case inspect.Metadata():
            description = (info.extra_json_schema or {}).get("description")
            return [description] if description else _alternatives(info.type)
        case inspect.UnionType():
            solid = [each for each in info.types if not isinstance(each, inspect.NoneType)]
            return [named for each in solid for named in _alternatives(each)]
        case inspect.LiteralType(values) | inspect.EnumType(cls=values):
            return [json.dumps(each) for each in values]
    return [_named(info)]


def _named(info: inspect.Type) -> str:
    match info:
        case inspect.IntType():
            return _bounded("a whole number", info.ge, info.le, "from ", "")
        case inspect.StrType():
            return _bounded("a text", info.min_length, info.max_length, "of ", " characters")
        case inspect.CustomType():
            return "a text"
        case inspect.VarTupleType():
            return _bounded("a list", info.min_length, info.max_length, "of ", " entries")
        case inspect.BoolType():
            return "true or false"
    return "a JSON object"


def _bounded(what: str, least: int | None, most: int | None, between: str, unit: str) -> str:
    if least is None and most is None:
        return what
    if most is None:
        return f"{what} of {least} or more{unit}"
    return f"{what} of at most {most}{unit}" if least is None else f"{what} {between}{least} to {most}{unit}"

"""Compares requests and answers of the runs API with ``docs/openapi.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"


def request_problems(method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
    """Return what is wrong with a request; ``body`` is empty without one."""
    found = _operation(method, path)
    if found is None:
        return [f"{method} {path}: there is no such operation"]
    operation, values = found
    values = {("path", name): value for name, value in values.items()}
    values |= {("query", name): value for name, value in query.items()}
    problems = list(_parameter_problems(operation, values))
    content = operation.get("requestBody", {})
    if body not in ("", None):
        problems += _problems(_schema(content), body) if content else ["a body is not expected"]
    elif content.get("required"):
        problems.append("the body is missing")
    return [f"{method} {path}: {each}" for each in problems]


def answer_problems(method: str, path: str, status: int, body: Any) -> list[str]:
    """Return what is wrong with the answer to a request; a field that is not described is wrong, too."""
    found = _operation(method, path)
    responses = found[0]["responses"] if found else {}
    if str(status) not in responses:
        return [f"{method} {path}: there is no answer {status}"]
    return [f"{method} {path}: {each}" for each in _problems(_schema(responses[str(status)]), body)]


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = _closed(json.loads(DOCUMENT.read_text(encoding="utf-8")))
    return document


def _closed(value: Any) -> Any:
    """Return a document in which the objects with described fields have no other ones."""
    if isinstance(value, list):
        return [_closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    closed = {name: _closed(each) for name, each in value.items()}
    is_object = value.get("type") == "object" and "properties" in value
    return {"additionalProperties": False, **closed} if is_object else closed


def _operation(method: str, path: str) -> tuple[Mapping[str, Any], dict[Any, str]] | None:
    """Return an operation, and the values of the parameters in its path."""
    for template, operations in _document()["paths"].items():
        matched = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), path)
        if matched and method.lower() in operations:
            return operations[method.lower()], dict(matched.groupdict())
    return None


def _parameter_problems(operation: Mapping[str, Any], values: Mapping[Any, str]) -> Iterator[str]:
    known = {(each["in"], each["name"]): each for each in operation.get("parameters", [])}
    yield from (f"the parameter {name} is not known" for _, name in values.keys() - known.keys())
    for key, parameter in known.items():
        if key in values:
            is_number = parameter["schema"].get("type") == "integer"
            value = int(values[key]) if is_number and values[key].isdecimal() else values[key]
            yield from _problems(parameter["schema"], value)
        elif parameter.get("required"):
            yield f"the parameter {parameter['name']} is missing"


def _schema(content: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = content.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "components": _document()["components"]})
    return [f"{each.json_path}: {each.message[:300]}" for each in validator.iter_errors(value)]

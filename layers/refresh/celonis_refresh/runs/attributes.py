"""JSON values as DynamoDB attribute values and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]
"""An item with attribute values: ``{"pk": {"S": "…"}}``."""


def to_attribute(value: Any) -> dict[str, Any]:
    """One JSON value as an attribute value."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int() | float():
            return {"N": repr(value)}
        case list() | tuple():
            return {"L": [to_attribute(entry) for entry in value]}
        case Mapping():
            return {"M": {str(key): to_attribute(entry) for key, entry in value.items()}}
    raise TypeError(f"{type(value).__name__} has no attribute value")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """One attribute value as a JSON value; whole numbers become ``int``."""
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return float(value) if any(sign in value for sign in ".eE") else int(value)
        case "L":
            return [from_attribute(entry) for entry in value]
        case "M":
            return {key: from_attribute(entry) for key, entry in value.items()}
        case "S" | "BOOL":
            return value
    raise TypeError(f"attribute type {kind} is not used in this table")


def as_read(value: Any) -> Any:
    """A JSON value as it is read again once it was written."""
    return from_attribute(to_attribute(value))


def to_item(document: Mapping[str, Any]) -> Item:
    return {key: to_attribute(value) for key, value in document.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: from_attribute(value) for key, value in item.items()}

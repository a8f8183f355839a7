"""Requests whose cost is in what they ask for, not in how moto answers.

moto lists its own folder and the methods of a service for every request, and looks for each of the ten
kinds of every attribute of a DynamoDB item under four names, at every level: most of the time that a local
stack takes would go there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from moto import backends
from moto.core import responses, utils
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import DynamoType

FIELDS_OF_MOTO = BaseJSONSerializer._serialize_type_structure
MODULES_OF_MOTO = backends.list_of_moto_modules
METHODS_OF_MOTO = utils.method_names_from_class
BYTES = frozenset({"B", "BS"})


def use_cheap_requests() -> None:
    """Attributes of items are written as they stand; what never changes is listed once."""
    BaseJSONSerializer._serialize_type_structure = serialize_type_structure  # type: ignore[method-assign]
    backends.list_of_moto_modules = modules
    responses.method_names_from_class = methods  # type: ignore[attr-defined, assignment]


@cache
def modules() -> tuple[str, ...]:
    """The services that moto has."""
    return tuple(MODULES_OF_MOTO())


@cache
def methods(service: object) -> frozenset[str]:
    """What a service answers to."""
    return frozenset(METHODS_OF_MOTO(service))


def serialize_type_structure(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """As moto's: an attribute of an item stands in memory as it does in JSON already, unless it is bytes."""
    plain = _plain(value) if shape.name == "AttributeValue" and key else None
    if plain is None:
        FIELDS_OF_MOTO(self, serialized, value, shape, key)
    else:
        serialized[self.get_serialized_name(shape, key)] = plain


def _plain(value: Any) -> dict[str, Any] | None:
    """The attribute in JSON; None where moto has to say it."""
    attribute = value.to_regular_json() if isinstance(value, DynamoType) else value
    if not isinstance(attribute, dict) or len(attribute) != 1:
        return None
    ((kind, content),) = attribute.items()
    if kind == "M" and isinstance(content, dict):
        entries = {name: _plain(entry) for name, entry in content.items()}
        return None if None in entries.values() else {kind: entries}
    if kind == "L" and isinstance(content, list):
        listed = [_plain(entry) for entry in content]
        return None if None in listed else {kind: listed}
    return None if kind in BYTES else attribute

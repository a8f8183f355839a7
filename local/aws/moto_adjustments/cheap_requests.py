"""Makes frequent requests to moto cheaper.

For every request, moto lists its own folder and the methods of a service, and searches every attribute of a
DynamoDB item for ten types under four names, at every level. A local stack would spend most of its time
there. For each attribute of an index, it converts the whole item. For each query, it sorts the whole table,
and asks of each string whether it is a number, a set, a list or a map.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from moto import backends
from moto.core import responses, utils
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

FIELDS_OF_MOTO = BaseJSONSerializer._serialize_type_structure
MODULES_OF_MOTO = backends.list_of_moto_modules
METHODS_OF_MOTO = utils.method_names_from_class
PROJECT_OF_MOTO = Item.project
ITEMS_OF_MOTO = Table.all_items
VALUE_OF_MOTO: Any = DynamoType.cast_value
BYTES = frozenset({"B", "BS"})


def use_cheap_requests() -> None:
    """Take attributes of items and keys of tables as they are, and list folders and methods only once."""
    BaseJSONSerializer._serialize_type_structure = serialize_type_structure  # type: ignore[method-assign]
    backends.list_of_moto_modules = modules
    responses.method_names_from_class = methods  # type: ignore[attr-defined, assignment]
    Item.project = project  # type: ignore[method-assign]
    Table.all_items = all_items  # type: ignore[method-assign]
    DynamoType.cast_value = property(value)  # type: ignore[assignment, method-assign]


def all_items(self: Table) -> list[Item]:
    """As moto's: a table without range keys is sorted by the plain values of its keys."""
    if self.range_key_attr:
        return ITEMS_OF_MOTO(self)
    items = cast("Iterable[Item]", self.items.values())
    return sorted(items, key=lambda item: item.hash_key.cast_value)


def value(self: DynamoType) -> Any:
    """As moto's: a string is its value; moto itself converts all else."""
    return self.value if self.type == "S" else VALUE_OF_MOTO.fget(self)


def project(self: Item, projection_expressions: list[list[str]]) -> Item:
    """As moto's: whole attributes are taken as they are; moto itself takes parts of them."""
    names = [path[0] for path in projection_expressions]
    if any(len(path) > 1 or "[" in path[0] for path in projection_expressions):
        return PROJECT_OF_MOTO(self, projection_expressions)
    projected = Item(self.hash_key, self.range_key, attrs={})
    projected.attrs.update((name, self.attrs[name]) for name in names if name in self.attrs)
    return projected


@cache
def modules() -> tuple[str, ...]:
    """Return the services of moto."""
    return tuple(MODULES_OF_MOTO())


@cache
def methods(service: object) -> frozenset[str]:
    """Return the method names of a service."""
    return frozenset(METHODS_OF_MOTO(service))


def serialize_type_structure(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """Replace moto's function: attributes are stored in their JSON form already, except bytes."""
    plain = _plain(value) if shape.name == "AttributeValue" and key else None
    if plain is None:
        FIELDS_OF_MOTO(self, serialized, value, shape, key)
    else:
        serialized[self.get_serialized_name(shape, key)] = plain


def _plain(value: Any) -> dict[str, Any] | None:
    """Return the attribute in JSON; None if moto must serialize it."""
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

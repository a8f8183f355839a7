"""The fields of a rule that are either a constant or ``{"path": …}``, a place in the event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import PlainValidator

from celonis_refresh.webhooks.paths import check_path

MAX_TABLES: Final = 200
"""Tables of a partial load; more than that is a complete load."""
MAX_TABLE_NAME: Final = 256
MAX_REASON: Final = 256
MODES: Final = ("FULL", "DELTA")
ALL_TABLES: Final = "all"

Tables: TypeAlias = tuple[str, ...] | Literal["all"]


@dataclass(frozen=True, slots=True)
class AtPath:
    """A value that the event itself says, where this JMESPath points."""

    path: str


def is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(table, str) and 0 < len(table) <= MAX_TABLE_NAME for table in value
    )


def _at_path(value: object) -> AtPath | None:
    if isinstance(value, AtPath):
        return value
    if isinstance(value, dict) and set(value) == {"path"} and isinstance(value["path"], str):
        return AtPath(check_path(value["path"]))
    return None


def _mode(value: object) -> str | AtPath | None:
    if value is None or (isinstance(value, str) and value in MODES):
        return value
    if at := _at_path(value):
        return at
    raise ValueError('expected "FULL", "DELTA" or {"path": JMESPath}')


def _tables(value: object) -> Tables | AtPath | None:
    if value is None:
        return None
    if value == ALL_TABLES:
        return ALL_TABLES
    if at := _at_path(value):
        return at
    if isinstance(value, list | tuple) and 0 < len(value) <= MAX_TABLES and is_tables(value):
        return tuple(value)
    raise ValueError(
        f'expected 1 to {MAX_TABLES} tables (ids, names or aliases), "all" or {{"path": JMESPath}}'
    )


def _reason(value: object) -> str | AtPath | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= MAX_REASON):
        return value
    if at := _at_path(value):
        return at
    raise ValueError(f'expected a text of 1 to {MAX_REASON} characters or {{"path": JMESPath}}')


ModeField: TypeAlias = Annotated[str | AtPath | None, PlainValidator(_mode)]
TablesField: TypeAlias = Annotated[Tables | AtPath | None, PlainValidator(_tables)]
ReasonField: TypeAlias = Annotated[str | AtPath | None, PlainValidator(_reason)]

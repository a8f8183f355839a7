"""The fields of a rule that are either a constant or ``{"path": …}``, a place in the event."""

# No annotations from __future__: msgspec would compile the text of each at a cold start.
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from celonis_refresh.validation.convert import ValidatedType
from celonis_refresh.webhooks.paths import check_path

MAX_TABLES: Final = 200
"""Tables of a partial load; more than that is a complete load."""
MAX_TABLE_NAME: Final = 256
MAX_REASON: Final = 256
MODES: Final = ("FULL", "DELTA")
ALL_TABLES: Final = "all"

Tables: TypeAlias = tuple[str, ...] | Literal["all"]


class Path(ValidatedType):
    """A JMESPath."""

    @classmethod
    def checked(cls, text: str) -> str:
        return check_path(text)


class AtPath(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that the event itself says, where this JMESPath points."""

    path: Path


def is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(table, str) and 0 < len(table) <= MAX_TABLE_NAME for table in value
    )


Elsewhere: TypeAlias = Annotated[AtPath, Meta(description='{"path": JMESPath}')]
TableName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TABLE_NAME)]
TableNames: TypeAlias = Annotated[
    tuple[TableName, ...],
    Meta(
        min_length=1,
        max_length=MAX_TABLES,
        description=f"a list of 1 to {MAX_TABLES} tables (ids, names or aliases)",
    ),
]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]

ModeField: TypeAlias = Literal["FULL", "DELTA"] | Elsewhere | None
TablesField: TypeAlias = TableNames | Literal["all"] | Elsewhere | None
ReasonField: TypeAlias = Text | Elsewhere | None

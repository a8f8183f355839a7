"""Run options: how much to extract and which tables to load, and how the options of triggers merge.

Options are relative to the definition of the pipeline, so they can be merged without it. Merging is
commutative, associative and idempotent: the follow-up run covers all triggers, in whatever order and however
often they arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.errors import Problem
from celonis_refresh.pipelines.definition import MAX_TABLE_BYTES, MAX_TABLES, Definition, Mode
from celonis_refresh.pipelines.errors import InvalidTrigger

MAX_REASONS = 20
MAX_REASON_LENGTH = 256
MAX_WARNINGS, MAX_WARNING_LENGTH = 5, 300
ALL_TABLES: Final = "all"

_MODE_RANK: Final = {Mode.DELTA: 0, None: 1, Mode.FULL: 2}
"""``None`` means the mode in the definition, which is between DELTA and FULL."""


class Reason(NamedTuple):
    """The reason of a trigger; ordered by time (ISO 8601, UTC), then by trigger."""

    at: str
    trigger: str
    by: str
    text: str


class RunOptions(Struct, frozen=True):
    """What a run does.

    ``mode``: None for that of the definition. ``as_defined``: the loads as defined; ``tables``: further
    tables (ids, names or aliases); ``united``: ``tables`` come from different lists, so a model that has some
    of them may have none of one list; ``complete``: all tables. ``merged``: options of several triggers, so
    that an error of one must not fail the others; ``warnings``: invalid options, which are replaced by
    everything that they may mean.
    """

    mode: Mode | None = None
    as_defined: bool = True
    complete: bool = False
    tables: frozenset[str] = frozenset()
    united: bool = False
    reasons: tuple[Reason, ...] = ()
    merged: bool = False
    warnings: tuple[str, ...] = ()

    def join(self, other: RunOptions) -> RunOptions:
        """Return the smallest options that cover both."""
        tables = self.tables | other.tables
        complete = self.complete or other.complete or _are_too_many(tables)
        as_defined = not complete and (self.as_defined or other.as_defined)
        united = self.united or other.united or self.tables != other.tables
        reasons = {*self.reasons, *other.reasons}
        return RunOptions(
            mode=max(self.mode, other.mode, key=_MODE_RANK.__getitem__),
            as_defined=as_defined,
            complete=complete,
            tables=frozenset() if complete else tables,
            united=united and not complete and not as_defined,
            reasons=tuple(sorted(reasons)[:MAX_REASONS]),
            merged=self.merged or other.merged or len(reasons) > 1,
            warnings=tuple(sorted({*self.warnings, *other.warnings})[:MAX_WARNINGS]),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "as_defined": self.as_defined,
            "complete": self.complete,
            "tables": sorted(self.tables),
            "united": self.united,
            "merged": self.merged,
            "reasons": [reason._asdict() for reason in self.reasons],
        } | ({"warnings": list(self.warnings)} if self.warnings else {})

    @staticmethod
    def from_json(document: dict[str, Any]) -> RunOptions:
        return RunOptions(
            mode=Mode(document["mode"]) if document["mode"] else None,
            as_defined=document["as_defined"],
            complete=document["complete"],
            tables=frozenset(document["tables"]),
            united=document["united"],
            reasons=tuple(Reason(**reason) for reason in document["reasons"]),
            merged=document["merged"],
            warnings=tuple(document.get("warnings", ())),
        )


def make_options(mode: object, tables: object, reasons: Sequence[Reason]) -> RunOptions:
    """Return the options of a trigger: ``mode`` ("FULL", "DELTA", None), ``tables`` (a list, "all", None).

    Raises ``InvalidTrigger`` with the field and without the value.
    """
    problems = [*_mode_problems(mode), *_table_problems(tables)]
    if problems:
        raise InvalidTrigger("The trigger", problems)
    named = frozenset(tables) if isinstance(tables, list | tuple) else frozenset()
    complete = tables == ALL_TABLES or _are_too_many(named)
    return RunOptions(
        mode=Mode(mode) if isinstance(mode, str) else None,
        as_defined=not named and not complete,
        complete=complete,
        tables=frozenset() if complete else named,
        reasons=tuple(reasons),
    )


def _are_too_many(tables: Collection[str]) -> bool:
    """Return whether these tables are too many or their names too long, so that all tables are loaded."""
    return (
        len(tables) > MAX_TABLES
        or sum(len(name.encode(errors="surrogatepass")) for name in tables) > MAX_TABLE_BYTES
    )


def inapplicable(pipeline: str, definition: Definition, options: RunOptions) -> list[Problem]:
    """Return options that the pipeline cannot use: a mode without jobs, tables without loads."""
    problems = []
    if options.mode is not None and not definition.jobs:
        problems.append(Problem("mode", f"expected none: pipeline {pipeline!r} has no data job"))
    takes_tables = any(load.started_by == "run" for load in definition.loads)
    if (options.tables or options.complete) and not takes_tables:
        expected = f"expected none: pipeline {pipeline!r} has no data model load that it starts itself"
        problems.append(Problem("tables", expected))
    return problems


def check_applicable(pipeline: str, definition: Definition, options: RunOptions) -> None:
    """Raise ``InvalidTrigger`` for options that the pipeline cannot use."""
    if problems := inapplicable(pipeline, definition, options):
        raise InvalidTrigger("The trigger", problems, pipeline=pipeline)


def covering(pipeline: str, definition: Definition, mode: object, tables: object, warning: str) -> RunOptions:
    """Return the smallest options that cover all possible meanings of invalid ones.

    ``warning``: what is wrong with them.
    """
    mode = Mode.FULL if any(_mode_problems(mode)) else mode
    tables = ALL_TABLES if any(_table_problems(tables)) else tables
    fields = {problem.field for problem in inapplicable(pipeline, definition, make_options(mode, tables, ()))}
    options = make_options(None if "mode" in fields else mode, None if "tables" in fields else tables, ())
    return replace(options, merged=True, warnings=(warning[:MAX_WARNING_LENGTH],))


def _mode_problems(mode: object) -> Iterable[Problem]:
    if mode is not None and mode not in list(Mode):
        yield Problem("mode", 'expected "FULL" or "DELTA"')


def _table_problems(tables: object) -> Iterable[Problem]:
    if tables is None or tables == ALL_TABLES:
        return
    if not isinstance(tables, list | tuple) or not tables:
        yield Problem("tables", 'expected a list of table ids, names or aliases that is not empty, or "all"')
    elif not all(isinstance(table, str) and 0 < len(table) <= 256 for table in tables):
        yield Problem("tables", "expected every table to be a text of 1 to 256 characters")

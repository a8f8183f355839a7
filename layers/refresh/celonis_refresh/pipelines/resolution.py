"""Which tables a load reloads: names and aliases turned into ids, before the first job starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.ids import canonical_id
from celonis_refresh.pipelines.modes import LoadKind
from celonis_refresh.pipelines.plan import Plan, PlannedLoad

SHOWN = 50


class UnknownTable(RefreshError):
    """A table that no data model of the run has. ``known``: the names and aliases that there are."""

    def __init__(self, tables: Collection[str], known: Collection[str]) -> None:
        self.tables = tuple(sorted(tables))
        self.known = tuple(sorted(known))
        super().__init__(
            f"No table {_listed(self.tables)} in the data model.",
            hint=f"Existing tables: {_listed(self.known) or 'none'}. Nothing was started.",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


class ResolvedLoad(Struct, frozen=True):
    """What is really loaded: ``tables`` maps table ids to the names that people know, for a partial load."""

    kind: LoadKind
    tables: Mapping[str, str]


class Resolution(Struct, frozen=True):
    """``loads``: each load of the plan by step. ``dropped``: wanted tables that are left out, as unknown."""

    loads: Mapping[str, ResolvedLoad]
    dropped: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What the record says of the tables that are left out."""
        if not self.dropped:
            return []
        named = _listed(self.dropped)
        return [f"No table {named} in the data model: left out. One of the merged triggers requested it."]


def resolve(plan: Plan, models: Mapping[str, Iterable[ModelTable]]) -> Resolution:
    """What the plan's loads reload. ``models``: the tables of every model whose load ``names_tables``.

    A name that stands for several tables (the same table from two data sources) means all of them. A wanted
    table may be missing where loads were left out: it may be one of theirs. Where several triggers were
    merged, an unknown table is dropped, as long as anything that they want remains.
    Raises ``UnknownTable``.
    """
    tables = {model: tuple(found) for model, found in models.items()}
    everywhere = [table for found in tables.values() for table in found]
    missing = tuple(name for name in plan.wanted if not _matches(name, everywhere))
    missing = () if plan.lacks_loads else missing
    remains = plan.as_defined or len(missing) < len(plan.wanted)
    if missing and not (plan.may_drop and remains):
        raise UnknownTable(missing, _names(everywhere))
    loads = {load.step: _resolve(load, tables.get(load.data_model, ())) for load in plan.loads}
    return Resolution(loads, missing)


def _resolve(load: PlannedLoad, tables: Collection[ModelTable]) -> ResolvedLoad:
    if missing := {name for name in load.tables if not _matches(name, tables)}:
        raise UnknownTable(missing, _names(tables))
    wanted = _pick(load.wanted, tables)
    if load.only_wanted and wanted:
        return ResolvedLoad(LoadKind.PARTIAL, wanted)
    if load.kind is LoadKind.COMPLETE:
        return ResolvedLoad(LoadKind.COMPLETE, {})
    picked = _pick(load.tables, tables) | wanted
    return ResolvedLoad(LoadKind.PARTIAL if picked else load.kind, picked)


def _matches(name: str, tables: Iterable[ModelTable]) -> list[ModelTable]:
    """Return the tables of this name or alias, or the one of this id, however the id is written."""
    found = canonical_id(name)
    return [
        table
        for table in tables
        if name in (table.name, table.alias, table.alias_or_name) or found == canonical_id(table.id)
    ]


def _pick(names: Iterable[str], tables: Collection[ModelTable]) -> dict[str, str]:
    found = [table for name in names for table in _matches(name, tables)]
    return {table.id: table.alias_or_name or table.name or table.id for table in found}


def _names(tables: Iterable[ModelTable]) -> set[str]:
    return {name for table in tables for name in (table.name, table.alias) if name}

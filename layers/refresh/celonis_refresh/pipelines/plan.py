"""The plan of a run: the jobs and loads of a definition with run options, and their tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition, JobStep, LoadKind, LoadStep, Mode, canonical_id
from celonis_refresh.pipelines.options import RunOptions

AS_DEFINED: Final = RunOptions()


def labelled(id_: str, name: str) -> str:
    """Return a job or data model as messages show it."""
    return f'"{name}" ({id_})' if name else id_


class PlannedJob(Struct, frozen=True):
    """One job of a run. ``step``: its name in the run; jobs of the same ``stage`` run in parallel."""

    step: str
    job: str
    mode: Mode
    stage: int
    timeout: int
    name: str = ""

    @property
    def label(self) -> str:
        """The job in a message: its id, with the name that the definition gives it."""
        return labelled(self.job, self.name)


class PlannedLoad(Struct, frozen=True):
    """One load of a run with its tables as written: ids, names or aliases.

    ``tables``: of the definition; the model must have them. ``requested``: of the trigger; some model of the
    pipeline must have each. ``only_requested``: they replace the tables of the definition, except in a model
    that has none of them; otherwise they are added.
    """

    step: str
    data_model: str
    kind: LoadKind
    tables: tuple[str, ...]
    requested: tuple[str, ...]
    only_requested: bool
    timeout: int
    on_warning: Literal["succeed", "fail"]
    started_by: Literal["run", "job"]
    name: str = ""

    @property
    def label(self) -> str:
        """The data model in a message: its id, with the name that the definition gives it."""
        return labelled(self.data_model, self.name)

    @property
    def names_tables(self) -> bool:
        """Whether the tables of the model must be read to resolve this load."""
        return bool(self.tables or self.requested)


class Plan(Struct, frozen=True):
    """The steps of a run in the order of their start.

    ``lacks_loads``: some loads are skipped. ``requested``: the tables of the triggers. ``may_drop``: tables
    that no data model has are dropped, because several triggers were merged. ``as_defined``: a trigger wants
    the loads as defined.
    """

    jobs: tuple[PlannedJob, ...]
    loads: tuple[PlannedLoad, ...]
    lacks_loads: bool = False
    requested: tuple[str, ...] = ()
    may_drop: bool = False
    as_defined: bool = True

    def job(self, step: str) -> PlannedJob:
        return next(job for job in self.jobs if job.step == step)

    def load(self, step: str) -> PlannedLoad:
        return next(load for load in self.loads if load.step == step)


def make_plan(definition: Definition, options: RunOptions, skip: Collection[str] = ()) -> Plan:
    """Return the plan of a run, which depends only on its record.

    ``skip``: ids of jobs and data models that are left out, because an earlier run completed them. No job is
    left out while one of them has to start a load.
    """
    skipped = set(map(canonical_id, skip))
    loads = [step for step in definition.loads if canonical_id(step.data_model_id) not in skipped]
    done = set() if any(step.started_by == "job" for step in loads) else skipped
    stages = [
        [step for step in steps if canonical_id(step.job_id) not in done] for steps in definition.stages()
    ]
    jobs = [(stage, step) for stage, steps in enumerate(filter(None, stages)) for step in steps]
    is_alone = [step.started_by for step in definition.loads].count("run") == 1
    return Plan(
        jobs=tuple(_job(number, stage, step, options) for number, (stage, step) in enumerate(jobs)),
        loads=tuple(_load(number, step, options, is_alone=is_alone) for number, step in enumerate(loads)),
        lacks_loads=len(loads) < len(definition.loads),
        requested=tuple(sorted(options.tables)),
        may_drop=options.merged,
        as_defined=options.as_defined,
    )


def _job(number: int, stage: int, step: JobStep, options: RunOptions) -> PlannedJob:
    mode = options.mode or step.mode
    return PlannedJob(f"job-{number}", step.job_id, mode, stage, step.timeout, step.name)


def _load(number: int, step: LoadStep, options: RunOptions, *, is_alone: bool) -> PlannedLoad:
    """Return a load. ``is_alone``: no other load takes options, so every list of tables is for this model."""
    if step.started_by == "job":
        options = AS_DEFINED  # options do not apply to loads that a job starts
    return PlannedLoad(
        step=f"load-{number}",
        data_model=step.data_model_id,
        kind=LoadKind.COMPLETE if options.complete else step.kind,
        tables=() if options.complete else step.tables,
        requested=tuple(sorted(options.tables)),
        only_requested=bool(options.tables) and not options.as_defined and (is_alone or not options.united),
        timeout=step.timeout,
        on_warning=step.on_warning,
        started_by=step.started_by,
        name=step.name,
    )


SHOWN = 50
REQUESTED_HINT = "Start a new run with tables that exist: a retry requests the same tables again. "


class UnknownTable(RefreshError):
    """No data model of the run has these tables. ``existing``: existing names and aliases.

    ``models``: the data models that were searched, as messages show them. ``requested``: whether the options
    of the run name the tables, which a retry keeps; otherwise the definition names them.
    """

    def __init__(
        self,
        tables: Collection[str],
        existing: Collection[str],
        models: Sequence[str],
        *,
        requested: bool = False,
    ) -> None:
        self.tables = tuple(sorted(tables))
        self.existing = tuple(sorted(existing))
        self.models = tuple(models)
        noun = "data model" if len(self.models) == 1 else "data models"
        action = REQUESTED_HINT if requested else ""
        super().__init__(
            f"No table {_listed(self.tables)} in {noun} {_listed(self.models)}.",
            hint=f"{action}Existing tables: {_listed(self.existing) or 'none'}. Nothing was started.",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


class ResolvedLoad(Struct, frozen=True):
    """A load with table ids. ``tables``: names by table id, for a partial load."""

    kind: LoadKind
    tables: Mapping[str, str]


class ResolvedLoads(Struct, frozen=True):
    """``loads``: the loads of the plan by step. ``dropped``: unknown requested tables."""

    loads: Mapping[str, ResolvedLoad]
    dropped: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """Warnings about dropped tables, for the record."""
        if not self.dropped:
            return []
        named = _listed(self.dropped)
        return [f"No table {named} in the data model: left out. One of the merged triggers requested it."]


def resolve(plan: Plan, models: Mapping[str, Iterable[ModelTable]]) -> ResolvedLoads:
    """Return the loads of the plan with table ids. ``models``: tables by model, for ``names_tables``.

    A name that several tables have (from different data sources) means all of them. A requested table may be
    missing if loads are left out. If several triggers were merged, unknown tables are dropped as long as
    other options remain. Raises ``UnknownTable``.
    """
    tables = {model: tuple(matches) for model, matches in models.items()}
    everywhere = [table for matches in tables.values() for table in matches]
    missing = tuple(name for name in plan.requested if not _matches(name, everywhere))
    missing = () if plan.lacks_loads else missing
    remains = plan.as_defined or len(missing) < len(plan.requested)
    if missing and not (plan.may_drop and remains):
        searched = [load.label for load in plan.loads if load.data_model in tables]
        raise UnknownTable(missing, _names(everywhere), searched, requested=True)
    loads = {load.step: _resolve(load, tables.get(load.data_model, ())) for load in plan.loads}
    return ResolvedLoads(loads, missing)


def _resolve(load: PlannedLoad, tables: Collection[ModelTable]) -> ResolvedLoad:
    if missing := {name for name in load.tables if not _matches(name, tables)}:
        raise UnknownTable(missing, _names(tables), [load.label])
    requested = _pick(load.requested, tables)
    if load.only_requested and requested:
        return ResolvedLoad(LoadKind.PARTIAL, requested)
    if load.kind is LoadKind.COMPLETE:
        return ResolvedLoad(LoadKind.COMPLETE, {})
    picked = _pick(load.tables, tables) | requested
    return ResolvedLoad(LoadKind.PARTIAL if picked else load.kind, picked)


def _matches(name: str, tables: Iterable[ModelTable]) -> list[ModelTable]:
    """Return the tables with this name or alias, or the one with this id in any spelling."""
    id_ = canonical_id(name)
    return [
        table
        for table in tables
        if name in (table.name, table.alias, table.alias_or_name) or id_ == canonical_id(table.id)
    ]


def _pick(names: Iterable[str], tables: Collection[ModelTable]) -> dict[str, str]:
    matches = [table for name in names for table in _matches(name, tables)]
    return {table.id: table.alias_or_name or table.name or table.id for table in matches}


def _names(tables: Iterable[ModelTable]) -> set[str]:
    return {name for table in tables for name in (table.name, table.alias) if name}

"""What a run does: the jobs and loads of a definition under the options of a run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from msgspec import Struct

from celonis_refresh.pipelines.definition import Definition, JobStep, LoadStep
from celonis_refresh.pipelines.ids import canonical_id
from celonis_refresh.pipelines.modes import LoadKind, Mode
from celonis_refresh.pipelines.options import RunOptions

AS_DEFINED: Final = RunOptions()


class PlannedJob(Struct, frozen=True):
    """One job of a run. ``step`` names it within the run; those of one ``stage`` run side by side."""

    step: str
    job: str
    mode: Mode
    stage: int
    timeout: int


class PlannedLoad(Struct, frozen=True):
    """One load of a run, its tables still as somebody wrote them: ids, names or aliases.

    ``tables`` are the definition's and must be in this model. ``wanted`` are the trigger's: each must be in
    some model of the pipeline. ``only_wanted``: they take the place of what is defined, except in a model
    that has none of them; otherwise they come on top of it.
    """

    step: str
    data_model: str
    kind: LoadKind
    tables: tuple[str, ...]
    wanted: tuple[str, ...]
    only_wanted: bool
    timeout: int
    on_warning: Literal["succeed", "fail"]
    started_by: Literal["run", "job"]

    @property
    def names_tables(self) -> bool:
        """Whether the model's tables must be asked for before this load can be made."""
        return bool(self.tables or self.wanted)


class Plan(Struct, frozen=True):
    """The steps of a run, in the order in which they start. ``lacks_loads``: some were left out.

    ``wanted``: the tables that the triggers name. ``may_drop``: those that no data model has are left out,
    because they are one trigger's among several. ``as_defined``: a trigger wants the loads as defined.
    """

    jobs: tuple[PlannedJob, ...]
    loads: tuple[PlannedLoad, ...]
    lacks_loads: bool = False
    wanted: tuple[str, ...] = ()
    may_drop: bool = False
    as_defined: bool = True

    def job(self, step: str) -> PlannedJob:
        return next(job for job in self.jobs if job.step == step)

    def load(self, step: str) -> PlannedLoad:
        return next(load for load in self.loads if load.step == step)


def make_plan(definition: Definition, options: RunOptions, skip: Collection[str] = ()) -> Plan:
    """The plan of a run: pure, so that whoever has the record has the plan.

    ``skip``: ids of jobs and data models that are left out, because a run before is done with them. Jobs
    are not left out while one of them is to start a load.
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
        wanted=tuple(sorted(options.tables)),
        may_drop=options.merged,
        as_defined=options.as_defined,
    )


def _job(number: int, stage: int, step: JobStep, options: RunOptions) -> PlannedJob:
    return PlannedJob(f"job-{number}", step.job_id, options.mode or step.mode, stage, step.timeout)


def _load(number: int, step: LoadStep, options: RunOptions, *, is_alone: bool) -> PlannedLoad:
    """``is_alone``: no other load takes options, so that every list of tables is one of this model."""
    if step.started_by == "job":
        options = AS_DEFINED  # what a job starts is not ours to shape
    return PlannedLoad(
        step=f"load-{number}",
        data_model=step.data_model_id,
        kind=LoadKind.COMPLETE if options.complete else step.kind,
        tables=() if options.complete else step.tables,
        wanted=tuple(sorted(options.tables)),
        only_wanted=bool(options.tables) and not options.as_defined and (is_alone or not options.united),
        timeout=step.timeout,
        on_warning=step.on_warning,
        started_by=step.started_by,
    )

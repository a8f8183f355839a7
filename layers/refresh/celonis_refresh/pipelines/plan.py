"""What a run does: the jobs and loads of a definition under a wish."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from celonis_refresh.pipelines.definition import Definition, JobStep, LoadStep
from celonis_refresh.pipelines.modes import LoadKind, Mode
from celonis_refresh.pipelines.wishes import Wish


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job of a run. ``step`` names it within the run; those of one ``stage`` run side by side."""

    step: str
    job: str
    mode: Mode
    stage: int
    timeout: int


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    """One load of a run, its tables still as somebody wrote them: ids, names or aliases.

    ``tables`` are the definition's and must be in this model. ``wanted`` are the trigger's: each must be in
    some model of the run, and a model that has none of them is loaded as defined.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run, in the order in which they start."""

    jobs: tuple[PlannedJob, ...]
    loads: tuple[PlannedLoad, ...]

    def job(self, step: str) -> PlannedJob:
        return next(job for job in self.jobs if job.step == step)

    def load(self, step: str) -> PlannedLoad:
        return next(load for load in self.loads if load.step == step)


def make_plan(definition: Definition, wish: Wish, skip: Collection[str] = ()) -> Plan:
    """The plan of a run: pure, so that whoever has the record has the plan.

    ``skip``: ids of jobs and data models that are left out, because a run before is done with them.
    """
    stages = [[step for step in steps if step.job_id not in skip] for steps in definition.stages()]
    jobs = [(stage, step) for stage, steps in enumerate(filter(None, stages)) for step in steps]
    loads = [step for step in definition.loads if step.data_model_id not in skip]
    return Plan(
        jobs=tuple(_job(number, stage, step, wish) for number, (stage, step) in enumerate(jobs)),
        loads=tuple(_load(number, step, wish) for number, step in enumerate(loads)),
    )


def _job(number: int, stage: int, step: JobStep, wish: Wish) -> PlannedJob:
    return PlannedJob(f"job-{number}", step.job_id, wish.mode or step.mode, stage, step.timeout)


def _load(number: int, step: LoadStep, wish: Wish) -> PlannedLoad:
    if step.started_by == "job":
        return _awaited(number, step)
    complete = wish.complete or (wish.as_defined and step.kind is LoadKind.COMPLETE)
    return PlannedLoad(
        step=f"load-{number}",
        data_model=step.data_model_id,
        kind=LoadKind.COMPLETE if complete else step.kind,
        tables=() if complete else step.tables,
        wanted=() if complete else tuple(sorted(wish.tables)),
        only_wanted=not complete and not wish.as_defined,
        timeout=step.timeout,
        on_warning=step.on_warning,
        started_by="run",
    )


def _awaited(number: int, step: LoadStep) -> PlannedLoad:
    """A load that a job starts is not ours to shape: no wish reaches it."""
    return PlannedLoad(
        step=f"load-{number}",
        data_model=step.data_model_id,
        kind=step.kind,
        tables=(),
        wanted=(),
        only_wanted=False,
        timeout=step.timeout,
        on_warning=step.on_warning,
        started_by="job",
    )

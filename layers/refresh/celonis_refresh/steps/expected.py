"""How long a run is expected to take, by the durations of earlier runs of its jobs and loads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.pipelines.definition import LoadKind
from celonis_refresh.pipelines.plan import Plan, PlannedJob, PlannedLoad
from celonis_refresh.runs.table import job_durations, model_durations
from celonis_refresh.steps.step import is_started
from celonis_refresh.timing import epoch

Usual = Mapping[str, float]
"""Usual seconds of a success, by the key of the durations; 0 if they are not known."""


def duration_key(step: PlannedJob | PlannedLoad) -> str:
    """Return the key of the durations of a step."""
    if isinstance(step, PlannedJob):
        return job_durations(step.job, step.mode.value)
    return model_durations(step.data_model, "by_job" if step.started_by == "job" else step.kind.value)


def duration_keys(plan: Plan) -> list[str]:
    """Return the keys of the durations of all steps."""
    return list(dict.fromkeys(duration_key(step) for step in _steps(plan)))


def with_resolved_loads(plan: Plan, loads: Mapping[str, Mapping[str, Any]] | None) -> Plan:
    """Return the plan with the kinds of its loads as they were resolved: durations are stored by these.

    ``loads``: of the record; None before they are resolved.
    """
    if loads is None:
        return plan
    resolved = (replace(load, kind=LoadKind(loads[load.step]["kind"])) for load in plan.loads)
    return replace(plan, loads=tuple(resolved))


def seconds_left(plan: Plan, usual: Usual, states: Mapping[str, Any], now: float) -> float | None:
    """Return the seconds that a run still takes: stages of jobs in order, then the loads in parallel.

    ``states``: of the steps that have begun; empty for a run that has not. None if no duration is known. A
    step without known durations counts as 0, and waits are not known, so the result is rather too small. A
    step that takes longer than usual is expected to exceed it by as much again.
    """
    if not any(usual.get(duration_key(step), 0.0) for step in _steps(plan)):
        return None
    return _sum_left(plan, usual, states, now)


def known_seconds_left(plan: Plan, usual: Usual, states: Mapping[str, Any], now: float) -> float | None:
    """Return the seconds that a run still takes, as ``seconds_left``, without its waits.

    None if the duration of a step that has not ended is not known.
    """
    left = [step for step in _steps(plan) if "outcome" not in states.get(step.step, {})]
    is_known = all(usual.get(duration_key(step), 0.0) for step in left)
    return _sum_left(plan, usual, states, now) if is_known else None


def expected_end(plan: Plan, usual: Usual, states: Mapping[str, Any], now: float) -> float | None:
    """Return when a run is expected to end; None while it waits, or if a duration is not known."""
    left = known_seconds_left(plan, usual, states, now)
    return None if left is None or is_waiting(plan, states) else now + left


def is_waiting(plan: Plan, states: Mapping[str, Any]) -> bool:
    """Return whether a step waits for something of unknown duration.

    It waits for another run, for Celonis to be idle, to answer or to accept a start.
    """
    return any(_is_waiting(states.get(step.step, {})) for step in _steps(plan))


def _is_waiting(state: Mapping[str, Any]) -> bool:
    if "outcome" in state:
        return False
    return "last_error" in state or ("began" in state and not is_started(state))


def _sum_left(plan: Plan, usual: Usual, states: Mapping[str, Any], now: float) -> float:
    jobs = (list(stage) for _, stage in groupby(plan.jobs, lambda job: job.stage))
    stages: list[Sequence[PlannedJob | PlannedLoad]] = [*jobs, plan.loads]
    return sum(
        max(_left(usual.get(duration_key(step), 0.0), states.get(step.step, {}), now) for step in stage)
        for stage in stages
        if stage
    )


def _steps(plan: Plan) -> list[PlannedJob | PlannedLoad]:
    return [*plan.jobs, *plan.loads]


def _left(usual: float, state: Mapping[str, Any], now: float) -> float:
    if usual == 0 or "outcome" in state:
        return 0.0
    began = _running_since(state)
    return usual if began is None else abs(usual - (now - began))


def _running_since(state: Mapping[str, Any]) -> float | None:
    """Return when a step began to run; None if it has not. What is queued in Celonis does not run."""
    if "started_date" in state:
        return float(state["started_date"]) / 1000
    if "noted_at" not in state or state.get("refused") or state.get("status") == JobStatus.QUEUED:
        return None
    return epoch(str(state["noted_at"]))

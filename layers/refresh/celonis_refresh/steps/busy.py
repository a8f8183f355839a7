"""Running executions that polls of a waiting step have shown, recorded for this and other runs."""

from __future__ import annotations

from collections.abc import Collection

from celonis_refresh.runs.earlier import Busy, note_busy
from celonis_refresh.steps.observation import Activity, Observation
from celonis_refresh.steps.step import Step
from celonis_refresh.steps.target import StepTarget

MAX_BUSY_IDS = 10
"""Ids of running executions that are stored for other runs. If there are more, none: they wait ``settle``."""


def record_running(step: Step, observation: Observation) -> None:
    if observation.activity is Activity.RUNNING:
        step.state["shows_running"] = True
    # A contradiction alone does not prove that something runs; a load's row without an end date does.
    if observation.activity is Activity.RUNNING or observation.running_ids or observation.running_rows:
        record_busy(step, observation)


def record_busy(step: Step, observation: Observation | None = None) -> None:
    """Record that something runs, as ``observation`` shows; the baseline has to show its end."""
    step.state.pop("rejected", None)
    before, ids = step.state.get("busy", {}), observation.running_rows if observation else frozenset()
    step.state["busy"] = {
        "at": step.now(),
        "ids": sorted(ids | frozenset(before.get("ids", ()))),
        "unnamed": bool(before.get("unnamed")) or not (observation and observation.names_what_runs),
    }
    busy = step.state["busy"]
    store_busy(step, step.target.lease, () if busy["unnamed"] else busy["ids"])


def store_busy(step: Step, lease: str, rows: Collection[str]) -> None:
    """Store for all runs that something runs. ``rows``: its ids, if they are complete."""
    until = step.now() + step.run.definition.settle
    busy = Busy(until, tuple(sorted(rows)) if len(rows) <= MAX_BUSY_IDS else ())
    note_busy(step.context.records.table, step.run.run_id, lease, busy, step.context.clock, step.deadline)


def is_leftover(step: Step, observation: Observation) -> bool:
    """Return whether only an id or a missing end date has suggested a run for ``settle`` seconds."""
    contradiction = observation.identity or observation.status
    shown = contradiction if observation.is_contradictory else observation.current
    if observation.activity is Activity.RUNNING or shown is None:
        return False
    return _is_shown_long(step, "stood", shown)


def _is_shown_long(step: Step, field: str, shown: str) -> bool:
    """Return whether polls have shown this id for ``settle`` seconds; ``field`` of the state has it."""
    before = step.state.get(field, {})
    if before.get("id") != shown:
        step.state[field] = {"id": shown, "since": step.now()}
        return False
    return bool(step.now() - float(before["since"]) >= step.run.definition.settle)


def is_leftover_load(step: Step, target: StepTarget, observation: Observation) -> bool:
    """Return whether only a missing end date has suggested a load for ``settle`` seconds."""
    shown = observation.identity
    return shown is not None and _is_shown_long(step, f"stood_{target.step}", shown)

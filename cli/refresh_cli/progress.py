"""How far a run is: its steps, by its record, which has the expected durations. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from celonis_refresh.celonis.records import (
    ACTIVE_JOB_STATUSES,
    ACTIVE_LOAD_STATUSES,
    JobStatus,
    LoadStatus,
)
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.pipelines.plan import Plan, make_plan
from refresh_cli.times import epoch, seconds_between, took

ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})
PENDING, WAITING, RUNNING, STOPPING = "pending", "waiting", "running", "stopping"
NOT_STARTED, ENDED_BY_ITSELF, NOT_ENDED = "not started", "ended", "not ended"
"""States of steps without an outcome, once their run has ended."""
TERMINAL = frozenset({*JobStatus, *LoadStatus}) - ACTIVE_JOB_STATUSES - ACTIVE_LOAD_STATUSES
"""Statuses from Celonis of what does not run any more."""
MAX_SHARE = 0.99
"""What has not ended is never shown as complete."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class StepProgress:
    """One step. ``seconds``: since it began; ``expected``: what it usually takes; ``note``: why it waits."""

    step: str
    what: str
    state: str
    seconds: float | None = None
    expected: float | None = None
    note: str = ""

    @property
    def share(self) -> float | None:
        """How much of the usual duration has passed; None if it is not known."""
        if self.state == "SUCCEEDED":
            return 1.0
        if self.state != RUNNING or self.seconds is None or not self.expected:
            return None
        return min(self.seconds / self.expected, MAX_SHARE)

    @property
    def text(self) -> str:
        """The state in words, for a line of a log."""
        passed = took(self.seconds)
        match self.state:
            case "pending":
                return "has not started"
            case "waiting":
                return f"is waiting: {self.note}" if self.note else "is waiting"
            case "running":
                usual = f" of about {took(self.expected)}" if self.expected else ""
                share = f" ({self.share:.0%})" if self.share is not None else ""
                note = f"; {self.note}" if self.note else ""
                return f"is running: {passed}{usual}{share}{note}"
        after = f" after {passed}" if passed else ""
        return f"{self.state}{after}" + (f": {self.note}" if self.note else "")


def steps_of(record: Record, now: float) -> list[StepProgress]:
    """Return all steps of a run, also those that have not begun, in the order of the plan."""
    states: Mapping[str, Record] = record.get("steps") or {}
    planned = dict(_planned(record))
    names = [*planned, *(name for name in states if name not in planned)]
    steps = [_step(name, states.get(name, {}), planned.get(name, {}), now) for name in names]
    if record["status"] in ENDED:
        return [_after_end(each, states.get(each.step, {})) for each in steps]
    return steps


def _after_end(step: StepProgress, state: Record) -> StepProgress:
    """Return a step of a run that has ended: without an outcome, the end of its job or load is not known."""
    if step.state in (PENDING, WAITING):
        return replace(step, state=NOT_STARTED)
    if step.state not in (RUNNING, STOPPING):
        return step
    status = str(state.get("status") or "")
    has_ended = status in TERMINAL
    note = f"status in Celonis: {status}" if status else ""
    return replace(step, state=ENDED_BY_ITSELF if has_ended else NOT_ENDED, seconds=None, note=note)


def seconds_of(record: Record, now: float) -> float | None:
    """Return how long a run has taken so far; None if it has not begun."""
    begin = record.get("started_at") or record.get("created_at")
    if begin is None:
        return None
    end = record.get("ended_at")
    return max(0.0, (epoch(end) if end else now) - epoch(begin))


def expected_end(record: Record) -> tuple[float | None, bool]:
    """Return when the API expects a run to end, and whether there is no such time because the run waits.

    None if it waits, or if the duration of a step that has not ended is not known.
    """
    end = record.get("expected_end")
    waits = end is None and record.get("expected_seconds_left") is not None
    return (epoch(str(end)) if end else None), waits


def _step(name: str, state: Record, planned: Record, now: float) -> StepProgress:
    facts = {**planned, **state, "name": planned.get("name") or state.get("name")}
    expected = state.get("expected_seconds")
    what = _what(facts)
    begin, end = state.get("noted_at"), state.get("ended_at")
    if "outcome" in state:
        outcome = str(state["outcome"])
        note = "" if outcome == "SUCCEEDED" else str(state.get("message") or state.get("error") or "")
        return StepProgress(name, what, outcome, seconds_between(begin, end), expected, note)
    if begin is None:
        note = str(state.get("last_error") or state.get("waiting_for") or "")
        return StepProgress(name, what, WAITING if note else PENDING, expected=expected, note=note)
    running = STOPPING if "stopping" in state else RUNNING
    seconds = max(0.0, now - epoch(str(begin)))
    return StepProgress(name, what, running, seconds, expected, str(state.get("last_error") or ""))


def _what(state: Record) -> str:
    if "job" in state:
        return f"data job {state.get('name') or state['job']} ({state.get('mode', '')})"
    if "data_model" not in state:
        return ""
    tables = state.get("tables") or ()
    named = f": {', '.join(tables)}" if len(tables) <= 4 else f": {len(tables)} tables"
    return (
        f"{state.get('kind', '')} load of {state.get('name') or state['data_model']}{named if tables else ''}"
    )


def _planned(record: Record) -> Iterator[tuple[str, Record]]:
    """Yield the name of each step of the plan, with what it does."""
    plan = _plan(record)
    if plan is None:
        return
    loads: Mapping[str, Record] = record.get("loads") or {}
    for job in plan.jobs:
        yield job.step, {"job": job.job, "mode": job.mode.value, "name": str(job.name)}
    for load in plan.loads:
        kind = loads.get(load.step, {}).get("kind", load.kind.value)
        yield load.step, {"data_model": load.data_model, "kind": kind, "name": str(load.name)}


def _plan(record: Record) -> Plan | None:
    """Return the plan of a run; None if its definition is missing, or newer than this tool."""
    document = record.get("definition")
    if not isinstance(document, dict):
        return None
    known = {name: value for name, value in document.items() if name != "name"}  # of an inline definition
    try:
        definition = read_definition("The definition", Definition, known)
        options = RunOptions.from_json(record["options"])
        return make_plan(definition, options, record.get("skip") or ())
    except (RefreshError, LookupError, TypeError, ValueError):
        return None

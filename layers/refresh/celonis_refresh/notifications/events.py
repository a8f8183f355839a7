"""Run events: what EventBridge receives about runs, steps and pipelines. Pure.

docs/events.md describes them, events/schemas/ has a JSON Schema for each detail-type. The event of a record
is always the same, whenever it is sent again: its id and its times come from the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from celonis_refresh.notifications.outbox import Message, MessageKind, Outbox
from celonis_refresh.pipelines.plan import PlannedJob, PlannedLoad
from celonis_refresh.runs.records import ENDED, STARTED, Run, cut, due_of_step
from celonis_refresh.timing import epoch, iso

SOURCE: Final = "celonis-refresh"
SCHEMA_VERSION: Final = "1"
MAX_MESSAGE = 1024
"""Bytes of a text in an event."""
MAX_TRIGGERS = 5
"""Triggers that an event names."""
UNKNOWN: Final = "UNKNOWN"
"""Outcome of a step whose end is not proven when its run ends."""
CREDENTIALS = re.compile(r"://[^/\s@]*@")


class BusEvent(Struct, frozen=True):
    """An event for the event bus. ``time``: as ``iso`` writes it."""

    detail_type: str
    time: str
    detail: Mapping[str, Any]

    @property
    def event_id(self) -> str:
        return str(self.detail["event_id"])


def events_of(stack: str, run: Run, names: Iterable[str]) -> list[BusEvent]:
    """Return the events of a run by name (``started``, ``job-0/ended``), in the order of their times."""
    return sorted((_event(stack, run, name) for name in names), key=lambda event: event.time)


def due_at_end(run: Run) -> list[str]:
    """Return the names of the events of an ended run that were not sent yet.

    A step that was started and whose end is not proven ends with its run.
    """
    announced = run.item.get("announced", ())
    due = [STARTED] if STARTED not in announced else []
    for step, state in run.steps.items() if run.has_definition else ():
        names = due_of_step(run, step, state)
        due += names
        has_started = "sent_by" in state and not state.get("refused")
        if "ended_at" not in state and (has_started or state.get("announced") == STARTED):
            due.append(f"{step}/{ENDED}")
    return [*due, ENDED]


def events_message(outbox: Outbox, stack: str, run: Run) -> Message:
    """Return the message with all events of an ended run that were not sent yet."""
    events = events_of(stack, run, due_at_end(run))
    return outbox.message(f"{run.run_id}/events", MessageKind.EVENT, "", _facts(events))


def freshness_message(outbox: Outbox, event: BusEvent) -> Message:
    """Return the message with an event of a pipeline."""
    return outbox.message(event.event_id, MessageKind.EVENT, "", _facts([event]))


def events_in(message: Message) -> list[BusEvent]:
    """Return the events of a message."""
    return [BusEvent(**event) for event in message.facts["events"]]


def pipeline_stale(
    stack: str, pipeline: str, *, stale_since: str, last_success_at: str | None, reason: str
) -> BusEvent:
    """Return the event of a pipeline that is not fresh since ``stale_since``."""
    detail = _of_pipeline(stack, pipeline, f"stale/{stale_since}") | {
        "stale_since": stale_since,
        "last_success_at": last_success_at,
        "reason": _text(reason),
    }
    return BusEvent("Pipeline Stale", stale_since, detail)


def pipeline_fresh(
    stack: str, pipeline: str, *, stale_since: str, fresh_at: str, run_id: str | None
) -> BusEvent:
    """Return the event of a pipeline that is fresh again."""
    detail = _of_pipeline(stack, pipeline, f"fresh/{stale_since}") | {
        "stale_since": stale_since,
        "fresh_at": fresh_at,
        "run_id": run_id,
    }
    return BusEvent("Pipeline Fresh", fresh_at, detail)


def _of_pipeline(stack: str, pipeline: str, name: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "event_id": f"{pipeline}/{name}",
        "stack": stack,
        "pipeline": pipeline,
    }


def _facts(events: Iterable[BusEvent]) -> dict[str, Any]:
    return {"events": [asdict(event) for event in events]}


def _event(stack: str, run: Run, name: str) -> BusEvent:
    detail = {
        "schema_version": SCHEMA_VERSION,
        "event_id": f"{run.run_id}/{name}",
        "stack": stack,
        "pipeline": run.pipeline,
        "run_id": run.run_id,
    }
    step, _, what = name.rpartition("/")
    if step:
        detail |= _planned(run, step)
        return _step_started(run, step, detail) if what == STARTED else _step_ended(run, step, detail)
    return _run_started(run, detail) if what == STARTED else _run_ended(run, detail)


def _run_started(run: Run, detail: dict[str, Any]) -> BusEvent:
    """Return the start of a run: when it was created, which a repeated task does not change."""
    created_at = str(run.item["created_at"])
    triggers = [{"by": cut(each.by, 256), "at": each.at} for each in run.options.reasons[:MAX_TRIGGERS]]
    detail |= {"created_at": created_at, "triggers": triggers, "retry_of": run.item.get("retry_of")}
    return BusEvent("Run Started", created_at, detail)


def _run_ended(run: Run, detail: dict[str, Any]) -> BusEvent:
    item, created_at = run.item, str(run.item["created_at"])
    ended_at = str(item["ended_at"])
    detail |= {
        "status": str(item["status"]),
        "error": item.get("error"),
        "message": _text(str(item.get("outcome", ""))),
        "created_at": created_at,
        "started_at": item.get("started_at"),
        "ended_at": ended_at,
        "seconds": _seconds(created_at, ended_at),
        "follow_up": item.get("follow_up"),
        "execution_arn": item.get("execution_arn"),
    }
    return BusEvent("Run Ended", ended_at, detail)


def _step_started(run: Run, step: str, detail: dict[str, Any]) -> BusEvent:
    started_at = _started_at(run.steps[step]) or str(run.item["created_at"])
    detail |= {"started_at": started_at}
    return BusEvent("Step Started", started_at, detail)


def _step_ended(run: Run, step: str, detail: dict[str, Any]) -> BusEvent:
    state = run.steps[step]
    started_at = _started_at(state)
    ended_at = str(state.get("ended_at") or run.item["ended_at"])
    detail |= {
        "outcome": str(state.get("outcome", UNKNOWN)),
        "celonis_status": state.get("status"),
        "execution_id": (state.get("evidence") or {}).get("ours") or state.get("answered_id"),
        "error": state.get("error"),
        "message": _text(str(state["message"])) if state.get("message") else None,
        "started_at": started_at,
        "ended_at": ended_at,
        "seconds": None if started_at is None else _seconds(started_at, ended_at),
    }
    return BusEvent("Step Ended", ended_at, detail)


def _planned(run: Run, step: str) -> dict[str, Any]:
    """Return what a step does. ``name``: of the definition, or of the job in Celonis, if one is known."""
    planned: PlannedJob | PlannedLoad = run.plan.job(step) if step.startswith("job-") else run.plan.load(step)
    name = planned.name or run.steps[step].get("name")
    facts = {"step": step, "data_pool": run.definition.data_pool_id, "name": name}
    if isinstance(planned, PlannedJob):
        return {**facts, "kind": "data_job", "job": planned.job, "mode": str(planned.mode)}
    kind = (run.loads or {}).get(step, {}).get("kind", planned.kind)
    return {**facts, "kind": "data_model_load", "data_model": planned.data_model, "load": str(kind)}


def _started_at(state: Mapping[str, Any]) -> str | None:
    """Return when the start was sent or, for a load that a job starts, from when it was expected."""
    if "sent_by" not in state or state.get("refused"):
        return None
    return str(state["noted_at"]) if "posts" in state else iso(float(state["began"]))


def _seconds(began: str, ended: str) -> float:
    return round(max(0.0, epoch(ended) - epoch(began)), 3)


def _text(text: str) -> str:
    """Return a text without credentials in addresses, cut."""
    return cut(CREDENTIALS.sub("://", text), MAX_MESSAGE)

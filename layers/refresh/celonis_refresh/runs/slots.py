"""Moves a slot from one run to the next: actions of a transaction, conditional on the slot as read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.records import created_at, new_record
from celonis_refresh.runs.table import WAITING, Action, Table, slot_key

STARTED = ", #run_id = :next REMOVE #pending, #status, #position"
RELEASED = ", #released_at = :at"


def release(
    table: Table,
    pipeline: str,
    slot: Mapping[str, Any],
    run_id: str,
    at: str,
    health: Mapping[str, Any] | None = None,
    *,
    paused: bool,
) -> list[Action]:
    """Return the actions that release a slot: to the pending run, or free if there is none or it is paused.

    ``paused``: by its definition; a slot has the pause that was requested by the API.
    ``released_at`` is the end of the run: no later run of the pipeline is created before it. ``health``:
    attributes that are set, of the pipeline after the run.
    """
    pending = slot.get("pending")
    held = {"mine": run_id, "at": at, **(health or {})}
    released = RELEASED + "".join(f", #{name} = :{name}" for name in health or ())
    mine = "#run_id = :mine"
    if pending is None:
        return [_change(table, pipeline, slot, f"{released} REMOVE #run_id", mine, held)]
    if paused or "pause" in slot:
        waiting = {**held, "waiting": WAITING, "position": f"{at} {pipeline}"}
        changes = f"{released}, #status = :waiting, #position = :position REMOVE #run_id"
        return [_change(table, pipeline, slot, changes, mine, waiting)]
    changes = f"{released}{STARTED}"
    changed = _change(table, pipeline, slot, changes, mine, {**held, "next": pending["run_id"]})
    return [changed, _record(table, pipeline, pending, at)]


def start_pending(table: Table, pipeline: str, slot: Mapping[str, Any], at: str) -> list[Action]:
    """Return the actions that make the pending run of a free slot its run, and end a pause of the slot."""
    pending = slot["pending"]
    free = "attribute_not_exists(#run_id)"
    changed = _change(table, pipeline, slot, f"{STARTED}, #pause", free, {"next": pending["run_id"]})
    return [changed, _record(table, pipeline, pending, created_at(slot, at))]


def end_pause(table: Table, pipeline: str, slot: Mapping[str, Any]) -> Action:
    """Return the action that ends the pause of a slot and starts nothing."""
    return _change(table, pipeline, slot, " REMOVE #pause", "attribute_exists(#pause)", {})


def drop_pending(table: Table, pipeline: str, slot: Mapping[str, Any]) -> Action:
    """Return the action that drops the pending run of a slot."""
    waiting = {"waiting": slot["pending"]["run_id"]}
    changes, waits = " REMOVE #pending, #status, #position", "#pending.#run_id = :waiting"
    return _change(table, pipeline, slot, changes, waits, waiting)


def _change(
    table: Table,
    pipeline: str,
    slot: Mapping[str, Any],
    changes: str,
    condition: str,
    values: Mapping[str, Any],
) -> Action:
    """Return the update. ``changes`` continue its SET: ``, #x = :x`` or `` REMOVE #x``."""
    expression, unmoved = f"SET #rev = :later{changes}", f"#rev = :rev AND {condition}"
    counted = {"rev": slot["rev"], "later": slot["rev"] + 1}
    return table.change(slot_key(pipeline), expression, unmoved, {**values, **counted})


def _record(table: Table, pipeline: str, pending: Mapping[str, Any], at: str) -> Action:
    """Return the action that creates the record of a pending run; its definition is read when it opens."""
    record = new_record(str(pending["run_id"]), pipeline, RunOptions.from_json(pending["options"]), at)
    return table.put(record, "attribute_not_exists(pk)")

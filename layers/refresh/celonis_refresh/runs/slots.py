"""How a slot passes from one run to the next: actions of a transaction, conditional on the slot as read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.records import created_at, new_record
from celonis_refresh.runs.table import WAITING, Action, Table, slot_key

STARTED = ", #run_id = :next REMOVE #pending, #status, #position"
RELEASED = ", #released_at = :at"


def release(
    table: Table, pipeline: str, slot: Mapping[str, Any], run_id: str, at: str, *, paused: bool
) -> list[Action]:
    """Return the actions that release a slot: to the pending run, or free if there is none or it is paused.

    ``released_at`` is the end of the run: no later run of the pipeline is created before it.
    """
    pending = slot.get("pending")
    held = {"mine": run_id, "at": at}
    mine = "#run_id = :mine"
    if pending is None:
        return [_change(table, pipeline, slot, f"{RELEASED} REMOVE #run_id", mine, held)]
    if paused:
        waiting = {**held, "waiting": WAITING, "position": f"{at} {pipeline}"}
        changes = f"{RELEASED}, #status = :waiting, #position = :position REMOVE #run_id"
        return [_change(table, pipeline, slot, changes, mine, waiting)]
    changes = f"{RELEASED}{STARTED}"
    changed = _change(table, pipeline, slot, changes, mine, {**held, "next": pending["run_id"]})
    return [changed, _record(table, pipeline, pending, at)]


def start_pending(table: Table, pipeline: str, slot: Mapping[str, Any], at: str) -> list[Action]:
    """Return the actions that make the pending run of a free slot its run."""
    pending = slot["pending"]
    free = "attribute_not_exists(#run_id)"
    changed = _change(table, pipeline, slot, STARTED, free, {"next": pending["run_id"]})
    return [changed, _record(table, pipeline, pending, created_at(slot, at))]


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

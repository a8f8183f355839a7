"""Runs that wait: triggers joined into one that has no record before it begins, but stands in a slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.records import Records, Run
from celonis_refresh.runs.table import MAX_RUN_ID, WAITING, Table, pipeline_of, slot_key


class QueuedRun(Struct, frozen=True):
    """``slot``: its pipeline's, as it was read."""

    run_id: str
    pipeline: str
    slot: Mapping[str, Any]

    @property
    def status(self) -> str:
        return WAITING

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it, like a record. ``waiting_for_run``: the current run, if any."""
        fields = {"run_id": self.run_id, "pipeline": self.pipeline, "status": self.status}
        return {
            **fields,
            "waiting_for_run": self.slot.get("run_id"),
            "options": self.slot["pending"]["options"],
        }


class RunLookup(Struct, frozen=True):
    """Finds a run by its id, whether it has begun or not."""

    table: Table
    records: Records

    def get(self, run_id: str) -> Run | QueuedRun:
        """Raises ``RunNotFound``. What begins between two reads has a record by the third."""
        found = self.records.find(run_id) or self._waiting(run_id)
        return found or self.records.get(run_id)

    def _waiting(self, run_id: str) -> QueuedRun | None:
        pipeline = pipeline_of(run_id)
        slot = self.table.get(slot_key(pipeline)) if len(run_id) <= MAX_RUN_ID else None
        if slot is None or slot.get("pending", {}).get("run_id") != run_id:
            return None
        return QueuedRun(run_id, pipeline, slot)

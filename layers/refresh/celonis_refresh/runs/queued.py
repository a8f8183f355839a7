"""Pending runs: merged triggers in a slot, without a record until the run begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.records import Records, Run
from celonis_refresh.runs.table import MAX_RUN_ID, WAITING, Table, pipeline_of, slot_key


class QueuedRun(Struct, frozen=True):
    """A pending run. ``slot``: of its pipeline, as read."""

    run_id: str
    pipeline: str
    slot: Mapping[str, Any]

    @property
    def status(self) -> str:
        return WAITING

    def shown(self) -> dict[str, Any]:
        """Return the run as the API shows it. ``waiting_for_run``: the current run, if any."""
        fields = {"run_id": self.run_id, "pipeline": self.pipeline, "status": self.status}
        return {
            **fields,
            "waiting_for_run": self.slot.get("run_id"),
            "options": self.slot["pending"]["options"],
        }


class RunLookup(Struct, frozen=True):
    """Finds runs by id, whether they have begun or are pending."""

    table: Table
    records: Records

    def get(self, run_id: str) -> Run | QueuedRun:
        """Return the run. Raises ``RunNotFound``.

        The record is read twice, because a pending run may begin in between.
        """
        run = self.records.find(run_id) or self._waiting(run_id)
        return run or self.records.get(run_id)

    def refresh(self, found: Run | QueuedRun) -> Run | QueuedRun:
        """Return the run as it is now, with one read, or two for a pending run that has begun.

        Raises ``RunNotFound``.
        """
        if isinstance(found, QueuedRun):
            return self._waiting(found.run_id) or self.records.get(found.run_id)
        return self.records.get(found.run_id)

    def _waiting(self, run_id: str) -> QueuedRun | None:
        pipeline = pipeline_of(run_id)
        slot = self.table.get(slot_key(pipeline)) if len(run_id) <= MAX_RUN_ID else None
        if slot is None or slot.get("pending", {}).get("run_id") != run_id:
            return None
        return QueuedRun(run_id, pipeline, slot)

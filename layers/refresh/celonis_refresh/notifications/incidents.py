"""Incidents: whether the runs of a pipeline fail, and whether its data is not fresh.

These are two states of a pipeline, each with its own notifications. They are stored by the transactions that
put the notifications into the outbox, so that a sender can read what is true when it sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from celonis_refresh.notifications.messages import IncidentKind, incident_of
from celonis_refresh.pipelines.freshness import FreshnessState
from celonis_refresh.runs.records import OPEN
from celonis_refresh.runs.table import Table, pipeline_key, run_key, slot_key

MAX_READS: Final = 3


class Incidents(Struct, frozen=True):
    """Reads the incidents of pipelines."""

    table: Table

    def is_open(self, facts: Mapping[str, Any]) -> bool | None:
        """Return whether the incident of a notification is open; None if it belongs to none.

        ``facts``: of the notification. Raises ``TableBusy``.
        """
        kind, pipeline = incident_of(facts), str(facts.get("pipeline") or "")
        if kind is None or not pipeline:
            return None
        return self._is_failing(pipeline) if kind is IncidentKind.RUNS else self._is_not_fresh(pipeline)

    def _is_failing(self, pipeline: str) -> bool:
        """Return whether the last run failed or ended with a warning, or the active one is stuck."""
        for _ in range(MAX_READS):
            slot = self.table.get(slot_key(pipeline)) or {}
            if slot.get("incident"):
                return True
            run_id = slot.get("run_id")
            run = (self.table.get(run_key(str(run_id))) or {}) if run_id else {}
            if not run_id or run.get("status") in OPEN:
                return "stuck" in run
        return False  # each time, the run ended between the two reads

    def _is_not_fresh(self, pipeline: str) -> bool:
        freshness = (self.table.get(pipeline_key(pipeline)) or {}).get("freshness") or {}
        return bool(freshness) and freshness["state"] != FreshnessState.FRESH

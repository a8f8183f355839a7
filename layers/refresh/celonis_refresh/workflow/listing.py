"""Runs as people list them: newest first, by pipeline or by status, a page at a time.

DynamoDB takes its time with what has expired: it may be in an index for days, and is in no list.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.runs.table import Table, to_item
from celonis_refresh.steps.observation import BY_DATE
from celonis_refresh.timing import Clock

SUMMARY = ("run_id", "pipeline", "status", "created_at", "ended_at", "error", "outcome")
FILTERED = 100
"""Items that one request reads where most of them may not be wanted."""
NOT_EXPIRED = "attribute_not_exists(#expires) OR #expires >= :now"
SHOWN = (
    *("run_id", "pipeline", "status", "outcome", "error", "created_at", "started_at", "ended_at", "options"),
    *("loads", "warnings", "retry_of", "skip", "skip_since", "execution_arn", "follow_up", "notified_at"),
)
"""Attributes of a record that the API shows as they are, beside its steps and its definition."""
SHOWN_OF_STEP = (
    *(
        "job",
        "data_model",
        "mode",
        "kind",
        "began",
        "noted_at",
        "ended_at",
        "outcome",
        "status",
        "started_date",
    ),
    *("answered", "refused", "posts", "polls", "rounds", "waiting_for", "trouble", "resumed_from"),
    *("stopping", "cancel_requested", "held", "error", "message"),
)
"""The same of a step, beside ``id``, ``proven_by`` and ``tables``, which are made for it."""


class Page(NamedTuple):
    """``runs``: newest first. ``before``: what to ask for to get the next page, None on the last."""

    runs: list[dict[str, Any]]
    before: str | None


class Listing(Struct, frozen=True):
    """Reads the indexes of the table."""

    table: Table
    clock: Clock

    def page(self, limit: int, pipeline: str | None, status: RunStatus | None, before: str | None) -> Page:
        """Up to ``limit`` runs after the page that gave ``before``, of a pipeline or status if named."""
        found = list(self._newest(limit + 1, pipeline, status, before))
        runs = [{name: item[name] for name in SUMMARY if name in item} for item in found[:limit]]
        return Page(runs, found[limit - 1]["position"] if len(found) > limit else None)

    def all_of(self, status: str) -> Iterator[dict[str, Any]]:
        """Every item that stands under a status in the index, oldest first."""
        request = self._request("by_status", "status", status, None, None)
        for page in self.table.pages({**request, "ScanIndexForward": True}):
            yield from page

    def _newest(
        self, limit: int, pipeline: str | None, status: RunStatus | None, before: str | None
    ) -> Iterator[dict[str, Any]]:
        if pipeline is not None:
            yield from self._query("by_pipeline", "pipeline", pipeline, limit, before, status)
            return
        statuses = [status] if status else list(RunStatus)
        lists = [self._query("by_status", "status", each, limit, before, None) for each in statuses]
        yield from heapq.merge(*lists, key=lambda item: str(item["position"]), reverse=True)

    def _query(
        self, index: str, attribute: str, value: str, limit: int, before: str | None, status: RunStatus | None
    ) -> list[dict[str, Any]]:
        request = self._request(index, attribute, value, before, status)
        items: list[dict[str, Any]] = []
        # A filter counts after the limit: with few matches, a small page would mean many requests.
        for page in self.table.pages({**request, "Limit": limit if status is None else FILTERED}):
            items += page
            if len(items) >= limit:
                break
        return items[:limit]

    def _request(
        self, index: str, attribute: str, value: str, before: str | None, status: RunStatus | None
    ) -> dict[str, Any]:
        condition, filtered = "#key = :key", NOT_EXPIRED
        values: dict[str, Any] = {"key": value, "now": int(self.clock())}
        names = {"#key": attribute, "#expires": "expires"}
        if before is not None:
            condition += " AND #at < :before"
            values["before"], names["#at"] = before, "position"
        if status is not None:
            filtered = f"({filtered}) AND #status = :status"
            values["status"], names["#status"] = status, "status"
        return {
            "IndexName": index,
            "KeyConditionExpression": condition,
            "FilterExpression": filtered,
            "ScanIndexForward": False,
            "ExpressionAttributeValues": {f":{name}": found for name, found in to_item(values).items()},
            "ExpressionAttributeNames": names,
        }


def shown(run: Run) -> dict[str, Any]:
    """The record as people read it: without what the table and the tasks keep for themselves."""
    document = {name: run.item[name] for name in SHOWN if name in run.item}
    loads = run.loads or {}
    document["steps"] = {step: _shown_step(state, loads.get(step, {})) for step, state in run.steps.items()}
    if run.has_definition:
        document["definition"] = json.loads(run.item["definition"])
    return document


def _shown_step(state: Mapping[str, Any], load: Mapping[str, Any]) -> dict[str, Any]:
    """``load``: what is really loaded, if it is a load; the names of its tables are stored there only."""
    proof = state.get("evidence", {})
    known = {name: state[name] for name in SHOWN_OF_STEP if name in state}
    ours = proof.get("ours")
    shown = None if ours is None or str(ours).startswith(BY_DATE) else ours
    tables = {"tables": sorted(load["tables"].values())} if "kind" in state and load else {}
    return known | tables | {"id": shown, "proven_by": proof.get("proven_by")}

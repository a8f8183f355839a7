"""Lists runs in pages: newest first, by pipeline or by status.

Expired items may stay in an index for days; they are omitted. A page sends a bounded number of requests, so
it may have fewer runs than its limit; the next page continues where it stopped.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from msgspec import Struct

from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.runs.table import Table, from_item, to_item
from celonis_refresh.steps.observation import BY_DATE
from celonis_refresh.timing import Clock, epoch, iso

SUMMARY = ("run_id", "pipeline", "status", "created_at", "ended_at", "error", "outcome")
FILTERED = 1000
"""Items per request if a filter may omit most of them."""
MAX_REQUESTS = 5
"""Maximum requests for one page from one list (of a pipeline or a status)."""
OLDEST = 100
"""Items per request if each of them causes further requests."""
NOT_EXPIRED = "attribute_not_exists(#expires) OR #expires >= :now"
SHOWN = (
    *("run_id", "pipeline", "status", "outcome", "error", "created_at", "started_at", "ended_at", "options"),
    *("loads", "warnings", "retry_of", "skip", "skip_since", "execution_arn", "follow_up"),
)
"""Attributes of a record that the API shows unchanged, besides its steps and its definition."""
SHOWN_OF_STEP = (
    *(
        "job",
        "name",
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
    *("answered", "refused", "posts", "polls", "rounds", "waiting_for", "last_error", "resumed_from"),
    *("stopping", "cancel_requested", "held", "error", "message", "hint"),
)
"""Attributes of a step that the API shows unchanged; ``id``, ``proven_by`` and ``tables`` are computed."""


class Page(NamedTuple):
    """``runs``: newest first. ``before``: the parameter for the next page, None on the last.

    Any page may have fewer runs than its limit, or none.
    """

    runs: list[dict[str, Any]]
    before: str | None


class TimeSpan(NamedTuple):
    """Runs that were created from ``since`` on and before ``until`` (ISO 8601, UTC); None: no bound."""

    since: str | None = None
    until: str | None = None


ANY_TIME = TimeSpan()


class ListPart(NamedTuple):
    """The newest items of one list, newest first. ``end``: the position of the last item that was read,
    including omitted ones; None at the end of the list."""

    items: list[dict[str, Any]]
    end: str | None


def merge_parts(parts: Sequence[ListPart], limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Return the newest ``limit`` items of several lists, and the position after which the next page begins.

    Each part has more than ``limit`` items, or all. The position is None if nothing is left.
    """
    end = max((part.end for part in parts if part.end is not None), default="")
    merged = heapq.merge(*(part.items for part in parts), key=position_of, reverse=True)
    complete = [item for item in merged if position_of(item) >= end]  # beyond it, one list was not read
    if len(complete) > limit:
        return complete[:limit], position_of(complete[limit - 1])
    return complete, end or None


def position_of(item: Mapping[str, Any]) -> str:
    """Return the position of an item in its index."""
    return str(item["position"])


class Listing(Struct, frozen=True):
    """Reads the indexes of the table."""

    table: Table
    clock: Clock

    def page(
        self,
        limit: int,
        pipeline: str | None,
        status: RunStatus | None,
        before: str | None,
        span: TimeSpan = ANY_TIME,
    ) -> Page:
        """Return up to ``limit`` runs before the position ``before``, of a pipeline or status if given."""
        first = min((each for each in (before, span.until) if each is not None), default=None)
        lists = [_since(each, span.since) for each in self._lists(limit + 1, pipeline, status, first)]
        items, position = merge_parts(lists, limit)
        return Page([_summary(item) for item in items], position)

    def oldest(self, status: str, after: str | None, limit: int) -> Iterator[dict[str, Any]]:
        """Return at most ``limit`` items with a status, after a position of the index, oldest first."""
        request = self._request("by_status", "status", status, None, None, after)
        pages = self.table.pages({**request, "ScanIndexForward": True, "Limit": min(OLDEST, limit)})
        yield from islice(chain.from_iterable(pages), limit)

    def _lists(
        self, limit: int, pipeline: str | None, status: RunStatus | None, before: str | None
    ) -> list[ListPart]:
        if pipeline is not None:
            return [self._list("by_pipeline", "pipeline", pipeline, limit, before, status)]
        statuses = [status] if status else list(RunStatus)
        return [self._list("by_status", "status", each, limit, before, None) for each in statuses]

    def _list(
        self, index: str, attribute: str, value: str, limit: int, before: str | None, status: RunStatus | None
    ) -> ListPart:
        request = self._request(index, attribute, value, before, status)
        items: list[dict[str, Any]] = []
        last: Mapping[str, Any] | None = None
        for number in range(MAX_REQUESTS):
            # The limit applies before the filter: with few matches, a small page would need many requests.
            size = limit if number == 0 and status is None else FILTERED
            page, last = self.table.query({**request, "Limit": size}, last)
            items += page
            if last is None:
                return ListPart(items, None)
            if len(items) >= limit:
                break
        return ListPart(items, str(from_item(last or {})["position"]))

    def _request(
        self,
        index: str,
        attribute: str,
        value: str,
        before: str | None,
        status: RunStatus | None,
        after: str | None = None,
    ) -> dict[str, Any]:
        condition, filtered = "#key = :key", NOT_EXPIRED
        values: dict[str, Any] = {"key": value, "now": int(self.clock())}
        names = {"#key": attribute, "#expires": "expires"}
        if before is not None:
            condition += " AND #at < :before"
            values["before"], names["#at"] = before, "position"
        if after is not None:
            condition += " AND #at > :after"
            values["after"], names["#at"] = after, "position"
        if status is not None:
            filtered = f"({filtered}) AND #status = :status"
            values["status"], names["#status"] = status, "status"
        return {
            "IndexName": index,
            "KeyConditionExpression": condition,
            "FilterExpression": filtered,
            "ScanIndexForward": False,
            "ExpressionAttributeValues": {f":{name}": value for name, value in to_item(values).items()},
            "ExpressionAttributeNames": names,
        }


def _since(found: ListPart, since: str | None) -> ListPart:
    """Return a list without what is older than ``since``; it ends there."""
    if since is None:
        return found
    items = [item for item in found.items if position_of(item) >= since]
    is_complete = len(items) < len(found.items) or (found.end is not None and found.end < since)
    return ListPart(items, None if is_complete else found.end)


def _summary(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run as a list shows it; ``duration_seconds`` once it has ended."""
    summary = {name: item[name] for name in SUMMARY if name in item}
    if "ended_at" in item:
        seconds = epoch(str(item["ended_at"])) - epoch(str(item["created_at"]))
        summary["duration_seconds"] = max(0, round(seconds))
    return summary


def shown(run: Run) -> dict[str, Any]:
    """Return the record as the API shows it, without internal attributes."""
    document = {name: run.item[name] for name in SHOWN if name in run.item}
    loads = run.loads or {}
    document["steps"] = {step: _shown_step(state, loads.get(step, {})) for step, state in run.steps.items()}
    if run.has_definition:
        document["definition"] = json.loads(run.item["definition"])
    return document


def _shown_step(state: Mapping[str, Any], load: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step as the API shows it. ``load``: the resolved load, which alone has the table names."""
    proof = state.get("evidence", {})
    fields = {name: state[name] for name in SHOWN_OF_STEP if name in state}
    ours = proof.get("ours")
    shown = None if ours is None or str(ours).startswith(BY_DATE) else ours
    tables = {"tables": sorted(load["tables"].values())} if "kind" in state and load else {}
    return fields | tables | _times(state) | {"id": shown, "proven_by": proof.get("proven_by")}


def _times(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the times of a step for a chart (ISO 8601, UTC), as far as they are known."""
    times: dict[str, Any] = {}
    if "began" in state:
        times["waiting_since"] = iso(float(state["began"]))
    if "noted_at" in state:
        times["started_at"] = state["noted_at"]
        began = epoch(str(state["noted_at"]))
        times["poll_times"] = [iso(began + seconds) for seconds in state.get("poll_seconds", ())]
    if "started_date" in state:
        times["running_since"] = iso(float(state["started_date"]) / 1000)
    return times

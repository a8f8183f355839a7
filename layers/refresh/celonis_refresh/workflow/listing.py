"""Runs as people list them: newest first, by pipeline or by status, a page at a time.

DynamoDB takes its time with what has expired: it may be in an index for days, and is in no list. A page sends
a bounded number of requests, however many items are left out of it: it may have fewer runs than it could, and
the next page continues where it stopped.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from msgspec import Struct

from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.runs.table import Table, from_item, to_item
from celonis_refresh.steps.observation import BY_DATE
from celonis_refresh.timing import Clock

SUMMARY = ("run_id", "pipeline", "status", "created_at", "ended_at", "error", "outcome")
FILTERED = 1000
"""Items that one request reads where most of them may not be wanted."""
MAX_REQUESTS = 5
"""Requests for one page from one list: that of a pipeline, or that of a status."""
OLDEST = 100
"""Items that one request reads where each of them is some work."""
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
    """``runs``: newest first. ``before``: what to ask for to get the next page, None on the last.

    A page that is not the last may have fewer runs than its limit, also none.
    """

    runs: list[dict[str, Any]]
    before: str | None


class _List(NamedTuple):
    """The newest items of one list, newest first. ``end``: the position of the last one that was read, wanted
    or not; None where there are no others."""

    items: list[dict[str, Any]]
    end: str | None


def _position(item: Mapping[str, Any]) -> str:
    return str(item["position"])


class Listing(Struct, frozen=True):
    """Reads the indexes of the table."""

    table: Table
    clock: Clock

    def page(self, limit: int, pipeline: str | None, status: RunStatus | None, before: str | None) -> Page:
        """Up to ``limit`` runs after the page that gave ``before``, of a pipeline or status if named."""
        lists = self._lists(limit + 1, pipeline, status, before)
        end = max((each.end for each in lists if each.end is not None), default="")
        merged = heapq.merge(*(each.items for each in lists), key=_position, reverse=True)
        found = [item for item in merged if _position(item) >= end]  # after that, a list is not known
        runs = [{name: item[name] for name in SUMMARY if name in item} for item in found[:limit]]
        if len(found) > limit:
            return Page(runs, _position(found[limit - 1]))
        return Page(runs, end or None)

    def oldest(self, status: str, after: str | None, limit: int) -> Iterator[dict[str, Any]]:
        """The items under a status in the index after a position, oldest first, and ``limit`` at most."""
        request = self._request("by_status", "status", status, None, None, after)
        pages = self.table.pages({**request, "ScanIndexForward": True, "Limit": min(OLDEST, limit)})
        yield from islice(chain.from_iterable(pages), limit)

    def _lists(
        self, limit: int, pipeline: str | None, status: RunStatus | None, before: str | None
    ) -> list[_List]:
        if pipeline is not None:
            return [self._list("by_pipeline", "pipeline", pipeline, limit, before, status)]
        statuses = [status] if status else list(RunStatus)
        return [self._list("by_status", "status", each, limit, before, None) for each in statuses]

    def _list(
        self, index: str, attribute: str, value: str, limit: int, before: str | None, status: RunStatus | None
    ) -> _List:
        request = self._request(index, attribute, value, before, status)
        items: list[dict[str, Any]] = []
        last: Mapping[str, Any] | None = None
        for number in range(MAX_REQUESTS):
            # A filter counts after the limit: with few matches, a small page would mean many requests.
            size = limit if number == 0 and status is None else FILTERED
            found, last = self.table.query({**request, "Limit": size}, last)
            items += found
            if last is None:
                return _List(items, None)
            if len(items) >= limit:
                break
        return _List(items, str(from_item(last or {})["position"]))

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

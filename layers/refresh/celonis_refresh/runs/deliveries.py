"""Deliveries: which runs each one led to, by pipeline.

A delivery has one item for each of its keys: ``{"pk", "runs": {pipeline: {"run_id", "status", "at", …}},
"at", "rev", "expires"}``, with the time of each pipeline and of the last change. A pipeline that is missing
was not accepted yet: the same delivery, sent again, can still start it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import MAX_ACTIONS, Action, ConditionFailed, Table, slot_key
from celonis_refresh.timing import Clock, Deadline

DELIVERY_DAYS = 14
DAY = 86_400
UNKNOWN = "attribute_not_exists(pk) OR #expires < :now"
"""An expired item counts as absent: DynamoDB may take days to delete it."""
MAX_ROUNDS = 50
ANNOUNCED: Mapping[str, Any] = {"rev": 1, "runs": {}, "expires": inf}
"""The item of a delivery that only its batch has written."""

Runs = Mapping[str, Mapping[str, Any]]
"""Runs that a delivery led to, by pipeline."""
Items = Mapping[str, Mapping[str, Any]]
"""Items as they were read, by key."""


def known_runs(item: Mapping[str, Any] | None, now: float) -> dict[str, Mapping[str, Any]]:
    """Return the runs in a delivery's item that have not expired, by pipeline."""
    if not item or item["expires"] < int(now):
        return {}
    return {name: run for name, run in item["runs"].items() if _expires(run["at"]) >= int(now)}


def known_of(items: Items, delivery: Iterable[str], now: float) -> dict[str, Mapping[str, Any]]:
    """Return the runs of all keys of a delivery, by pipeline; earlier keys take precedence."""
    found: dict[str, Mapping[str, Any]] = {}
    for key in delivery:
        found = {**known_runs(items.get(key), now), **found}
    return found


def record_runs(table: Table, items: Items, runs: Mapping[str, Runs], now: float) -> list[Action]:
    """Return the actions that add ``runs`` to the items of deliveries, by key.

    Each is conditional on its item in ``items``, or on no item if it is missing there.
    """
    return [_record(table, key, items.get(key), added, now) for key, added in runs.items()]


def _record(table: Table, key: str, item: Mapping[str, Any] | None, added: Runs, now: float) -> Action:
    runs = {**known_runs(item, now), **added}
    document = {"pk": key, "runs": runs, "at": now, "expires": _expires(now)}
    if item and item["expires"] >= int(now):
        revision = item["rev"]
        return table.put({**document, "rev": revision + 1}, "#rev = :rev", {"rev": revision})
    return table.put({**document, "rev": 1}, UNKNOWN, {"now": int(now)})


def learn_items(items: dict[str, Mapping[str, Any]], keys: Iterable[str], found: Sequence[Any]) -> bool:
    """Update ``items`` with those that failed conditions of ``keys``; return whether there were any."""
    refused = [(key, item) for key, item in zip(keys, found, strict=False) if item is not None]
    for key, item in refused:
        items.pop(key, None)
        items |= {key: item} if item else {}
    return bool(refused)


def _expires(at: float) -> int:
    return int(at) + DELIVERY_DAYS * DAY


class Batches(Struct, frozen=True):
    """Batches: accepted deliveries with too many keys for one transaction.

    The transaction writes one item with all of them instead, and its key into the slot of each pipeline. No
    claim of these pipelines is accepted until the deliveries have items of their own: the next claim records
    them first, so a crash in between is harmless.
    """

    table: Table
    clock: Clock

    @staticmethod
    def action(table: Table, key: str, deliveries: Mapping[str, Runs], now: float) -> Action:
        """Return the action that writes the item of a batch. ``deliveries``: runs by key."""
        runs = {name: run for each in deliveries.values() for name, run in each.items()}
        named = {delivery: list(each) for delivery, each in deliveries.items()}
        document = {"pk": key, "runs": runs, "deliveries": named, "expires": _expires(now)}
        return table.put(document, "attribute_not_exists(pk)")

    def finish(self, key: str, pipeline: str, deadline: Deadline) -> None:
        """Record the deliveries of the batch in the slot of ``pipeline``, and remove the batch.

        Can be repeated, also concurrently. Raises ``TableBusy``.
        """
        batch = self.table.get(key)
        pipelines = [pipeline]
        if batch and batch["expires"] >= int(self.clock()):
            pipelines = list(batch["runs"])
            runs_by_delivery = {
                delivery: {name: batch["runs"][name] for name in named}
                for delivery, named in batch["deliveries"].items()
            }
            for part in parts(runs_by_delivery):
                self._record(part, deadline)
        with contextlib.suppress(ConditionFailed):  # another function finished it at the same time
            self.table.transact([*self._clear(key, pipelines), self.table.remove(key, "")], deadline)

    def _clear(self, key: str, pipelines: Iterable[str]) -> Iterator[Action]:
        """Yield the actions that clear the slots; their revision stays, because no decision depends on it."""
        for name in pipelines:
            yield self.table.change(slot_key(name), "REMOVE #batch", "#batch = :batch", {"batch": key})

    def _record(self, runs_by_key: Mapping[str, Runs], deadline: Deadline) -> None:
        items: dict[str, Mapping[str, Any]] = dict.fromkeys(runs_by_key, ANNOUNCED)
        for _ in range(MAX_ROUNDS):
            now = self.clock()
            missing: dict[str, Runs] = {}
            for key, runs in runs_by_key.items():
                known = known_runs(items.get(key), now)
                if unknown := {name: run for name, run in runs.items() if name not in known}:
                    missing[key] = unknown
            if not missing:
                return
            try:
                self.table.transact(record_runs(self.table, items, missing, now), deadline)
            except ConditionFailed as refused:
                learn_items(items, missing, refused.found)
            else:
                return
        raise TableBusy("the deliveries of a batch kept changing")


def parts(runs_by_key: Mapping[str, Runs]) -> Iterator[dict[str, Runs]]:
    """Yield the deliveries in parts that fit into one transaction."""
    left = iter(runs_by_key.items())
    while part := dict(islice(left, MAX_ACTIONS)):
        yield part

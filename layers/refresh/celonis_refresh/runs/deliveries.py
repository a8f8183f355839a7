"""Deliveries: what each one led to, pipeline by pipeline.

A delivery has one item for each of its keys:
``{"pk", "runs": {pipeline: {"run_id", "status", "at", …}}, "at", "rev", "expires"}``, with the time of each
pipeline and that of the last change. A pipeline that is missing in it was not accepted yet: the same
delivery, sent again, can still start it.
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
"""An expired item counts as absent, though DynamoDB may take days to delete it."""
MAX_ROUNDS = 50
ANNOUNCED: Mapping[str, Any] = {"rev": 1, "runs": {}, "expires": inf}
"""The item of a delivery that only its batch has written."""

Runs = Mapping[str, Mapping[str, Any]]
"""What a delivery led to, by pipeline."""
Items = Mapping[str, Mapping[str, Any]]
"""Items as they were read, by key."""


def known_runs(item: Mapping[str, Any] | None, now: float) -> dict[str, Mapping[str, Any]]:
    """The runs in a delivery's item that still count, by pipeline."""
    if not item or item["expires"] < int(now):
        return {}
    return {name: run for name, run in item["runs"].items() if _expires(run["at"]) >= int(now)}


def known_of(items: Items, delivery: Iterable[str], now: float) -> dict[str, Mapping[str, Any]]:
    """The runs that any of a delivery's keys leads to, by pipeline; the first key counts most."""
    found: dict[str, Mapping[str, Any]] = {}
    for key in delivery:
        found = {**known_runs(items.get(key), now), **found}
    return found


def record_runs(table: Table, items: Items, runs: Mapping[str, Runs], now: float) -> list[Action]:
    """The actions that add ``runs`` to the items of deliveries, by key.

    Each holds only while its item is as in ``items``, or unknown where it is missing there.
    """
    return [_record(table, key, items.get(key), added, now) for key, added in runs.items()]


def _record(table: Table, key: str, item: Mapping[str, Any] | None, added: Runs, now: float) -> Action:
    runs = {**known_runs(item, now), **added}
    document = {"pk": key, "runs": runs, "at": now, "expires": _expires(now)}
    if item and item["expires"] >= int(now):
        revision = item["rev"]
        return table.put({**document, "rev": revision + 1}, "#rev = :rev", {"rev": revision})
    return table.put({**document, "rev": 1}, UNKNOWN, {"now": int(now)})


def learn_items(items: dict[str, Mapping[str, Any]], asked: Iterable[str], found: Sequence[Any]) -> bool:
    """Updates ``items`` with what stood in the way of actions on the keys ``asked``; whether anything did."""
    refused = [(key, item) for key, item in zip(asked, found, strict=False) if item is not None]
    for key, item in refused:
        items.pop(key, None)
        items |= {key: item} if item else {}
    return bool(refused)


def _expires(at: float) -> int:
    return int(at) + DELIVERY_DAYS * DAY


class Batches(Struct, frozen=True):
    """Batches: deliveries that were accepted in one transaction and have too many keys for it.

    The transaction writes one item with all of them instead, and its key into the slot of each pipeline.
    Nothing else is accepted for these pipelines until the deliveries have their own items, so that a crash
    before that is harmless: the next claim of such a pipeline records them first.
    """

    table: Table
    clock: Clock

    @staticmethod
    def action(table: Table, key: str, deliveries: Mapping[str, Runs], now: float) -> Action:
        """The action that writes the item of a batch. ``deliveries``: what each key led to."""
        runs = {name: run for each in deliveries.values() for name, run in each.items()}
        named = {delivery: list(each) for delivery, each in deliveries.items()}
        document = {"pk": key, "runs": runs, "deliveries": named, "expires": _expires(now)}
        return table.put(document, "attribute_not_exists(pk)")

    def finish(self, key: str, pipeline: str, deadline: Deadline) -> None:
        """Records the deliveries of a batch that the slot of ``pipeline`` names, and removes the batch.

        Safe to repeat, also by several at the same time. Raises ``TableBusy``.
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
        """The slots go on under the same revision: nobody who read them acts on this attribute."""
        for name in pipelines:
            yield self.table.change(slot_key(name), "REMOVE #batch", "#batch = :batch", {"batch": key})

    def _record(self, wanted: Mapping[str, Runs], deadline: Deadline) -> None:
        items: dict[str, Mapping[str, Any]] = dict.fromkeys(wanted, ANNOUNCED)
        for _ in range(MAX_ROUNDS):
            now = self.clock()
            missing = {key: _missing(runs, known_runs(items.get(key), now)) for key, runs in wanted.items()}
            missing = {key: runs for key, runs in missing.items() if runs}
            if not missing:
                return
            try:
                self.table.transact(record_runs(self.table, items, missing, now), deadline)
            except ConditionFailed as refused:
                learn_items(items, missing, refused.found)
            else:
                return
        raise TableBusy("the deliveries of a batch kept changing")


def _missing(wanted: Runs, known: Runs) -> Runs:
    return {name: run for name, run in wanted.items() if name not in known}


def parts(wanted: Mapping[str, Runs]) -> Iterator[dict[str, Runs]]:
    """The deliveries, as many at a time as one transaction takes."""
    left = iter(wanted.items())
    while part := dict(islice(left, MAX_ACTIONS)):
        yield part

"""Deliveries: which runs each one led to, by pipeline, and what became of each webhook event.

A delivery has one item for each of its keys: ``{"pk", "runs": {pipeline: {"run_id", "status", "at", …}},
"at", "rev", "expires"}``, with the time of each pipeline and of the last change. A pipeline that is missing
was not accepted yet: the same delivery, sent again, can still start it.

What became of a webhook event (``LoggedEvent``) is listed by source for 14 days, by the index ``by_source``.
An event that starts or joins runs writes this into the item of its delivery, in the transaction that accepts
it. Any other event has an item of its own, which no delivery is compared with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from math import inf
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.records import cut
from celonis_refresh.runs.table import MAX_ACTIONS, Action, ConditionFailed, Table, slot_key
from celonis_refresh.timing import Clock, Deadline, iso

DELIVERY_DAYS = 14
DAY = 86_400
UNKNOWN = "attribute_not_exists(pk) OR #expires < :now"
"""An expired item counts as absent: DynamoDB may take days to delete it."""
MAX_ROUNDS = 50
ANNOUNCED: Mapping[str, Any] = {"rev": 1, "runs": {}, "expires": inf}
"""Stands for the item of a delivery that is only in its batch yet."""

Runs = Mapping[str, Mapping[str, Any]]
"""Runs that a delivery led to, by pipeline."""
Items = Mapping[str, Mapping[str, Any]]
"""Items as they were read, by key."""

SHARDS = 4
"""Partitions of the index for each source: one takes 1,000 writes a second."""
LOGGED = ("source_shard", "position", "source", "delivery", "result", "reason", "errors")
"""Attributes of an item that lists it in the index by source."""
MAX_TEXT = 512
MAX_ERRORS = 3
"""Errors of an event that are stored, and bytes of each and of the reason."""
MAX_BATCH_ID, MAX_BATCH_TEXT = 100, 64
"""Bytes of an id and of an error in the item of a batch, which has up to 200 events."""


def source_shard(source: str, number: int) -> str:
    """Return the partition of the index for one of the shards of a source."""
    return f"{source}#{number}"


def event_key(source: str, token: str) -> str:
    """Return the key of an event without a delivery of its own. ``token``: unique."""
    return f"event#{source}#{token}"


class LoggedEvent(Struct, frozen=True):
    """What is stored of a webhook event, besides its runs. ``key``: of the item that has it.

    ``delivery``: the id of its sender, None if it has none. ``errors``: of rules that could not be applied,
    and of callback addresses that are refused.
    """

    source: str
    key: str
    delivery: str | None
    errors: tuple[str, ...] = ()

    def attributes(self, result: str, at: float, reason: str = "") -> dict[str, Any]:
        """Return the attributes of its item."""
        digest = sha256(self.key.encode()).hexdigest()
        facts = {
            "source_shard": source_shard(self.source, int(digest[:8], 16) % SHARDS),
            "position": f"{iso(at)} {digest[:12]}",
            "source": self.source,
            "result": result,
        }
        optional = {
            "delivery": cut(self.delivery or "", MAX_TEXT),
            "reason": cut(reason, MAX_TEXT),
            "errors": [cut(error, MAX_TEXT) for error in self.errors[:MAX_ERRORS]],
        }
        return facts | {name: value for name, value in optional.items() if value}


class EventResult(Struct, frozen=True):
    """What became of an event that starts or joins runs. ``reason``: why it does not for some pipelines."""

    event: LoggedEvent
    result: str
    reason: str = ""

    def attributes(self, at: float) -> dict[str, Any]:
        """Return the attributes of its item."""
        return self.event.attributes(self.result, at, self.reason)

    def for_batch(self) -> dict[str, Any]:
        """Return what the item of a batch has of it: all but the key, with short texts."""
        event = self.event
        facts: dict[str, Any] = {"source": event.source, "result": self.result}
        facts |= {"delivery": cut(event.delivery, MAX_BATCH_ID)} if event.delivery else {}
        return facts | ({"errors": [cut(event.errors[0], MAX_BATCH_TEXT)]} if event.errors else {})

    @staticmethod
    def of_batch(key: str, facts: Mapping[str, Any]) -> EventResult:
        event = LoggedEvent(facts["source"], key, facts.get("delivery"), tuple(facts.get("errors", ())))
        return EventResult(event, facts["result"])


Results = Mapping[str, EventResult]
"""Results of events by the key of their item."""


def logged_item(
    event: LoggedEvent, result: str, reason: str, runs: Iterable[Mapping[str, Any]], now: float
) -> dict[str, Any]:
    """Return the item of an event that is not in the item of a delivery.

    ``runs``: with ``pipeline``, ``run_id`` and ``status``.
    """
    by_pipeline = {str(run["pipeline"]): dict(run) for run in runs}
    facts = event.attributes(result, now, reason)
    return {"pk": event.key, "runs": by_pipeline, "expires": _expires(now), **facts}


def unexpired_runs(item: Mapping[str, Any] | None, now: float) -> dict[str, Mapping[str, Any]]:
    """Return the runs in a delivery's item that have not expired, by pipeline."""
    if not item or item["expires"] < int(now):
        return {}
    return {name: run for name, run in item["runs"].items() if _expires(run["at"]) >= int(now)}


def accepted_runs(items: Items, delivery: Iterable[str], now: float) -> dict[str, Mapping[str, Any]]:
    """Return the runs of all keys of a delivery, by pipeline; earlier keys take precedence."""
    runs: dict[str, Mapping[str, Any]] = {}
    for key in delivery:
        runs = {**unexpired_runs(items.get(key), now), **runs}
    return runs


def record_runs(
    table: Table,
    items: Items,
    runs: Mapping[str, Runs],
    now: float,
    results: Results | None = None,
) -> list[Action]:
    """Return the actions that add ``runs`` to the items of deliveries, by key.

    Each is conditional on its item in ``items``, or on no item if it is missing there. ``results``: of
    events; the attributes of an item are kept where there is no new result.
    """
    found = results or {}
    return [_record(table, key, items.get(key), added, now, found.get(key)) for key, added in runs.items()]


def _record(
    table: Table,
    key: str,
    item: Mapping[str, Any] | None,
    added: Runs,
    now: float,
    result: EventResult | None,
) -> Action:
    runs = {**unexpired_runs(item, now), **added}
    known: Mapping[str, Any] = item or {}
    kept = result.attributes(now) if result else {name: known[name] for name in LOGGED if name in known}
    document = {"pk": key, "runs": runs, "at": now, "expires": _expires(now), **kept}
    if item and item["expires"] >= int(now):
        revision = item["rev"]
        return table.put({**document, "rev": revision + 1}, "#rev = :rev", {"rev": revision})
    return table.put({**document, "rev": 1}, UNKNOWN, {"now": int(now)})


def learn_items(items: dict[str, Mapping[str, Any]], keys: Iterable[str], failed: Sequence[Any]) -> bool:
    """Update ``items`` with those that failed conditions of ``keys``; return whether there were any."""
    refused = [(key, item) for key, item in zip(keys, failed, strict=False) if item is not None]
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
    def action(
        table: Table,
        key: str,
        deliveries: Mapping[str, Runs],
        results: Results,
        now: float,
    ) -> Action:
        """Return the action that writes the item of a batch. ``deliveries``: runs by key.

        A delivery has the positions of its pipelines among all sorted names, which take less than the names.
        """
        runs = {name: run for each in deliveries.values() for name, run in each.items()}
        positions = {name: position for position, name in enumerate(sorted(runs))}
        named = {delivery: [positions[name] for name in each] for delivery, each in deliveries.items()}
        events = {delivery: result.for_batch() for delivery, result in results.items()}
        facts = {"runs": runs, "deliveries": named, "events": events, "expires": _expires(now)}
        document = {"pk": key, **facts}
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
                delivery: {name: batch["runs"][name] for name in pipelines_of(batch, delivery)}
                for delivery in batch["deliveries"]
            }
            results = {each: EventResult.of_batch(each, facts) for each, facts in batch["events"].items()}
            for part in parts(runs_by_delivery):
                self._record(part, results, deadline)
        with contextlib.suppress(ConditionFailed):  # another function finished it at the same time
            self.table.transact([*self._clear(key, pipelines), self.table.remove(key, "")], deadline)

    def _clear(self, key: str, pipelines: Iterable[str]) -> Iterator[Action]:
        """Yield the actions that clear the slots; their revision stays, because no decision depends on it."""
        for name in pipelines:
            yield self.table.change(slot_key(name), "REMOVE #batch", "#batch = :batch", {"batch": key})

    def _record(self, runs_by_key: Mapping[str, Runs], results: Results, deadline: Deadline) -> None:
        items: dict[str, Mapping[str, Any]] = dict.fromkeys(runs_by_key, ANNOUNCED)
        for _ in range(MAX_ROUNDS):
            now = self.clock()
            missing: dict[str, Runs] = {}
            for key, runs in runs_by_key.items():
                recorded = unexpired_runs(items.get(key), now)
                if unknown := {name: run for name, run in runs.items() if name not in recorded}:
                    missing[key] = unknown
            if not missing:
                return
            try:
                self.table.transact(record_runs(self.table, items, missing, now, results), deadline)
            except ConditionFailed as refused:
                learn_items(items, missing, refused.items)
            else:
                return
        raise TableBusy("the deliveries of a batch kept changing")


def pipelines_of(batch: Mapping[str, Any], delivery: str) -> list[str]:
    """Return the pipelines of a delivery in the item of a batch."""
    names = sorted(batch["runs"])
    return [names[each] for each in batch["deliveries"].get(delivery, ())]


def parts(runs_by_key: Mapping[str, Runs]) -> Iterator[dict[str, Runs]]:
    """Yield the deliveries in parts that fit into one transaction."""
    remaining = iter(runs_by_key.items())
    while part := dict(islice(remaining, MAX_ACTIONS)):
        yield part

"""A DynamoDB table under contention, in virtual time: conflicts of transactions, and limits of a partition.

The sources are the developer guide of DynamoDB ("Managing complex workflows with transactions", "Partitions
and data distribution") and "Distributed Transactions at Scale in Amazon DynamoDB" (USENIX ATC 2023). Where
they leave a choice, the model takes the one with more conflicts: a transaction holds all of its items, also
those that it only checks, from its arrival to its end, also if a condition refuses it in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from celonis_refresh.runs.records import item_size
from celonis_refresh.runs.table import from_item
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, canceled, client_error

NETWORK_SECONDS = 0.001
"""From the function to the table, and back."""
STALL_SECONDS = 0.5
TRANSACTION_SECONDS = (0.005, 0.015)
SINGLE_SECONDS = (0.002, 0.006)
"""How long the table works on a transaction, and on any other request."""
WRITE_UNITS, READ_UNITS = 1000.0, 3000.0
"""Capacity units per second of one partition, and so of one item."""


@dataclass
class Bucket:
    """Capacity units of one item: ``rate`` a second, and what one second saves at most."""

    rate: float
    at: float = -inf
    left: float = 0.0

    def take(self, units: float, now: float) -> bool:
        self.left = min(self.rate, self.left + (now - self.at) * self.rate) if self.at > -inf else self.rate
        self.at = now
        if self.left < units:
            return False
        self.left -= units
        return True


@dataclass
class ContendedDynamoDB:
    """A client for many workers. ``requests``: how many were sent, by operation; ``conflicts``,
    ``throttled``: those that were cancelled for this reason. ``stalled``: the share of requests that arrive
    much later. ``mixed``: a transaction that conflicts reports the refused conditions of its other items as
    well."""

    clock: FakeClock
    sleep: Callable[[float], None]
    random: Random
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)
    requests: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    throttled: int = 0
    stalled: float = 0.0
    mixed: bool = False
    units: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.held: set[str] = set()
        self.tokens: set[str] = set()
        self.writes: dict[str, Bucket] = {}
        self.reads: dict[str, Bucket] = {}

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        keys = [_key(action) for action in request["TransactItems"]]
        token = request.get("ClientRequestToken", "")
        self._begin("TransactWriteItems")
        if token in self.tokens:
            raise client_error("TransactionInProgressException", "TransactWriteItems")
        if token in self.dynamodb.tokens:
            return self.dynamodb.transact_write_items(**request)
        if met := self.held.intersection(keys):
            self.sleep(self.random.uniform(*SINGLE_SECONDS) + NETWORK_SECONDS)
            self.conflicts += 1
            raise self._conflict(request["TransactItems"], met)
        self.held.update(keys)
        self.tokens.add(token)
        try:
            self.sleep(self.random.uniform(*TRANSACTION_SECONDS))
            full = [not self._takes(action, 2.0) for action in request["TransactItems"]]
            if any(full):
                self.throttled += 1
                raise canceled(*("ThrottlingError" if one else "None" for one in full))
            return self.dynamodb.transact_write_items(**request)
        finally:
            self.held.difference_update(keys)
            self.tokens.discard(token)
            self.sleep(NETWORK_SECONDS)

    def _conflict(self, actions: list[dict[str, Any]], met: set[str]) -> ClientError:
        reasons: list[dict[str, Any]] = []
        for action in actions:
            refusal = self.dynamodb.refusal(action) if self.mixed and _key(action) not in met else None
            code = "TransactionConflict" if _key(action) in met else "None"
            refused = {"Code": "ConditionalCheckFailed", **(refusal or {})}
            reasons.append({"Code": code} if refusal is None else refused)
        return client_error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)

    def transact_get_items(self, **request: Any) -> dict[str, Any]:
        keys = [entry["Get"]["Key"]["pk"]["S"] for entry in request["TransactItems"]]
        self._begin("TransactGetItems")
        met = self.held.intersection(keys)
        self.sleep(self.random.uniform(*TRANSACTION_SECONDS))
        if met := met | self.held.intersection(keys):
            self.sleep(NETWORK_SECONDS)
            self.conflicts += 1
            raise canceled(*("TransactionConflict" if key in met else "None" for key in keys))
        self._read(keys, 2.0)
        answer = self.dynamodb.transact_get_items(**request)
        self.sleep(NETWORK_SECONDS)
        return answer

    def get_item(self, **request: Any) -> dict[str, Any]:
        self._begin("GetItem")
        self.sleep(self.random.uniform(*SINGLE_SECONDS))
        self._read([request["Key"]["pk"]["S"]], 1.0)
        answer = self.dynamodb.get_item(**request)
        self.sleep(NETWORK_SECONDS)
        return answer

    def update_item(self, **request: Any) -> dict[str, Any]:
        key = request["Key"]["pk"]["S"]
        self._begin("UpdateItem")
        self.sleep(self.random.uniform(*SINGLE_SECONDS))
        if key in self.held:
            self.conflicts += 1
            raise client_error("TransactionConflictException", "UpdateItem")
        if not self._takes({"Update": request}, 1.0):
            self.throttled += 1
            raise client_error("ThrottlingException", "UpdateItem")
        answer = self.dynamodb.update_item(**request)
        self.sleep(NETWORK_SECONDS)
        return answer

    def _begin(self, operation: str) -> None:
        self.requests[operation] += 1
        is_stalled = self.random.random() < self.stalled
        self.sleep(self.random.uniform(0, STALL_SECONDS) if is_stalled else NETWORK_SECONDS)

    def _takes(self, action: dict[str, Any], factor: float) -> bool:
        """Whether the partition of an item has the capacity to write it; a refused write costs the same."""
        key = _key(action)
        items = [self._item(key), action.get("Put", {}).get("Item", {})]
        units = factor * max(1, *(ceil(item_size(from_item(item)) / 1024) for item in items))
        self.units[key] += int(units)
        return self.writes.setdefault(key, Bucket(WRITE_UNITS)).take(units, self.clock.now)

    def _read(self, keys: list[str], factor: float) -> None:
        for key in keys:
            units = factor * max(1, ceil(item_size(from_item(self._item(key))) / 4096))
            if not self.reads.setdefault(key, Bucket(READ_UNITS)).take(units, self.clock.now):
                self.throttled += 1
                raise client_error("ThrottlingException", "GetItem")

    def _item(self, key: str) -> dict[str, Any]:
        return self.dynamodb.items.get(key, {})


def _key(action: dict[str, Any]) -> str:
    ((kind, body),) = action.items()
    key = body["Item"] if kind == "Put" else body["Key"]
    return str(key["pk"]["S"])

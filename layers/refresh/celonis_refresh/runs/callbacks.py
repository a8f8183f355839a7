"""Callbacks: addresses to which the result of a run is posted, because the system that triggered it waits.

A callback has one item, which the transaction that accepts its trigger writes: for the run that covers the
trigger, started or pending. It has the ``status`` ``CALLBACK`` until a message of the outbox promises the
result, and is removed once the result was posted. The index of pipelines has the callbacks of a run under
``callbacks#{run_id}``, which is no pipeline's name; no index has the address.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, Literal

from msgspec import Struct

from celonis_refresh.runs.table import Action, Table, callback_key, to_item
from celonis_refresh.timing import Deadline, iso

CALLBACK: Final = "CALLBACK"
"""The index status of callbacks whose result is not in the outbox yet."""
CALLBACK_DAYS: Final = 45
"""Days until an item expires: a run takes up to 14, and one that it waits for as well."""
DAY: Final = 86_400


class Callback(Struct, frozen=True):
    """An address, which is a secret, and the format of what is posted there."""

    address: str
    format: Literal["run", "azure_data_factory"] = "run"

    @property
    def digest(self) -> str:
        """Return a name of the callback that does not reveal its address."""
        return address_digest(self.address)

    def __repr__(self) -> str:
        return f"Callback({self.digest}, format={self.format!r})"


class StoredCallback(Struct, frozen=True):
    """A callback of a run. ``key``: of its item."""

    key: str
    run_id: str
    callback: Callback


def address_digest(address: str) -> str:
    """Return a name for an address that does not reveal it."""
    return sha256(address.encode()).hexdigest()[:32]


def callback_item(run_id: str, callback: Callback, now: float) -> dict[str, Any]:
    """Return the item of a callback of a run that is accepted now."""
    key = callback_key(run_id, callback.digest)
    return {
        "pk": key,
        "run_id": run_id,
        "address": callback.address,
        "format": callback.format,
        "pipeline": _partition(run_id),
        "status": CALLBACK,
        "position": f"{iso(now)} {key}",
        "expires": int(now) + CALLBACK_DAYS * DAY,
    }


def find_callback(table: Table, key: str) -> StoredCallback | None:
    """Return the callback with this key, None once it was removed. Raises ``TableBusy``."""
    item = table.get(key)
    return None if item is None else _from_item(item)


def callbacks_of(table: Table, run_id: str, deadline: Deadline) -> list[StoredCallback]:
    """Return the callbacks of a run whose results were not promised yet. Raises ``TableBusy``.

    The index is eventually consistent: a callback that was accepted just now may be missing. A later list
    finds it by its status.
    """
    request = {
        "IndexName": "by_pipeline",
        "KeyConditionExpression": "#key = :key",
        "ExpressionAttributeNames": {"#key": "pipeline"},
        "ExpressionAttributeValues": to_item({":key": _partition(run_id)}),
        "ScanIndexForward": True,
        "Limit": 1000,
    }
    keys = [str(item["pk"]) for page in table.pages(request) for item in page]
    items = table.get_all(keys, deadline)
    return [_from_item(item) for item in items.values() if item.get("status") == CALLBACK]


def promised(table: Table, key: str) -> Action:
    """Return the action that marks a callback whose result the same transaction promises.

    Fails its condition if that was promised before.
    """
    changes = "REMOVE #status, #position, #pipeline"
    return table.change(key, changes, "#status = :callback", {"callback": CALLBACK})


def _partition(run_id: str) -> str:
    return f"callbacks#{run_id}"


def _from_item(item: Mapping[str, Any]) -> StoredCallback:
    callback = Callback(str(item["address"]), item["format"])
    return StoredCallback(str(item["pk"]), str(item["run_id"]), callback)

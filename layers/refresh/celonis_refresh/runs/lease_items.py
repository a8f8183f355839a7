"""The item of a lease: which run holds it, until when, and which runs are queued for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.runs import keys
from celonis_refresh.runs.table import Action, Table


def lease_item(lease: str, run_id: str, at: str) -> dict[str, Any]:
    """The item of a lease; it can be listed in the index by status."""
    return Lease(lease, run_id).item(at)


class Place(Struct, frozen=True):
    """The place of a run in the queue for a lease.

    ``keeps``: the run keeps leases for what it has started. ``since``: when it began to wait (epoch seconds);
    ``until``: from then on the place does not count, unless it is renewed.
    """

    keeps: bool
    since: float
    until: float = 0.0

    def is_before(self, other: Place) -> bool:
        return (not self.keeps, self.since) < (not other.keeps, other.since)

    def to_json(self) -> dict[str, Any]:
        return {"keeps": self.keeps, "since": self.since, "until": self.until}


class Lease(Struct, frozen=True):
    """A lease as the table has it. ``at``: since when; ``queue``: the places of runs, by run id."""

    key: str
    run_id: str | None = None
    held_until: float | None = None
    queue: Mapping[str, Place] = {}
    at: str | None = None

    @staticmethod
    def from_item(key: str, item: Mapping[str, Any]) -> Lease:
        """``item`` is empty where there is none."""
        queue = {run_id: Place(**place) for run_id, place in item.get("queue", {}).items()}
        return Lease(key, item.get("run_id"), item.get("held_until"), queue, item.get("at"))

    @property
    def is_unused(self) -> bool:
        return self.run_id is None and not self.queue

    def names(self, run_id: str) -> bool:
        """Whether the run holds the lease or is queued for it."""
        return run_id == self.run_id or run_id in self.queue

    def without(self, run_ids: Iterable[str]) -> Lease:
        """Return the lease with none of these runs holding it or queued for it."""
        gone = set(run_ids)
        queue = {run_id: place for run_id, place in self.queue.items() if run_id not in gone}
        if self.run_id in gone:
            return Lease(self.key, queue=queue, at=self.at)
        return replace(self, queue=queue)

    def held_by(self, run_id: str) -> Lease:
        return Lease(self.key, run_id, queue=self.without([run_id]).queue)

    def queued(self, run_id: str, place: Place) -> Lease:
        return replace(self, queue={**self.queue, run_id: place})

    def change_to(self, after: Lease, table: Table, at: str) -> Action | None:
        """Return the action that makes it ``after``, if it is still as it is here; None for no change."""
        if after == self:
            return None
        condition, values = self._condition()
        if after.is_unused:
            return table.remove(self.key, condition, values)
        return table.put(after.item(at), condition, values)

    def check_queue(self, table: Table) -> Action:
        """Return the condition that the queue is as it was read."""
        return table.check(self.key, *_equals({"queue": self._queue_json()}))

    def item(self, at: str) -> dict[str, Any]:
        at = self.at or at
        known = {name: value for name, value in self._attributes().items() if value is not None}
        return {"pk": self.key, "at": at, "status": keys.LEASED, "position": f"{at} {self.key}", **known}

    def _condition(self) -> tuple[str, dict[str, Any]]:
        if self.is_unused:
            return "attribute_not_exists(pk)", {}
        return _equals(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "held_until": self.held_until, "queue": self._queue_json()}

    def _queue_json(self) -> dict[str, Any] | None:
        return {run_id: place.to_json() for run_id, place in self.queue.items()} or None


def _equals(attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The condition that attributes have these values, None for a missing one; and its values."""
    values = {name: value for name, value in attributes.items() if value is not None}
    parts = [
        f"#{name} = :{name}" if name in values else f"attribute_not_exists(#{name})" for name in attributes
    ]
    return " AND ".join(parts), values


class LeaseRequest(Struct, frozen=True):
    """What a step needs: ``leases``, the step's own first, to be acquired together.

    ``later``: leases that further steps of the run need while it keeps these; no run may be queued for them.
    """

    run_id: str
    leases: tuple[str, ...]
    place: Place
    later: tuple[str, ...] = ()


class Blocked(Struct, frozen=True):
    """A request that was refused. ``queue_for``: the leases up to the first that cannot be had, as read.

    ``waits_for``: the run that holds that lease, or is queued for it before this one.
    """

    request: LeaseRequest
    queue_for: tuple[Lease, ...]
    waits_for: str

    def is_queued(self, until: float) -> bool:
        """Whether the run has a place for each of them that counts until then, and does not hold its own."""
        run_id = self.request.run_id
        if self.queue_for[0].run_id == run_id:
            return False
        places = [lease.queue.get(run_id) for lease in self.queue_for if lease.run_id != run_id]
        return all(place is not None and place.until >= until for place in places)

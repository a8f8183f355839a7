"""Leases: which run of ours uses a data job or a data model now, and which runs are queued for it.

A step acquires all leases that it needs in one transaction, or none. A run that is refused is queued for the
leases in its way, with the time since when it waits, and runs that come later yield to it: no two runs wait
for each other, and none waits forever. It is queued for its leases in their order, and for none beyond the
first that it cannot have: a run that waits for a job keeps no other run from a model.

A run that keeps leases for what it has started (the models that its jobs load) goes first, because queued
runs may wait for these very leases. It yields before it starts: it acquires its first leases only if no run
is queued for those that it needs later. So only the few such runs that are open can overtake a queued run.

Every change of a lease is conditional on all that was read of it. It is tried as if the lease were as it
usually is; a refusal brings what is there. What is free is acquired with one request.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.records import Run, StepWrite
from celonis_refresh.runs.table import LEASED, Action, ConditionFailed, Table, earlier_key, run_key
from celonis_refresh.timing import Clock, Deadline, iso


def lease_item(lease: str, run_id: str, at: str) -> dict[str, Any]:
    """Return the item of a lease; it can be listed in the index by status."""
    return Lease(lease, run_id).item(at)


class QueuePlace(Struct, frozen=True):
    """The place of a run in the queue for a lease.

    ``priority``: the run keeps leases for what it has started. ``since``: when it began to wait (epoch seconds);
    ``until``: from then on the place does not count, unless it is renewed.
    """

    priority: bool
    since: float
    until: float = 0.0

    def is_before(self, other: QueuePlace) -> bool:
        return (not self.priority, self.since) < (not other.priority, other.since)

    def to_json(self) -> dict[str, Any]:
        return {"priority": self.priority, "since": self.since, "until": self.until}


class Lease(Struct, frozen=True):
    """A lease as the table has it. ``at``: since when; ``queue``: the places of runs, by run id."""

    key: str
    run_id: str | None = None
    held_until: float | None = None
    queue: Mapping[str, QueuePlace] = {}
    at: str | None = None

    @staticmethod
    def from_item(key: str, item: Mapping[str, Any]) -> Lease:
        """``item`` is empty where there is none."""
        queue = {run_id: QueuePlace(**place) for run_id, place in item.get("queue", {}).items()}
        return Lease(key, item.get("run_id"), item.get("held_until"), queue, item.get("at"))

    @property
    def is_unused(self) -> bool:
        return self.run_id is None and not self.queue

    def names(self, run_id: str) -> bool:
        """Return whether the run holds the lease or is queued for it."""
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

    def queued(self, run_id: str, place: QueuePlace) -> Lease:
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
        return {"pk": self.key, "at": at, "status": LEASED, "position": f"{at} {self.key}", **known}

    def _condition(self) -> tuple[str, dict[str, Any]]:
        if self.is_unused:
            return "attribute_not_exists(pk)", {}
        return _equals(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "held_until": self.held_until, "queue": self._queue_json()}

    def _queue_json(self) -> dict[str, Any] | None:
        return {run_id: place.to_json() for run_id, place in self.queue.items()} or None


def _equals(attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the condition that attributes have these values, None for a missing one; and its values."""
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
    place: QueuePlace
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


MAX_ROUNDS = 50
"""How often a change is tried while other runs change the same leases."""
NOT_HELD_BY = "attribute_not_exists(#run_id) OR #run_id <> :run_id"


class Leases(Struct, frozen=True):
    """Acquires and frees leases; every change is conditional on the run believed to hold it."""

    table: Table
    clock: Clock

    def acquire(
        self, request: LeaseRequest, step: StepWrite, deadline: Deadline, held: Sequence[str] = ()
    ) -> Blocked | None:
        """Acquire all leases of the request, or none: then returns what blocks it.

        ``step``: what has to hold of the step in the same moment; ``held``: leases that the run is known to
        hold. A lease whose run has ended is taken over once it is not held any more: by then everything that
        the run started is shown. Raises ``RunClosed``, ``RunNotFound``, ``StepMoved`` and ``TableBusy``.
        """
        known = self._known({key: Lease(key, request.run_id) for key in held})
        for _ in range(MAX_ROUNDS):
            blocked = known.blocked(request)
            if blocked is not None:
                return blocked
            changes = known.changes(request.leases, lambda lease: known.acquired(lease, request.run_id))
            if not changes:
                return None
            checks = {key: known.lease(key).check_queue(self.table) for key in request.later}
            if self._write(step, known, changes | checks, deadline):
                return None
        raise TableBusy("the leases kept changing")

    def enqueue(self, blocked: Blocked, step: StepWrite, until: float, deadline: Deadline) -> None:
        """Queue the run of a blocked request, with places that count until ``until``. Writes ``step``, too.

        Raises as :meth:`acquire` does.
        """
        request = blocked.request
        own, run_id, place = request.leases[0], request.run_id, replace(request.place, until=until)
        known = self._known({lease.key: lease for lease in blocked.queue_for})

        def after(lease: Lease) -> Lease:
            if lease.run_id == run_id and lease.key != own:
                return lease  # another step of the run is using it just now
            return lease.without([run_id]).queued(run_id, place)

        self._write_until(step, known, lambda: known.changes(known.leases, after), deadline)

    def give_back(
        self,
        request: LeaseRequest,
        step: StepWrite,
        deadline: Deadline,
        place: QueuePlace | None = None,
        *,
        held: bool = True,
    ) -> None:
        """Free the leases of a step, as far as its run holds them, and its places in their queues.

        ``place``: the run is queued for them instead. ``held``: whether the run is believed to hold them.
        Writes ``step``, too. Raises as :meth:`acquire` does.
        """
        run_id = request.run_id
        known = self._known({key: Lease(key, run_id if held else None) for key in request.leases})

        def after(lease: Lease) -> Lease:
            freed = lease.without([run_id])
            return freed if place is None else freed.queued(run_id, place)

        def actions() -> dict[str, Action]:
            changes = known.changes(known.leases, after)
            left = () if held else [key for key in known.leases if key not in changes]
            checks = {key: self.table.check(key, NOT_HELD_BY, {"run_id": run_id}) for key in left}
            return changes | checks

        self._write_until(step, known, actions, deadline)

    def end(
        self, run_id: str, lease: str, step: StepWrite, deadline: Deadline, earlier: Earlier | None = None
    ) -> None:
        """Write the end of a step, frees its lease, and stores its execution as an ``earlier`` one.

        Raises as :meth:`acquire` does.
        """
        known = self._known({lease: Lease(lease, run_id)})
        self._write_until(step, known, lambda: self._freed(run_id, lease, known, earlier), deadline)

    def inherit(self, request: LeaseRequest, former: str, step: StepWrite, deadline: Deadline) -> bool:
        """Acquire all leases of the request, or none, for a run that goes on with what another left running.

        ``former``: that run, which has ended. Returns False while any other run holds one of the leases. Runs
        that are queued stay queued: what they wait for is running already. Writes ``step``, too. Raises as
        :meth:`acquire` does.
        """
        known = self._known({key: self.find(key) for key in request.leases})
        mine = (None, request.run_id, former)
        for _ in range(MAX_ROUNDS):
            if any(known.lease(key).run_id not in mine for key in request.leases):
                return False
            changes = known.changes(request.leases, lambda lease: known.acquired(lease, request.run_id))
            if self._write(step, known, changes, deadline):
                return True
        raise TableBusy("the leases kept changing")

    def free(self, run_id: str, lease: str, deadline: Deadline, earlier: Earlier | None = None) -> None:
        """Free the lease, if this run holds it, and stores its execution as an ``earlier`` one with that.

        A place of the run in the queue goes as well.
        """
        known = self._known({lease: Lease(lease, run_id)})
        for _ in range(MAX_ROUNDS):
            actions = self._freed(run_id, lease, known, earlier)
            if not actions:
                return  # it is free already, or another run's by now
            try:
                self._apply(list(actions.values()), deadline)
            except ConditionFailed as refused:
                known.learn(dict(zip(actions, refused.found, strict=True)))
            else:
                return
        raise TableBusy("the lease kept changing")

    def hold(self, run_id: str, lease: str, until: float, deadline: Deadline) -> None:
        """Keep the lease for a run that ends, until what it started must show (epoch seconds)."""
        held = self.table.set(lease, {"held_until": until}, "#run_id = :run_id", {"run_id": run_id})
        with contextlib.suppress(ConditionFailed):  # it is another run's by now
            self.table.update(held, deadline)

    def find(self, lease: str) -> Lease:
        """Return the lease as it is now."""
        return Lease.from_item(lease, self.table.get(lease) or {})

    def remove_ended(self, lease: Lease, deadline: Deadline) -> bool:
        """Remove the places that do not count any more; whether there were any."""
        known = self._known({})
        ended = [run_id for run_id, place in lease.queue.items() if not known.counts(run_id, place)]
        change = lease.change_to(lease.without(ended), self.table, iso(self.clock()))
        if change is None:
            return False
        with contextlib.suppress(ConditionFailed):  # the lease changed just now: the next round sees it
            self._apply([change], deadline)
        return True

    def _known(self, leases: Mapping[str, Lease]) -> _Known:
        return _Known(self.table, self.clock, dict(leases))

    def _freed(self, run_id: str, lease: str, known: _Known, earlier: Earlier | None) -> Mapping[str, Action]:
        """Return what frees a lease and stores an execution, as far as the run holds the lease."""
        stored = {}
        if earlier is not None and known.lease(lease).run_id == run_id:
            stored = {earlier_key(lease): replace(earlier, run_id=run_id).write(self.table, lease)}
        return known.changes([lease], lambda found: found.without([run_id])) | stored

    def _write_until(
        self, step: StepWrite, known: _Known, actions: Callable[[], Mapping[str, Action]], deadline: Deadline
    ) -> None:
        """Write the step and the actions, which are made anew while what is known turns out to be wrong."""
        for _ in range(MAX_ROUNDS):
            if self._write(step, known, actions(), deadline):
                return
        raise TableBusy("the leases kept changing")

    def _write(
        self, step: StepWrite, known: _Known, changes: Mapping[str, Action], deadline: Deadline
    ) -> bool:
        """Write all, or learns what is there and returns False."""
        try:
            self.table.transact([step.action, *changes.values()], deadline)
        except ConditionFailed as refused:
            record, *found = refused.found
            if record is not None:
                raise step.refusal(record) from None
            known.learn(dict(zip(changes, found, strict=True)))
            return False
        return True

    def _apply(self, actions: Sequence[Action], deadline: Deadline) -> None:
        if len(actions) == 1 and "Delete" in actions[0]:
            self.table.delete(actions[0], deadline)
        else:
            self.table.transact(actions, deadline)


class _Known(Struct):
    """What is known of leases and of runs. A lease of which nothing is known counts as free."""

    table: Table
    clock: Clock
    leases: dict[str, Lease] = field(default_factory=dict)
    runs: dict[str, Run | None] = field(default_factory=dict)

    def lease(self, key: str) -> Lease:
        return self.leases.get(key) or Lease(key)

    def learn(self, found: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Take in what was found where a condition did not hold; None where it held."""
        self.leases |= {key: Lease.from_item(key, item) for key, item in found.items() if item is not None}

    def blocked(self, request: LeaseRequest) -> Blocked | None:
        """Return what blocks the request, if anything does."""
        leases = [self.lease(key) for key in request.leases]
        for number, lease in enumerate(leases, start=1):
            if lease.run_id == request.run_id:
                continue
            other = self._holder(lease) or self._queued_before(lease, request)
            if other is not None:
                return Blocked(request, tuple(leases[:number]), other)
        if any(lease.run_id == request.run_id for lease in leases):
            return None
        queued = (self._queued_before(self.lease(key), request) for key in request.later)
        other = next(filter(None, queued), None)
        return None if other is None else Blocked(request, tuple(leases), other)

    def _holder(self, lease: Lease) -> str | None:
        """Return the run that holds the lease, and is not over."""
        if lease.run_id is None:
            return None
        run = self._run(lease.run_id)
        is_held = (lease.held_until or 0.0) > self.clock() or (run is not None and run.is_open)
        return lease.run_id if is_held else None

    def _queued_before(self, lease: Lease, request: LeaseRequest) -> str | None:
        """Return a run that is queued before this one, if there is any."""
        before = {
            run_id: place
            for run_id, place in lease.queue.items()
            if run_id != request.run_id and place.is_before(request.place)
        }
        return next((run_id for run_id, place in before.items() if self.counts(run_id, place)), None)

    def counts(self, run_id: str, place: QueuePlace) -> bool:
        """Return whether a place in a queue is one of a run that will come for it."""
        if place.until <= self.clock():
            return False
        run = self._run(run_id)
        return run is not None and run.is_open and not run.is_closing

    def _run(self, run_id: str) -> Run | None:
        if run_id not in self.runs:
            item = self.table.get(run_key(run_id))
            self.runs[run_id] = Run(item) if item else None
        return self.runs[run_id]

    def acquired(self, lease: Lease, run_id: str) -> Lease:
        """Return the lease held by the run, without the places that are known not to count any more."""
        if lease.run_id == run_id:
            return lease
        known = {run_id: place for run_id, place in lease.queue.items() if run_id in self.runs}
        ended = {run_id for run_id, place in known.items() if not self.counts(run_id, place)}
        expired = {run_id for run_id, place in lease.queue.items() if place.until <= self.clock()}
        return lease.without(ended | expired).held_by(run_id)

    def changes(self, leases: Iterable[str], after: Callable[[Lease], Lease]) -> dict[str, Action]:
        """Return the actions that change leases as ``after`` says, by lease."""
        at = iso(self.clock())
        found = {key: self.lease(key).change_to(after(self.lease(key)), self.table, at) for key in leases}
        return {key: action for key, action in found.items() if action is not None}

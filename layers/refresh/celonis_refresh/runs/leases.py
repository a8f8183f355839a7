"""Leases: which run uses a data job or a data model now, and which runs are queued for it.

A step acquires all leases that it needs in one transaction, or none. A blocked run is queued for the leases
up to the first that it cannot have, with the time since which it waits, and later runs yield to it. So runs
never wait for each other in a circle, and a run that waits for a job keeps no other run from a model.

A run that has leases for what it has started (the models that its jobs load) has priority, because queued
runs may wait for these leases. It yields before it starts: it acquires its first leases only if no run is
queued for those that it needs later.

Every change is conditional on everything that was read of the lease. It is first tried as if the lease were
in its usual state, so that a free lease costs one request; a rejected write returns the item.
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
    """Return the item of a lease; the index by status lists it."""
    return Lease(lease, run_id).item(at)


class QueuePlace(Struct, frozen=True):
    """The place of a run in the queue for a lease.

    ``priority``: the run has leases for what it has started. ``since``: when it began to wait (epoch
    seconds); ``until``: when the place expires unless it is renewed.
    """

    priority: bool
    since: float
    until: float = 0.0

    def is_before(self, other: QueuePlace) -> bool:
        return (not self.priority, self.since) < (not other.priority, other.since)

    def to_json(self) -> dict[str, Any]:
        return {"priority": self.priority, "since": self.since, "until": self.until}


class Lease(Struct, frozen=True):
    """A lease as stored. ``at``: since when; ``queue``: the places of runs by run id."""

    key: str
    run_id: str | None = None
    held_until: float | None = None
    queue: Mapping[str, QueuePlace] = {}
    at: str | None = None

    @staticmethod
    def from_item(key: str, item: Mapping[str, Any]) -> Lease:
        """Return the lease; ``item`` is empty if there is none."""
        queue = {run_id: QueuePlace(**place) for run_id, place in item.get("queue", {}).items()}
        return Lease(key, item.get("run_id"), item.get("held_until"), queue, item.get("at"))

    @property
    def is_unused(self) -> bool:
        return self.run_id is None and not self.queue

    def names(self, run_id: str) -> bool:
        """Return whether the run has the lease or is queued for it."""
        return run_id == self.run_id or run_id in self.queue

    def without(self, run_ids: Iterable[str]) -> Lease:
        """Return the lease without these runs."""
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
        """Return the action that changes the lease to ``after``, conditional on this one; None if equal."""
        if after == self:
            return None
        condition, values = self._condition()
        if after.is_unused:
            return table.remove(self.key, condition, values)
        return table.put(after.item(at), condition, values)

    def check_queue(self, table: Table) -> Action:
        """Return the condition that the queue has not changed."""
        return table.check(self.key, *_equals({"queue": self._queue_json()}))

    def item(self, at: str) -> dict[str, Any]:
        at = self.at or at
        attributes = {name: value for name, value in self._attributes().items() if value is not None}
        return {"pk": self.key, "at": at, "status": LEASED, "position": f"{at} {self.key}", **attributes}

    def _condition(self) -> tuple[str, dict[str, Any]]:
        if self.is_unused:
            return "attribute_not_exists(pk)", {}
        return _equals(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "held_until": self.held_until, "queue": self._queue_json()}

    def _queue_json(self) -> dict[str, Any] | None:
        return {run_id: place.to_json() for run_id, place in self.queue.items()} or None


def _equals(attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the condition that attributes have these values (None: missing), and its values."""
    values = {name: value for name, value in attributes.items() if value is not None}
    parts = [
        f"#{name} = :{name}" if name in values else f"attribute_not_exists(#{name})" for name in attributes
    ]
    return " AND ".join(parts), values


class LeaseRequest(Struct, frozen=True):
    """The leases that a step acquires together, its own first.

    ``later``: leases that further steps of the run need while it has these; no run may be queued for them.
    """

    run_id: str
    leases: tuple[str, ...]
    place: QueuePlace
    later: tuple[str, ...] = ()


class Blocked(Struct, frozen=True):
    """A request that was refused.

    ``queue_for``: the leases up to the first that cannot be acquired, as read. ``waits_for``: the run that
    has that lease or is queued before this one.
    """

    request: LeaseRequest
    queue_for: tuple[Lease, ...]
    waits_for: str

    def is_queued(self, until: float) -> bool:
        """Return whether the run has places for all of them until then, and not its own lease."""
        run_id = self.request.run_id
        if self.queue_for[0].run_id == run_id:
            return False
        places = [lease.queue.get(run_id) for lease in self.queue_for if lease.run_id != run_id]
        return all(place is not None and place.until >= until for place in places)


MAX_ROUNDS = 50
"""Attempts to change leases that other runs change at the same time."""
NOT_HELD_BY = "attribute_not_exists(#run_id) OR #run_id <> :run_id"


class Leases(Struct, frozen=True):
    """Acquires and frees leases; every change is conditional on the run that has the lease."""

    table: Table
    clock: Clock

    def acquire(
        self, request: LeaseRequest, step: StepWrite, deadline: Deadline, held: Sequence[str] = ()
    ) -> Blocked | None:
        """Acquire all leases of the request and return None, or return what blocks it.

        ``step``: a condition on the step in the same transaction; ``held``: leases that the run is known to
        have. A lease of an ended run is taken over after ``held_until``, when everything that the run started
        is visible. Raises ``RunClosed``, ``RunNotFound``, ``StepMoved`` and ``TableBusy``.
        """
        view = self._view({key: Lease(key, request.run_id) for key in held})
        for _ in range(MAX_ROUNDS):
            blocked = view.blocked(request)
            if blocked is not None:
                return blocked
            changes = view.changes(request.leases, lambda lease: view.acquired(lease, request.run_id))
            if not changes:
                return None
            checks = {key: view.lease(key).check_queue(self.table) for key in request.later}
            if self._write(step, view, changes | checks, deadline):
                return None
        raise TableBusy("the leases kept changing")

    def enqueue(self, blocked: Blocked, step: StepWrite, until: float, deadline: Deadline) -> None:
        """Queue the run of a blocked request, with places until ``until``, and write ``step``.

        Raises as :meth:`acquire` does.
        """
        request = blocked.request
        own, run_id, place = request.leases[0], request.run_id, replace(request.place, until=until)
        view = self._view({lease.key: lease for lease in blocked.queue_for})

        def after(lease: Lease) -> Lease:
            if lease.run_id == run_id and lease.key != own:
                return lease  # another step of the run uses it
            return lease.without([run_id]).queued(run_id, place)

        self._write_until(step, view, lambda: view.changes(view.leases, after), deadline)

    def release(
        self,
        request: LeaseRequest,
        step: StepWrite,
        deadline: Deadline,
        place: QueuePlace | None = None,
        *,
        held: bool = True,
    ) -> None:
        """Free the leases of a step that its run has, and its places in the queues, and write ``step``.

        ``place``: the run is queued for them instead. ``held``: whether the run is believed to have them.
        Raises as :meth:`acquire` does.
        """
        run_id = request.run_id
        view = self._view({key: Lease(key, run_id if held else None) for key in request.leases})

        def after(lease: Lease) -> Lease:
            freed = lease.without([run_id])
            return freed if place is None else freed.queued(run_id, place)

        def actions() -> dict[str, Action]:
            changes = view.changes(view.leases, after)
            unchanged = () if held else [key for key in view.leases if key not in changes]
            checks = {key: self.table.check(key, NOT_HELD_BY, {"run_id": run_id}) for key in unchanged}
            return changes | checks

        self._write_until(step, view, actions, deadline)

    def end(
        self, run_id: str, lease: str, step: StepWrite, deadline: Deadline, earlier: Earlier | None = None
    ) -> None:
        """Write the end of a step, free its lease and store its execution as an ``earlier`` one.

        Raises as :meth:`acquire` does.
        """
        view = self._view({lease: Lease(lease, run_id)})
        self._write_until(step, view, lambda: self._freed(run_id, lease, view, earlier), deadline)

    def inherit(self, request: LeaseRequest, former: str, step: StepWrite, deadline: Deadline) -> bool:
        """Acquire all leases of the request for a run that resumes what another run left running.

        ``former``: that run, which has ended. Returns False if any other run has one of the leases. Queued
        runs stay queued. Writes ``step`` as well. Raises as :meth:`acquire` does.
        """
        view = self._view({key: self.find(key) for key in request.leases})
        mine = (None, request.run_id, former)
        for _ in range(MAX_ROUNDS):
            if any(view.lease(key).run_id not in mine for key in request.leases):
                return False
            changes = view.changes(request.leases, lambda lease: view.acquired(lease, request.run_id))
            if self._write(step, view, changes, deadline):
                return True
        raise TableBusy("the leases kept changing")

    def free(self, run_id: str, lease: str, deadline: Deadline, earlier: Earlier | None = None) -> None:
        """Free the lease if this run has it, store its execution as ``earlier``, and remove its place."""
        view = self._view({lease: Lease(lease, run_id)})
        for _ in range(MAX_ROUNDS):
            actions = self._freed(run_id, lease, view, earlier)
            if not actions:
                return  # it is free, or another run has it
            try:
                self._apply(list(actions.values()), deadline)
            except ConditionFailed as refused:
                view.learn(dict(zip(actions, refused.items, strict=True)))
            else:
                return
        raise TableBusy("the lease kept changing")

    def hold(self, run_id: str, lease: str, until: float, deadline: Deadline) -> None:
        """Hold the lease of a run that ends until what it started is visible (epoch seconds)."""
        held = self.table.set(lease, {"held_until": until}, "#run_id = :run_id", {"run_id": run_id})
        with contextlib.suppress(ConditionFailed):  # another run has it
            self.table.update(held, deadline)

    def find(self, lease: str) -> Lease:
        """Return the current lease."""
        return Lease.from_item(lease, self.table.get(lease) or {})

    def remove_ended(self, lease: Lease, deadline: Deadline) -> bool:
        """Remove places that have expired or whose run has ended; return whether there were any."""
        view = self._view({})
        ended = [run_id for run_id, place in lease.queue.items() if not view.counts(run_id, place)]
        change = lease.change_to(lease.without(ended), self.table, iso(self.clock()))
        if change is None:
            return False
        with contextlib.suppress(ConditionFailed):  # the lease has changed; the next reconcile checks it
            self._apply([change], deadline)
        return True

    def _view(self, leases: Mapping[str, Lease]) -> _LeaseView:
        return _LeaseView(self.table, self.clock, dict(leases))

    def _freed(
        self, run_id: str, lease: str, view: _LeaseView, earlier: Earlier | None
    ) -> Mapping[str, Action]:
        """Return the actions that free a lease of the run and store an execution."""
        stored = {}
        if earlier is not None and view.lease(lease).run_id == run_id:
            stored = {earlier_key(lease): replace(earlier, run_id=run_id).write(self.table, lease)}
        return view.changes([lease], lambda current: current.without([run_id])) | stored

    def _write_until(
        self,
        step: StepWrite,
        view: _LeaseView,
        actions: Callable[[], Mapping[str, Action]],
        deadline: Deadline,
    ) -> None:
        """Write the step and the actions, which are computed again after each conflict."""
        for _ in range(MAX_ROUNDS):
            if self._write(step, view, actions(), deadline):
                return
        raise TableBusy("the leases kept changing")

    def _write(
        self, step: StepWrite, view: _LeaseView, changes: Mapping[str, Action], deadline: Deadline
    ) -> bool:
        """Write all, or update ``view`` and return False."""
        try:
            self.table.transact([step.action, *changes.values()], deadline)
        except ConditionFailed as refused:
            record, *items = refused.items
            if record is not None:
                raise step.refusal(record) from None
            view.learn(dict(zip(changes, items, strict=True)))
            return False
        return True

    def _apply(self, actions: Sequence[Action], deadline: Deadline) -> None:
        if len(actions) == 1 and "Delete" in actions[0]:
            self.table.delete(actions[0], deadline)
        else:
            self.table.transact(actions, deadline)


class _LeaseView(Struct):
    """Leases and runs that were read so far. A lease that was not read counts as free."""

    table: Table
    clock: Clock
    leases: dict[str, Lease] = field(default_factory=dict)
    runs: dict[str, Run | None] = field(default_factory=dict)

    def lease(self, key: str) -> Lease:
        return self.leases.get(key) or Lease(key)

    def learn(self, items: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Add the items that failed conditions; None for a condition that held."""
        self.leases |= {key: Lease.from_item(key, item) for key, item in items.items() if item is not None}

    def blocked(self, request: LeaseRequest) -> Blocked | None:
        """Return what blocks the request, or None."""
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
        """Return the run that has the lease and has not ended."""
        if lease.run_id is None:
            return None
        run = self._run(lease.run_id)
        is_held = (lease.held_until or 0.0) > self.clock() or (run is not None and run.is_open)
        return lease.run_id if is_held else None

    def _queued_before(self, lease: Lease, request: LeaseRequest) -> str | None:
        """Return a run that is queued before this one, or None."""
        before = {
            run_id: place
            for run_id, place in lease.queue.items()
            if run_id != request.run_id and place.is_before(request.place)
        }
        return next((run_id for run_id, place in before.items() if self.counts(run_id, place)), None)

    def counts(self, run_id: str, place: QueuePlace) -> bool:
        """Return whether the place has not expired and its run is open."""
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
        """Return the lease of the run, without places that are known to have expired."""
        if lease.run_id == run_id:
            return lease
        read = {run_id: place for run_id, place in lease.queue.items() if run_id in self.runs}
        ended = {run_id for run_id, place in read.items() if not self.counts(run_id, place)}
        expired = {run_id for run_id, place in lease.queue.items() if place.until <= self.clock()}
        return lease.without(ended | expired).held_by(run_id)

    def changes(self, leases: Iterable[str], after: Callable[[Lease], Lease]) -> dict[str, Action]:
        """Return the actions that change each lease to ``after(lease)``, by lease."""
        at = iso(self.clock())
        actions = {key: self.lease(key).change_to(after(self.lease(key)), self.table, at) for key in leases}
        return {key: action for key, action in actions.items() if action is not None}

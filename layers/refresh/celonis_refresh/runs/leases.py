"""Leases: which run of ours uses a data job or a data model now."""

from __future__ import annotations

import contextlib

from msgspec import Struct

from celonis_refresh.runs import keys
from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.records import MAY_GO_ON, OPEN_VALUES, Run, not_open
from celonis_refresh.runs.table import Refused, Table
from celonis_refresh.timing import Clock, Deadline, iso

NOT_HELD = "(attribute_not_exists(#held_until) OR #held_until <= :now)"
TAKEABLE = f"attribute_not_exists(pk) OR (#run_id = :holder AND {NOT_HELD})"

INHERITABLE = "attribute_not_exists(pk) OR #run_id IN (:mine, :former)"


def lease_item(lease: str, run_id: str, at: str) -> dict[str, str]:
    """The item of a lease; it can be listed in the index by status."""
    return {"pk": lease, "run_id": run_id, "at": at, "status": keys.LEASED, "position": f"{at} {lease}"}


class Leases(Struct, frozen=True):
    """Takes and frees leases; every change is conditional on the run believed to hold it."""

    table: Table
    clock: Clock

    def take(self, run_id: str, lease: str, deadline: Deadline) -> bool:
        """Takes the lease for an open run; False while another open run holds it.

        A lease whose run has ended is taken over once it is not held any more: by then everything that the
        run started is shown.
        Raises ``RunClosed`` or ``RunNotFound``: a run that has ended, or is being closed, takes nothing.
        """
        holder = self._take(run_id, lease, run_id, deadline)
        if holder is None:
            return True
        item = self.table.get(keys.run(holder))
        if item and Run(item).is_open:
            return False
        return self._take(run_id, lease, holder, deadline) is None

    def _take(self, run_id: str, lease: str, holder: str, deadline: Deadline) -> str | None:
        """Takes a lease that is free or held by ``holder``; otherwise the run that holds it."""
        item = lease_item(lease, run_id, iso(self.clock()))
        actions = [
            self.table.check(keys.run(run_id), MAY_GO_ON, OPEN_VALUES),
            self.table.put(item, TAKEABLE, {"holder": holder, "now": self.clock()}),
        ]
        try:
            self.table.transact(actions, deadline)
        except Refused as refused:
            record, leased = refused.found
            if record is None:
                return str((leased or {})["run_id"])
            raise not_open(run_id, record) from None
        return None

    def inherit(self, run_id: str, lease: str, former: str, deadline: Deadline) -> bool:
        """Takes the lease for an open run that goes on with what the run ``former`` left running.

        False while any other run holds it. Raises as :meth:`take` does.
        """
        actions = [
            self.table.check(keys.run(run_id), MAY_GO_ON, OPEN_VALUES),
            self.table.put(
                lease_item(lease, run_id, iso(self.clock())), INHERITABLE, {"mine": run_id, "former": former}
            ),
        ]
        try:
            self.table.transact(actions, deadline)
        except Refused as refused:
            record = refused.found[0]
            if record is None:
                return False
            raise not_open(run_id, record) from None
        return True

    def free(self, run_id: str, lease: str, deadline: Deadline, earlier: Earlier | None = None) -> None:
        """Frees the lease, if this run holds it, and stores its execution as an ``earlier`` one with that."""
        freed = self.table.remove(lease, "#run_id = :run_id", {"run_id": run_id})
        try:
            if earlier is None:
                self.table.delete(freed, deadline)
            else:
                self.table.transact([freed, earlier.write(self.table, lease)], deadline)
        except Refused:
            return  # it is free already, or another run's by now

    def hold(self, run_id: str, lease: str, until: float, deadline: Deadline) -> None:
        """Keeps the lease for a run that ends, until what it started must show (epoch seconds)."""
        held = self.table.set(lease, {"held_until": until}, "#run_id = :run_id", {"run_id": run_id})
        with contextlib.suppress(Refused):  # it is another run's by now
            self.table.update(held, deadline)

    def is_held(self, run_id: str, lease: str) -> bool:
        """Whether this run holds the lease."""
        return (self.table.get(lease) or {}).get("run_id") == run_id

    def earlier(self, lease: str) -> Earlier:
        """Our last executions of what the lease is for."""
        return Earlier.from_item(self.table.get(keys.earlier(lease)))

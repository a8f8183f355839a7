"""Leases: which run of ours uses a data job or a data model now."""

from __future__ import annotations

from msgspec import Struct

from celonis_refresh.runs import keys
from celonis_refresh.runs.records import MAY_GO_ON, OPEN_VALUES, Run, not_open
from celonis_refresh.runs.table import Refused, Table
from celonis_refresh.timing import Clock, Deadline, iso


def lease_item(lease: str, run_id: str, at: str) -> dict[str, str]:
    """The item of a lease; it can be listed in the index by status."""
    return {"pk": lease, "run_id": run_id, "at": at, "status": keys.LEASED, "position": f"{at} {lease}"}


class Leases(Struct, frozen=True):
    """Takes and frees leases; every change is conditional on the run believed to hold it."""

    table: Table
    clock: Clock

    def take(self, run_id: str, lease: str, deadline: Deadline) -> bool:
        """Takes the lease for an open run; False while another open run holds it.

        A lease whose run has ended is taken over: whatever still runs there shows when the taker looks.
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
            self.table.put(item, "attribute_not_exists(pk) OR #run_id = :holder", {"holder": holder}),
        ]
        try:
            self.table.transact(actions, deadline)
        except Refused as refused:
            record, leased = refused.found
            if record is None:
                return str((leased or {})["run_id"])
            raise not_open(run_id, record) from None
        return None

    def free(self, run_id: str, lease: str, deadline: Deadline) -> None:
        """Frees the lease, if this run holds it."""
        try:
            self.table.delete(self.table.remove(lease, "#run_id = :run_id", {"run_id": run_id}), deadline)
        except Refused:
            return  # it is free already, or another run's by now

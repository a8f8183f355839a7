"""A run that acquires one lease, without a step around it."""

from __future__ import annotations

from celonis_refresh.runs.leases import LeaseRequest, Leases, QueuePlace
from celonis_refresh.runs.records import Records, Run
from celonis_refresh.timing import Deadline


def take(leases: Leases, run_id: str, lease: str, deadline: Deadline) -> bool:
    """Whether the run acquired the lease. Raises as ``Leases.acquire`` does."""
    records = Records(leases.table, leases.clock)
    run = records.find(run_id) or Run({"run_id": run_id})
    request = LeaseRequest(run_id, (lease,), QueuePlace(priority=False, since=leases.clock()))
    return leases.acquire(request, records.step_check(run, "job-0"), deadline) is None

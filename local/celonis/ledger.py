"""The ledger: every execution and load that was really started, and every request with its response."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from local.celonis.model import Platform
from local.celonis.operations import JobExecution, LoadOperation, Phase

KEPT_REQUESTS = 100_000


@dataclass(frozen=True)
class LedgerEntry:
    """One request. ``credential``: its kind, never its value; ``status``: None without a response."""

    at: float
    call: str
    method: str
    path: str
    query: dict[str, str]
    credential: str
    token: int | None
    status: int | None
    fault: str | None
    effect: dict[str, Any] | None


class Ledger:
    """The log of requests, newest last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: deque[LedgerEntry] = deque(maxlen=KEPT_REQUESTS)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._rows.clear()

    def note(self, row: LedgerEntry) -> None:
        """Add a request."""
        with self._lock:
            self._rows.append(row)

    def requests(self, call: str | None = None) -> list[dict[str, Any]]:
        """Return the requests, or those of one call, in the order of their responses."""
        with self._lock:
            return [asdict(row) for row in self._rows if call in (None, row.call)]


def executions(platform: Platform) -> list[dict[str, Any]]:
    """Return every execution that was really started, oldest first. Times in seconds of the clock."""
    platform.settle()
    return _in_order(platform, [operation for job in platform.jobs.values() for operation in job.operations])


def loads(platform: Platform) -> list[dict[str, Any]]:
    """Return every load that was really started, oldest first."""
    platform.settle()
    return _in_order(
        platform, [operation for model in platform.models.values() for operation in model.operations]
    )


def _in_order(platform: Platform, operations: Sequence[JobExecution | LoadOperation]) -> list[dict[str, Any]]:
    return [
        describe(operation, platform.clock()) for operation in sorted(operations, key=lambda one: one.seq)
    ]


def describe(operation: JobExecution | LoadOperation, now: float) -> dict[str, Any]:
    """Return the real state of one execution or load at ``now``."""
    phase = operation.phase(now)
    common = {
        "id": operation.id,
        "by": operation.by,
        "phase": phase.value,
        "outcome": operation.result if phase is Phase.ENDED else None,
        "requested_at": operation.requested_at,
        "started_at": operation.start_shown(now),
        "ended_at": operation.end_shown(now),
    }
    if isinstance(operation, LoadOperation):
        own = {"model_id": operation.model_id, "type": operation.kind, "tables": list(operation.tables)}
        return {**common, **own, "execution_id": operation.execution_id}
    inside = operation.load.id if operation.load is not None else None
    return {
        **common,
        "job_id": operation.job_id,
        "mode": operation.mode,
        "item_id": operation.item_id,
        "load_id": inside,
    }

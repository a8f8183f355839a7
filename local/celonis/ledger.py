"""What really happened: every execution and load, and every request with what was answered."""

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
    """One request. ``credential`` is a kind, never a value; ``status`` is None when nothing was answered."""

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
        """The requests in the order in which they were answered, or those of one call."""
        with self._lock:
            return [asdict(row) for row in self._rows if call in (None, row.call)]


def executions(platform: Platform) -> list[dict[str, Any]]:
    """Every execution that was really started, in the order of starting. Times in seconds of the clock."""
    platform.settle()
    return _in_order(platform, [work for job in platform.jobs.values() for work in job.works])


def loads(platform: Platform) -> list[dict[str, Any]]:
    """Every load that was really started, in the order of starting."""
    platform.settle()
    return _in_order(platform, [work for model in platform.models.values() for work in model.works])


def _in_order(platform: Platform, works: Sequence[JobExecution | LoadOperation]) -> list[dict[str, Any]]:
    return [describe(work, platform.clock()) for work in sorted(works, key=lambda one: one.seq)]


def describe(work: JobExecution | LoadOperation, now: float) -> dict[str, Any]:
    """One execution or load as it really stands at ``now``."""
    phase = work.phase(now)
    common = {
        "id": work.id,
        "by": work.by,
        "phase": phase.value,
        "outcome": work.result if phase is Phase.ENDED else None,
        "requested_at": work.requested_at,
        "started_at": work.start_shown(now),
        "ended_at": work.end_shown(now),
    }
    if isinstance(work, LoadOperation):
        own = {"model_id": work.model_id, "type": work.kind, "tables": list(work.tables)}
        return {**common, **own, "execution_id": work.execution_id}
    inside = work.load.id if work.load is not None else None
    return {**common, "job_id": work.job_id, "mode": work.mode, "item_id": work.item_id, "load_id": inside}

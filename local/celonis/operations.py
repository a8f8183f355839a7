"""Executions and loads as timelines: the state is computed from the time, without threads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import inf

SUCCESS = "SUCCESS"
FAILED_LOADS_END = "FAIL"  # the end of an execution whose own load did not succeed
GOOD_LOADS = frozenset({"SUCCESS", "WARNING"})


class Phase(Enum):
    """The phase of an operation at a given time."""

    WAITING = "waiting"  # queued behind another one of the same job or model
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class ForcedEnd:
    """A forced end: cancelled, finished or stopped manually. ``at`` in seconds of the clock."""

    requested_at: float
    at: float
    outcome: str


@dataclass(eq=False)
class Operation:
    """The operation of one start. All times are seconds of the platform's clock."""

    seq: int
    id: str
    by: str
    requested_at: float
    queue_seconds: float
    run_seconds: float
    outcome: str
    after: Operation | None = None
    forced: ForcedEnd | None = None

    @property
    def begin_at(self) -> float:
        """Return when the operation before it ends. Iterates from the head of a possibly long queue."""
        line: list[Operation] = [self]
        while (ahead := line[-1].after) is not None:
            line.append(ahead)
        begin = line[-1].requested_at
        for first, second in pairwise(reversed(line)):
            begin = max(second.requested_at, first.end_when_begun(begin))
        return begin

    @property
    def started_at(self) -> float:
        """Return when it starts to run, after its time in the queue; after the end if it never ran."""
        return self.begin_at + self.queue_seconds

    @property
    def ended_at(self) -> float:
        """Return when it ends, as known now; infinite if it waits for one that is not started yet."""
        return self.end_when_begun(self.begin_at)

    def natural_end(self, begin: float) -> float:
        """Return when it ends if it begins at ``begin`` and is not ended early."""
        return begin + self.queue_seconds + self.run_seconds

    def end_when_begun(self, begin: float) -> float:
        """Return when it ends if it begins at ``begin``."""
        natural = self.natural_end(begin)
        return natural if self.forced is None else min(natural, self.forced.at)

    @property
    def was_forced(self) -> bool:
        """Return whether the forced end came no later than the natural one."""
        return self.forced is not None and self.forced.at <= self.natural_end(self.begin_at)

    @property
    def result(self) -> str:
        """Return the status after the end."""
        return self.forced.outcome if self.forced is not None and self.was_forced else self.natural_result

    @property
    def natural_result(self) -> str:
        """Return the status after an end that was not forced."""
        return self.outcome

    def phase(self, at: float) -> Phase:
        """Return the phase at ``at``."""
        if at >= self.ended_at:
            return Phase.ENDED
        if at < self.begin_at:
            return Phase.WAITING
        return Phase.QUEUED if at < self.started_at else Phase.RUNNING

    def is_ending(self, at: float) -> bool:
        """Return whether its end was requested and has not come yet."""
        return self.forced is not None and self.forced.requested_at <= at < self.ended_at

    def start_shown(self, at: float) -> float | None:
        """Return the start date that may be shown at ``at``; None before it, and if it never ran."""
        return self.started_at if self.started_at <= min(at, self.ended_at) else None

    def end_shown(self, at: float) -> float | None:
        """Return the end date that may be shown at ``at``."""
        return self.ended_at if at >= self.ended_at else None


@dataclass(eq=False)
class LoadOperation(Operation):
    """One load of a data model. ``kind`` is COMPLETE, PARTIAL or FROM_CACHE; ``tables`` are table ids."""

    model_id: str = ""
    kind: str = "COMPLETE"
    tables: tuple[str, ...] = ()
    message: str | None = None
    execution_id: str | None = None


@dataclass(frozen=True)
class InnerLoadStep:
    """A load inside a data job. ``awaited``: the job ends only after the load."""

    model_id: str
    tables: tuple[str, ...]
    awaited: bool


@dataclass(eq=False)
class JobExecution(Operation):
    """One execution of a data job. ``item_id``: its ``latestExecutionItemId``."""

    job_id: str = ""
    mode: str = "FULL"
    item_id: str = ""
    inner: InnerLoadStep | None = None
    load: LoadOperation | None = None

    @property
    def load_at(self) -> float | None:
        """Return when the load inside it starts; None without one, or if the job fails before it."""
        if self.inner is None or self.outcome != SUCCESS:
            return None
        return self.started_at + self.run_seconds

    def natural_end(self, begin: float) -> float:
        """Return the end of its own work, or of the load inside it if that is awaited."""
        own = super().natural_end(begin)
        if self.inner is None or not self.inner.awaited or self.outcome != SUCCESS:
            return own
        return inf if self.load is None else max(own, self.load.ended_at)

    @property
    def natural_result(self) -> str:
        """Return its outcome, or FAIL if the load that it awaits did not succeed."""
        awaited = self.inner is not None and self.inner.awaited and self.load is not None
        if awaited and self.load is not None and self.load.result not in GOOD_LOADS:
            return FAILED_LOADS_END
        return self.outcome

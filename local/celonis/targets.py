"""A job or model with all its operations, and what a reader may see of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeVar

from local.celonis.operations import ForcedEnd, JobExecution, LoadOperation, Operation, Phase
from local.celonis.setups import ASPECTS, JobSetup, ModelSetup, Setup

W = TypeVar("W", bound=Operation)
S = TypeVar("S", bound=Setup)


@dataclass(frozen=True)
class ReadMoment:
    """The time whose state a reader sees, and the number of the first start that is hidden."""

    at: float
    below: float = inf


@dataclass(eq=False)
class StartTarget(Generic[W, S]):
    """The operations of one job or model. Times in seconds of the platform's clock."""

    id: str
    pool_id: str
    name: str
    setup: S
    operations: list[W] = field(default_factory=list)
    stale_reads: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ASPECTS, 0))
    is_gone: bool = False  # deleted on the platform; its operations stay in the ledger

    def busy(self, now: float) -> list[W]:
        """Return the running and queued operations, oldest first. One pass, because a queue may be long."""
        ends: dict[Operation, float] = {}
        for operation in self.operations:
            begin = (
                operation.requested_at
                if operation.after is None
                else max(operation.requested_at, ends[operation.after])
            )
            ends[operation] = operation.end_when_begun(begin)
        return [operation for operation in self.operations if now < ends[operation]]

    def running(self, now: float) -> W | None:
        """Return the running operation; the newest if there are several."""
        current = [operation for operation in self.busy(now) if operation.phase(now) is not Phase.WAITING]
        return current[-1] if current else None

    def add(self, operation: W) -> W:
        """Append ``operation``, and reset the stale reads that follow a start."""
        self.operations.append(operation)
        if self.setup.stale_reads:
            self.stale_reads = dict.fromkeys(ASPECTS, self.setup.stale_reads)
        return operation

    def insert(self, operation: W) -> W:
        """Insert ``operation`` by its time."""
        self.operations.append(operation)
        self.operations.sort(key=lambda one: one.requested_at)
        return operation

    def end(self, operation: Operation, now: float, seconds: float, outcome: str) -> None:
        """End ``operation`` ``seconds`` from now with ``outcome``, unless it ends before."""
        operation.forced = ForcedEnd(requested_at=now, at=now + seconds, outcome=outcome)

    def moment_of(self, aspect: str, now: float) -> ReadMoment:
        """Return the moment that a reader sees of ``aspect`` now; this uses up one stale read."""
        hidden = [
            operation
            for operation in self.operations
            if now < operation.requested_at + self.setup.stale[aspect]
        ]
        if self.stale_reads[aspect] > 0:
            hidden = hidden or self.operations[-1:]
            self.stale_reads = {**self.stale_reads, aspect: self.stale_reads[aspect] - 1}
        return ReadMoment(hidden[0].requested_at, hidden[0].seq) if hidden else ReadMoment(now)

    def visible(self, moment: ReadMoment) -> list[W]:
        """Return the operations visible at ``moment_of``, including queued ones, oldest first."""
        return [
            operation
            for operation in self.operations
            if operation.seq < moment.below and operation.requested_at <= moment.at
        ]

    def shown(self, moment: ReadMoment) -> W | None:
        """Return the operation that the record shows: the running one, else the newest that began."""
        begun = [
            operation
            for operation in self.visible(moment)
            if self.began_at(operation) <= min(moment.at, operation.ended_at)
        ]
        current = [operation for operation in begun if moment.at < operation.ended_at]
        chosen = current or begun
        return chosen[-1] if chosen else None

    def newest_ended(self, moment: ReadMoment) -> W | None:
        """Return the operation that ended last among those visible at ``moment_of``."""
        ended = [operation for operation in self.visible(moment) if operation.ended_at <= moment.at]
        return max(ended, key=lambda operation: (operation.ended_at, operation.seq), default=None)

    def began_at(self, operation: W) -> float:
        """When the record begins to show ``operation``."""
        return operation.begin_at

    def change(self, **changes: Any) -> None:
        """Replace fields of the setup; earlier operations keep their setup."""
        self.setup = dataclasses.replace(self.setup, **changes)


class JobTarget(StartTarget[JobExecution, JobSetup]):
    """A data job. Its record shows an execution as soon as it is queued."""


class ModelTarget(StartTarget[LoadOperation, ModelSetup]):
    """A data model. Its record shows a load as soon as it runs."""

    def began_at(self, operation: LoadOperation) -> float:
        """When the record begins to show ``operation``."""
        return operation.started_at

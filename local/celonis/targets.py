"""A job or a model with all the work that was ever started on it, and what a reader may see of it."""

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
    """A moment that a reader is shown, and the number of the first start that is hidden from it."""

    at: float
    below: float = inf


@dataclass(eq=False)
class StartTarget(Generic[W, S]):
    """The works of one job or model. Times in seconds of the platform's clock."""

    id: str
    pool_id: str
    name: str
    setup: S
    works: list[W] = field(default_factory=list)
    stale_reads: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ASPECTS, 0))
    is_gone: bool = False  # deleted on the platform; what was started on it stays in the ledger

    def busy(self, now: float) -> list[W]:
        """What is under way or waits, oldest first. One pass, because a line may be long."""
        ends: dict[Operation, float] = {}
        for work in self.works:
            begin = work.requested_at if work.after is None else max(work.requested_at, ends[work.after])
            ends[work] = work.end_when_begun(begin)
        return [work for work in self.works if now < ends[work]]

    def running(self, now: float) -> W | None:
        """The one that is under way, not waiting; the newest if several are."""
        current = [work for work in self.busy(now) if work.phase(now) is not Phase.WAITING]
        return current[-1] if current else None

    def add(self, work: W) -> W:
        """Append ``work``; the one-off stale reads that every start brings count from here."""
        self.works.append(work)
        if self.setup.stale_reads:
            self.stale_reads = dict.fromkeys(ASPECTS, self.setup.stale_reads)
        return work

    def end(self, work: Operation, now: float, seconds: float, outcome: str) -> None:
        """Force ``work`` to end ``seconds`` from now with ``outcome``, unless it ends before by itself."""
        work.forced = ForcedEnd(requested_at=now, at=now + seconds, outcome=outcome)

    def look(self, aspect: str, now: float) -> ReadMoment:
        """What a reader is shown of ``aspect`` now; a one-off stale read is used up by it."""
        hidden = [work for work in self.works if now < work.requested_at + self.setup.stale[aspect]]
        if self.stale_reads[aspect] > 0:
            hidden = hidden or self.works[-1:]
            self.stale_reads = {**self.stale_reads, aspect: self.stale_reads[aspect] - 1}
        return ReadMoment(hidden[0].requested_at, hidden[0].seq) if hidden else ReadMoment(now)

    def visible(self, look: ReadMoment) -> list[W]:
        """The works that were there at ``look``, waiting ones included, oldest first."""
        return [work for work in self.works if work.seq < look.below and work.requested_at <= look.at]

    def shown(self, look: ReadMoment) -> W | None:
        """The one whose state stands in the record: the one under way, else the newest that began."""
        begun = [work for work in self.visible(look) if self.began_at(work) <= min(look.at, work.ended_at)]
        current = [work for work in begun if look.at < work.ended_at]
        chosen = current or begun
        return chosen[-1] if chosen else None

    def newest_ended(self, look: ReadMoment) -> W | None:
        """The one that ended last among those visible at ``look``."""
        ended = [work for work in self.visible(look) if work.ended_at <= look.at]
        return max(ended, key=lambda work: (work.ended_at, work.seq), default=None)

    def began_at(self, work: W) -> float:
        """From when on ``work`` stands in the record."""
        return work.begin_at

    def change(self, **changes: Any) -> None:
        """Replace fields of the setup; works that were started before keep what they started with."""
        self.setup = dataclasses.replace(self.setup, **changes)


class JobTarget(StartTarget[JobExecution, JobSetup]):
    """A data job. It stands in its record from the moment that it is in the queue."""


class ModelTarget(StartTarget[LoadOperation, ModelSetup]):
    """A data model. A load has no state before it runs, so its record shows it from then on."""

    def began_at(self, work: LoadOperation) -> float:
        """From when on ``work`` stands in the record."""
        return work.started_at

"""What the table should hold, in a few words: who runs, who waits, who has a job, who was promised what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from celonis_refresh.pipelines.wishes import Wish
from celonis_refresh.runs.claims import Accepted, Claim

JOBS = {"one": "shared", "two": "shared", "three": "own"}
"""The pipelines and the job of each."""
SKIPS = "three"
"""The pipeline that skips what comes while it runs."""


@dataclass
class Slot:
    """What the model believes of a pipeline."""

    active: str | None = None
    waiting: str | None = None
    paused: bool = False


@dataclass(frozen=True)
class Promise:
    """A trigger that was accepted: the run that shall cover it, and when it came."""

    pipeline: str
    run_id: str
    wish: Wish
    at: float
    joined: bool


@dataclass
class Model:
    """The table in a few words. ``leases``: who has a job; ``ended``: the runs that are over."""

    slots: dict[str, Slot] = field(default_factory=lambda: {name: Slot() for name in JOBS})
    leases: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    promises: list[Promise] = field(default_factory=list)

    def expected(self, claims: Sequence[Claim]) -> list[Accepted]:
        taken = set(self.leases)
        return [self._expected(claim, taken) for claim in claims]

    def _expected(self, claim: Claim, taken: set[str]) -> Accepted:
        slot = self.slots[claim.pipeline]
        if slot.active and claim.pipeline == SKIPS:
            return Accepted(claim.pipeline, slot.active, "skipped")
        if slot.active or slot.paused or (slot.waiting and claim.is_execution):
            return Accepted(claim.pipeline, slot.waiting or claim.follow_up_id, "joined")
        job = JOBS[claim.pipeline]
        holds = job not in taken
        taken.add(job)
        return Accepted(claim.pipeline, slot.waiting or claim.run_id, "started", holds)

    def take_in(self, claims: Sequence[Claim], results: Sequence[Accepted], at: float) -> None:
        for claim, result in zip(claims, results, strict=True):
            slot = self.slots[claim.pipeline]
            if result.status == "skipped":
                continue
            if result.status == "joined":
                slot.waiting = result.run_id
            else:
                slot.active, slot.waiting = result.run_id, None
            if result.holds_lease:
                self.leases[JOBS[claim.pipeline]] = result.run_id
            joined = result.status == "joined"
            self.promises.append(Promise(claim.pipeline, result.run_id, claim.wish, at, joined))

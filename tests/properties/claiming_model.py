"""What the table should hold, in a few words: who runs, who waits, who has a job, what deliveries led to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Acceptance, Accepted, Claim, Delivery, merge_claims
from celonis_refresh.runs.deliveries import DAY, DELIVERY_DAYS

JOBS = {"one": "shared", "two": "shared", "three": "own"}
"""The pipelines and the job of each."""
CALL_SECONDS = 5.0
SKIPS = "three"
"""The pipeline that skips triggers while it runs."""


@dataclass
class SlotModel:
    """The model's state of a pipeline. ``released_at``: the end of its last run, ISO 8601."""

    active: str | None = None
    waiting: str | None = None
    paused: bool = False
    released_at: str = ""


@dataclass(frozen=True)
class AcceptedTrigger:
    """An accepted trigger: the run that must cover it, and its time."""

    pipeline: str
    run_id: str
    options: RunOptions
    at: float
    joined: bool


class DeliveryResult(NamedTuple):
    """What a delivery led to for one pipeline, and when."""

    result: Accepted
    at: float


def at_the_same_times(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether both are equal, except for the duration of one call."""
    return one.keys() == other.keys() and all(abs(one[name] - other[name]) < CALL_SECONDS for name in one)


@dataclass
class ExpectedDelivery:
    """The expected result of one delivery. ``results``: in the order of its claims."""

    results: list[Accepted]
    earlier: dict[str, float]

    def is_met_by(self, acceptance: Acceptance) -> bool:
        return list(acceptance.results) == self.results and at_the_same_times(
            acceptance.earlier, self.earlier
        )


@dataclass
class ClaimingModel:
    """A simple model of the table. ``leases``: who has a job; ``ended``: the runs that are over.

    ``deliveries``: what each key led to, by pipeline.
    """

    slots: dict[str, SlotModel] = field(default_factory=lambda: {name: SlotModel() for name in JOBS})
    leases: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    accepted_triggers: list[AcceptedTrigger] = field(default_factory=list)
    deliveries: dict[str, dict[str, DeliveryResult]] = field(default_factory=dict)

    def known(self, key: str, now: float) -> dict[str, DeliveryResult]:
        """What is still known of a delivery."""
        found = self.deliveries.get(key, {})
        return {name: known for name, known in found.items() if now - known.at <= DELIVERY_DAYS * DAY}

    def expected(self, deliveries: Sequence[Delivery], now: float) -> list[ExpectedDelivery]:
        """The results of deliveries with one key each that are accepted together."""
        taken = set(self.leases)
        fresh = {claim.pipeline: self._expected(claim, taken) for claim in self.fresh(deliveries, now)}
        found = []
        for delivery in deliveries:
            known = self.known(delivery.keys[0], now)
            named = [claim.pipeline for claim in delivery.claims]
            results = [known[name].result if name in known else fresh[name] for name in named]
            found.append(ExpectedDelivery(results, {name: known[name].at for name in named if name in known}))
        return found

    def fresh(self, deliveries: Sequence[Delivery], now: float) -> list[Claim]:
        """The claims for which their delivery was not accepted yet, one for each pipeline."""
        return merge_claims(
            claim
            for delivery in deliveries
            for claim in delivery.claims
            if claim.pipeline not in self.known(delivery.keys[0], now)
        )

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

    def take_in(
        self, deliveries: Sequence[Delivery], expected: Sequence[ExpectedDelivery], now: float
    ) -> None:
        """Records the expected results of the deliveries."""
        claims = {claim.pipeline: claim for claim in self.fresh(deliveries, now)}
        for delivery, each in zip(deliveries, expected, strict=True):
            (key,) = delivery.keys
            for result in each.results:
                if result.pipeline not in each.earlier and result.status != "skipped":
                    self.deliveries[key] = {
                        **self.known(key, now),
                        result.pipeline: DeliveryResult(result, now),
                    }
        fresh = {
            result.pipeline: result
            for each in expected
            for result in each.results
            if result.pipeline not in each.earlier
        }
        for pipeline, claim in claims.items():
            self._take_in(claim, fresh[pipeline], now)

    def _take_in(self, claim: Claim, result: Accepted, now: float) -> None:
        slot = self.slots[claim.pipeline]
        if result.status == "skipped":
            return
        if result.status == "joined":
            slot.waiting = result.run_id
        else:
            slot.active, slot.waiting = result.run_id, None
        if result.holds_lease:
            self.leases[JOBS[claim.pipeline]] = result.run_id
        joined = result.status == "joined"
        self.accepted_triggers.append(
            AcceptedTrigger(claim.pipeline, result.run_id, claim.options, now, joined)
        )

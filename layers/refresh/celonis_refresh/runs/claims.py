"""Claiming: how a trigger becomes a run, or joins the one that follows.

One transaction writes the slot, the lease of the first job, the record and the delivery ids, or none of
them. It is tried as if everything were free; what was in the way comes back with the refusal, so that a
claim costs one request, a repeated delivery one and joining two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.wishes import Wish
from celonis_refresh.runs import keys
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, TableBusy
from celonis_refresh.runs.lease_items import lease_item
from celonis_refresh.runs.records import new_record
from celonis_refresh.runs.table import Action, Refused, Table
from celonis_refresh.timing import Clock, Deadline, iso

DELIVERY_DAYS = 14
DAY = 86_400
MAX_ROUNDS = 50
MAX_ACTIONS = 100
"""In one transaction of DynamoDB."""
ACTIONS_PER_CLAIM = 3
"""The most that a claim needs: slot, record and lease."""
UNKNOWN = "attribute_not_exists(pk) OR #expires < :now"
"""What has expired is not known any more, though DynamoDB may take days to delete it."""


class Claim(Struct, frozen=True):
    """One pipeline that is to run.

    ``run_id``: the id it gets if it starts; ``follow_up_id``: the id of the run that follows, if this is the
    first trigger to join. ``job``: the job it starts with, for the lease. ``may_join``: False for a run that
    brings what a follow-up would not have. ``is_execution``: the run is an execution that has begun already.
    ``skip``: jobs and models that a retried run is done with.
    """

    pipeline: str
    wish: Wish
    run_id: str
    follow_up_id: str
    definition: Definition
    job: str | None = None
    may_join: bool = True
    is_execution: bool = False
    skip: tuple[str, ...] = ()

    def joined_by(self, other: Claim) -> Claim:
        """One claim for two triggers of the same pipeline that came together."""
        return replace(self, wish=self.wish.join(other.wish), may_join=self.may_join and other.may_join)


class Accepted(Struct, frozen=True):
    """What became of a claim. ``holds_lease``: whether the run may start its first job at once.

    ``skipped``: nothing was accepted, because ``run_id`` is under way and the pipeline skips meanwhile.
    """

    pipeline: str
    run_id: str
    status: Literal["started", "joined", "skipped"]
    holds_lease: bool = False


class Acceptance(Struct, frozen=True):
    """What became of a delivery. ``duplicate``: it was accepted before, at ``at``, with these results.

    ``records``: the records of the runs that were started just now, by run id.
    """

    results: tuple[Accepted, ...]
    duplicate: bool
    at: float
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)


class _View(Struct):
    """What the table is believed to hold: slots and leases that stood in the way."""

    slots: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    leased: set[str] = field(default_factory=set)


class Claims(Struct, frozen=True):
    """Accepts triggers into the table."""

    table: Table
    clock: Clock

    def accept(self, claims: Sequence[Claim], deliveries: Sequence[str], deadline: Deadline) -> Acceptance:
        """Accepts all ``claims`` (of different pipelines) at once, or finds ``deliveries`` (keys) accepted.

        Raises ``PipelineBusy`` and ``PipelinePaused`` for a claim that may not join, and ``TableBusy``.
        Nothing was accepted then.
        """
        view = _View()
        for _ in range(MAX_ROUNDS):
            attempt = _Attempt(self.table, view, claims, deliveries, self.clock())
            if attempt.accepts_nothing:
                return attempt.acceptance()
            try:
                self.table.transact(attempt.actions(), deadline)
            except Refused as refused:
                repeated = attempt.learn(refused.found)
                if repeated is not None:
                    return repeated
            else:
                return attempt.acceptance()
        raise TableBusy("the pipeline's slot kept changing")

    def note(self, deliveries: Sequence[str], acceptance: Acceptance, deadline: Deadline) -> None:
        """Notes further deliveries (keys) of what was accepted just now, more than go into its transaction.

        Raises ``TableBusy``. One that was noted meanwhile stays as it is, and the others of its transaction
        are not noted: sent again they join, which loses nothing.
        """
        for first in range(0, len(deliveries), MAX_ACTIONS):
            some = deliveries[first : first + MAX_ACTIONS]
            with contextlib.suppress(Refused):
                self.table.transact(_noted(self.table, some, acceptance.results, acceptance.at), deadline)

    def known(self, delivery: str) -> Acceptance | None:
        """What a delivery (its key) led to, if it was accepted before."""
        item = self.table.get(delivery)
        return _repeated(item) if item and item["expires"] >= int(self.clock()) else None


class _Attempt:
    """One transaction: what it would make of the claims if the table were as the view believes."""

    def __init__(
        self, table: Table, view: _View, claims: Sequence[Claim], deliveries: Sequence[str], now: float
    ) -> None:
        self.table, self.view, self.now = table, view, now
        self.deliveries = deliveries
        self.results: list[Accepted] = []
        self.records: dict[str, dict[str, Any]] = {}
        self.groups: list[tuple[Claim, list[Action]]] = []
        leased = set(view.leased)
        for claim in claims:
            result = self._result(claim, leased)
            leased |= {claim.job} if claim.job and result.holds_lease else set()
            self.results.append(result)
            self.groups.append((claim, self._claim(claim, result)))

    @property
    def accepts_nothing(self) -> bool:
        return all(result.status == "skipped" for result in self.results)

    def actions(self) -> list[Action]:
        return [*self._deliver(), *(action for _, group in self.groups for action in group)]

    def acceptance(self) -> Acceptance:
        return Acceptance(tuple(self.results), duplicate=False, at=self.now, records=self.records)

    def learn(self, found: Sequence[dict[str, Any] | None]) -> Acceptance | None:
        """Takes what was in the way into the view; a delivery known already is the answer."""
        for item in found[: len(self.deliveries)]:
            if item:
                return _repeated(item)
        queue = iter(found[len(self.deliveries) :])
        for claim, group in self.groups:
            for action in group:
                item = next(queue)
                if item is not None:
                    self._note(claim, action, item)
        return None

    def _note(self, claim: Claim, action: Action, item: dict[str, Any]) -> None:
        """One refused action: the slot is as ``item`` says, or the job's lease is taken."""
        if "Update" in action:
            self.view.slots[claim.pipeline] = item
        elif claim.job and action["Put"]["Item"]["pk"]["S"] == keys.job_lease(claim.job):
            self.view.leased.add(claim.job)
        else:
            raise TableBusy(f"a record of run {claim.run_id} exists already")

    def _result(self, claim: Claim, leased: Collection[str]) -> Accepted:
        slot = self.view.slots.get(claim.pipeline, {})
        active, pending = slot.get("run_id"), slot.get("pending")
        if not claim.may_join:
            _check_is_free(claim, slot)
        if active is not None and claim.definition.when_running == "skip":
            return Accepted(claim.pipeline, str(active), "skipped")
        if active is not None or claim.definition.paused or (pending and claim.is_execution):
            return Accepted(claim.pipeline, pending["run_id"] if pending else claim.follow_up_id, "joined")
        free = claim.job is not None and claim.job not in leased
        return Accepted(claim.pipeline, pending["run_id"] if pending else claim.run_id, "started", free)

    def _deliver(self) -> list[Action]:
        return _noted(self.table, self.deliveries, self.results, self.now)

    def _claim(self, claim: Claim, result: Accepted) -> list[Action]:
        match result.status:
            case "joined":
                return [self._join(claim, result)]
            case "started":
                return self._start(claim, result)
        return []

    def _start(self, claim: Claim, result: Accepted) -> list[Action]:
        at = iso(self.now)
        wish = self._joined_wish(claim)
        record = new_record(result.run_id, claim.pipeline, wish, at, claim.definition, claim.skip)
        self.records[result.run_id] = record
        actions = [
            self._change_slot(
                claim,
                "#run_id = :run_id REMOVE #pending, #status, #position",
                {"run_id": result.run_id},
            ),
            self.table.put(record, UNKNOWN, {"now": int(self.now)}),
        ]
        if result.holds_lease and claim.job:
            lease = lease_item(keys.job_lease(claim.job), result.run_id, at)
            actions.append(self.table.put(lease, "attribute_not_exists(pk)"))
        return actions

    def _join(self, claim: Claim, result: Accepted) -> Action:
        """Where what waits covers the wish already, it only has to wait still: nobody else is held up."""
        pending = {"run_id": result.run_id, "wish": self._joined_wish(claim).to_json()}
        slot = self.view.slots.get(claim.pipeline, {})
        if pending == slot.get("pending"):
            same = {"rev": slot["rev"]}
            return self.table.change(keys.slot(claim.pipeline), "SET #rev = :rev", "#rev = :rev", same)
        if "run_id" in slot:
            return self._change_slot(claim, "#pending = :pending", {"pending": pending})
        return self._change_slot(
            claim,
            "#pending = :pending, #status = :waiting, #position = :position",
            {"pending": pending, "waiting": keys.WAITING, "position": f"{iso(self.now)} {claim.pipeline}"},
        )

    def _joined_wish(self, claim: Claim) -> Wish:
        pending = self.view.slots.get(claim.pipeline, {}).get("pending")
        return Wish.from_json(pending["wish"]).join(claim.wish) if pending else claim.wish

    def _change_slot(self, claim: Claim, changes: str, values: Mapping[str, Any]) -> Action:
        """A change of the slot that holds only while it is as the view believes: seen, or free and empty."""
        slot = self.view.slots.get(claim.pipeline)
        believed = (
            "#rev = :rev" if slot else "attribute_not_exists(#run_id) AND attribute_not_exists(#pending)"
        )
        counted = {"zero": 0, "one": 1} | ({"rev": slot["rev"]} if slot else {})
        expression = f"SET #rev = if_not_exists(#rev, :zero) + :one, {changes}"
        return self.table.change(keys.slot(claim.pipeline), expression, believed, {**values, **counted})


def _noted(table: Table, deliveries: Sequence[str], results: Sequence[Accepted], now: float) -> list[Action]:
    """Notes what deliveries (their keys) led to, unless that is known of one of them."""
    runs = [asdict(result) for result in results]
    item = {"runs": runs, "at": now, "expires": int(now) + DELIVERY_DAYS * DAY}
    return [table.put({"pk": key, **item}, UNKNOWN, {"now": int(now)}) for key in deliveries]


def _repeated(item: Mapping[str, Any]) -> Acceptance:
    """What the item of a delivery says."""
    results = tuple(Accepted(**run) for run in item["runs"])
    return Acceptance(results, duplicate=True, at=float(item["at"]))


def _check_is_free(claim: Claim, slot: Mapping[str, Any]) -> None:
    """What cannot join can only start; and what waits already wants more than it would do."""
    if "run_id" in slot or "pending" in slot:
        raise PipelineBusy(claim.pipeline, str(slot.get("run_id") or slot["pending"]["run_id"]))
    if claim.definition.paused:
        raise PipelinePaused(claim.pipeline)

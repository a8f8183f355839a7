"""Claiming: how a trigger becomes a run, or joins the one that follows.

One transaction writes the slot, the lease of the first job, the record and the delivery ids, or none of
them. It is tried as if everything were free; what was in the way comes back with the refusal, so that a
claim costs one request, a repeated delivery one and joining two. A delivery that is sent again is claimed for
the pipelines that it has not started or joined yet, and for no others.

Many triggers of one pipeline at the same time do not wait for each other: one that the pending run covers
already writes its delivery items and not the slot. It was pending when the slot was read, so it starts after
the trigger arrived. Other writers of these deliveries change their items as well: a delivery counts once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.deliveries import Batches, known_of, known_runs, learn_items, parts, record_runs
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, TableBusy
from celonis_refresh.runs.leases import lease_item
from celonis_refresh.runs.records import created_at, new_record
from celonis_refresh.runs.table import (
    MAX_ACTIONS,
    WAITING,
    Action,
    Backoff,
    ConditionFailed,
    Contended,
    Table,
    batch_key,
    job_lease,
    slot_key,
)
from celonis_refresh.timing import Clock, Deadline, iso

MAX_ROUNDS = 50
MAX_CONFLICTS = 4
"""After so many conflicts with other triggers, one that the pending run covers joins without its reason."""
CONTENDED_SECONDS = 60.0
"""So long after it met other triggers of a pipeline, a process reads the slot before it writes: a write that
the slot refuses would be in the way of others."""
UNKNOWN = "attribute_not_exists(pk) OR #expires < :now"
"""An expired record counts as absent, though DynamoDB may take days to delete it."""
FREE = (
    "attribute_not_exists(#run_id) AND attribute_not_exists(#pending) AND attribute_not_exists(#batch)"
    " AND (attribute_not_exists(#released_at) OR #released_at <= :at)"
)
"""The condition on a slot that was not read."""


class Claim(Struct, frozen=True):
    """One pipeline that is to run.

    ``run_id``: the id it gets if it starts; ``follow_up_id``: the id of the run that follows, if this is the
    first trigger to join. ``job``: the job it starts with, for the lease. ``may_join``: False for a run that
    brings what a follow-up would not have. ``is_execution``: the run is an execution that has begun already.
    ``skip``: jobs and models that a retried run is done with; ``retry``: what the record says about that run.
    """

    pipeline: str
    options: RunOptions
    run_id: str
    follow_up_id: str
    definition: Definition
    job: str | None = None
    may_join: bool = True
    is_execution: bool = False
    skip: tuple[str, ...] = ()
    retry: Mapping[str, str] = {}

    def joined_by(self, other: Claim) -> Claim:
        """One claim for two triggers of the same pipeline that came together."""
        return replace(
            self, options=self.options.join(other.options), may_join=self.may_join and other.may_join
        )


class Delivery(Struct, frozen=True):
    """What one trigger claims, each of a different pipeline, and the keys by which it is known again."""

    claims: Sequence[Claim]
    keys: Sequence[str] = ()


class Accepted(Struct, frozen=True):
    """What became of a claim. ``holds_lease``: whether the run may start its first job at once.

    ``skipped``: nothing was accepted, because ``run_id`` is running and the pipeline skips meanwhile.
    """

    pipeline: str
    run_id: str
    status: Literal["started", "joined", "skipped"]
    holds_lease: bool = False


class Acceptance(Struct, frozen=True):
    """What became of a delivery: one result for each of its claims.

    ``earlier``: the pipelines for which the delivery had been accepted before, and when (epoch seconds).
    ``records``: the records of the runs that were started just now, by run id. ``batch``: the key of the
    batch with which it was accepted, to be finished with :meth:`Claims.finish`.
    """

    results: tuple[Accepted, ...]
    earlier: Mapping[str, float] = field(default_factory=dict)
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    batch: str | None = None

    @property
    def fresh(self) -> tuple[Accepted, ...]:
        """The results of this time, not of a time before."""
        return tuple(result for result in self.results if result.pipeline not in self.earlier)

    @property
    def duplicate(self) -> bool:
        """Whether the delivery was accepted before, and nothing more of it is accepted now."""
        return bool(self.earlier) and all(result.status == "skipped" for result in self.fresh)


class _View(Struct):
    """What the table is believed to hold: slots, leases and deliveries that stood in the way, or were read.

    ``is_read``: the slots and deliveries of all claims were read, the slots no later than the deliveries.
    ``conflicts``: how often other triggers were met.
    """

    slots: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    leased: set[str] = field(default_factory=set)
    deliveries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    is_read: bool = False
    conflicts: int = 0


class Claims(Struct, frozen=True):
    """Accepts triggers into the table. ``contended``: when other triggers of a pipeline were met last."""

    table: Table
    clock: Clock
    contended: dict[str, float] = {}

    def accept(self, claims: Sequence[Claim], deliveries: Sequence[str], deadline: Deadline) -> Acceptance:
        """Accepts one delivery, known by the keys ``deliveries``. Raises as :meth:`accept_batch` does."""
        (acceptance,) = self.accept_batch([Delivery(claims, deliveries)], deadline)
        return acceptance

    def accept_batch(self, deliveries: Sequence[Delivery], deadline: Deadline) -> list[Acceptance]:
        """Accepts all deliveries at once, each for the pipelines for which it was not accepted before.

        Raises ``PipelineBusy`` and ``PipelinePaused`` for a claim that may not join, and ``TableBusy``.
        Nothing was accepted then. What is accepted with a ``batch`` is to be finished with :meth:`finish`.
        """
        view, backoff = _View(slots=self._contended_slots(deliveries)), self.table.backoff()
        for _ in range(MAX_ROUNDS):
            try:
                attempt = _Attempt(self.table, view, deliveries, self.clock())
            except PipelinePaused:
                if view.is_read:
                    raise
                view = self._read(view, deliveries, deadline)  # it may have been accepted before the pause
                continue
            if unfinished := attempt.unfinished():
                for pipeline, batch in unfinished.items():
                    self._batches.finish(batch, pipeline, deadline)
                view = _View()
            elif attempt.is_large and not view.is_read:
                view = self._read(view, deliveries, deadline)
            elif self._transact(attempt, backoff, deadline):
                return attempt.acceptances()
        raise TableBusy("the pipeline's slot kept changing")

    def finish(self, acceptances: Iterable[Acceptance], deadline: Deadline) -> None:
        """Records the deliveries of a batch one by one. Raises ``TableBusy``.

        Until then no other claim of its pipelines is accepted; the next one does it first.
        """
        found = {each.batch: each.fresh[0].pipeline for each in acceptances if each.batch}
        for batch, pipeline in found.items():
            self._batches.finish(batch, pipeline, deadline)

    def known(self, delivery: str) -> Acceptance | None:
        """What a delivery (its key) led to, if it was accepted before."""
        runs = known_runs(self.table.get(delivery), self.clock())
        return Acceptance(tuple(map(_accepted, runs.values())), _times(runs)) if runs else None

    @property
    def _batches(self) -> Batches:
        return Batches(self.table, self.clock)

    def _transact(self, attempt: _Attempt, backoff: Backoff, deadline: Deadline) -> bool:
        """Whether the attempt is written, or there is nothing to write."""
        try:
            if attempt.batch and not attempt.announce(deadline):
                return False
            if actions := attempt.actions():
                self.table.transact_uncontended(actions, deadline)
        except ConditionFailed as refused:
            attempt.learn(refused.found)
            return False
        except Contended as met:
            self.contended.update(dict.fromkeys(attempt.pipelines, self.clock()))
            backoff.pause(deadline, met.reason)
            attempt.view.slots = self._contended_slots(attempt.deliveries)
            attempt.view.is_read = False
            attempt.view.conflicts += 1
            return False
        return True

    def _contended_slots(self, deliveries: Sequence[Delivery]) -> dict[str, Mapping[str, Any]]:
        """The slots, as they are now, of those pipelines that many triggers write to.

        Only where a write to the deliveries follows in any case: it shows whether they were accepted before.
        A slot that cannot be read is left out.
        """
        since = self.clock() - CONTENDED_SECONDS
        found: dict[str, Mapping[str, Any]] = {}
        for claim in merge_claims(claim for delivery in deliveries for claim in delivery.claims):
            always_writes = claim.may_join and claim.definition.when_running == "join"
            if always_writes and self.contended.get(claim.pipeline, -inf) > since:
                with contextlib.suppress(TableBusy):
                    found[claim.pipeline] = self.table.get(slot_key(claim.pipeline)) or {}
        return found

    def _read(self, view: _View, deliveries: Sequence[Delivery], deadline: Deadline) -> _View:
        """The slots, then the deliveries: one accepted in between has changed its slot."""
        slots = {
            slot_key(claim.pipeline): claim.pipeline for delivery in deliveries for claim in delivery.claims
        }
        named = list(dict.fromkeys(key for delivery in deliveries for key in delivery.keys))
        found = self.table.get_all([*slots, *named], deadline)
        return _View(
            slots={pipeline: found.get(key, {}) for key, pipeline in slots.items()},
            leased=view.leased,
            deliveries={key: found[key] for key in named if key in found},
            is_read=True,
        )


def merge_claims(claims: Iterable[Claim]) -> list[Claim]:
    """One claim for each pipeline."""
    found: dict[str, Claim] = {}
    for claim in claims:
        known = found.get(claim.pipeline)
        found[claim.pipeline] = claim if known is None else known.joined_by(claim)
    return list(found.values())


class _Attempt:
    """One transaction: what it would make of the claims if the table were as the view believes."""

    def __init__(self, table: Table, view: _View, deliveries: Sequence[Delivery], now: float) -> None:
        self.table, self.view, self.now = table, view, now
        self.deliveries = deliveries
        self.known = [known_of(view.deliveries, delivery.keys, now) for delivery in deliveries]
        claims = merge_claims(claim for claim, _ in self._fresh())
        self.results: dict[str, Accepted] = {}
        leased = set(view.leased)
        for claim in claims:
            result = self._result(claim, leased)
            leased |= {job_lease(claim.job)} if claim.job and result.holds_lease else set()
            self.results[claim.pipeline] = result
        self.added = self._added()
        self.batch: str | None = None
        self.records: dict[str, dict[str, Any]] = {}
        self.groups = self._groups(claims)
        if self.is_large:
            self.batch = batch_key(claims[0].run_id)
            self.groups = self._groups(claims)

    @property
    def is_large(self) -> bool:
        """Whether the deliveries have more keys than the transaction takes beside the claims."""
        return len(self.added) + sum(len(group) for _, group in self.groups) > MAX_ACTIONS

    def unfinished(self) -> dict[str, str]:
        """The batches that are to be finished before anything else is accepted, by pipeline."""
        slots = {claim.pipeline: self.view.slots.get(claim.pipeline, {}) for claim, _ in self._fresh()}
        return {name: str(slot["batch"]) for name, slot in slots.items() if "batch" in slot}

    def actions(self) -> list[Action]:
        """The transaction; empty where nothing is accepted."""
        return [*self._deliver(), *(action for _, group in self.groups for action in group)]

    def acceptances(self) -> list[Acceptance]:
        """What becomes of each delivery once the transaction is written."""
        return [
            self._acceptance(delivery, known)
            for delivery, known in zip(self.deliveries, self.known, strict=True)
        ]

    @property
    def pipelines(self) -> list[str]:
        """The pipelines for which something is accepted, or skipped."""
        return list(self.results)

    def announce(self, deadline: Deadline) -> bool:
        """Changes the items of a batch's deliveries, which its transaction does not write; False where one
        has changed since it was read.

        Another function that accepts one of them under a slot that it read before this one fails by that.
        """
        for keys in parts(self.added):
            unchanged = record_runs(self.table, self.view.deliveries, {key: {} for key in keys}, self.now)
            try:
                self.table.transact(unchanged, deadline)
            except ConditionFailed as refused:
                self.view.is_read = False
                learn_items(self.view.deliveries, keys, refused.found)
                return False
        return True

    def learn(self, found: Sequence[dict[str, Any] | None]) -> None:
        """Takes what was in the way into the view.

        A slot that was not written must not be older than what is known of the deliveries.
        """
        delivered = [] if self.batch else list(self.added)
        repeated = learn_items(self.view.deliveries, delivered, found)
        self.view.is_read = False
        queue = iter(found[len(self._deliver()) :])
        for claim, group in self.groups:
            if repeated and not group:
                self.view.slots.pop(claim.pipeline, None)
            refused = [(action, item) for action in group if (item := next(queue)) is not None]
            moved = repeated or any("Update" in action for action, _ in refused)
            for action, item in refused:
                self._note(claim, action, item, moved=moved)

    def _fresh(self) -> Iterator[tuple[Claim, Delivery]]:
        """The claims for which their delivery was not accepted before."""
        for delivery, known in zip(self.deliveries, self.known, strict=True):
            for claim in delivery.claims:
                if claim.pipeline not in known:
                    yield claim, delivery

    def _added(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What is to be recorded of each key: the runs by pipeline."""
        added: dict[str, dict[str, dict[str, Any]]] = {}
        for claim, delivery in self._fresh():
            result = self.results[claim.pipeline]
            if result.status != "skipped":
                for key in delivery.keys:
                    added.setdefault(key, {})[claim.pipeline] = {**asdict(result), "at": self.now}
        return added

    def _acceptance(self, delivery: Delivery, known: Mapping[str, Mapping[str, Any]]) -> Acceptance:
        results = [
            _accepted(known[claim.pipeline]) if claim.pipeline in known else self.results[claim.pipeline]
            for claim in delivery.claims
        ]
        named = {claim.pipeline for claim in delivery.claims}
        earlier = {name: at for name, at in _times(known).items() if name in named}
        acceptance = Acceptance(tuple(results), earlier, self.records)
        is_batched = any(result.status != "skipped" for result in acceptance.fresh)
        return replace(acceptance, batch=self.batch if is_batched else None)

    def _note(self, claim: Claim, action: Action, item: dict[str, Any], *, moved: bool) -> None:
        """One refused action: the slot is as ``item`` says, or the job's lease is taken.

        ``moved``: the delivery was accepted before, or the slot has changed: a record is that of the
        delivery's run, or of the pending run, which another trigger has started.
        """
        if "Update" in action:
            self.view.slots[claim.pipeline] = item
        elif claim.job and action["Put"]["Item"]["pk"]["S"] == job_lease(claim.job):
            self.view.leased.add(job_lease(claim.job))
        elif not moved:
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
        free = claim.job is not None and job_lease(claim.job) not in leased
        return Accepted(claim.pipeline, pending["run_id"] if pending else claim.run_id, "started", free)

    def _groups(self, claims: Iterable[Claim]) -> list[tuple[Claim, list[Action]]]:
        return [(claim, self._claim(claim, self.results[claim.pipeline])) for claim in claims]

    def _deliver(self) -> list[Action]:
        if self.batch:
            return [Batches.action(self.table, self.batch, self.added, self.now)]
        return record_runs(self.table, self.view.deliveries, self.added, self.now)

    def _claim(self, claim: Claim, result: Accepted) -> list[Action]:
        match result.status:
            case "joined":
                return self._join(claim, result)
            case "started":
                return self._start(claim, result)
        return []

    def _start(self, claim: Claim, result: Accepted) -> list[Action]:
        at = created_at(self.view.slots.get(claim.pipeline, {}), iso(self.now))
        options = self._merged_options(claim)
        record = new_record(
            result.run_id, claim.pipeline, options, at, claim.definition, claim.skip, claim.retry
        )
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
            lease = lease_item(job_lease(claim.job), result.run_id, at)
            actions.append(self.table.put(lease, "attribute_not_exists(pk)"))
        return actions

    def _join(self, claim: Claim, result: Accepted) -> list[Action]:
        """Nothing where the pending run covers the options already: no other trigger is held up.

        The pending run was not started yet when the slot was read. A batch is always named in its slots.
        """
        if not self.batch and self._is_covered(claim):
            return []
        pending = {"run_id": result.run_id, "options": self._merged_options(claim).to_json()}
        slot = self.view.slots.get(claim.pipeline, {})
        if "run_id" in slot:
            return [self._change_slot(claim, "#pending = :pending", {"pending": pending})]
        changes = "#pending = :pending, #status = :waiting, #position = :position"
        values = {"pending": pending, "waiting": WAITING, "position": f"{iso(self.now)} {claim.pipeline}"}
        return [self._change_slot(claim, changes, values)]

    def _is_covered(self, claim: Claim) -> bool:
        """Whether the claim does not change the pending run; among many triggers at the same time, whether
        it changes nothing but the list of reasons."""
        pending = self.view.slots.get(claim.pipeline, {}).get("pending")
        if pending is None:
            return False
        options, merged = RunOptions.from_json(pending["options"]), self._merged_options(claim)
        is_hot = self.view.conflicts >= MAX_CONFLICTS
        reasons = options.reasons if is_hot else merged.reasons
        return replace(merged, reasons=reasons) == options

    def _merged_options(self, claim: Claim) -> RunOptions:
        pending = self.view.slots.get(claim.pipeline, {}).get("pending")
        return RunOptions.from_json(pending["options"]).join(claim.options) if pending else claim.options

    def _change_slot(self, claim: Claim, changes: str, values: Mapping[str, Any]) -> Action:
        """A change of the slot that holds only while it is as the view believes: seen, or free and empty."""
        slot = self.view.slots.get(claim.pipeline)
        values = {**values, "zero": 0, "one": 1}
        if slot:
            believed, values["rev"] = "#rev = :rev", slot["rev"]
        elif slot is None:
            believed, values["at"] = FREE, iso(self.now)
        else:
            believed = "attribute_not_exists(#rev)"
        if self.batch:
            changes, values["batch"] = f"#batch = :batch, {changes}", self.batch
        expression = f"SET #rev = if_not_exists(#rev, :zero) + :one, {changes}"
        return self.table.change(slot_key(claim.pipeline), expression, believed, values)


def _accepted(run: Mapping[str, Any]) -> Accepted:
    """The result that is recorded in a delivery's item."""
    return Accepted(**{name: value for name, value in run.items() if name != "at"})


def _times(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(run["at"]) for name, run in runs.items()}


def _check_is_free(claim: Claim, slot: Mapping[str, Any]) -> None:
    """What cannot join can only start; and what waits already wants more than it would do."""
    if claim.definition.paused:
        raise PipelinePaused(claim.pipeline)
    if "run_id" in slot or "pending" in slot:
        raise PipelineBusy(claim.pipeline, str(slot.get("run_id") or slot["pending"]["run_id"]))

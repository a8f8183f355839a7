"""Claims: a trigger starts a run, or joins the pending run of its pipeline.

One transaction writes the slot, the lease of the first job, the record and the delivery ids, or nothing.
The first attempt assumes that everything is free; a rejected transaction returns the items that failed its
conditions. A new run costs one request, joining costs two, and a repeated delivery one, or none in the
process that has accepted it. It is claimed only for the pipelines that it has not started or joined yet.

Concurrent triggers of one pipeline do not block each other: a trigger that adds nothing to the pending run
writes its delivery items but not the slot. The run was pending when the slot was read, so it starts after the
trigger arrived. Every writer of a delivery changes the delivery's items, so a delivery counts once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.deliveries import (
    Batches,
    EventResult,
    LoggedEvent,
    accepted_runs,
    learn_items,
    parts,
    record_runs,
    unexpired_runs,
)
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

if TYPE_CHECKING:
    from celonis_refresh.runs.callbacks import Callback

MAX_ROUNDS = 50
MAX_CONFLICTS = 4
"""Number of conflicts after which a trigger that adds only a reason joins without it."""
CONTENDED_SECONDS = 60.0
"""Seconds after a conflict in which a process reads the slot before it writes, because a rejected write
delays other triggers."""
MAX_REMEMBERED = 1000
"""Deliveries that a process remembers as accepted; it forgets the oldest ones."""
UNKNOWN = "attribute_not_exists(pk) OR #expires < :now"
"""An expired record counts as absent, though DynamoDB may take days to delete it."""
FREE = (
    "attribute_not_exists(#run_id) AND attribute_not_exists(#pending) AND attribute_not_exists(#batch)"
    " AND attribute_not_exists(#pause) AND (attribute_not_exists(#released_at) OR #released_at <= :at)"
)
"""Condition on a slot that was not read."""


class Claim(Struct, frozen=True):
    """A request to run one pipeline.

    ``run_id``: the id it gets if it starts; ``follow_up_id``: the id of the pending run, if this is
    the first trigger to join. ``job``: the first job, for its lease. ``may_join``: False for a run that a
    pending run cannot replace. ``is_execution``: the execution of the run has already started. ``skip``: jobs
    and models that the retried run has completed; ``retry``: what the record says about that run.
    ``callbacks``: where the result of the run that covers the claim is posted.
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
    callbacks: tuple[Callback, ...] = ()

    def joined_by(self, other: Claim) -> Claim:
        """Return one claim for two triggers of the same pipeline in one request."""
        return replace(
            self,
            options=self.options.join(other.options),
            may_join=self.may_join and other.may_join,
            callbacks=tuple(dict.fromkeys(self.callbacks + other.callbacks)),
        )


class Delivery(Struct, frozen=True):
    """The claims of one trigger, one per pipeline, and the keys that identify its delivery.

    ``event``: what is stored of the webhook event, if it is one.
    """

    claims: Sequence[Claim]
    keys: Sequence[str] = ()
    event: LoggedEvent | None = None


class Accepted(Struct, frozen=True):
    """The result of a claim. ``holds_lease``: whether the run may start its first job at once.

    ``skipped``: nothing was accepted: ``run_id`` is running, and the pipeline skips triggers during a run.
    """

    pipeline: str
    run_id: str
    status: Literal["started", "joined", "skipped"]
    holds_lease: bool = False


class Acceptance(Struct, frozen=True):
    """The results of a delivery, one per claim.

    ``earlier``: pipelines for which the delivery was accepted before, and when (epoch seconds). ``records``:
    records of the runs that this call started, by run id. ``batch``: the key of the batch with which it was
    accepted; :meth:`Claims.finish` completes it.
    """

    results: tuple[Accepted, ...]
    earlier: Mapping[str, float] = field(default_factory=dict)
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    batch: str | None = None

    @property
    def fresh(self) -> tuple[Accepted, ...]:
        """The results of this call, without those of earlier ones."""
        return tuple(result for result in self.results if result.pipeline not in self.earlier)

    @property
    def duplicate(self) -> bool:
        """Whether the delivery was accepted before, and this call accepts nothing new."""
        return bool(self.earlier) and all(result.status == "skipped" for result in self.fresh)


class _View(Struct):
    """The assumed state of the table: slots, leases and deliveries that were read or failed a condition.

    ``is_read``: the slots and deliveries of all claims were read, the slots no later than the deliveries.
    While this is true, a write that depends on a delivery must also depend on the slot. ``conflicts``: number
    of conflicts with other triggers.
    """

    slots: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    leased: set[str] = field(default_factory=set)
    deliveries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    is_read: bool = False
    conflicts: int = 0


class Claims(Struct, frozen=True):
    """Accepts triggers.

    ``contended``: time of the last conflict with other triggers, by pipeline. ``remembered``: what this
    process has seen accepted, as the items of the deliveries, by key.
    """

    table: Table
    clock: Clock
    contended: dict[str, float] = {}
    remembered: dict[str, Mapping[str, Any]] = {}

    def accept(self, claims: Sequence[Claim], deliveries: Sequence[str], deadline: Deadline) -> Acceptance:
        """Accept one delivery, identified by the keys ``deliveries``. Raises as :meth:`accept_batch` does."""
        (acceptance,) = self.accept_batch([Delivery(claims, deliveries)], deadline)
        return acceptance

    def accept_batch(self, deliveries: Sequence[Delivery], deadline: Deadline) -> list[Acceptance]:
        """Accept all deliveries at once, each for the pipelines that have not accepted it before.

        Raises ``PipelineBusy`` and ``PipelinePaused`` for a claim that may not join, and ``TableBusy``; then
        nothing is accepted. If an acceptance has a ``batch``, the caller completes it with :meth:`finish`.
        """
        repeated = self._repeated(deliveries)
        view = _View(slots=self._contended_slots(deliveries), deliveries=repeated)
        backoff = self.table.backoff()
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
                self._remember(attempt)
                return attempt.acceptances()
        raise TableBusy("the pipeline's slot kept changing")

    def finish(self, acceptances: Iterable[Acceptance], deadline: Deadline) -> None:
        """Record the deliveries of a batch one by one. Raises ``TableBusy``.

        Until then no other claim of its pipelines is accepted; the next claim records them first.
        """
        pipeline_by_batch = {each.batch: each.fresh[0].pipeline for each in acceptances if each.batch}
        for batch, pipeline in pipeline_by_batch.items():
            self._batches.finish(batch, pipeline, deadline)

    def known(self, delivery: str) -> Acceptance | None:
        """Return the earlier acceptance of the delivery with this key, or None."""
        runs = unexpired_runs(self.table.get(delivery), self.clock())
        return Acceptance(tuple(map(_accepted, runs.values())), _times(runs)) if runs else None

    @property
    def _batches(self) -> Batches:
        return Batches(self.table, self.clock)

    def _repeated(self, deliveries: Sequence[Delivery]) -> dict[str, Mapping[str, Any]]:
        """Return the items of the deliveries if all are known to be accepted for all their pipelines.

        Then there is nothing to write that depends on the revision of these items. A delivery stays accepted
        until its runs expire.
        """
        items = {
            key: self.remembered[key] for each in deliveries for key in each.keys if key in self.remembered
        }
        for delivery in deliveries:
            accepted = accepted_runs(items, delivery.keys, self.clock())
            if any(claim.pipeline not in accepted for claim in delivery.claims):
                return {}
        return items

    def _remember(self, attempt: _Attempt) -> None:
        for delivery, accepted in zip(attempt.deliveries, attempt.accepted, strict=True):
            for key in delivery.keys:
                if runs := {**accepted, **attempt.added.get(key, {})}:
                    self.remembered.pop(key, None)
                    self.remembered[key] = {"runs": runs, "expires": inf}
        for key in list(self.remembered)[:-MAX_REMEMBERED]:
            del self.remembered[key]

    def _transact(self, attempt: _Attempt, backoff: Backoff, deadline: Deadline) -> bool:
        """Return whether the attempt was written or had nothing to write."""
        try:
            if attempt.batch and not attempt.announce(deadline):
                return False
            if actions := attempt.actions():
                self.table.transact_uncontended(actions, deadline)
        except ConditionFailed as refused:
            attempt.learn(refused.items, is_complete=refused.conflict is None)
            if refused.conflict:  # the slot that conflicted may have changed since it was read
                self._after_conflict(attempt, refused.conflict, backoff, deadline)
            return False
        except Contended as met:
            self._after_conflict(attempt, met.reason, backoff, deadline)
            return False
        return True

    def _after_conflict(self, attempt: _Attempt, reason: str, backoff: Backoff, deadline: Deadline) -> None:
        self.contended.update(dict.fromkeys(attempt.pipelines, self.clock()))
        backoff.pause(deadline, reason)
        attempt.view.slots = self._contended_slots(attempt.deliveries)
        attempt.view.is_read = False
        attempt.view.conflicts += 1

    def _contended_slots(self, deliveries: Sequence[Delivery]) -> dict[str, Mapping[str, Any]]:
        """Return the current slots of the pipelines with recent conflicts.

        Only slots of claims that always write their deliveries: that write shows whether they were accepted
        before. A slot that cannot be read is omitted.
        """
        since = self.clock() - CONTENDED_SECONDS
        slots: dict[str, Mapping[str, Any]] = {}
        for claim in merge_claims(claim for delivery in deliveries for claim in delivery.claims):
            always_writes = claim.may_join and claim.definition.when_running == "join"
            if always_writes and self.contended.get(claim.pipeline, -inf) > since:
                with contextlib.suppress(TableBusy):
                    slots[claim.pipeline] = self.table.get(slot_key(claim.pipeline)) or {}
        return slots

    def _read(self, view: _View, deliveries: Sequence[Delivery], deadline: Deadline) -> _View:
        """Read the slots, then the deliveries: a delivery accepted in between has changed its slot."""
        slots = {
            slot_key(claim.pipeline): claim.pipeline for delivery in deliveries for claim in delivery.claims
        }
        named = list(dict.fromkeys(key for delivery in deliveries for key in delivery.keys))
        items = self.table.get_all([*slots, *named], deadline)
        return _View(
            slots={pipeline: items.get(key, {}) for key, pipeline in slots.items()},
            leased=view.leased,
            deliveries={key: items[key] for key in named if key in items},
            is_read=True,
        )


def merge_claims(claims: Iterable[Claim]) -> list[Claim]:
    """Return one claim per pipeline."""
    merged: dict[str, Claim] = {}
    for claim in claims:
        earlier = merged.get(claim.pipeline)
        merged[claim.pipeline] = claim if earlier is None else earlier.joined_by(claim)
    return list(merged.values())


class _Attempt:
    """One transaction for the claims, under the assumption that the view is current."""

    def __init__(self, table: Table, view: _View, deliveries: Sequence[Delivery], now: float) -> None:
        self.table, self.view, self.now = table, view, now
        self.deliveries = deliveries
        self.accepted = [accepted_runs(view.deliveries, delivery.keys, now) for delivery in deliveries]
        claims = merge_claims(claim for claim, _ in self._fresh())
        self.results: dict[str, Accepted] = {}
        leased = set(view.leased)
        for claim in claims:
            result = self._result(claim, leased)
            leased |= {job_lease(claim.job)} if claim.job and result.holds_lease else set()
            self.results[claim.pipeline] = result
        self.added = self._added()
        self.events = self._events()
        self.callbacks = self._callbacks(claims)
        self.batch: str | None = None
        self.records: dict[str, dict[str, Any]] = {}
        self.groups = self._groups(claims)
        if self.is_large:
            self.batch = batch_key(claims[0].run_id)
            self.groups = self._groups(claims)

    @property
    def is_large(self) -> bool:
        """Whether the deliveries have too many keys for one transaction with the claims."""
        others = len(self.callbacks) + sum(len(group) for _, group in self.groups)
        return len(self.added) + others > MAX_ACTIONS

    def unfinished(self) -> dict[str, str]:
        """Batches to complete before anything else is accepted, by pipeline."""
        slots = {claim.pipeline: self.view.slots.get(claim.pipeline, {}) for claim, _ in self._fresh()}
        return {name: str(slot["batch"]) for name, slot in slots.items() if "batch" in slot}

    def actions(self) -> list[Action]:
        """Return the transaction; empty if nothing is accepted."""
        claimed = (action for _, group in self.groups for action in group)
        return [*self._deliver(), *claimed, *self.callbacks]

    def acceptances(self) -> list[Acceptance]:
        """Return the acceptance of each delivery, valid once the transaction is written."""
        return [
            self._acceptance(delivery, accepted)
            for delivery, accepted in zip(self.deliveries, self.accepted, strict=True)
        ]

    @property
    def pipelines(self) -> list[str]:
        """Pipelines that accept or skip a claim."""
        return list(self.results)

    def announce(self, deadline: Deadline) -> bool:
        """Change the items of a batch's deliveries, which its transaction does not write.

        Returns False if one has changed since it was read. A concurrent function that accepts one of these
        deliveries, with a slot read earlier, fails because of this change.
        """
        for keys in parts(self.added):
            unchanged = record_runs(self.table, self.view.deliveries, {key: {} for key in keys}, self.now)
            try:
                self.table.transact(unchanged, deadline)
            except ConditionFailed as refused:
                self.view.is_read = False
                self.view.slots.clear()  # they are older than the deliveries that were just read
                learn_items(self.view.deliveries, keys, refused.items)
                return False
        return True

    def learn(self, items: Sequence[dict[str, Any] | None], *, is_complete: bool = True) -> None:
        """Update the view with the items that failed conditions.

        A slot that was not written must not be older than the deliveries in the view. ``is_complete``:
        False if it is unknown whether some of the conditions hold.
        """
        delivered = [] if self.batch else list(self.added)
        repeated = learn_items(self.view.deliveries, delivered, items)
        self.view.is_read = False
        queue = iter(items[len(self._deliver()) :])
        for claim, group in self.groups:
            if repeated and not group:
                self.view.slots.pop(claim.pipeline, None)
            refused = [(action, item) for action in group if (item := next(queue)) is not None]
            moved = repeated or not is_complete or any("Update" in action for action, _ in refused)
            for action, item in refused:
                self._note(claim, action, item, moved=moved)

    def _fresh(self) -> Iterator[tuple[Claim, Delivery]]:
        """Yield the claims for which their delivery was not accepted before."""
        for delivery, accepted in zip(self.deliveries, self.accepted, strict=True):
            for claim in delivery.claims:
                if claim.pipeline not in accepted:
                    yield claim, delivery

    def _added(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the runs to record for each key, by pipeline."""
        added: dict[str, dict[str, dict[str, Any]]] = {}
        for claim, delivery in self._fresh():
            result = self.results[claim.pipeline]
            if result.status != "skipped":
                logged = [delivery.event.key] if delivery.event else []
                for key in dict.fromkeys((*delivery.keys, *logged)):
                    added.setdefault(key, {})[claim.pipeline] = {**asdict(result), "at": self.now}
        return added

    def _events(self) -> dict[str, EventResult]:
        """Return the results of the events that start or join runs, by the key of their item."""
        events: dict[str, EventResult] = {}
        for delivery, accepted in zip(self.deliveries, self.accepted, strict=True):
            fresh = [claim.pipeline for claim in delivery.claims if claim.pipeline not in accepted]
            results = [self.results[name] for name in fresh]
            if delivery.event is None or all(each.status == "skipped" for each in results):
                continue
            result = "started" if any(each.status == "started" for each in results) else "merged"
            skipped = skip_reason(each for each in results if each.status == "skipped")
            events[delivery.event.key] = EventResult(delivery.event, result, skipped)
        return events

    def _callbacks(self, claims: Iterable[Claim]) -> list[Action]:
        """The callbacks of the runs that cover the claims, also of a pending run that is not changed."""
        covered = [
            (self.results[claim.pipeline].run_id, callback)
            for claim in claims
            if self.results[claim.pipeline].status != "skipped"
            for callback in claim.callbacks
        ]
        if not covered:
            return []
        from celonis_refresh.runs.callbacks import callback_item  # for few sources only

        return [self.table.put(callback_item(run_id, callback, self.now)) for run_id, callback in covered]

    def _acceptance(self, delivery: Delivery, accepted: Mapping[str, Mapping[str, Any]]) -> Acceptance:
        results = [
            _accepted(accepted[claim.pipeline])
            if claim.pipeline in accepted
            else self.results[claim.pipeline]
            for claim in delivery.claims
        ]
        named = {claim.pipeline for claim in delivery.claims}
        earlier = {name: at for name, at in _times(accepted).items() if name in named}
        acceptance = Acceptance(tuple(results), earlier, self.records)
        is_batched = any(result.status != "skipped" for result in acceptance.fresh)
        return replace(acceptance, batch=self.batch if is_batched else None)

    def _note(self, claim: Claim, action: Action, item: dict[str, Any], *, moved: bool) -> None:
        """Note a rejected action: ``item`` is the current slot, or the job's lease is taken.

        ``moved``: the delivery was accepted before, or the slot has changed. An existing record then belongs
        to the delivery's run, or to the pending run that another trigger has started.
        """
        if "Update" in action:
            self.view.slots[claim.pipeline] = item
        elif claim.job and action["Put"]["Item"]["pk"]["S"] == job_lease(claim.job):
            self.view.leased.add(job_lease(claim.job))
        elif not moved:
            raise TableBusy(f"a record of run {claim.run_id} exists already")

    def _result(self, claim: Claim, leased: Collection[str]) -> Accepted:
        slot = self.view.slots.get(claim.pipeline, {})
        if not claim.may_join:
            _check_is_free(claim, slot)
        return expected_result(claim, slot, leased)

    def _groups(self, claims: Iterable[Claim]) -> list[tuple[Claim, list[Action]]]:
        return [(claim, self._claim(claim, self.results[claim.pipeline])) for claim in claims]

    def _deliver(self) -> list[Action]:
        if self.batch:
            return [Batches.action(self.table, self.batch, self.added, self.events, self.now)]
        return record_runs(self.table, self.view.deliveries, self.added, self.now, self.events)

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
        """Return no action if the pending run already covers the options, to avoid conflicts.

        The pending run had not started when the slot was read. A batch is always named in its slots. A slot
        that was read before the deliveries may lack a batch that has accepted one of them.
        """
        if not self.batch and not self.view.is_read and self._is_covered(claim):
            return []
        pending = {"run_id": result.run_id, "options": self._merged_options(claim).to_json()}
        slot = self.view.slots.get(claim.pipeline, {})
        if "run_id" in slot:
            return [self._change_slot(claim, "#pending = :pending", {"pending": pending})]
        changes = "#pending = :pending, #status = :waiting, #position = :position"
        values = {"pending": pending, "waiting": WAITING, "position": f"{iso(self.now)} {claim.pipeline}"}
        return [self._change_slot(claim, changes, values)]

    def _is_covered(self, claim: Claim) -> bool:
        """Return whether the claim leaves the pending run unchanged.

        After many conflicts, a change of the list of reasons alone counts as no change.
        """
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
        """Return a change of the slot, on condition that it is as the view assumes: as read, or free."""
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


def expected_result(claim: Claim, slot: Mapping[str, Any], leased: Collection[str] = ()) -> Accepted:
    """Return the result of a claim if the slot is as given. ``leased``: leases that are taken."""
    active, pending = slot.get("run_id"), slot.get("pending")
    if active is not None and claim.definition.when_running == "skip":
        return Accepted(claim.pipeline, str(active), "skipped")
    paused = claim.definition.paused or "pause" in slot
    if active is not None or paused or (pending and claim.is_execution):
        return Accepted(claim.pipeline, pending["run_id"] if pending else claim.follow_up_id, "joined")
    free = claim.job is not None and job_lease(claim.job) not in leased
    return Accepted(claim.pipeline, pending["run_id"] if pending else claim.run_id, "started", free)


def skip_reason(skipped: Iterable[Accepted]) -> str:
    """Return why pipelines start nothing that skip triggers during a run; "" if there are none."""
    busy = ", ".join(f"{accepted.pipeline} with {accepted.run_id}" for accepted in skipped)
    return f"skipped, because a run is running: {busy}" if busy else ""


def _accepted(run: Mapping[str, Any]) -> Accepted:
    """Return the result that a delivery's item has recorded."""
    return Accepted(**{name: value for name, value in run.items() if name != "at"})


def _times(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(run["at"]) for name, run in runs.items()}


def _check_is_free(claim: Claim, slot: Mapping[str, Any]) -> None:
    """Raise the error for a claim that may not join and cannot start now."""
    if claim.definition.paused or "pause" in slot:
        raise PipelinePaused(claim.pipeline)
    if "run_id" in slot or "pending" in slot:
        raise PipelineBusy(claim.pipeline, str(slot.get("run_id") or slot["pending"]["run_id"]))

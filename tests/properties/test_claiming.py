"""Triggers of several pipelines against a simple model: nothing lost, nothing twice, one run at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.pipelines.options import RunOptions, make_options
from celonis_refresh.runs.claims import Claim, Claims, Delivery
from celonis_refresh.runs.deliveries import DAY, pipelines_of
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, RunClosed, TableBusy
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.queued import QueuedRun, RunLookup
from celonis_refresh.runs.records import IS_OPEN, OPEN_VALUES, Records, RunStatus
from celonis_refresh.runs.slots import drop_pending, release, start_pending
from celonis_refresh.runs.table import (
    MAX_ACTIONS,
    WAITING,
    ConditionFailed,
    delivery_key,
    job_lease,
    run_key,
    slot_key,
)
from celonis_refresh.timing import Deadline, epoch, iso
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, canceled, table_of
from tests.fakes.leases import take
from tests.fakes.service import Crashed
from tests.properties.claiming_model import (
    CALL_SECONDS,
    JOBS,
    SKIPS,
    ClaimingModel,
    ExpectedDelivery,
    at_the_same_times,
)
from tests.properties.hypothesis_settings import examples

MILLISECOND = 0.001
FOR_EVER = 10_000
"""More conflicts than any deadline has time for."""

MANY = MAX_ACTIONS + 10

pipelines = st.sampled_from(sorted(JOBS))
several = st.lists(pipelines, min_size=1, max_size=3, unique=True)
run_options = st.builds(
    lambda mode, tables: make_options(mode, tables, []),
    st.sampled_from([None, "FULL", "DELTA"]),
    st.sampled_from([None, ["a"], ["b"], ["a", "c"], "all"]),
)
conflicts = st.sampled_from([0, 0, 0, 1, 3, FOR_EVER])


class ClaimingMachine(RuleBasedStateMachine):
    """Each rule is one event; the invariants are checked after each."""

    deliveries = Bundle("deliveries")

    @initialize()
    def begin(self) -> None:
        self.clock, self.fake, self.model = FakeClock(), FakeDynamoDB(), ClaimingModel()
        self.table = table_of(self.fake, self.clock)
        self.claims, self.records = Claims(self.table, self.clock), Records(self.table, self.clock)
        self.leases = Leases(self.table, self.clock)
        self.made = 0

    @contextmanager
    def meeting(self, others: int) -> Iterator[None]:
        """This many of the next transactions conflict with another one."""
        left = [others]

        def before(operation: str, request: dict[str, Any]) -> None:
            if left[0] > 0 and operation == "TransactWriteItems":
                left[0] -= 1
                codes = ["None"] * len(request["TransactItems"])
                raise canceled(*codes[1:], "TransactionConflict")

        quiet, self.fake.before = self.fake.before, before
        try:
            yield
        finally:
            self.fake.before = quiet

    def deadline(self) -> Deadline:
        return Deadline.after(CALL_SECONDS, self.clock)

    def definition(self, pipeline: str) -> Definition:
        document = {
            "data_pool": "p",
            "jobs": [{"job": JOBS[pipeline]}],
            "paused": self.model.slots[pipeline].paused,
            "when_running": "skip" if pipeline == SKIPS else "join",
        }
        return read_definition("The definition", Definition, document)

    def claim(self, pipeline: str, wanted: RunOptions, **fields: Any) -> Claim:
        self.made += 1
        ids = (f"{pipeline}-{self.made}", f"{pipeline}-follow-{self.made}")
        return Claim(pipeline, wanted, *ids, self.definition(pipeline), JOBS[pipeline], **fields)

    def accept(self, deliveries: list[Delivery], others: int = 0) -> list[ExpectedDelivery] | None:
        """The table's result, compared with the model; None if the table was too busy."""
        self.clock.sleep(1.0)
        now = self.clock()
        expected, before = self.model.expected(deliveries, now), dict(self.fake.items)
        try:
            with self.meeting(others):
                acceptances = self.claims.accept_batch(deliveries, self.deadline())
                self.claims.finish(acceptances, self.deadline())
        except TableBusy as busy:
            note(f"busy: {busy}")
            assert others == FOR_EVER
            assert self.fake.items == before
            return None
        for each, acceptance in zip(expected, acceptances, strict=True):
            assert each.is_met_by(acceptance)
        self.model.take_in(deliveries, expected, now)
        return expected

    def delivery(self, named: list[str], wanted: RunOptions, key: str | None = None) -> Delivery:
        claims = [self.claim(pipeline, wanted) for pipeline in named]
        return Delivery(claims, [key or delivery_key("erp", str(self.made))])

    @rule(target=deliveries, named=several, wanted=run_options, others=conflicts)
    def trigger(self, named: list[str], wanted: RunOptions, others: int) -> Any:
        """A webhook or a request for one pipeline or several."""
        delivery = self.delivery(named, wanted)
        expected = self.accept([delivery], others)
        if expected is None or all(result.status == "skipped" for result in expected[0].results):
            assert delivery.keys[0] not in self.fake.items
        return delivery.keys[0]

    @rule(target=deliveries, pipeline=pipelines, wanted=run_options)
    def execution(self, pipeline: str, wanted: RunOptions) -> Any:
        """An execution with a name of its own opens its run."""
        claim = self.claim(pipeline, wanted, is_execution=True)
        key = delivery_key("execution", claim.run_id)
        expected = self.accept([Delivery([claim], [key])])
        assert expected is not None
        (result,) = expected[0].results
        assert (result.run_id == claim.run_id) is (result.status == "started")
        return key

    @rule(known=deliveries, named=several, wanted=run_options, others=conflicts)
    def again(self, known: str, named: list[str], wanted: RunOptions, others: int) -> None:
        """A delivery is sent again, however much has happened since, and perhaps for other pipelines."""
        delivery, before = self.delivery(named, wanted, known), dict(self.fake.items)
        if not self.model.fresh([delivery], self.clock() + 1.0) and not self.is_unrecorded(known):
            others = 0
            (expected,) = self.accept([delivery]) or []
            assert set(expected.earlier) == set(named)
            assert self.fake.items == before
            return
        self.accept([delivery], others)

    def is_unrecorded(self, key: str) -> bool:
        """Whether the function died before it wrote the item of this key."""
        return any(key in batch["deliveries"] for batch in self.fake.documents("batch#"))

    @rule(
        target=deliveries,
        known=st.lists(deliveries, max_size=2, unique=True),
        named=st.lists(several, min_size=3, max_size=3),
        wanted=run_options,
        many=st.booleans(),
        dies=st.none() | st.tuples(st.integers(0, 3), st.sampled_from(["before", "after"])),
    )
    def batch(
        self,
        known: list[str],
        named: list[list[str]],
        wanted: RunOptions,
        many: bool,
        dies: tuple[int, str] | None,
    ) -> Any:
        """Deliveries in one request, some of them repeated; the function may die in between.

        ``many``: more than one transaction takes.
        """
        deliveries = [self.delivery(each, wanted, key) for each, key in zip(named, known, strict=False)]
        deliveries += [self.delivery(named[2], wanted) for _ in range(MANY if many else 1)]
        if dies is None:
            self.accept(deliveries)
        else:
            self.die(deliveries, *dies)
        return deliveries[-1].keys[0]

    def die(self, deliveries: list[Delivery], writes: int, moment: str) -> None:
        """The function dies before or after its n-th write, if it makes that many."""
        self.clock.sleep(1.0)
        now = self.clock()
        expected = self.model.expected(deliveries, now)
        with self.dying(writes, moment), contextlib.suppress(Crashed):
            acceptances = self.claims.accept_batch(deliveries, self.deadline())
            self.claims.finish(acceptances, self.deadline())
        wanted = {
            (delivery.keys[0], result.pipeline)
            for delivery, each in zip(deliveries, expected, strict=True)
            for result in each.results
            if result.pipeline not in each.earlier and result.status != "skipped"
        }
        written = {pair for pair in wanted if self.is_written(*pair)}
        assert written in (set(), wanted)
        if written:
            self.model.take_in(deliveries, expected, now)

    def is_written(self, key: str, pipeline: str) -> bool:
        """Whether a delivery is accepted for a pipeline, by its own item or by that of its batch."""
        known = self.claims.known(key)
        own = known is not None and pipeline in known.earlier
        batches = self.fake.documents("batch#")
        return own or any(pipeline in pipelines_of(batch, key) for batch in batches)

    @contextmanager
    def dying(self, writes: int, moment: str) -> Iterator[None]:
        left = [writes]

        def hook(when: str) -> Callable[[str, dict[str, Any]], None]:
            def at(operation: str, request: dict[str, Any]) -> None:
                if operation == "TransactWriteItems" and when == moment:
                    left[0] -= 1
                    if left[0] < 0:
                        raise Crashed

            return at

        quiet = self.fake.before, self.fake.after
        self.fake.before, self.fake.after = hook("before"), hook("after")
        try:
            yield
        finally:
            self.fake.before, self.fake.after = quiet

    @rule()
    def days_pass(self) -> None:
        """More than half of the days for which a delivery is known."""
        self.clock.sleep(8.0 * DAY)

    @rule(pipeline=pipelines)
    def retry(self, pipeline: str) -> None:
        """A run that leaves out what is done starts at once or not at all."""
        slot = self.model.slots[pipeline]
        claim = self.claim(pipeline, RunOptions(), may_join=False, skip=("model-1",))
        if slot.paused or slot.active or slot.waiting:
            before = dict(self.fake.items)
            with pytest.raises((PipelineBusy, PipelinePaused)):
                self.claims.accept([claim], [delivery_key("retry", claim.run_id)], self.deadline())
            assert self.fake.items == before
            return
        expected = self.accept([Delivery([claim], [delivery_key("retry", claim.run_id)])])
        assert expected is not None
        assert expected[0].results[0].run_id == claim.run_id

    @precondition(lambda self: any(slot.active for slot in self.model.slots.values()))
    @rule(data=st.data(), others=st.sampled_from([0, 2]), frees=st.booleans())
    def close(self, data: st.DataObject, others: int, frees: bool) -> None:
        """The run of a pipeline ends; its slot is released, and its lease now or later."""
        named = [name for name, slot in self.model.slots.items() if slot.active]
        self.end(data.draw(st.sampled_from(named)), others, frees=frees)

    def end(self, pipeline: str, others: int = 0, *, frees: bool = True) -> None:
        self.clock.sleep(1.0)
        slot, job = self.model.slots[pipeline], JOBS[pipeline]
        run_id, at = str(slot.active), iso(self.clock())
        item = self.table.get(slot_key(pipeline)) or {}
        ended = self.table.change(
            run_key(run_id), "SET #status = :failed", IS_OPEN, {**OPEN_VALUES, "failed": RunStatus.FAILED}
        )
        release_actions = release(self.table, pipeline, item, run_id, at, paused=slot.paused)
        with self.meeting(others):
            self.table.transact([ended, *release_actions], self.deadline())
        self.model.ended.add(run_id)
        slot.released_at = at
        slot.active = None if slot.paused else slot.waiting
        slot.waiting = slot.waiting if slot.paused else None
        if frees:
            self.leases.free(run_id, job_lease(job), self.deadline())
            if self.model.leases.get(job) == run_id:
                del self.model.leases[job]

    @rule(pipeline=pipelines)
    def toggle(self, pipeline: str) -> None:
        """A user pauses the pipeline, or ends the pause."""
        slot = self.model.slots[pipeline]
        slot.paused = not slot.paused

    @rule(pipeline=pipelines)
    def start_pending(self, pipeline: str) -> None:
        """The pending run in a free slot is started, once it may be."""
        slot = self.model.slots[pipeline]
        if slot.active or slot.paused or not slot.waiting:
            return
        self.clock.sleep(1.0)
        item = self.table.get(slot_key(pipeline)) or {}
        assert item["status"] == WAITING
        actions = start_pending(self.table, pipeline, item, iso(self.clock()))
        self.table.transact(actions, self.deadline())
        with pytest.raises(ConditionFailed):
            self.table.transact(actions, self.deadline())
        slot.active, slot.waiting = slot.waiting, None

    @rule(pipeline=pipelines)
    def give_up(self, pipeline: str) -> None:
        """A user drops the pending run, behind a run or during a pause."""
        slot = self.model.slots[pipeline]
        if not slot.waiting:
            return
        found = RunLookup(self.table, self.records).get(slot.waiting)
        assert isinstance(found, QueuedRun)
        assert (found.pipeline, found.shown()["waiting_for_run"]) == (pipeline, slot.active)
        action = drop_pending(self.table, pipeline, found.slot)
        self.table.update(action, self.deadline())
        with pytest.raises(ConditionFailed):
            self.table.update(action, self.deadline())
        self.model.accepted_triggers = [
            each for each in self.model.accepted_triggers if each.run_id != slot.waiting
        ]
        slot.waiting = None

    @precondition(lambda self: any(slot.active for slot in self.model.slots.values()))
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """A run requests the lease of its job."""
        named = [name for name, slot in self.model.slots.items() if slot.active]
        pipeline = data.draw(st.sampled_from(named))
        run_id, job = str(self.model.slots[pipeline].active), JOBS[pipeline]
        holder = self.model.leases.get(job)
        free = holder is None or holder == run_id or holder in self.model.ended
        assert take(self.leases, run_id, job_lease(job), self.deadline()) is free
        if free:
            self.model.leases[job] = run_id

    @precondition(lambda self: bool(self.model.ended))
    @rule(data=st.data())
    def take_too_late(self, data: st.DataObject) -> None:
        """A run that has ended gets nothing any more."""
        run_id = data.draw(st.sampled_from(sorted(self.model.ended)))
        with pytest.raises(RunClosed):
            take(self.leases, run_id, job_lease("own"), self.deadline())

    @invariant()
    def one_run_per_pipeline(self) -> None:
        runs = [self.records.get(item["run_id"]) for item in self.fake.documents("run#")]
        for pipeline, slot in self.model.slots.items():
            active = [run.run_id for run in runs if run.pipeline == pipeline and run.is_open]
            assert active == ([slot.active] if slot.active else [])

    @invariant()
    def the_slots_are_as_the_model_says(self) -> None:
        for pipeline, slot in self.model.slots.items():
            item = self.table.get(slot_key(pipeline)) or {}
            assert item.get("run_id") == slot.active
            assert item.get("pending", {}).get("run_id") == slot.waiting
            is_listed = slot.active is None and slot.waiting is not None
            assert (item.get("status") == WAITING) is is_listed
            assert ("position" in item) is is_listed

    @invariant()
    def leases_are_as_the_model_says(self) -> None:
        held = {item["pk"]: item["run_id"] for item in self.fake.documents("lease#")}
        assert held == {job_lease(job): run_id for job, run_id in self.model.leases.items()}

    @invariant()
    def no_run_is_created_before_the_end_of_the_run_before_it(self) -> None:
        for slot in self.model.slots.values():
            if slot.active:
                run = self.records.get(slot.active)
                assert str(run.item["created_at"]) >= slot.released_at

    @invariant()
    def the_newest_deliveries_led_to_what_the_model_says(self) -> None:
        self.check_deliveries(list(self.model.deliveries)[-5:])

    def check_deliveries(self, checked: list[str]) -> None:
        for key in checked:
            known, expected = self.claims.known(key), self.model.known(key, self.clock())
            if not self.is_unrecorded(key):
                times = {name: each.at for name, each in expected.items()}
                assert at_the_same_times(known.earlier if known else {}, times)
                results = sorted((each.pipeline, each) for each in known.results) if known else []
                assert results == sorted((name, each.result) for name, each in expected.items())

    @invariant()
    def every_trigger_is_covered(self) -> None:
        waiting = {
            item["pending"]["run_id"]: RunOptions.from_json(item["pending"]["options"])
            for item in self.fake.documents("slot#")
            if "pending" in item
        }
        for accepted in self.model.accepted_triggers:
            run = self.records.find(accepted.run_id)
            covering = run.options if run else waiting[accepted.run_id]
            assert covering.join(accepted.options) == covering
            if run:
                started_at = epoch(str(run.item["created_at"]))
                assert (
                    started_at > accepted.at if accepted.joined else started_at >= accepted.at - MILLISECOND
                )
                others = [each for each in self.model.accepted_triggers if each.run_id == accepted.run_id]
                assert "skip" not in run.item or len(others) == 1

    def teardown(self) -> None:
        """Once pauses and runs have ended, every pending run has started with the id that was reported."""
        if not hasattr(self, "model"):
            return
        for pipeline, slot in self.model.slots.items():
            slot.paused = False
            self.start_pending(pipeline)
            while slot.active:
                self.end(pipeline)
        self.every_trigger_is_covered()
        for pipeline in JOBS:  # finishes what is left of a batch, also if it is all that it does
            assert self.accept([self.delivery([pipeline], RunOptions())]) is not None
            self.end(pipeline)
        self.check_deliveries(list(self.model.deliveries))
        assert list(self.fake.documents("batch#")) == []
        reported = {accepted.run_id for accepted in self.model.accepted_triggers}
        assert reported == {item["run_id"] for item in self.fake.documents("run#")}
        assert not any("pending" in item for item in self.fake.documents("slot#"))


TestClaiming = ClaimingMachine.TestCase
TestClaiming.settings = examples(60, steps=25)

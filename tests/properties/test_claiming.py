"""Triggers of several pipelines against a simple model: nothing lost, nothing twice, one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
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
    multiple,
    precondition,
    rule,
)

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.reading import read_definition
from celonis_refresh.pipelines.wishes import Wish, wish
from celonis_refresh.runs import keys
from celonis_refresh.runs.claims import Acceptance, Accepted, Claim, Claims
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, RunClosed, TableBusy
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import IS_OPEN, OPEN_VALUES, Records, RunStatus
from celonis_refresh.runs.slots import drop_waiting, release, start_waiting
from celonis_refresh.runs.table import Refused
from celonis_refresh.runs.waiting import Lookup, Waiting
from celonis_refresh.timing import Deadline, epoch, iso
from tests.fakes.clock import Clock
from tests.fakes.dynamodb import FakeDynamoDB, canceled, table_of
from tests.fakes.leases import take
from tests.fakes.search import examples
from tests.properties.claiming_model import JOBS, SKIPS, Model

SECONDS = 5.0
MILLISECOND = 0.001
FOR_EVER = 10_000
"""More conflicts than any deadline has time for."""

pipelines = st.sampled_from(sorted(JOBS))
wishes = st.builds(
    lambda mode, tables: wish(mode, tables, []),
    st.sampled_from([None, "FULL", "DELTA"]),
    st.sampled_from([None, ["a"], ["b"], ["a", "c"], "all"]),
)
conflicts = st.sampled_from([0, 0, 0, 1, 3, FOR_EVER])


class Claiming(RuleBasedStateMachine):
    """Each rule is one thing that happens; the laws are checked after each."""

    deliveries = Bundle("deliveries")

    @initialize()
    def begin(self) -> None:
        self.clock, self.fake, self.model = Clock(), FakeDynamoDB(), Model()
        self.table = table_of(self.fake, self.clock)
        self.claims, self.records = Claims(self.table, self.clock), Records(self.table, self.clock)
        self.leases = Leases(self.table, self.clock)
        self.made = 0

    @contextmanager
    def meeting(self, others: int) -> Iterator[None]:
        """So many of the next transactions meet another one."""
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
        return Deadline.after(SECONDS, self.clock)

    def definition(self, pipeline: str) -> Definition:
        document = {
            "data_pool": "p",
            "jobs": [{"job": JOBS[pipeline]}],
            "paused": self.model.slots[pipeline].paused,
            "when_running": "skip" if pipeline == SKIPS else "join",
        }
        return read_definition("The definition", Definition, document)

    def claim(self, pipeline: str, wanted: Wish, **fields: Any) -> Claim:
        self.made += 1
        ids = (f"{pipeline}-{self.made}", f"{pipeline}-follow-{self.made}")
        return Claim(pipeline, wanted, *ids, self.definition(pipeline), JOBS[pipeline], **fields)

    def accept(self, claims: list[Claim], delivery: str, others: int) -> Acceptance | None:
        """What the table says, held against the model; None where the table was too busy."""
        self.clock.sleep(1.0)
        expected, before = self.model.expected(claims), dict(self.fake.items)
        try:
            with self.meeting(others):
                acceptance = self.claims.accept(claims, [delivery], self.deadline())
        except TableBusy as busy:
            note(f"busy: {busy}")
            assert others == FOR_EVER
            assert self.fake.items == before
            return None
        assert not acceptance.duplicate
        assert list(acceptance.results) == expected
        self.model.take_in(claims, acceptance.results, acceptance.at)
        return acceptance

    @rule(
        target=deliveries,
        named=st.lists(pipelines, min_size=1, max_size=3, unique=True),
        wanted=wishes,
        others=conflicts,
    )
    def trigger(self, named: list[str], wanted: Wish, others: int) -> Any:
        """A webhook or a request for one pipeline or several."""
        claims = [self.claim(pipeline, wanted) for pipeline in named]
        delivery = keys.delivery("erp", str(self.made))
        acceptance = self.accept(claims, delivery, others)
        if acceptance is None or all(result.status == "skipped" for result in acceptance.results):
            assert delivery not in self.fake.items
            return multiple()
        return delivery, named, acceptance.results

    @rule(target=deliveries, pipeline=pipelines, wanted=wishes)
    def execution(self, pipeline: str, wanted: Wish) -> Any:
        """An execution with a name of its own asks what it is to do."""
        claim = self.claim(pipeline, wanted, is_execution=True)
        delivery = keys.delivery("execution", claim.run_id)
        acceptance = self.accept([claim], delivery, 0)
        assert acceptance is not None
        (result,) = acceptance.results
        assert (result.run_id == claim.run_id) is (result.status == "started")
        return (delivery, [pipeline], acceptance.results) if result.status != "skipped" else multiple()

    @rule(known=deliveries)
    def again(self, known: tuple[str, list[str], tuple[Accepted, ...]]) -> None:
        """A delivery is sent again, however much has happened since."""
        delivery, named, results = known
        before = dict(self.fake.items)
        claims = [self.claim(pipeline, Wish()) for pipeline in named]
        acceptance = self.claims.accept(claims, [delivery], self.deadline())
        assert (acceptance.duplicate, acceptance.results) == (True, results)
        assert self.fake.items == before

    @rule(pipeline=pipelines)
    def retry(self, pipeline: str) -> None:
        """A run that leaves out what is done starts at once or not at all."""
        slot = self.model.slots[pipeline]
        claim = self.claim(pipeline, Wish(), may_join=False, skip=("model-1",))
        if slot.paused or slot.active or slot.waiting:
            before = dict(self.fake.items)
            with pytest.raises((PipelineBusy, PipelinePaused)):
                self.claims.accept([claim], [keys.delivery("retry", claim.run_id)], self.deadline())
            assert self.fake.items == before
            return
        acceptance = self.accept([claim], keys.delivery("retry", claim.run_id), 0)
        assert acceptance is not None
        assert acceptance.results[0].run_id == claim.run_id

    @precondition(lambda self: any(slot.active for slot in self.model.slots.values()))
    @rule(data=st.data(), others=st.sampled_from([0, 2]), frees=st.booleans())
    def close(self, data: st.DataObject, others: int, frees: bool) -> None:
        """The run of a pipeline ends; its slot passes on, and its lease now or later."""
        named = [name for name, slot in self.model.slots.items() if slot.active]
        self.end(data.draw(st.sampled_from(named)), others, frees=frees)

    def end(self, pipeline: str, others: int = 0, *, frees: bool = True) -> None:
        self.clock.sleep(1.0)
        slot, job = self.model.slots[pipeline], JOBS[pipeline]
        run_id, at = str(slot.active), iso(self.clock())
        item = self.table.get(keys.slot(pipeline)) or {}
        ended = self.table.change(
            keys.run(run_id), "SET #status = :failed", IS_OPEN, {**OPEN_VALUES, "failed": RunStatus.FAILED}
        )
        passing = release(self.table, pipeline, item, run_id, at, paused=slot.paused)
        with self.meeting(others):
            self.table.transact([ended, *passing], self.deadline())
        self.model.ended.add(run_id)
        slot.active = None if slot.paused else slot.waiting
        slot.waiting = slot.waiting if slot.paused else None
        if frees:
            self.leases.free(run_id, keys.job_lease(job), self.deadline())
            if self.model.leases.get(job) == run_id:
                del self.model.leases[job]

    @rule(pipeline=pipelines)
    def toggle(self, pipeline: str) -> None:
        """Somebody pauses the pipeline, or lifts the pause."""
        slot = self.model.slots[pipeline]
        slot.paused = not slot.paused

    @rule(pipeline=pipelines)
    def look_after(self, pipeline: str) -> None:
        """What waits in a free slot is started, once it may be."""
        slot = self.model.slots[pipeline]
        if slot.active or slot.paused or not slot.waiting:
            return
        self.clock.sleep(1.0)
        item = self.table.get(keys.slot(pipeline)) or {}
        assert item["status"] == keys.WAITING
        actions = start_waiting(self.table, pipeline, item, iso(self.clock()))
        self.table.transact(actions, self.deadline())
        with pytest.raises(Refused):
            self.table.transact(actions, self.deadline())
        slot.active, slot.waiting = slot.waiting, None

    @rule(pipeline=pipelines)
    def give_up(self, pipeline: str) -> None:
        """Somebody gives up what waits, behind a run or for the end of a pause."""
        slot = self.model.slots[pipeline]
        if not slot.waiting:
            return
        found = Lookup(self.table, self.records).get(slot.waiting)
        assert isinstance(found, Waiting)
        assert (found.pipeline, found.shown()["behind"]) == (pipeline, slot.active)
        action = drop_waiting(self.table, pipeline, found.slot)
        self.table.update(action, self.deadline())
        with pytest.raises(Refused):
            self.table.update(action, self.deadline())
        self.model.promises = [each for each in self.model.promises if each.run_id != slot.waiting]
        slot.waiting = None

    @precondition(lambda self: any(slot.active for slot in self.model.slots.values()))
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """A run wants the lease of its job."""
        named = [name for name, slot in self.model.slots.items() if slot.active]
        pipeline = data.draw(st.sampled_from(named))
        run_id, job = str(self.model.slots[pipeline].active), JOBS[pipeline]
        holder = self.model.leases.get(job)
        free = holder is None or holder == run_id or holder in self.model.ended
        assert take(self.leases, run_id, keys.job_lease(job), self.deadline()) is free
        if free:
            self.model.leases[job] = run_id

    @precondition(lambda self: bool(self.model.ended))
    @rule(data=st.data())
    def take_too_late(self, data: st.DataObject) -> None:
        """A run that has ended gets nothing any more."""
        run_id = data.draw(st.sampled_from(sorted(self.model.ended)))
        with pytest.raises(RunClosed):
            take(self.leases, run_id, keys.job_lease("own"), self.deadline())

    @invariant()
    def one_run_per_pipeline(self) -> None:
        runs = [self.records.get(item["run_id"]) for item in self.fake.documents("run#")]
        for pipeline, slot in self.model.slots.items():
            active = [run.run_id for run in runs if run.pipeline == pipeline and run.is_open]
            assert active == ([slot.active] if slot.active else [])

    @invariant()
    def the_slots_are_as_the_model_says(self) -> None:
        for pipeline, slot in self.model.slots.items():
            item = self.table.get(keys.slot(pipeline)) or {}
            assert item.get("run_id") == slot.active
            assert item.get("pending", {}).get("run_id") == slot.waiting
            is_listed = slot.active is None and slot.waiting is not None
            assert (item.get("status") == keys.WAITING) is is_listed
            assert ("position" in item) is is_listed

    @invariant()
    def leases_are_as_the_model_says(self) -> None:
        held = {item["pk"]: item["run_id"] for item in self.fake.documents("lease#")}
        assert held == {keys.job_lease(job): run_id for job, run_id in self.model.leases.items()}

    @invariant()
    def every_trigger_is_covered(self) -> None:
        waiting = {
            item["pending"]["run_id"]: Wish.from_json(item["pending"]["wish"])
            for item in self.fake.documents("slot#")
            if "pending" in item
        }
        for promise in self.model.promises:
            run = self.records.find(promise.run_id)
            covering = run.wish if run else waiting[promise.run_id]
            assert covering.join(promise.wish) == covering
            if run:
                started_at = epoch(str(run.item["created_at"]))
                assert started_at > promise.at if promise.joined else started_at >= promise.at - MILLISECOND
                others = [each for each in self.model.promises if each.run_id == promise.run_id]
                assert "skip" not in run.item or len(others) == 1

    def teardown(self) -> None:
        """Once pauses are lifted and runs end, whatever waited has started with the id that was told."""
        if not hasattr(self, "model"):
            return
        for pipeline, slot in self.model.slots.items():
            slot.paused = False
            self.look_after(pipeline)
            while slot.active:
                self.end(pipeline)
        self.every_trigger_is_covered()
        told = {promise.run_id for promise in self.model.promises}
        assert told == {item["run_id"] for item in self.fake.documents("run#")}
        assert not any("pending" in item for item in self.fake.documents("slot#"))


TestClaiming = Claiming.TestCase
TestClaiming.settings = examples(60, steps=25)

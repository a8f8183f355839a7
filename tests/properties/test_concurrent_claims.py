"""Triggers at the same time, as their requests may interleave: each counts once, and none is lost.

Deliveries come alone, twice and in batches that are larger than a transaction, while runs end, pending runs
start and pauses begin and end. Every request to the table is a point at which another function may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest

from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.pipelines.options import RunOptions, make_options
from celonis_refresh.runs.callbacks import Callback
from celonis_refresh.runs.claims import Acceptance, Claim, Claims, Delivery
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.records import IS_OPEN, OPEN_VALUES, Records
from celonis_refresh.runs.slots import release, start_pending
from celonis_refresh.runs.table import ConditionFailed, Table, delivery_key, run_key, slot_key
from celonis_refresh.timing import Deadline, iso
from tests.fakes.clock import FakeClock
from tests.fakes.contended_dynamodb import ContendedDynamoDB
from tests.fakes.interleaving import Interleaving
from tests.fakes.late_responses import LateResponses
from tests.properties.hypothesis_settings import FACTOR

SECONDS = 2.0
"""In which everything happens."""
PIPELINES = ("one", "two")
TABLES = ("a", "b")
DELIVERIES = 60
REPEATED = 12
"""The first of them come several times, alone and in batches."""
BATCHES, BATCH = 6, 100
CALL_SECONDS = 30.0


@dataclass
class Trigger:
    """One request: what it brought, when it last arrived, and what became of it after how many tries."""

    deliveries: Sequence[Delivery]
    at: float
    accepted: Sequence[Acceptance]
    tries: int


@dataclass
class ConcurrentClaims:
    """``late``: the share of attempts of transactions that get no response in time."""

    seed: int
    late: float = 0.0
    triggers: list[Trigger] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock, self.random = FakeClock(), Random(self.seed)  # noqa: S311 - a simulation
        self.workers = Interleaving(self.clock, self.random)
        self.dynamodb = ContendedDynamoDB(self.clock, self.workers.sleep, self.random, stalled=0.1)
        self.dynamodb.mixed = self.seed % 2 == 1
        self.client = LateResponses(self.dynamodb, self.workers, self.random, self.late)
        self.table = Table(cast("Any", self.client), "table", self.random, self.workers.sleep)
        self.processes = [Claims(self.table, self.clock) for _ in range(6)]
        self.records = Records(Table(cast("Any", self.dynamodb.dynamodb), "table"), self.clock)
        self.paused: set[str] = set()
        self.created: dict[str, float] = {}
        self.dynamodb.dynamodb.after = self._note_records
        self.made = 0
        self.ends = self.clock.now + SECONDS

    def run(self) -> ConcurrentClaims:
        keys = list(range(DELIVERIES)) + [number for number in range(REPEATED) for _ in range(4)]
        for key in keys:
            self._spawn(partial(self._deliver, key))
        for number in range(BATCHES):
            self._spawn(partial(self._deliver_batch, number))
        for _ in range(40):
            self._spawn(lambda: self._end(self.random.choice(PIPELINES)))
            self._spawn(lambda: self._start_pending(self.random.choice(PIPELINES)))
        for _ in range(6):
            self._spawn(self._toggle)
        self.workers.run()
        return self

    def _spawn(self, act: Callable[[], None]) -> None:
        self.workers.spawn(act, "", self.clock.now + self.random.uniform(0, SECONDS))

    def _deliver(self, number: int) -> None:
        self._accept([self._delivery(f"{number}")])

    def _deliver_batch(self, number: int) -> None:
        self._accept(self._batch(number))

    def _batch(self, number: int) -> list[Delivery]:
        known = self.random.sample(range(REPEATED), REPEATED - 2)
        return [self._delivery(f"{key}") for key in known] + [
            self._delivery(f"batch-{number}-{each}") for each in range(BATCH)
        ]

    def _delivery(self, name: str) -> Delivery:
        """The same delivery always names the same pipelines, options and callback, if it has one.

        Those that only come in batches have none: a request with a callback has one event.
        """
        chance = Random(name)  # noqa: S311
        pipelines = chance.sample(PIPELINES, chance.choice([1, 1, 2]))
        options = make_options(None, [chance.choice(TABLES)], [])
        callbacks = () if name.startswith("batch") else (Callback(f"https://hooks.example.com/{name}"),)
        claims = [self._claim(pipeline, options, callbacks) for pipeline in pipelines]
        return Delivery(claims, [delivery_key("erp", name)])

    def _claim(self, pipeline: str, options: RunOptions, callbacks: tuple[Callback, ...]) -> Claim:
        self.made += 1
        fields = {"data_pool": "p", "jobs": [{"job": f"job-{pipeline}"}], "paused": pipeline in self.paused}
        definition = read_definition("The definition", Definition, fields)
        run_id, follow_up_id = f"{pipeline}-{self.made}", f"{pipeline}-follow-{self.made}"
        return Claim(pipeline, options, run_id, follow_up_id, definition, callbacks=callbacks)

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        at, tries = self.clock.now, 1
        while not (accepted := self._try_to_accept(deliveries)):  # the sender gets a 503 and sends it again
            at, tries = self.clock.now, tries + 1
        self.triggers.append(Trigger(deliveries, at, accepted, tries))

    def _try_to_accept(self, deliveries: Sequence[Delivery]) -> Sequence[Acceptance]:
        claims, deadline = self.random.choice(self.processes), Deadline.after(CALL_SECONDS, self.clock)
        accepted: Sequence[Acceptance] = []
        try:
            accepted = claims.accept_batch(deliveries, deadline)
            if self.random.random() < 0.7:  # otherwise the function dies: the next claim finishes the batch
                claims.finish(accepted, deadline)
        except TableBusy:
            assert self.late
        return accepted

    def _end(self, pipeline: str) -> None:
        slot = self.table.get(slot_key(pipeline)) or {}
        if "run_id" not in slot:
            return
        run_id, at = slot["run_id"], iso(self.clock())
        values = {**OPEN_VALUES, "ended": "SUCCEEDED", "at": at}
        ended = self.table.change(run_key(run_id), "SET #status = :ended, #ended_at = :at", IS_OPEN, values)
        paused = pipeline in self.paused and "pending" in slot
        actions = [ended, *release(self.table, pipeline, slot, run_id, at, paused=paused)]
        self._try(lambda: self.table.transact(actions, Deadline.after(CALL_SECONDS, self.clock)))

    def _start_pending(self, pipeline: str) -> None:
        slot = self.table.get(slot_key(pipeline)) or {}
        if "run_id" in slot or "pending" not in slot or pipeline in self.paused:
            return
        actions = start_pending(self.table, pipeline, slot, iso(self.clock()))
        self._try(lambda: self.table.transact(actions, Deadline.after(CALL_SECONDS, self.clock)))

    def _note_records(self, operation: str, request: dict[str, Any]) -> None:
        """The moment at which a record is written: the run is created, by whatever clock, a little before."""
        for action in request["TransactItems"] if operation == "TransactWriteItems" else ():
            key = action.get("Put", {}).get("Item", {}).get("pk", {}).get("S", "")
            if key.startswith(run_key("")):
                self.created.setdefault(key.removeprefix(run_key("")), self.clock.now)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except ConditionFailed:
            return  # the slot changed, or another function did it
        except TableBusy:
            assert self.late  # another one does it later

    def _toggle(self) -> None:
        self.paused ^= {self.random.choice(PIPELINES)}

    # ------------------------------------------------------------ what must hold

    def check(self) -> None:
        self._each_delivery_leads_to_one_run()
        self._every_trigger_is_covered_by_a_run_that_starts_after_it()
        self._each_callback_is_stored_once_for_the_run_that_covers_its_trigger()
        self._one_run_at_a_time()
        self._what_comes_once_is_no_duplicate()

    def _what_comes_once_is_no_duplicate(self) -> None:
        known = {delivery_key("erp", f"{number}") for number in range(REPEATED)}
        once = [trigger for trigger in self.triggers if trigger.tries == 1]
        for trigger in once:
            for delivery, acceptance in zip(trigger.deliveries, trigger.accepted, strict=True):
                assert delivery.keys[0] in known or acceptance.earlier == {}
        assert once

    def _each_callback_is_stored_once_for_the_run_that_covers_its_trigger(self) -> None:
        expected = {
            (result.run_id, callback.address)
            for trigger in self.triggers
            for delivery, acceptance in zip(trigger.deliveries, trigger.accepted, strict=True)
            for claim in delivery.claims
            for result in acceptance.results
            for callback in claim.callbacks
            if result.pipeline == claim.pipeline
        }
        items = list(self.dynamodb.dynamodb.documents("callback#"))
        assert {(item["run_id"], item["address"]) for item in items} == expected
        assert len(items) == len(expected) > DELIVERIES

    def _each_delivery_leads_to_one_run(self) -> None:
        """Whatever the requests are answered, also as it is recorded, once every batch is finished."""
        led_to: dict[tuple[str, str], set[str]] = {}
        for trigger in self.triggers:
            for delivery, acceptance in zip(trigger.deliveries, trigger.accepted, strict=True):
                for result in acceptance.results:
                    led_to.setdefault((delivery.keys[0], result.pipeline), set()).add(result.run_id)
        assert {key: runs for key, runs in led_to.items() if len(runs) > 1} == {}

    def _every_trigger_is_covered_by_a_run_that_starts_after_it(self) -> None:
        pending = {
            slot["pending"]["run_id"]: RunOptions.from_json(slot["pending"]["options"])
            for slot in self.dynamodb.dynamodb.documents("slot#")
            if "pending" in slot
        }
        for trigger in self.triggers:
            for delivery, acceptance in zip(trigger.deliveries, trigger.accepted, strict=True):
                options = {claim.pipeline: claim.options for claim in delivery.claims}
                for result in acceptance.fresh:
                    run = self.records.find(result.run_id)
                    covering = run.options if run else pending[result.run_id]
                    assert covering.join(options[result.pipeline]) == covering
                    assert run is None or self.created[result.run_id] > trigger.at

    def _one_run_at_a_time(self) -> None:
        for pipeline in PIPELINES:
            runs = [each for each in self.dynamodb.dynamodb.documents("run#") if each["pipeline"] == pipeline]
            runs.sort(key=lambda run: str(run["created_at"]))
            for earlier, later in pairwise(runs):
                assert str(earlier["ended_at"]) <= str(later["created_at"])


@pytest.mark.parametrize("seed", [*range(12 * max(1, FACTOR)), 160])
def test_triggers_at_the_same_time_count_once_and_none_is_lost(seed: int) -> None:
    ConcurrentClaims(seed).run().check()


@pytest.mark.parametrize("seed", range(4 * max(1, FACTOR)))
def test_nor_where_responses_of_the_table_come_late(seed: int) -> None:
    simulated = ConcurrentClaims(seed, late=0.2).run()
    assert simulated.client.late
    simulated.check()

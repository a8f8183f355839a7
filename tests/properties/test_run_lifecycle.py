"""Triggers, ends of runs, crashes of functions and rounds of reconcile in any order: nothing is lost.

Every accepted trigger is covered by a run that starts after it, every run ends once and is notified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from celonis_refresh.pipelines.definition import Definition, Mode, read_definition
from celonis_refresh.pipelines.options import Reason, RunOptions
from celonis_refresh.runs.claims import Acceptance, Claim
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, RunClosed, RunNotFound, TableBusy
from celonis_refresh.runs.records import OPEN, Run, RunStatus, definition_text
from celonis_refresh.runs.table import delivery_key, job_lease, run_key, slot_key
from celonis_refresh.timing import iso
from tests.fakes.dynamodb import canceled
from tests.fakes.executions import FakeExecutions
from tests.fakes.leases import take
from tests.fakes.service import Crashed, ServiceHarness
from tests.fakes.wiring import make_reconciler, make_run_closer
from tests.properties.hypothesis_settings import examples

JOBS = {"alpha": "job-1", "beta": "job-1", "gamma": "job-2"}
"""The first job of each pipeline: two of them share theirs."""
ENDS = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
names = st.lists(st.sampled_from(sorted(JOBS)), min_size=1, max_size=2, unique=True)
deliveries = st.none() | st.sampled_from(["d-1", "d-2", "d-3"])
tables = st.frozensets(st.sampled_from(["A", "B", "C"]), max_size=2)
modes = st.sampled_from([None, Mode.DELTA, Mode.FULL])
numbers = st.integers(0, 30)
moments: st.SearchStrategy[Literal["before", "after"]] = st.sampled_from(["before", "after"])


def definition_of(pipeline: str) -> Definition:
    document = {"data_pool": "p", "jobs": [{"job": JOBS[pipeline]}], "loads": [{"data_model": "model-1"}]}
    return read_definition("The definition", Definition, document)


@dataclass
class AcknowledgedTrigger:
    """The response to an accepted trigger, and its time."""

    pipeline: str
    options: RunOptions
    run_id: str
    at: float
    joined: bool


@dataclass
class SignedDelivery:
    """A webhook request that may be sent again, unchanged."""

    pipelines: list[str]
    options: RunOptions
    reported: list[str] = field(default_factory=list)


class RunLifecycle(RuleBasedStateMachine):
    """The table under everything that uses its slots and leases."""

    @initialize()
    def begin(self) -> None:
        self.service = ServiceHarness()
        self.executions = FakeExecutions()
        self.accepted_triggers: list[AcknowledgedTrigger] = []
        self.deliveries: dict[str, SignedDelivery] = {}
        self.reported: list[str] = []
        self.paused: set[str] = set()
        self.count = 0
        service = self.service
        for job in set(JOBS.values()):
            service.job(job)
        service.model("model-1")
        self.closer = make_run_closer(service, self.executions, self._notify, self.paused.__contains__)
        self.reconciler = make_reconciler(service, self.executions, self.closer)

    def _notify(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.executions.hook("Publish", "before")
        self.reported.append(str(facts["run_id"]))
        self.executions.hook("Publish", "after")

    def _next(self, what: str) -> str:
        self.count += 1
        return f"{what}-{self.count}"

    def _claim(self, pipeline: str, options: RunOptions, *, may_join: bool = True) -> Claim:
        return Claim(
            pipeline=pipeline,
            options=options,
            run_id=self._next(pipeline),
            follow_up_id=self._next(pipeline),
            definition=replace(definition_of(pipeline), paused=pipeline in self.paused),
            job=JOBS[pipeline],
            may_join=may_join,
        )

    def _options(self, mode: Mode | None, names: frozenset[str]) -> RunOptions:
        reason = Reason(iso(self.service.clock()), self._next("trigger"), "test", "")
        return RunOptions(mode=mode, as_defined=not names, tables=names, reasons=(reason,))

    def _accept(self, pipelines: list[str], options: RunOptions, delivery: str | None) -> Acceptance | None:
        """Accepts, and compares the acceptance with earlier ones; None if it failed."""
        at = self.service.clock()
        claims = [self._claim(pipeline, options) for pipeline in pipelines]
        keyed = [delivery_key("source", delivery)] if delivery else []
        before = dict(self.service.dynamodb.items)
        try:
            acceptance = self.service.claims.accept(claims, keyed, self.service.deadline(2.0))
        except TableBusy:
            assert self.service.dynamodb.items == before, "busy, but something was written"
            return None
        self._note(acceptance, options, delivery, at)
        for result in acceptance.results:
            if result.status == "started":
                self.executions.start(result.run_id)
        return acceptance

    def _note(self, acceptance: Acceptance, options: RunOptions, delivery: str | None, at: float) -> None:
        reported = [result.run_id for result in acceptance.results]
        if delivery:
            known = self.deliveries[delivery]
            assert known.reported in ([], reported), "the same delivery got other runs"
            assert not (known.reported and not acceptance.duplicate), "a delivery was accepted twice"
            known.reported = reported
        for result in acceptance.results:
            joined = result.status == "joined" and not acceptance.duplicate
            self.accepted_triggers.append(
                AcknowledgedTrigger(result.pipeline, options, result.run_id, at, joined)
            )

    @rule(pipelines=names, mode=modes, wanted=tables, delivery=deliveries)
    def accept(
        self, pipelines: list[str], mode: Mode | None, wanted: frozenset[str], delivery: str | None
    ) -> None:
        options = self._options(mode, wanted)
        if delivery:
            known = self.deliveries.setdefault(delivery, SignedDelivery(pipelines, options))
            pipelines, options = known.pipelines, known.options
        self._dying(lambda: self._accept(pipelines, options, delivery))

    @rule(pipeline=st.sampled_from(sorted(JOBS)))
    def accept_what_may_not_join(self, pipeline: str) -> None:
        self._dying(lambda: self._accept_alone(pipeline))

    def _accept_alone(self, pipeline: str) -> None:
        slot = self.service.dynamodb.document(slot_key(pipeline))
        waits = slot.get("pending", {}).get("run_id")
        options, at = self._options(None, frozenset()), self.service.clock()
        claim = self._claim(pipeline, options, may_join=False)
        refusal = ""
        try:
            acceptance = self.service.claims.accept([claim], [], self.service.deadline(2.0))
        except PipelineBusy as error:
            refusal = error.run_id
        except PipelinePaused:
            refusal = "paused"
        else:
            self._note(acceptance, options, None, at)
            self.executions.start(acceptance.results[0].run_id)
        if pipeline in self.paused:
            assert refusal
        else:
            assert refusal == (slot.get("run_id") or waits or "")

    def _pick(self, number: int, ids: list[str]) -> str | None:
        return ids[number % len(ids)] if ids else None

    def _open_runs(self) -> list[str]:
        return [
            run["run_id"]
            for run in self.service.dynamodb.documents("run#")
            if RunStatus(run["status"]) in OPEN
        ]

    def _run(self, run_id: str, *, well: bool) -> None:
        """The execution opens its run and goes through its steps."""
        run = self.service.records.get_open(run_id)
        definition = definition_text(definition_of(run.pipeline))
        loads = {"load-0": {"kind": "complete", "tables": {}}}
        outcome = {"outcome": "SUCCEEDED" if well else "FAILED", "ended_at": iso(self.service.clock())}
        facts = {"status": RunStatus.RUNNING, "definition": definition, "loads": loads}
        run = self.service.records.set_facts(run, facts, self.service.deadline())
        for step in ("job-0", "load-0"):
            run = self.service.records.save_step(run, step, outcome, self.service.deadline())

    @rule(number=numbers, status=st.sampled_from(ENDS))
    def end(self, number: int, status: str) -> None:
        run_id = self._pick(number, [name for name in self.executions.running() if name in self._open_runs()])
        if run_id is not None:
            self._end(run_id, status)
            self._dying(lambda: self.closer.close(f"arn:{run_id}", self.service.deadline()))

    def _end(self, run_id: str, status: str) -> None:
        try:
            self._run(run_id, well=status == "SUCCEEDED")
        except (Crashed, TableBusy):
            status = "FAILED"
        self.executions.end(run_id, status)

    @rule(number=numbers)
    def deliver_an_end_event_again(self, number: int) -> None:
        run_id = self._pick(number, sorted(self.executions.known))
        if run_id is not None:
            self._dying(lambda: self.closer.close(f"arn:{run_id}", self.service.deadline()))

    @rule(number=numbers, calls=st.integers(0, 8), status=st.sampled_from(ENDS), pipelines=names, mode=modes)
    def accept_between_two_calls_of_a_closing(
        self, number: int, calls: int, status: str, pipelines: list[str], mode: Mode | None
    ) -> None:
        run_id = self._pick(number, [name for name in self.executions.running() if name in self._open_runs()])
        if run_id is None or self.service.dynamodb.before != self.quiet:
            return
        self._end(run_id, status)
        options = self._options(mode, frozenset())
        self._interleave(calls, lambda: self._accept(pipelines, options, None))
        self._dying(lambda: self.closer.close(f"arn:{run_id}", self.service.deadline()))
        self.calm()

    @rule(number=numbers, calls=st.integers(0, 3), pipelines=names, mode=modes)
    def close_between_two_calls_of_a_claim(
        self, number: int, calls: int, pipelines: list[str], mode: Mode | None
    ) -> None:
        run_id = self._pick(number, [name for name in self.executions.running() if name in self._open_runs()])
        if run_id is None or self.service.dynamodb.before != self.quiet:
            return
        self._end(run_id, "SUCCEEDED")
        self._interleave(calls, lambda: self.closer.close(f"arn:{run_id}", self.service.deadline()))
        self._dying(lambda: self._accept(pipelines, self._options(mode, frozenset()), None))
        self.calm()

    def _interleave(self, calls: int, act: Callable[[], object]) -> None:
        """Another action runs just before one of the next calls to the table."""
        left = [calls]

        def before(operation: str, request: dict[str, Any]) -> None:
            left[0] -= 1
            if left[0] < 0:
                self.calm()
                act()

        self.service.dynamodb.before = before

    @rule(calls=st.integers(0, 12), moment=moments)
    def let_the_next_one_die(self, calls: int, moment: Literal["before", "after"]) -> None:
        self.service.crash([(calls, moment)])
        self.executions.hook = self.service.celonis.hook

    @rule(count=st.integers(1, 12))
    def let_the_table_be_contended(self, count: int) -> None:
        left = [count]

        def before(operation: str, request: dict[str, Any]) -> None:
            left[0] -= 1
            if operation == "TransactWriteItems" and left[0] >= 0:
                raise canceled(*["TransactionConflict"] * len(request["TransactItems"]))

        self.service.dynamodb.before = before

    def quiet(self, operation: str, request: dict[str, Any]) -> None:
        """Nothing happens."""

    @rule()
    def calm(self) -> None:
        self.service.crash([])
        self.service.dynamodb.before = self.quiet
        self.executions.hook = self.service.celonis.hook

    def _dying(self, act: Callable[[], object]) -> None:
        """Runs ``act``, which may die or find the table busy at any call."""
        try:
            act()
        except (Crashed, TableBusy):
            self.calm()

    @rule(number=numbers, job=st.sampled_from(sorted(set(JOBS.values()))))
    def take_a_lease(self, number: int, job: str) -> None:
        run_id = self._pick(number, sorted(run["run_id"] for run in self.service.dynamodb.documents("run#")))
        if run_id is None:
            return
        lease = job_lease(job)
        held = self.service.dynamodb.document(lease).get("run_id")
        try:
            taken = take(self.service.leases, run_id, lease, self.service.deadline())
        except (RunClosed, RunNotFound):
            assert run_id not in self._open_runs() or self.service.records.get(run_id).is_closing
        except (Crashed, TableBusy):
            self.calm()
        else:
            assert taken is (held in (None, run_id) or held not in self._open_runs())

    @rule(number=numbers, job=st.sampled_from(sorted(set(JOBS.values()))))
    def free_a_lease(self, number: int, job: str) -> None:
        run_id = self._pick(number, sorted(run["run_id"] for run in self.service.dynamodb.documents("run#")))
        lease = job_lease(job)
        held = self.service.dynamodb.document(lease).get("run_id")
        if run_id is not None:
            self._dying(lambda: self.service.leases.free(run_id, lease, self.service.deadline()))
            left = self.service.dynamodb.document(lease).get("run_id")
            assert left == held or held == run_id

    @rule(pipeline=st.sampled_from(sorted(JOBS)))
    def pause_or_go_on(self, pipeline: str) -> None:
        self.paused ^= {pipeline}

    @rule()
    def reconcile(self) -> None:
        self.service.clock.sleep(60.0)
        self._dying(lambda: self.reconciler.reconcile(self.service.deadline(300.0)))

    @invariant()
    def time_goes_on(self) -> None:
        self.service.clock.sleep(1.0)

    @invariant()
    def a_pipeline_has_one_run_and_that_run_holds_its_slot(self) -> None:
        held = {slot["pk"]: slot.get("run_id") for slot in self.service.dynamodb.documents("slot#")}
        runs = [Run(item) for item in self.service.dynamodb.documents("run#")]
        assert sorted(run.run_id for run in runs if run.is_open) == sorted(filter(None, held.values()))
        assert all(held[slot_key(run.pipeline)] == run.run_id for run in runs if run.is_open)

    @invariant()
    def every_promise_is_a_run_or_waits_for_one(self) -> None:
        for accepted in self.accepted_triggers:
            record = self.service.dynamodb.document(run_key(accepted.run_id))
            if not record:
                waiting = self.service.dynamodb.document(slot_key(accepted.pipeline))["pending"]
                assert waiting["run_id"] == accepted.run_id
                options = RunOptions.from_json(waiting["options"])
            else:
                assert not accepted.joined or record["created_at"] >= iso(accepted.at)
                options = Run(record).options
            assert options.join(accepted.options) == options, "the run does not cover the trigger"

    def teardown(self) -> None:
        """Everything that was left behind is finished: every accepted run has ended."""
        if not hasattr(self, "service"):
            return
        self.calm()
        self.paused.clear()
        for _ in range(10):
            self.service.clock.sleep(60.0)
            self.reconciler.reconcile(self.service.deadline(300.0))
            for run_id in [name for name in self.executions.running() if name in self._open_runs()]:
                self._end(run_id, "SUCCEEDED")
                self.closer.close(f"arn:{run_id}", self.service.deadline())
        self.every_promise_is_a_run_or_waits_for_one()
        self.a_pipeline_has_one_run_and_that_run_holds_its_slot()
        for item in self.service.dynamodb.documents("run#"):
            run = Run(item)
            assert not run.is_open, f"{run.run_id} never ended"
            assert run.run_id in self.executions.known, f"{run.run_id} was never started"
            is_well = run.status in (RunStatus.SUCCEEDED, RunStatus.ABORTED)
            assert is_well or run.run_id in self.reported, f"nobody heard of {run.run_id}"
        assert all(
            self.service.dynamodb.document(run_key(accepted.run_id)) for accepted in self.accepted_triggers
        )
        assert not list(self.service.dynamodb.documents("lease#")), "a lease was left behind"
        assert not list(self.service.dynamodb.documents("outbox#"))
        runs = [item["run_id"] for item in self.service.dynamodb.documents("run#")]
        wanted = {f"{run_id}/{name}" for run_id in runs for name in ("started", "ended")}
        assert {name for name in self.service.events.ids if name.count("/") == 1} == wanted


TestEndings = RunLifecycle.TestCase
TestEndings.settings = examples(50, steps=25)

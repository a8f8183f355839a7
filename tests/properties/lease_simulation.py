"""Runs of several pipelines that share data jobs and data models, run call by call in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition, LoadKind, read_definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.pipelines.plan import ResolvedLoad
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.runs.table import job_lease, model_lease, run_key
from celonis_refresh.steps.check import check_step
from celonis_refresh.steps.start import start_claimed, start_step
from celonis_refresh.steps.step import Progress, is_started
from celonis_refresh.steps.target import DataJobTarget, DataModelTarget, StepTarget
from tests.fakes.celonis import FakeCelonis, FakeStart, FakeTarget, Lags, Lost, unavailable
from tests.fakes.clock import FakeClock
from tests.fakes.executions import FakeExecutions
from tests.fakes.interleaving import Interleaving, Worker
from tests.fakes.service import POOL, RETRIED, Crashed, ServiceHarness
from tests.fakes.wiring import make_reconciler, make_run_closer

SETTLE = 60
MISTYPED = "mistyped"
"""The connection whose base URL never answers."""
RETRY_SECONDS = 2.0
CRASH_SECONDS = 60.0
CLOSE_SECONDS = 117.0


@dataclass(frozen=True)
class LeasePipeline:
    """``stages``: its jobs; ``models``: what it loads itself.

    ``connects``: False where its base URL is wrong; ``begins_at``: seconds until its first trigger; ``runs``:
    how many runs follow one another; ``by_webhook``: whether a webhook starts the first job; ``reverse``:
    whether its loads are in reverse order.
    """

    stages: tuple[tuple[str, ...], ...]
    models: tuple[str, ...] = ()
    connects: bool = True
    begins_at: float = 0.0
    runs: int = 1
    by_webhook: bool = False
    reverse: bool = False
    timeout: int = 6 * 3600

    @property
    def jobs(self) -> list[str]:
        return [job for stage in self.stages for job in stage]


@dataclass(frozen=True)
class LeaseScenario:
    """``inner``: the models that a job loads by itself; ``seconds``: how long each job and model takes.

    ``busy``: for how many seconds another user's execution of a job or model runs from the beginning;
    ``until``: the pipeline with whose end no further runs begin.
    """

    pipelines: Mapping[str, LeasePipeline]
    inner: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    lags: tuple[float, ...] = (0.0,)
    seed: int = 0
    pause_share: float = 0.3
    crash_share: float = 0.0
    until: str = ""

    def inner_models(self, pipeline: LeasePipeline) -> list[str]:
        return sorted({model for job in pipeline.jobs for model in self.inner.get(job, ())})

    def targets(self) -> tuple[list[str], list[str]]:
        """All jobs and all models."""
        jobs = sorted({job for pipeline in self.pipelines.values() for job in pipeline.jobs})
        models = {model for pipeline in self.pipelines.values() for model in pipeline.models}
        return jobs, sorted(models | {model for inner in self.inner.values() for model in inner})

    def definition(self, name: str) -> Definition:
        pipeline = self.pipelines[name]
        inner = self.inner_models(pipeline)
        timeout = {"timeout": pipeline.timeout}
        loads = [{"data_model": model, "started_by": "job", **timeout} for model in inner]
        loads += [{"data_model": model, **timeout} for model in pipeline.models if model not in inner]
        document = {
            "data_pool": POOL,
            "connection": "default" if pipeline.connects else MISTYPED,
            "jobs": [[{"job": job, **timeout} for job in stage] for stage in pipeline.stages],
            "loads": loads[::-1] if pipeline.reverse else loads,
            "settle": SETTLE,
        }
        return read_definition("The definition", Definition, document)


@dataclass
class ReportingTarget(FakeTarget):
    """A job or model that reports each start of ours."""

    on_start: Callable[[FakeStart], None] = lambda start: None

    def _mine(self, at: float, detail: str) -> FakeStart:
        start = super()._mine(at, detail)
        self.on_start(start)
        return start


class SilentCelonis(FakeCelonis):
    """A base URL at which nothing answers."""

    def _fault(self, name: str) -> Exception | Lost | None:
        self.hook(name, "before")
        return unavailable()


class SharedHarness(ServiceHarness):
    """The harness of the other tests; some pipelines have a connection that never answers."""

    def __post_init__(self) -> None:
        self.silent = SilentCelonis(self.clock)
        super().__post_init__()

    def target_for(self, run: Run, step: str) -> StepTarget:
        celonis = self.silent if run.definition.connection == MISTYPED else self.celonis
        client, pool = cast("CelonisClient", celonis), run.definition.data_pool_id
        if step.startswith("job-"):
            return DataJobTarget(client, pool, run.plan.job(step))
        return DataModelTarget(client, pool, run.plan.load(step), ResolvedLoad(LoadKind.COMPLETE, {}))


@dataclass
class EndedRun:
    """One run that has come to its end. ``error``: of the step that failed, "" where none did."""

    run_id: str
    pipeline: str
    error: str
    status: RunStatus
    began: float
    at: float


@dataclass
class LeaseResult:
    """What happened: the runs that ended, and every start of ours as time, run and lease."""

    ended: list[EndedRun] = field(default_factory=list)
    starts: list[tuple[float, str, str]] = field(default_factory=list)

    def errors(self) -> dict[str, str]:
        return {ended.run_id: ended.error for ended in self.ended}


class LeaseSimulation:
    """Runs a scenario: each run is a worker, and so is each of its steps."""

    def __init__(self, scenario: LeaseScenario) -> None:
        self.scenario, self.result = scenario, LeaseResult()
        self.clock, self.random = FakeClock(), Random(scenario.seed)  # noqa: S311 - a simulation
        self.workers = Interleaving(self.clock, self.random, scenario.pause_share)
        self.service = SharedHarness(self.clock, seed=scenario.seed)
        self.executions = FakeExecutions()
        self.notified: list[str] = []
        self.in_task: dict[str, set[str]] = {}
        self.running: dict[str, list[tuple[str, FakeStart]]] = {}
        self.is_over = False
        self._make_targets()
        self._listen()
        self.closer = make_run_closer(self.service, self.executions, self._notify, lambda _: False)

    def _make_targets(self) -> None:
        jobs, models = self.scenario.targets()
        for name in jobs:
            self.service.celonis.jobs[name] = self._target(name, job_lease(name))
        for name in models:
            self.service.celonis.models[name] = self._target(name, model_lease(name))

    def _target(self, name: str, lease: str) -> FakeTarget:
        scenario = self.scenario
        target = ReportingTarget(
            self.clock, lags=Lags(scenario.lags), seconds=scenario.seconds.get(name, 60.0), busy="refuse"
        )
        target.on_start = lambda start: self._started(name, lease, start)
        target.add_past_start(6000.0)
        if name in scenario.busy:
            target.add_past_start(2.0 * SETTLE, seconds=2.0 * SETTLE + scenario.busy[name])
        return target

    def _listen(self) -> None:
        self.service.dynamodb.before = lambda operation, request: self._call("before")
        self.service.dynamodb.after = lambda operation, request: self._call("after")
        self.service.celonis.hook = self.service.silent.hook = lambda name, when: self._call(when)

    def _call(self, when: str) -> None:
        if self.workers.current is None:
            return
        if when == "before":
            self.workers.pause()
        if self.random.random() < self.scenario.crash_share:
            raise Crashed

    def _notify(self, subject: str, text: str, facts: dict[str, Any]) -> None:
        self.notified.append(str(facts["run_id"]))

    # ------------------------------------------------------------ what must hold at each start

    def _started(self, name: str, lease: str, start: FakeStart) -> None:
        """A start of ours arrived: its run holds what it uses, and nothing of another run is running."""
        run_id = self._run_id()
        self.result.starts.append((self.clock.now, run_id, lease))
        self._use(lease, run_id, start)
        for model in self.scenario.inner.get(name, ()) if lease.startswith("lease#job") else ():
            target = self.service.celonis.models[model]
            begins = start.at + start.seconds * 0.3
            inner = target.begin(mine=False, at=begins, seconds=target.seconds, outcome="SUCCESS")
            self._use(model_lease(model), run_id, inner)

    def _use(self, lease: str, run_id: str, start: FakeStart) -> None:
        holder = self.service.dynamodb.document(lease).get("run_id")
        assert holder == run_id, f"{run_id} starts what {lease} is for, which {holder} holds"
        for other, earlier in self.running.setdefault(lease, []):
            assert other == run_id or earlier.ended_at <= start.at, f"{run_id} and {other} use {lease}"
        self.running[lease].append((run_id, start))

    def _run_id(self) -> str:
        assert self.workers.current is not None
        return self.workers.current.run_id

    def check_holds_nothing(self, run_id: str) -> None:
        """A run without a running task holds what its started steps use, and nothing else."""
        if self.in_task.get(run_id):
            return
        run = self._record(run_id)
        held = {
            item["pk"] for item in self.service.dynamodb.documents("lease#") if item.get("run_id") == run_id
        }
        jobs = [(job.step, job_lease(job.job)) for job in run.plan.jobs]
        loads = [(load.step, model_lease(load.data_model)) for load in run.plan.loads]
        used = {lease for step, lease in jobs + loads if self._uses(run.steps.get(step, {}))}
        if any(is_started(run.steps.get(step, {})) for step, _ in jobs):
            used |= {model_lease(load.data_model) for load in run.plan.loads if load.started_by == "job"}
        assert held <= used, f"{run_id} waits and holds {held - used}"

    def _uses(self, state: Mapping[str, Any]) -> bool:
        return is_started(state) and ("ended_at" not in state or "held" in state)

    def _check_has_ended(self, run_id: str, step: str) -> None:
        """The execution of a step that succeeded was started by its run, and has ended."""
        plan = self._record(run_id).plan
        leases = {job.step: job_lease(job.job) for job in plan.jobs}
        leases |= {load.step: model_lease(load.data_model) for load in plan.loads}
        ours = [start for other, start in self.running.get(leases[step], []) if other == run_id]
        assert ours, f"{step} of {run_id} was never started"
        assert all(start.ended_at <= self.clock.now for start in ours), f"{step} of {run_id} is still running"

    # ------------------------------------------------------------ the state machine

    def run(self) -> LeaseResult:
        for name, pipeline in self.scenario.pipelines.items():
            begins = self.clock.now + pipeline.begins_at
            self.workers.spawn(lambda name=name: self._pipeline(name), name, begins)  # type: ignore[misc]
        self.workers.run()
        return self.result

    def reconcile(self) -> None:
        """A round of reconcile, after everything has ended."""
        self.clock.sleep(SETTLE + 60.0)
        make_reconciler(self.service, self.executions, self.closer).reconcile(self.service.deadline(237.0))

    def _pipeline(self, name: str) -> None:
        pipeline = self.scenario.pipelines[name]
        for number in range(pipeline.runs):
            if self.is_over:
                return
            worker = self.workers.current
            assert worker is not None
            worker.run_id = run_id = f"{name}-{number}"
            began = self.clock.now
            error = self._run(name, pipeline, run_id)
            status = self._record(run_id).status
            self.result.ended.append(EndedRun(run_id, name, error, status, began, self.clock.now))
            self.is_over = self.is_over or name == self.scenario.until
            if pipeline.runs > 1:
                self.workers.sleep(self.random.uniform(0.0, 20.0))

    def _run(self, name: str, pipeline: LeasePipeline, run_id: str) -> str:
        definition = self.scenario.definition(name)
        self._open(name, definition, run_id, pipeline)
        self.executions.start(run_id)
        plan = self._record(run_id).plan
        numbers = sorted({job.stage for job in plan.jobs})
        stages = [[job.step for job in plan.jobs if job.stage == number] for number in numbers]
        failed = ""
        for steps in [*stages, [load.step for load in plan.loads]]:
            failed = failed or self._stage(run_id, steps)
        self.executions.end(run_id, "FAILED" if failed else "SUCCEEDED", failed, failed)
        self._tried(lambda: self.closer.close(f"arn:{run_id}", self.service.deadline(CLOSE_SECONDS)))
        return failed

    def _open(self, name: str, definition: Definition, run_id: str, pipeline: LeasePipeline) -> None:
        """The claim, the start by the webhook, and the opening by the state machine."""
        job = pipeline.jobs[0] if pipeline.by_webhook and pipeline.jobs else None
        claim = Claim(name, RunOptions(), run_id, f"{run_id}-next", definition, job)
        accepted: list[bool] = []

        def accept() -> None:
            if not accepted and self.service.records.find(run_id) is None:
                acceptance = self.service.claims.accept([claim], [], self.service.deadline())
                accepted.append(acceptance.results[0].holds_lease)

        self._tried(accept)
        loads = {step.step: {"kind": "complete", "tables": {}} for step in self._record(run_id).plan.loads}
        if accepted and accepted[0]:
            self._by_webhook(run_id, loads)
        facts = {"status": RunStatus.RUNNING, "loads": loads, "execution_arn": f"arn:{run_id}"}
        self._tried(
            lambda: self.service.records.set_facts(
                self.service.records.get(run_id), facts, self.service.deadline()
            )
        )

    def _record(self, run_id: str) -> Run:
        """The record, read without a function."""
        return Run(self.service.dynamodb.document(run_key(run_id)))

    def _by_webhook(self, run_id: str, loads: Mapping[str, Any]) -> None:
        run = Run({**self._record(run_id).item, "loads": loads})
        try:
            start_claimed(self.service.context, run, "job-0", self.service.deadline(2.0), {"loads": loads})
        except (RefreshError, Crashed):
            return
        if not is_started(self._record(run_id).steps.get("job-0", {})):
            self.check_holds_nothing(run_id)

    def _stage(self, run_id: str, steps: Sequence[str]) -> str:
        errors: dict[str, str] = {}

        def act(step: str) -> Callable[[], None]:
            return lambda: errors.update({step: self._step(run_id, step)})

        self.in_task.setdefault(run_id, set()).update(steps)
        workers: list[Worker] = [self.workers.spawn(act(step), run_id) for step in steps]
        self.workers.join(workers)
        return next((error for error in errors.values() if error), "")

    def _step(self, run_id: str, step: str) -> str:
        """One iteration of a Map; the name of the error that ended it, "" if it succeeded."""
        start = True
        while True:
            try:
                progress = self._task(run_id, step, start=start)
            except RefreshError as error:
                return error.name
            if progress["status"] == "SUCCEEDED":
                self._check_has_ended(run_id, step)
                return ""
            if progress["status"] == "WAITING":
                self.check_holds_nothing(run_id)
            waits = start or progress["status"] == "RUNNING"
            if waits:
                self.workers.sleep(progress["wait"])
            start = not start and progress["status"] == "WAITING"

    def _task(self, run_id: str, step: str, *, start: bool) -> Progress:
        """One task with its retries: it is running until it has answered."""
        at_work = self.in_task.setdefault(run_id, set())
        at_work.add(step)
        try:
            return self._retried(run_id, step, start=start)
        finally:
            at_work.discard(step)

    def _retried(self, run_id: str, step: str, *, start: bool) -> Progress:
        task = start_step if start else check_step
        while True:
            try:
                return task(self.service.context, run_id, step, self.service.deadline())
            except Crashed:
                pause = CRASH_SECONDS
            except RefreshError as error:
                if error.name not in RETRIED:
                    raise
                pause = RETRY_SECONDS
            self.workers.sleep(pause)

    def _tried(self, act: Callable[[], object]) -> None:
        for _ in range(50):
            try:
                act()
            except Crashed:
                self.workers.sleep(CRASH_SECONDS)
            except RefreshError as error:
                if error.name not in RETRIED:
                    raise
                self.workers.sleep(RETRY_SECONDS)
            else:
                return
        raise AssertionError("it failed every time")


def simulate(scenario: LeaseScenario) -> tuple[LeaseResult, LeaseSimulation]:
    simulation = LeaseSimulation(scenario)
    return simulation.run(), simulation

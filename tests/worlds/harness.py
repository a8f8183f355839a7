"""Plays our runs of one world: the only module here that knows the parts of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.passage.progress import Progress
from celonis_refresh.passage.stopping import Findings, Stopping, free_leases
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs import keys
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.timing import iso
from tests.fakes.bench import RETRIED, Bench, Crashed, job_definition, load_definition
from tests.fakes.clock import Clock
from tests.worlds.fake_celonis import FakeCelonis
from tests.worlds.world import World

MAX_TASKS = 400
"""The state machine's history allows so many tasks for one step."""
MAX_ATTEMPTS = 20
CRASH_SECONDS, RETRY_SECONDS = 60.0, 2.0
"""What Step Functions waits before it repeats a task."""
ENDLESS = "Endless"
STOPPED = "Stopped"


@dataclass
class RunResult:
    """How one run of ours ended: ``outcome`` is SUCCEEDED, the name of an error, Endless or Stopped.

    ``closed``: when what it left had been looked at; ``bug``: an exception that the service did not raise
    on purpose. ``crashed``: when a function died, with nothing recorded of a start that was answered.
    """

    run: int
    began: float
    outcome: str = ""
    ended: float = 0.0
    closed: float = 0.0
    bug: str = ""
    crashed: list[float] = field(default_factory=list)


@dataclass
class Played:
    """A world that was played. ``celonis`` holds the ground truth."""

    world: World
    celonis: FakeCelonis
    results: list[RunResult]


class Service(Protocol):
    """What plays the steps of our runs: the service itself, or a planted one."""

    def start(self, step: str, run_id: str) -> Progress: ...
    def check(self, step: str, run_id: str) -> Progress: ...
    def stop(self, run_id: str, *, succeeded: bool) -> None:
        """What is done for a run that has ended, at Celonis and in the table."""


class RealService:
    """The service, over the bench of the other tests."""

    def __init__(self, bench: Bench, celonis: FakeCelonis) -> None:
        self.bench, self.celonis = bench, celonis

    def start(self, step: str, run_id: str) -> Progress:
        return self.bench.start(step, run_id)

    def check(self, step: str, run_id: str) -> Progress:
        return self.bench.check(step, run_id)

    def stop(self, run_id: str, *, succeeded: bool) -> None:
        """As CloseRun: stops what a run left running unless it succeeded, and ends the record."""
        bench, celonis = self.bench, self.celonis
        run, deadline = bench.records.get(run_id), bench.deadline(300.0)
        findings = Findings()
        if not succeeded and run.is_open:
            run = bench.records.begin_closing(run, iso(bench.clock()), deadline)
            findings = Stopping(bench.work_for, bench.clock, celonis.sleep).stop(run, deadline)
            if celonis.note is not None:
                celonis.note("run", f"closes: {' '.join(findings.sentences) or 'nothing is left'}")
        status = {"S": str(RunStatus.SUCCEEDED if succeeded else RunStatus.FAILED)}
        key = keys.run(run_id)
        bench.dynamodb.items[key] = {**bench.dynamodb.items[key], "status": status}
        for lease, until in findings.held.items():
            bench.leases.hold(run_id, lease, until, deadline)
        free_leases(run, findings, bench.leases, bench.clock(), bench.deadline())


def real_service(bench: Bench, celonis: FakeCelonis) -> Service:
    return RealService(bench, celonis)


@contextmanager
def _silent() -> Iterator[None]:
    """Without log lines of the service: one costs more than a call."""
    before = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(before)


MakeService = Callable[[Bench, FakeCelonis], Service]


def play(
    world: World,
    note: Callable[[float, str, str], None] | None = None,
    make: MakeService = real_service,
) -> Played:
    """Plays all runs of ``world``. ``note`` gets the time, who and what."""
    with _silent():
        clock = Clock()
        bench = Bench(clock=clock, seed=world.seed + 1)
        celonis = FakeCelonis(world, clock)
        bench.celonis = celonis  # type: ignore[assignment]
        if note is not None:
            celonis.note = lambda who, what: note(clock.now - celonis.t0, who, what)
        service = make(bench, celonis)
        results = []
        for number in range(len(world.runs)):
            if number:
                celonis.sleep(world.runs[number].gap)
            results.append(_Player(world, bench, celonis, number, service).play())
        return Played(world, celonis, results)


class _Player:
    """One run."""

    def __init__(
        self, world: World, bench: Bench, celonis: FakeCelonis, number: int, service: Service
    ) -> None:
        self.world, self.bench, self.celonis, self.service = world, bench, celonis, service
        self.ours, self.clock = world.runs[number], bench.clock
        self.step = "job-0" if world.target == "job" else "load-0"
        self.run_id, self.pipeline = f"run-{number}", f"pipeline-{number}"
        self.result = RunResult(number, self.clock.now)
        self.is_answered = False

    def play(self) -> RunResult:
        result = self.result
        self.celonis.begin_run(result.run)
        self.bench.crash([])
        self.bench.open(_definition(self.world), self.run_id, self.pipeline)
        self.bench.crash(self.ours.crashes)
        try:
            result.outcome = self._steps()
        except Exception as error:  # noqa: BLE001 - a bug of the service is a finding
            result.outcome, result.bug = "Bug", f"{type(error).__name__}: {error}"
        result.ended = self.clock.now
        self._note("run", f"ends {result.outcome} {result.bug}".strip())
        self.bench.crash([])
        try:
            self.service.stop(self.run_id, succeeded=result.outcome == "SUCCEEDED")
        except Exception as error:  # noqa: BLE001
            result.bug = f"while closing: {type(error).__name__}: {error}"
        result.closed = self.clock.now
        self.celonis.drop()
        return result

    def _steps(self) -> str:
        """The tasks of the step, one after the other, as the state machine runs them."""
        start = True
        until = None if self.ours.stop_after is None else self.clock.now + self.ours.stop_after
        for _ in range(MAX_TASKS):
            try:
                progress = self._attempts(start=start)
            except RefreshError as error:
                self._note("run", str(error))
                return error.name
            if progress is None:
                return ENDLESS
            if progress["status"] == "SUCCEEDED":
                return "SUCCEEDED"
            self._note("run", f"{progress['status']}, comes again in {progress['wait']} s")
            self.is_answered = self.is_answered or progress["status"] == "RUNNING"
            if until is not None and self.clock.now + progress["wait"] >= until:
                self.celonis.sleep(max(0.0, until - self.clock.now))
                return STOPPED
            self.celonis.sleep(progress["wait"])
            start = not start and progress["status"] == "WAITING"
        return ENDLESS

    def _attempts(self, *, start: bool) -> Progress | None:
        """One task, tried again after a crash and after errors that pass; None where that never ends."""
        task = self.service.start if start else self.service.check
        for _ in range(MAX_ATTEMPTS):
            try:
                progress = task(self.step, self.run_id)
            except Crashed:
                self.celonis.drop()
                self._note("run", "the function dies")
                if not self.is_answered:
                    self.result.crashed.append(self.clock.now)
                self.celonis.sleep(CRASH_SECONDS)
            except RefreshError as error:
                if error.name not in RETRIED:
                    self.celonis.commit()
                    raise
                self.celonis.drop()
                self._note("run", f"{error.name}: the task is repeated")
                self.celonis.sleep(RETRY_SECONDS)
            else:
                self.celonis.commit()
                return progress
        return None

    def _note(self, who: str, what: str) -> None:
        if self.celonis.note is not None:
            self.celonis.note(who, what)


def _definition(world: World) -> Definition:
    if world.target == "job":
        step: dict[str, object] = {"job": "job-a", "timeout": world.timeout}
        return job_definition(jobs=[step], settle=world.settle, poll={"floor": world.floor})
    step = {"data_model": "model-a", "timeout": world.timeout}
    return load_definition(loads=[step], settle=world.settle, poll={"floor": world.floor})

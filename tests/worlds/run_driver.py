"""Drives one run of ours through the service, step by step, as the state machine does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import run_key
from celonis_refresh.steps.cancel import CancelFindings, StepCanceller, free_leases
from celonis_refresh.steps.step import Progress
from celonis_refresh.timing import iso
from tests.fakes.service import RETRIED, Crashed, ServiceHarness, job_definition, load_definition
from tests.worlds.fake_celonis import WorldCelonis
from tests.worlds.world import Moment, OurRun, Target, World

MAX_TASKS = 400
"""The state machine's history allows so many tasks for one step."""
MAX_ATTEMPTS = 20
CRASH_SECONDS, RETRY_SECONDS = 60.0, 2.0
"""What Step Functions waits before it repeats a task."""
ENDLESS = "Endless"
STOPPED = "Stopped"


@dataclass
class RunResult:
    """How one step of a run of ours ended: SUCCEEDED, the name of an error, Endless or Stopped.

    ``target``: what the step uses; ``is_inner``: whether a job of the run starts it. ``closed``: when
    CloseRun had observed what the run left; ``bug``: an exception that the service did not raise on
    purpose. ``crashed``: when a function died, with nothing recorded of a start that was answered.
    """

    run: int
    began: float
    target: Target = "job"
    is_inner: bool = False
    outcome: str = ""
    ended: float = 0.0
    closed: float = 0.0
    bug: str = ""
    crashed: list[float] = field(default_factory=list)


class StepRunner(Protocol):
    """What runs the steps of our runs: the service itself, or a planted one."""

    def start(self, step: str, run_id: str) -> Progress: ...
    def check(self, step: str, run_id: str) -> Progress: ...
    def stop(self, run_id: str, *, succeeded: bool) -> None:
        """What is done for a run that has ended, at Celonis and in the table."""


class ServiceSteps:
    """The service, over the harness of the other tests."""

    def __init__(self, service: ServiceHarness, celonis: WorldCelonis) -> None:
        self.service, self.celonis = service, celonis

    def start(self, step: str, run_id: str) -> Progress:
        return self.service.start(step, run_id)

    def check(self, step: str, run_id: str) -> Progress:
        return self.service.check(step, run_id)

    def stop(self, run_id: str, *, succeeded: bool) -> None:
        """As CloseRun: stops what a run left running unless it succeeded, and ends the record."""
        service, celonis = self.service, self.celonis
        run, deadline = service.records.get(run_id), service.deadline(300.0)
        findings = CancelFindings()
        if not succeeded and run.is_open:
            run = service.records.begin_closing(run, iso(service.clock()), deadline)
            findings = StepCanceller(service.target_for, service.clock, celonis.sleep).stop(run, deadline)
            if celonis.note is not None:
                celonis.note("run", f"closes: {' '.join(findings.messages) or 'nothing is left'}")
        for lease, until in findings.held.items():
            service.leases.hold(run_id, lease, until, deadline)
        status = {"S": str(RunStatus.SUCCEEDED if succeeded else RunStatus.FAILED)}
        key = run_key(run_id)
        service.dynamodb.items[key] = {**service.dynamodb.items[key], "status": status}
        free_leases(run, findings, service.leases, service.clock(), service.deadline())


MakeService = Callable[[ServiceHarness, WorldCelonis], StepRunner]
Task = Callable[[str, str], Progress]


class RunDriver:
    """One run, as the state machine goes through its steps."""

    def __init__(
        self, world: World, service: ServiceHarness, celonis: WorldCelonis, number: int, runner: StepRunner
    ) -> None:
        self.world, self.service, self.celonis, self.runner = world, service, celonis, runner
        self.ours, self.clock = world.runs[number], service.clock
        self.number = number
        self.run_id, self.pipeline = f"run-{number}", f"pipeline-{number}"
        self.results: list[RunResult] = []
        self.crashed: list[float] = []
        self.is_answered = False
        self.began: float | None = None

    def run(self) -> list[RunResult]:
        """The results of the steps that the run came to."""
        self.celonis.begin_run(self.number)
        self.crash([])
        self.service.open(definition_of(self.world, self.ours), self.run_id, self.pipeline)
        self.crash(self.ours.crashes)
        return self.go_on()

    def crash(self, at: Iterable[tuple[int, Moment]]) -> None:
        """From now on the functions of the run die at these calls."""
        self.service.crash(at)

    def go_on(self) -> list[RunResult]:
        """From the first step to the end of what the run leaves."""
        until = None if self.ours.stop_after is None else self.clock.now + self.ours.stop_after
        for step in steps_of(self.world, self.ours):
            if not self._run_step(step, until):
                break
        return self.close()

    def close(self) -> list[RunResult]:
        """Ends the run, and what it leaves."""
        self.crash([])
        succeeded = all(result.outcome == "SUCCEEDED" for result in self.results)
        try:
            self.runner.stop(self.run_id, succeeded=succeeded)
        except Exception as error:  # noqa: BLE001
            self.results[-1].bug = f"while closing: {type(error).__name__}: {error}"
        for result in self.results:
            result.closed = self.clock.now
        self.celonis.drop()
        return self.results

    def _run_step(self, step: str, until: float | None) -> bool:
        """Whether the step succeeded."""
        target: Target = "job" if step.startswith("job-") else "load"
        is_inner = target == "load" and bool(self.results)
        began = self.clock.now if self.results or self.began is None else self.began
        result = RunResult(self.number, began, target, is_inner, crashed=self.crashed)
        self.results.append(result)
        try:
            result.outcome = self._steps(step, until)
        except Exception as error:  # noqa: BLE001 - a bug of the service is a finding
            result.outcome, result.bug = "Bug", f"{type(error).__name__}: {error}"
        result.ended = self.clock.now
        self._note("run", f"ends {result.outcome} {result.bug}".strip())
        return result.outcome == "SUCCEEDED"

    def _steps(self, step: str, until: float | None) -> str:
        """The tasks of the step, one after the other, as the state machine runs them."""
        start = True
        for _ in range(MAX_TASKS):
            try:
                progress = self._attempts(self.runner.start if start else self.runner.check, step)
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

    def _attempts(self, task: Task, step: str) -> Progress | None:
        """One task, tried again after a crash and after errors that pass; None where that never ends."""
        for _ in range(MAX_ATTEMPTS):
            try:
                progress = task(step, self.run_id)
            except Crashed:
                self.celonis.drop()
                self._note("run", "the function dies")
                if not self.is_answered:
                    self.crashed.append(self.clock.now)
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


def steps_of(world: World, ours: OurRun) -> list[str]:
    """The steps of a run, in their order."""
    if world.target == "both":
        return ["load-0"] if ours.only_load else ["job-0", "load-0"]
    return ["job-0"] if world.target == "job" else ["load-0"]


def definition_of(world: World, ours: OurRun) -> Definition:
    """The pipeline of a run."""
    job: dict[str, object] = {"job": "job-a", "timeout": world.timeout}
    load: dict[str, object] = {"data_model": "model-a", "timeout": world.timeout}
    poll = {"floor": world.floor}
    if world.target == "job":
        return job_definition(jobs=[job], settle=world.settle, poll=poll)
    if world.target == "load" or ours.only_load:
        return load_definition(loads=[load], settle=world.settle, poll=poll)
    loads = [{**load, "started_by": "job"}]
    return job_definition(jobs=[job], loads=loads, settle=world.settle, poll=poll)

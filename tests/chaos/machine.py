"""The state machine, as ``statemachine/refresh.asl.json`` has it: tasks, retries, waits and Maps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

from celonis_refresh.errors import RefreshError
from celonis_refresh.steps.check import check_step
from celonis_refresh.steps.start import start_step
from celonis_refresh.steps.step import Progress
from celonis_refresh.workflow.open import ExecutionContext, Opened
from tests.chaos.service import ChaosExecutions, ChaosService

ASL = Path(__file__).parents[2] / "statemachine" / "refresh.asl.json"
_TEXT = ASL.read_text()
RETRIED = frozenset(json.loads(_TEXT)["States"]["OpenRun"]["Retry"][0]["ErrorEquals"])
"""The errors that are retried."""
RETRY_SECONDS = float(json.loads(_TEXT)["States"]["OpenRun"]["Retry"][0]["IntervalSeconds"])
OPEN_SECONDS = float(next(iter(re.findall(r"/ 1000 < (\d+)", _TEXT))))
"""For how long OpenRun is retried."""
Started = Callable[[str, str], Any]


class TaskFailed(Exception):
    """A task ended with this error name."""

    def __init__(self, name: str, cause: str = "") -> None:
        self.name, self.cause = name, cause
        super().__init__(name)


class ExecutionStopped(Exception):
    """The execution was stopped: nothing more of it begins."""


class Lambda(Protocol):
    """Runs a function as Lambda does. Raises ``TaskFailed``."""

    def __call__(self, function: str, label: str, act: Callable[[Any], Any]) -> Any: ...


class Scheduler(Protocol):
    """The workers of the simulation."""

    def sleep(self, seconds: float) -> None: ...
    def spawn(self, act: Callable[[], None], label: str) -> Any: ...
    def join(self, workers: Sequence[Any]) -> None: ...
    def now(self) -> float: ...


class BranchOutcome(NamedTuple):
    """How a branch of a Map ended; "" where it succeeded."""

    error: str
    cause: str


WELL = BranchOutcome("", "")


class StateMachineRunner:
    """Runs executions. ``inputs``: of each; ``joined``: the run that an execution's triggers joined."""

    def __init__(
        self,
        functions: ChaosService,
        schedule: Scheduler,
        invoke: Lambda,
        log: Callable[[str], None],
        seed: int,
    ) -> None:
        self.functions, self.schedule, self.invoke, self.log = functions, schedule, invoke, log
        self.random = Random(f"machine {seed}")  # noqa: S311
        self.inputs: dict[str, dict[str, Any]] = {}
        self.opened: dict[str, Opened] = {}

    @property
    def executions(self) -> ChaosExecutions:
        return self.functions.executions

    def begin(self, name: str, document: dict[str, Any]) -> None:
        self.log(f"execution {name} begins: {document}")
        self.inputs[name] = document
        self.schedule.spawn(lambda: self._execute(name), name)

    def _execute(self, name: str) -> None:
        self.schedule.sleep(self.random.uniform(0.05, 0.5))
        try:
            outcome = self._states(name)
        except ExecutionStopped:
            return
        status = "FAILED" if outcome.error else "SUCCEEDED"
        if self.executions.known[name].status == "RUNNING":
            self.log(f"execution {name} ends {status} {outcome.error} {outcome.cause[:100]}")
        self.executions.end(name, status, outcome.error, outcome.cause)

    def _check_runs(self, name: str) -> None:
        if self.executions.known[name].status != "RUNNING":
            raise ExecutionStopped

    def _sleep(self, name: str, seconds: float) -> None:
        self._check_runs(name)
        self.schedule.sleep(seconds + self.random.uniform(0.0, 0.3))
        self._check_runs(name)

    def _states(self, name: str) -> BranchOutcome:
        try:
            opened = self._open(name)
        except TaskFailed as failed:
            return BranchOutcome(failed.name, failed.cause)
        if opened["status"] != "opened":
            return WELL
        stages = sorted({job["stage"] for job in opened["jobs"]})
        for stage in stages:
            steps = [(job["step"], job["timeout"]) for job in opened["jobs"] if job["stage"] == stage]
            failed_branch = self._map(name, steps)
            if failed_branch is not None:
                return failed_branch
        return self._map(name, [(load["step"], load["timeout"]) for load in opened["loads"]]) or WELL

    def _open(self, name: str) -> Opened:
        failing_since: float | None = None
        document, execution = self.inputs[name], ExecutionContext(id=f"arn:{name}", name=name)
        while True:
            try:
                opened: Opened = self._task(
                    name, "open_run", lambda by: self.functions.opener.open(document, execution, by)
                )
            except TaskFailed as failed:
                since = failing_since = failing_since or self.schedule.now()
                elapsed = self.schedule.now() - since
                if failed.name not in RETRIED or elapsed >= OPEN_SECONDS:
                    raise
                self._sleep(name, self._pause(elapsed, OPEN_SECONDS))
                continue
            failing_since = None
            self.opened[name] = opened
            if opened["status"] != "waiting":
                return opened
            self._sleep(name, opened["wait"])

    def _pause(self, elapsed: float, timeout: float) -> float:
        return max(2.0, ceil(min(elapsed / 3 * self.random.uniform(0.8, 1.2), timeout - elapsed)))

    def _map(self, name: str, steps: list[tuple[str, int]]) -> BranchOutcome | None:
        """The outcome of the first branch that failed."""
        outcomes: dict[str, BranchOutcome] = {}

        def branch(step: str, timeout: int) -> Callable[[], None]:
            def act() -> None:
                try:
                    outcomes[step] = self._step(name, step, timeout)
                except ExecutionStopped:
                    return

            return act

        workers = [self.schedule.spawn(branch(step, timeout), f"{name} {step}") for step, timeout in steps]
        self.schedule.join(workers)
        self._check_runs(name)
        return next((outcomes[step] for step, _ in steps if outcomes[step].error), None)

    def _step(self, name: str, step: str, timeout: int) -> BranchOutcome:
        """One iteration of a Map, from StartJob or StartLoad to its end."""
        starts = True
        failing_since: float | None = None
        while True:
            try:
                progress = self._step_task(name, step, starts=starts)
            except TaskFailed as failed:
                failing_since = failing_since or self.schedule.now()
                elapsed = self.schedule.now() - failing_since
                if failed.name not in RETRIED or elapsed >= timeout:
                    return BranchOutcome(failed.name, failed.cause)
                self._sleep(name, self._pause(elapsed, timeout))
                starts = False
                continue
            if starts or progress["status"] != "WAITING":
                failing_since = None
            if not starts and progress["status"] == "SUCCEEDED":
                return WELL
            if not starts and progress["status"] == "WAITING":
                starts = True
                continue
            self._sleep(name, progress["wait"])
            starts = False

    def _step_task(self, name: str, step: str, *, starts: bool) -> Progress:
        context, kind = self.functions.service.context, step.split("-")[0]
        task = start_step if starts else check_step
        function = f"{'start' if starts else 'check'}_{kind} {step}"
        progress: Progress = self._task(name, function, lambda by: task(context, name, step, by))
        return progress

    def _task(self, name: str, function: str, act: Callable[[Any], Any]) -> Any:
        """A Task state with its one quick retry. Raises ``TaskFailed``."""
        self._check_runs(name)
        try:
            return self._answered(name, function, act)
        except TaskFailed as failed:
            if failed.name not in RETRIED:
                raise
            self._sleep(name, RETRY_SECONDS * self.random.random())
            return self._answered(name, function, act)

    def _answered(self, name: str, function: str, act: Callable[[Any], Any]) -> Any:
        answer = self.invoke(function, name, act)
        self._check_runs(name)
        return answer


def failed_by(error: RefreshError) -> TaskFailed:
    return TaskFailed(error.name, str(error))

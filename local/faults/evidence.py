"""What is to be seen of a case: its executions, its records, and what was really started at Celonis."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from local.aws.states.execution import RUNNING, MachineExecution
from local.faults.case import FaultCase
from local.faults.environment import FaultEnvironment
from local.faults.team import CelonisTeam, Json
from local.wait import until

POLL_SECONDS = 0.25
LEFT_SECONDS = 10.0
OPEN = ("OPENING", "RUNNING")


class NotFoundInEvidence(Exception):
    """Something that a case needs is not there."""


class CaseEvidence:
    """``name``: the pipeline's name, with which all ids of its runs begin."""

    def __init__(
        self, environment: FaultEnvironment, case: FaultCase, number: int, team: CelonisTeam
    ) -> None:
        self.environment, self.case, self.team = environment, case, team
        slug = re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")
        self.name = f"f{number:03d}-{slug}"[:36].rstrip("-")
        self.pipelines: set[str] = set()
        self.jobs: list[str] = []
        self.models: list[str] = []
        self.complaints: list[str] = []

    @property
    def marker(self) -> str:
        """The pattern of events that belong to this case."""
        return re.escape(self.name)

    @property
    def job(self) -> str:
        return self.jobs[0]

    @property
    def model(self) -> str:
        return self.models[0]

    def executions(self) -> list[MachineExecution]:
        return self.environment.executions(self.pipelines)

    def execution(self, name: str = "") -> MachineExecution:
        """An execution of the case, by default its first."""
        found = [one for one in self.executions() if one.name == (name or f"{self.name}-1")]
        if not found:
            raise NotFoundInEvidence(f"there is no execution {name or self.name}")
        return found[0]

    def runs(self) -> list[Json]:
        """The records of all runs of the case, oldest first."""
        found = [run for pipeline in sorted(self.pipelines) for run in self.environment.runs_of(pipeline)]
        return sorted(found, key=lambda run: str(run["position"]))

    def started(self) -> list[Json]:
        """What was really started at Celonis on the jobs and models of the case, oldest first."""
        return self.team.started(*self.jobs, *self.models)

    def ours(self) -> list[Json]:
        return [one for one in self.started() if one["by"] == "api"]

    def left_running(self) -> list[Json]:
        """What is still running of ours."""
        return [one for one in self.ours() if one["phase"] != "ended"]

    def until(self, seen: Callable[[], object], what: str, seconds: float = 60.0, pause: float = 0.1) -> None:
        """Waits for something. Raises ``TimeoutError``."""
        until(seen, what, seconds, pause)

    def until_in(self, state: str, name: str = "") -> MachineExecution:
        """Waits until an execution is inside a state of the state machine."""
        self.until(lambda: state in _states(self.execution(name)), f"state {state}")
        return self.execution(name)

    def until_started(self, number: int = 1) -> None:
        """Waits until so many of ours were really started at Celonis."""
        self.until(lambda: len(self.ours()) >= number, f"start number {number}")

    def until_noted(self) -> None:
        """Waits until the first step has noted what was there before its start."""
        self.until(lambda: any("baseline" in state for state in self.first_steps()), "a note")

    def until_proven(self) -> None:
        """Waits until the first step has proven what is its own."""

        def is_proven(state: Json) -> bool:
            return bool(state.get("evidence", {}).get("proven_by"))

        self.until(lambda: any(map(is_proven, self.first_steps())), "a proof")

    def first_steps(self) -> list[Json]:
        step = "job-0" if self.jobs else "load-0"
        return [run.get("steps", {}).get(step, {}) for run in self.runs()]

    def await_end(self) -> None:
        """Waits until nothing of the case is running any more; otherwise adds a complaint.

        What a failed run left may take a little longer; what should have been cancelled, far longer.
        """
        end = time.monotonic() + self.case.max_wait
        while left := next(self._running(), None):
            if time.monotonic() > end:
                self.complaints.append(f"after {self.case.max_wait:g} s: {left}")
                return
            time.sleep(POLL_SECONDS)
        end = time.monotonic() + LEFT_SECONDS
        while self.case.runs_on is False and self.left_running() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)

    def _running(self) -> Iterator[str]:
        running = [one.name for one in self.executions() if one.status == RUNNING]
        yield from (f"execution {name} is running" for name in running)
        runs = self.runs()
        if len(runs) < len(self.case.expected.runs):
            yield f"there are {len(runs)} records"
        for run in runs:
            if run["status"] in OPEN:
                yield f"run {run['run_id']} is {run['status']}"
            elif run["status"] != "SUCCEEDED" and "notified_at" not in run:
                yield f"nobody was told of run {run['run_id']}"


def _states(execution: MachineExecution) -> set[str]:
    """The states that an execution is in."""
    inside: list[str] = []
    for event in execution.history.events():
        if name := event.get("stateEnteredEventDetails", {}).get("name"):
            inside.append(name)
        elif (name := event.get("stateExitedEventDetails", {}).get("name")) in inside:
            inside.remove(name)
    return set(inside)

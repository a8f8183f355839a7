"""The observable results of a case: its executions, its records, and what was really started at Celonis."""

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
END_POLL_SECONDS = 1.0
"""Longer, because all cases together poll most of the time, and each poll reads the whole table."""
MAX_WAIT = 180.0
"""Default timeout in seconds; on an idle machine nearly all conditions are true within ten."""
LEFT_SECONDS = 10.0
OPEN = ("OPENING", "RUNNING")


class NotFoundInEvidence(Exception):
    """Something that a case needs does not exist."""


class CaseEvidence:
    """``name``: the pipeline's name, which is the prefix of the ids of its runs."""

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
        """Return the pattern of events that belong to this case."""
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
        """Return an execution of the case, by default its first."""
        executions = [one for one in self.executions() if one.name == (name or f"{self.name}-1")]
        if not executions:
            raise NotFoundInEvidence(f"there is no execution {name or self.name}")
        return executions[0]

    def runs(self) -> list[Json]:
        """Return the records of all runs of the case, oldest first."""
        runs = [run for pipeline in sorted(self.pipelines) for run in self.environment.runs_of(pipeline)]
        return sorted(runs, key=lambda run: str(run["position"]))

    def started(self) -> list[Json]:
        """Return what was really started at Celonis on the jobs and models of the case, oldest first."""
        return self.team.started(*self.jobs, *self.models)

    def ours(self) -> list[Json]:
        return [one for one in self.started() if one["by"] == "api"]

    def left_running(self) -> list[Json]:
        """Return our executions and loads that are still running."""
        return [one for one in self.ours() if one["phase"] != "ended"]

    def until(
        self,
        condition: Callable[[], object],
        what: str,
        seconds: float = MAX_WAIT,
        pause: float = POLL_SECONDS,
    ) -> None:
        """Wait until the condition holds. Raises ``TimeoutError``."""
        until(condition, what, seconds, pause)

    def until_in(self, state: str, name: str = "") -> MachineExecution:
        """Wait until an execution is in a state of the state machine."""
        self.until(lambda: state in _states(self.execution(name)), f"state {state}")
        return self.execution(name)

    def until_started(self, number: int = 1) -> None:
        """Wait until this number of ours were really started at Celonis."""
        self.until(lambda: len(self.ours()) >= number, f"start number {number}")

    def until_noted(self) -> None:
        """Wait until the first step has saved its baseline."""
        self.until(lambda: any("baseline" in state for state in self.first_steps()), "a note")

    def until_proven(self) -> None:
        """Wait until the first step has determined its own execution or load."""

        def is_proven(state: Json) -> bool:
            return bool(state.get("evidence", {}).get("proven_by"))

        self.until(lambda: any(map(is_proven, self.first_steps())), "a proof")

    def first_steps(self) -> list[Json]:
        step = "job-0" if self.jobs else "load-0"
        return [run.get("steps", {}).get(step, {}) for run in self.runs()]

    def await_end(self) -> None:
        """Wait until everything of the case has ended; otherwise add a violation.

        The rest of a failed run may take a little longer; what should have been cancelled takes much longer.
        """
        end = time.monotonic() + self.case.max_wait
        while running := next(self._running(), None):
            if time.monotonic() > end:
                self.complaints.append(f"after {self.case.max_wait:g} s: {running}")
                return
            time.sleep(END_POLL_SECONDS)
        end = time.monotonic() + LEFT_SECONDS
        while self._is_left() and time.monotonic() < end:
            time.sleep(END_POLL_SECONDS)

    def leases(self) -> dict[str, list[str]]:
        """Return the jobs and models of the case whose leases are held, by kind ("job", "model")."""
        targets = {"job": self.jobs, "model": self.models}
        return {
            kind: [each for each in ids if self.environment.item(f"lease#{kind}#{each}")]
            for kind, ids in targets.items()
        }

    def _is_left(self) -> bool:
        """Whether something of ours is running, or a lease is held, that should not be; both end later."""
        if self.case.runs_on is False and self.left_running():
            return True
        return any(held and kind not in self.case.holds for kind, held in self.leases().items())

    def _running(self) -> Iterator[str]:
        running = [one.name for one in self.executions() if one.status == RUNNING]
        yield from (f"execution {name} is running" for name in running)
        runs = self.runs()
        if len(runs) < len(self.case.expected.runs):
            yield f"there are {len(runs)} records"
        for run in runs:
            if run["status"] in OPEN:
                yield f"run {run['run_id']} is {run['status']}"
            # The event bus must answer within one second. On a slow machine, reconcile sends the events.
            for message_id in (each for each in run.get("messages", ()) if not each.endswith("/events")):
                if self.environment.item(f"outbox#{message_id}") is not None:
                    yield f"message {message_id} is not sent"


def _states(execution: MachineExecution) -> set[str]:
    """Return the states that an execution is in."""
    inside: list[str] = []
    for event in execution.history.events():
        if name := event.get("stateEnteredEventDetails", {}).get("name"):
            inside.append(name)
        elif (name := event.get("stateExitedEventDetails", {}).get("name")) in inside:
            inside.remove(name)
    return set(inside)

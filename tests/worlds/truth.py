"""What really happens at one target of Celonis: executions, one at a time, as they began."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

LOAD_WORDS = {"FAIL": "ERROR", "CANCEL": "CANCELED", "QUEUED": "RUNNING", "SKIPPED": "WARNING"}
"""A load's word for a job's."""


@dataclass(slots=True, eq=False)
class TrueExecution:
    """One execution. ``owner``: the number of our run, or -1 for another user.

    ``began``: when Celonis took the start; ``started``: when it left the queue; both in our clock.
    ``cancelled``: when its cancel took effect, which ends it a moment later. ``seen``, ``id_seen``,
    ``run_seen``, ``active_seen``, ``end_seen``: when an answer that was recorded showed it first: anything,
    its identity, that it had left the queue, that it had not ended, its end; ``active_noted``: when a record
    said first that it had not; ``seen_running``: whether its own record has shown it as running.
    """

    id: str
    item: str
    owner: int
    began: float
    queue: float
    seconds: float
    result: str
    started: float = inf
    ended: float = inf
    cancelled: float = inf
    sent: float = 0.0
    post: int = -1
    seen: float = inf
    id_seen: float = inf
    end_seen: float = inf
    run_seen: float = inf
    active_seen: float = inf
    active_noted: float = inf
    seen_running: bool = False

    def status(self, at: float) -> str:
        """In the words of a job."""
        if at >= self.ended:
            return self.result
        return "RUNNING" if at >= self.started else "QUEUED"


@dataclass(slots=True)
class GroundTruth:
    """All executions of one target, in the order of their beginning."""

    cancel_seconds: float = 2.0
    executions: list[TrueExecution] = field(default_factory=list)
    name: str = "exec"

    def begin(
        self, owner: int, now: float, seconds: float, result: str, queue: float = 0.0, sent: float = 0.0
    ) -> TrueExecution:
        """A start takes effect: at once, or after what still runs."""
        number = len(self.executions) + 1
        made = TrueExecution(
            f"{self.name}-{number}", f"item-{number}", owner, now, queue, seconds, result, sent=sent
        )
        self.executions.append(made)
        self._plan(now)
        return made

    def cancel(self, now: float) -> TrueExecution | None:
        """Cancels what runs, or what is next in the queue; None where nothing does."""
        for execution in self.executions:
            if execution.began <= now < execution.ended:
                if execution.cancelled == inf and execution.ended > now + self.cancel_seconds:
                    execution.cancelled, execution.ended = now, now + self.cancel_seconds
                    execution.result, execution.started = "CANCEL", min(execution.started, now)
                    self._plan(now)
                return execution
        return None

    def _plan(self, now: float) -> None:
        """The times of everything that has not started by ``now``."""
        free = -inf
        for execution in self.executions:
            if execution.started > now and execution.cancelled == inf:
                execution.started = max(execution.began, free) + execution.queue
                execution.ended = execution.started + execution.seconds
            free = execution.ended

    def running(self, at: float) -> TrueExecution | None:
        """The execution that is not over at ``at``: the first of the queue, if several are."""
        for execution in self.executions:
            if execution.began <= at < execution.ended:
                return execution
        return None

    def shown(self, at: float) -> TrueExecution | None:
        """The execution whose status is the target's status at ``at``."""
        last = None
        for execution in self.executions:
            if execution.began > at:
                break
            last = execution
            if at < execution.ended:
                break
        return last

    def latest(self, at: float, moves: str, *, while_queued: bool) -> TrueExecution | None:
        """The last execution that started, or that ended, by ``at``."""
        last = None
        for execution in self.executions:
            if execution.began > at:
                break
            if moves == "end":
                reached = execution.ended <= at
            else:
                reached = execution.started <= at or (while_queued and self._is_next(execution, at))
            last = execution if reached else last
        return last

    def _is_next(self, execution: TrueExecution, at: float) -> bool:
        return self.running(at) is execution

    def of(self, owner: int) -> list[TrueExecution]:
        return [execution for execution in self.executions if execution.owner == owner]

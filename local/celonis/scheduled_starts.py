"""Scheduled starts: loads inside jobs, and starts of other users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from local.celonis.operations import JobExecution
from local.celonis.starts import RequestedStart
from local.celonis.targets import JobTarget, ModelTarget

When = Literal["in", "before_next", "after_next", "when_idle"]


@dataclass(frozen=True, eq=False)
class ScheduledStart:
    """A start by another user, not before ``earliest`` in seconds of the clock."""

    target: JobTarget | ModelTarget
    options: RequestedStart
    when: When
    earliest: float


class ScheduledStarts:
    """The scheduled starts. The platform takes the next due one and applies it."""

    def __init__(self) -> None:
        self._loading: list[JobExecution] = []
        self._armed: list[ScheduledStart] = []

    def expect_load(self, execution: JobExecution) -> None:
        """Schedule the load inside ``execution``, if it has one and reaches it."""
        if execution.load_at is not None:
            self._loading.append(execution)

    def arm(self, scheduled: ScheduledStart) -> None:
        """Schedule a start by another user."""
        self._armed.append(scheduled)

    def take_around(self, target: JobTarget | ModelTarget, when: When) -> list[ScheduledStart]:
        """Remove and return the starts scheduled right before or right after the next start on ``target``."""
        taken = [one for one in self._armed if one.target is target and one.when == when]
        self._armed = [one for one in self._armed if one not in taken]
        return taken

    def take_due(self, now: float) -> tuple[float, JobExecution | ScheduledStart] | None:
        """Remove and return the oldest start that is due by ``now``, with its time; None if there is none."""
        self._loading = [one for one in self._loading if not _ended_before_load(one)]
        expected: list[tuple[float, JobExecution | ScheduledStart]] = [*self._loads(), *self._starts(now)]
        due = [(at, one) for at, one in expected if at <= now]
        if not due:
            return None
        at, chosen = min(due, key=lambda pair: pair[0])
        self._loading = [one for one in self._loading if one is not chosen]
        self._armed = [one for one in self._armed if one is not chosen]
        return at, chosen

    def _loads(self) -> Iterator[tuple[float, JobExecution]]:
        for execution in self._loading:
            if execution.load_at is not None:
                yield execution.load_at, execution

    def _starts(self, now: float) -> Iterator[tuple[float, ScheduledStart]]:
        for scheduled in self._armed:
            if scheduled.when == "in":
                yield scheduled.earliest, scheduled
            elif scheduled.when == "when_idle" and not scheduled.target.busy(now):
                yield (
                    max(
                        [
                            scheduled.earliest,
                            *(operation.ended_at for operation in scheduled.target.operations),
                        ]
                    ),
                    scheduled,
                )


def _ended_before_load(execution: JobExecution) -> bool:
    forced, load_at = execution.forced, execution.load_at
    return forced is not None and load_at is not None and forced.at <= load_at

"""The schedule in virtual time: histories are learned from, then runs are watched to their end.

One history gives one sequence of polls (what comes next depends on the time that has passed only), and many
runs are met with it, spread evenly over the distribution of the duration: this takes most of the chance out
of the means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.steps.polling.durations import add_duration, expect
from celonis_refresh.steps.polling.schedule import WEEK, Schedule
from celonis_refresh.steps.target import PastRun, listed_durations
from local.bench.polling.families import LONGEST, SHORTEST, Family, early

HISTORY = 20
FLOOR = 2
"""Seconds, as a pipeline has it by default; by default there is no ceiling."""
DAY_MILLISECONDS = 86_400_000
RUNS = 40
"""Runs that are polled with one sequence of polls."""
SEEN_EARLY = 0.001
"""A poll is early if fewer than this share of successes has ended by then."""


@dataclass(slots=True)
class PollAverages:
    """Means over runs. ``poll_times`` in all, and how many of them were ``early``.

    ``late``: how late a success is seen, as a share of its own duration. ``failed_late``: how late an early
    failure is seen, as a share of the usual duration.
    """

    polls: float = 0.0
    early: float = 0.0
    late: float = 0.0
    failed_late: float = 0.0


def averages(family: Family, usual: Sequence[float], history: int = HISTORY, seed: int = 1) -> PollAverages:
    """The means of a family over jobs of these usual durations, each with ``history`` runs before."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    total = PollAverages()
    for duration in usual:
        document: dict[str, Any] | None = None
        for took, succeeded in family.history(duration, history, random):
            document = add_duration(document, took, succeeded)
        schedule = Schedule(FLOOR, None, expect(document))
        moments = poll_times(schedule, random, family.quantile(1 - 1e-9) * duration)
        _meet(total, family, duration, moments, random)
    jobs = len(usual)
    return PollAverages(total.polls / jobs, total.early / jobs, total.late / jobs, total.failed_late / jobs)


def first_averages(
    family: Family, usual: Sequence[float], listed: int = HISTORY, factor: float = 1.0, seed: int = 1
) -> PollAverages:
    """The means of the first runs of jobs of these usual durations, of which the table knows nothing.

    Celonis lists ``listed`` executions of each. They took ``factor`` times as long as the job takes now.
    """
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    total = PollAverages()
    for duration in usual:
        runs = [
            _past_run(day, took, succeeded=succeeded)
            for day, (took, succeeded) in enumerate(family.history(duration * factor, listed, random))
        ]
        schedule = Schedule(FLOOR, None, expect(None, listed_durations(runs, by=None)))
        moments = poll_times(schedule, random, family.quantile(1 - 1e-9) * duration)
        _meet(total, family, duration, moments, random)
    jobs = len(usual)
    return PollAverages(total.polls / jobs, total.early / jobs, total.late / jobs, total.failed_late / jobs)


def _past_run(day: int, took: float, *, succeeded: bool) -> PastRun:
    """An execution as Celonis lists it, one a day."""
    start = (1 + day) * DAY_MILLISECONDS
    status = JobStatus.SUCCESS if succeeded else JobStatus.FAIL
    return PastRun(status, start, start + round(took * 1000))


def poll_times(schedule: Schedule, random: Random, until: float) -> list[float]:
    """The times of the polls in seconds since the start, to the first at ``until`` or after.

    The first poll proves the start; the time-out is a week, so it does not affect the waits.
    """
    moments: list[float] = []
    at = 0.0
    while at < until:
        at += schedule.next_wait(at, random, time_left=WEEK - at, proven=bool(moments))
        moments.append(at)
    return moments


def spread(jobs: int, shortest: float = SHORTEST, longest: float = LONGEST) -> list[float]:
    """Durations of so many jobs, evenly log-uniform."""
    return [shortest * (longest / shortest) ** ((job + 0.5) / jobs) for job in range(jobs)]


def _meet(total: PollAverages, family: Family, usual: float, moments: list[float], random: Random) -> None:
    soonest = bisect_left(moments, family.quantile(SEEN_EARLY) * usual)
    succeeding, failing = (1 - family.failing) / RUNS, family.failing / RUNS
    for run in range(RUNS):
        share = (run + random.random()) / RUNS
        duration = family.quantile(share) * usual
        seen = bisect_left(moments, duration)
        total.polls += succeeding * (seen + 1)
        total.early += succeeding * min(seen + 1, soonest)
        total.late += (moments[seen] / duration - 1) / RUNS
        if failing:
            duration = early(share) * usual
            seen = bisect_left(moments, duration)
            total.polls += failing * (seen + 1)
            total.early += failing * min(seen + 1, soonest)
            total.failed_late += (moments[seen] - duration) / usual / RUNS

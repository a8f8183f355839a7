"""The schedule in virtual time: it learns from a history, then polls runs until they end.

One history gives one sequence of polls, because the next poll depends only on the elapsed time. Many runs are
polled with it, spread evenly over the distribution of the duration, which removes most of the randomness from
the means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.steps.polling.durations import add_duration, expect
from celonis_refresh.steps.polling.schedule import WEEK, PollSchedule
from celonis_refresh.steps.target import PastRun, listed_durations
from local.bench.polling.families import LONGEST, SHORTEST, Family, early

HISTORY = 20
FLOOR = 2
"""Default of a pipeline, in seconds; there is no ceiling by default."""
DAY_MILLISECONDS = 86_400_000
RUNS = 40
"""Number of runs that are polled with one sequence of polls."""
SEEN_EARLY = 0.001
"""A poll is early if fewer than this share of successes has ended by then."""


@dataclass(slots=True)
class PollAverages:
    """Means over runs. ``poll_times``: all polls; ``early``: how many of them were early.

    ``late``: delay until a success is detected, as a share of its duration. ``failed_late``: delay until an
    early failure is detected, as a share of the usual duration.
    """

    polls: float = 0.0
    early: float = 0.0
    late: float = 0.0
    failed_late: float = 0.0


def averages(family: Family, usual: Sequence[float], history: int = HISTORY, seed: int = 1) -> PollAverages:
    """Return the means of a family over jobs of these usual durations, each with ``history`` earlier runs."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    total = PollAverages()
    for duration in usual:
        document: dict[str, Any] | None = None
        for took, succeeded in family.history(duration, history, random):
            document = add_duration(document, took, succeeded)
        schedule = PollSchedule(FLOOR, None, expect(document))
        moments = poll_times(schedule, random, family.quantile(1 - 1e-9) * duration)
        _meet(total, family, duration, moments, random)
    jobs = len(usual)
    return PollAverages(total.polls / jobs, total.early / jobs, total.late / jobs, total.failed_late / jobs)


def first_averages(
    family: Family, usual: Sequence[float], listed: int = HISTORY, factor: float = 1.0, seed: int = 1
) -> PollAverages:
    """Return the means of first runs of jobs of these usual durations, for which the table has no history.

    Celonis lists ``listed`` executions of each. They took ``factor`` times as long as the job takes now.
    """
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    total = PollAverages()
    for duration in usual:
        runs = [
            _past_run(day, took, succeeded=succeeded)
            for day, (took, succeeded) in enumerate(family.history(duration * factor, listed, random))
        ]
        schedule = PollSchedule(FLOOR, None, expect(None, listed_durations(runs, by=None)))
        moments = poll_times(schedule, random, family.quantile(1 - 1e-9) * duration)
        _meet(total, family, duration, moments, random)
    jobs = len(usual)
    return PollAverages(total.polls / jobs, total.early / jobs, total.late / jobs, total.failed_late / jobs)


def _past_run(day: int, took: float, *, succeeded: bool) -> PastRun:
    """An execution as Celonis lists it, one a day."""
    start = (1 + day) * DAY_MILLISECONDS
    status = JobStatus.SUCCESS if succeeded else JobStatus.FAIL
    return PastRun(status, start, start + round(took * 1000))


def poll_times(schedule: PollSchedule, random: Random, until: float) -> list[float]:
    """Return the times of the polls in seconds since the start, up to the first at or after ``until``.

    The first poll proves the start; the timeout is a week, so it does not affect the waits.
    """
    moments: list[float] = []
    at = 0.0
    while at < until:
        at += schedule.next_wait(at, random, time_left=WEEK - at, proven=bool(moments))
        moments.append(at)
    return moments


def spread(jobs: int, shortest: float = SHORTEST, longest: float = LONGEST) -> list[float]:
    """Durations of this number of jobs, evenly log-uniform."""
    return [shortest * (longest / shortest) ** ((job + 0.5) / jobs) for job in range(jobs)]


def _meet(total: PollAverages, family: Family, usual: float, moments: list[float], random: Random) -> None:
    soonest = bisect_left(moments, family.quantile(SEEN_EARLY) * usual)
    succeeding, failing = (1 - family.failing) / RUNS, family.failing / RUNS
    for run in range(RUNS):
        share = (run + random.random()) / RUNS
        duration = family.quantile(share) * usual
        first_after = bisect_left(moments, duration)
        total.polls += succeeding * (first_after + 1)
        total.early += succeeding * min(first_after + 1, soonest)
        total.late += (moments[first_after] / duration - 1) / RUNS
        if failing:
            duration = early(share) * usual
            first_after = bisect_left(moments, duration)
            total.polls += failing * (first_after + 1)
            total.early += failing * min(first_after + 1, soonest)
            total.failed_late += (moments[first_after] - duration) / usual / RUNS

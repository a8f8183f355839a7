"""The schedule in virtual time: histories are learned from, then runs are watched to their end.

One history gives one sequence of looks (what comes next depends on the time that has passed only), and many
runs are met with it, spread evenly over the distribution of the duration: this takes most of the chance out of
the means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from celonis_refresh.polling.durations import learn
from celonis_refresh.polling.expectation import expect
from celonis_refresh.polling.schedule import WEEK, Schedule
from local.bench.polling.families import LONGEST, SHORTEST, Family, early

HISTORY = 20
FLOOR = 2
"""Seconds, as a pipeline has it by default; there is no ceiling by default."""
RUNS = 40
"""Runs that are met with one sequence of looks."""
SEEN_EARLY = 0.001
"""Looks by which fewer than this share of successes has ended count as early."""


@dataclass(slots=True)
class Means:
    """Means over runs. ``looks`` in all, and how many of them were ``early``.

    ``late``: how late a success is seen, as a share of its own duration. ``failed_late``: how late an early
    failure is seen, as a share of the usual duration.
    """

    looks: float = 0.0
    early: float = 0.0
    late: float = 0.0
    failed_late: float = 0.0


def means(family: Family, usual: Sequence[float], runs: int = HISTORY, seed: int = 1) -> Means:
    """The means of a family over jobs of these usual durations, with ``runs`` runs of history each."""
    random = Random(seed)
    total = Means()
    for duration in usual:
        document: dict[str, Any] | None = None
        for took, succeeded in family.history(duration, runs, random):
            document = learn(document, took, succeeded)
        schedule = Schedule(FLOOR, None, expect(document))
        moments = looks(schedule, random, family.quantile(1 - 1e-9) * duration)
        _meet(total, family, duration, moments, random)
    jobs = len(usual)
    return Means(total.looks / jobs, total.early / jobs, total.late / jobs, total.failed_late / jobs)


def looks(schedule: Schedule, random: Random, until: float, time_left: float = WEEK) -> list[float]:
    """The moments of the looks, in seconds since the start. The first one proves the start."""
    moments: list[float] = []
    at = 0.0
    while at < until:
        at += schedule.next_wait(at, random, time_left=time_left - at, proven=bool(moments))
        moments.append(at)
    return moments


def spread(jobs: int, shortest: float = SHORTEST, longest: float = LONGEST) -> list[float]:
    """Usual durations, evenly log-uniform."""
    return [shortest * (longest / shortest) ** ((job + 0.5) / jobs) for job in range(jobs)]


def _meet(total: Means, family: Family, usual: float, moments: list[float], random: Random) -> None:
    soonest = family.quantile(SEEN_EARLY) * usual
    succeeding = (1 - family.failing) / RUNS
    for share in _evenly(RUNS, random):
        duration = family.quantile(share) * usual
        seen = bisect_left(moments, duration)
        total.looks += succeeding * (seen + 1)
        total.early += succeeding * min(seen + 1, bisect_left(moments, soonest))
        total.late += (moments[seen] / duration - 1) / RUNS
        if family.failing:
            _fail(total, family.failing, early(share) * usual, usual, moments)


def _fail(total: Means, failing: float, duration: float, usual: float, moments: list[float]) -> None:
    seen = bisect_left(moments, duration)
    total.looks += failing * (seen + 1) / RUNS
    total.early += failing * (seen + 1) / RUNS
    total.failed_late += (moments[seen] - duration) / usual / RUNS


def _evenly(parts: int, random: Random) -> Iterator[float]:
    return ((part + random.random()) / parts for part in range(parts))

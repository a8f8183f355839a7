"""The figures of the poll schedule. Each is computed, and explained, in one place.

All are means over runs; requests are polls of the status, the first one (which proves the start) and the one
that sees the end among them. Those two ask for the list of executions as well, and so does every poll where
Celonis shows no id of the current execution: neither is counted here, nor for the peers, who prove nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from celonis_refresh.steps.polling.durations import Expectation, add_duration, expect
from celonis_refresh.steps.polling.schedule import (
    EVENTS_PER_POLL,
    EVENTS_PER_RUN,
    EVENTS_PER_STEP,
    UNKNOWN,
    Schedule,
)
from local.bench.polling import peers
from local.bench.polling.families import ORDINARY, STEADY, Family
from local.bench.polling.optimum import Optimum
from local.bench.polling.simulation import (
    FLOOR,
    HISTORY,
    PollAverages,
    averages,
    first_averages,
    poll_times,
    spread,
)

HOUR = 3600.0
JOBS = 1000
FEWER_JOBS = 200
"""Jobs of different durations that a figure, and a line of the table, is the mean over."""
FEW_LISTED = 3
"""Executions in the list of a job that has run a few times only."""
MISLED = 5.0
"""The listed executions took so many times as long as the job takes now, or that part of it."""
FIXED_DURATIONS = (HOUR / 3, HOUR, 3 * HOUR, 8 * HOUR)
LONG_JOB = 72 * HOUR


@dataclass(frozen=True, slots=True)
class FamilyFigures:
    """A family, what the schedule makes of it, and its lateness beside the least possible."""

    family: Family
    averages: PollAverages
    ratio: float


def line(family: Family, jobs: int = FEWER_JOBS) -> FamilyFigures:
    """The means of a family with 20 runs of history.

    ``ratio`` is its lateness over the limit: the best that any schedule could do that knew the distribution
    of the duration and polled as often. Early polls are not counted: they exist for the proof of the start
    and for runs that fail early, and the optimum covers neither. An early poll is one by which fewer than
    one in a thousand successes has ended.
    """
    found = averages(family, spread(jobs))
    limit = Optimum(family.quantile).lateness(found.polls - found.early)
    return FamilyFigures(family, found, found.late / limit)


def unknown(shortest: float = 60.0, longest: float = 8 * HOUR, sequences: int = 100) -> PollAverages:
    """With no history: runs of every duration between these, polled with this many sequences of polls."""
    random = Random(1)  # noqa: S311 - repeatable on purpose
    durations = spread(JOBS, shortest, longest)
    total = PollAverages()
    for _ in range(sequences):
        moments = poll_times(Schedule(FLOOR), random, longest)
        for duration in durations:
            seen = bisect_left(moments, duration)
            total.polls += (seen + 1) / len(durations) / sequences
            total.late += (moments[seen] / duration - 1) / len(durations) / sequences
    return total


def first(listed: int = HISTORY, factor: float = 1.0, jobs: int = JOBS) -> PollAverages:
    """Means over first runs of ordinary jobs, of which only the list of executions in Celonis is known.

    The history of a job is drawn at random as for ``line``, but shown as dates in a list, and read from it.
    """
    return first_averages(ORDINARY, spread(jobs), listed, factor)


def first_figures(fresh: PollAverages) -> Mapping[str, float]:
    """The figures of first runs; ``fresh``: the means with nothing known.

    ``misled_…``: polls, and lateness as a share of the true duration, over the same with nothing known. The
    list is ``long``: the job was rewritten and takes a fifth of what is listed; or ``short``: five times.
    """
    known, few = first(), first(FEW_LISTED)
    long, short = first(factor=MISLED), first(factor=1 / MISLED)
    return {
        "polls_first": round(known.polls, 2),
        "lag_first_pct": round(100 * known.late, 3),
        "polls_first_3": round(few.polls, 2),
        "lag_first_3_pct": round(100 * few.late, 3),
        "misled_long_polls": round(long.polls / fresh.polls, 3),
        "misled_long_lag": round(long.late / fresh.late, 3),
        "misled_short_polls": round(short.polls / fresh.polls, 3),
        "misled_short_lag": round(short.late / fresh.late, 3),
    }


def over_fixed(family: Family, usual: float) -> float:
    """Requests of a fixed interval over ours, for jobs of this usual duration with 20 runs of history.

    The interval is the one that, for this very family and duration, is as late on average: it is chosen with
    which is not known in advance.
    """
    ours = averages(family, [usual] * FEWER_JOBS)
    runs = 2000
    durations = [usual * family.quantile((run + 0.5) / runs) for run in range(runs)]
    return peers.requests_of_fixed(ours.late, durations) / ours.polls


def events_of_long_job() -> int:
    """History events of a run with one job of 72 hours, the worst of what may be known of it before.

    Nothing; 20 runs as long; 20 runs of one hour, so that it runs over 72 times.
    """
    random = Random(1)  # noqa: S311 - repeatable on purpose
    known = (UNKNOWN, _regular(LONG_JOB, random), _regular(HOUR, random))
    max_polls = max(len(poll_times(Schedule(FLOOR, None, expected), random, LONG_JOB)) for expected in known)
    return EVENTS_PER_RUN + EVENTS_PER_STEP + EVENTS_PER_POLL * max_polls


def _regular(usual: float, random: Random) -> Expectation:
    document: dict[str, Any] | None = None
    for took, succeeded in ORDINARY.history(usual, HISTORY, random):
        document = add_duration(document, took, succeeded)
    return expect(document)


def figures(ordinary: FamilyFigures, steady: FamilyFigures, fresh: PollAverages) -> Mapping[str, float]:
    """The figures under their names, from the lines that the table shows too.

    ``vs_fixed_…`` is the worst over 20 minutes, 1, 3 and 8 hours; ``limit_ratio`` the worse of steady and
    ordinary jobs; lateness in percent of the duration.
    """
    return {
        "polls_known": round(ordinary.averages.polls, 2),
        "lag_known_pct": round(100 * ordinary.averages.late, 3),
        "limit_ratio": round(max(ordinary.ratio, steady.ratio), 3),
        "polls_unknown": round(fresh.polls, 2),
        "lag_unknown_pct": round(100 * fresh.late, 3),
        "vs_fixed_ordinary": round(min(over_fixed(ORDINARY, usual) for usual in FIXED_DURATIONS), 2),
        "vs_fixed_steady": round(min(over_fixed(STEADY, usual) for usual in FIXED_DURATIONS), 2),
        "events_72h": events_of_long_job(),
        **first_figures(fresh),
    }

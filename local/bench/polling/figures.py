"""The figures of the poll schedule. Each is computed, and explained, in one place.

All are means over runs; requests are polls of the status, the first one (which proves the start) and the one
that sees the end among them. Those two also request the list of executions, and so does every poll if Celonis
shows no id of the current execution. These requests are counted neither here nor for the peers, which prove
nothing.
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
    PollSchedule,
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
"""Number of jobs of different durations over which a figure and a line of the table are averaged."""
FEW_LISTED = 3
"""Executions in the list of a job that ran only a few times."""
MISLED = 5.0
"""Listed durations are this factor longer or shorter than the job's current duration."""
FIXED_DURATIONS = (HOUR / 3, HOUR, 3 * HOUR, 8 * HOUR)
LONG_JOB = 72 * HOUR


@dataclass(frozen=True, slots=True)
class FamilyFigures:
    """A family, the result of the schedule, and its delay relative to the minimum."""

    family: Family
    averages: PollAverages
    ratio: float


def line(family: Family, jobs: int = FEWER_JOBS) -> FamilyFigures:
    """The means of a family with 20 runs of history.

    ``ratio``: its delay divided by that of the optimal schedule, which knows the distribution of the duration
    and polls as often. Early polls are not counted, because they prove the start and detect early failures,
    which the optimum covers neither of. A poll is early if fewer than one in a thousand successful runs has
    ended by then.
    """
    measured = averages(family, spread(jobs))
    limit = Optimum(family.quantile).lateness(measured.polls - measured.early)
    return FamilyFigures(family, measured, measured.late / limit)


def unknown(shortest: float = 60.0, longest: float = 8 * HOUR, sequences: int = 100) -> PollAverages:
    """Without a history: runs of all durations between these, polled with this number of poll sequences."""
    random = Random(1)  # noqa: S311 - repeatable on purpose
    durations = spread(JOBS, shortest, longest)
    total = PollAverages()
    for _ in range(sequences):
        moments = poll_times(PollSchedule(FLOOR), random, longest)
        for duration in durations:
            first_after = bisect_left(moments, duration)
            total.polls += (first_after + 1) / len(durations) / sequences
            total.late += (moments[first_after] / duration - 1) / len(durations) / sequences
    return total


def first(listed: int = HISTORY, factor: float = 1.0, jobs: int = JOBS) -> PollAverages:
    """Means over first runs of ordinary jobs for which only the list of executions in Celonis is known.

    The history of a job is drawn at random as for ``line``, but shown as dates in a list, and read from it.
    """
    return first_averages(ORDINARY, spread(jobs), listed, factor)


def first_figures(fresh: PollAverages) -> Mapping[str, float]:
    """The figures of first runs; ``fresh``: the means with nothing known.

    ``misled_…``: polls, and delay as a share of the true duration, each divided by the value with nothing
    known. The list is ``long``: the job was rewritten and takes a fifth of what is listed; or ``short``: five
    times.
    """
    many, few = first(), first(FEW_LISTED)
    long, short = first(factor=MISLED), first(factor=1 / MISLED)
    return {
        "polls_first": round(many.polls, 2),
        "lag_first_pct": round(100 * many.late, 3),
        "polls_first_3": round(few.polls, 2),
        "lag_first_3_pct": round(100 * few.late, 3),
        "misled_long_polls": round(long.polls / fresh.polls, 3),
        "misled_long_lag": round(long.late / fresh.late, 3),
        "misled_short_polls": round(short.polls / fresh.polls, 3),
        "misled_short_lag": round(short.late / fresh.late, 3),
    }


def over_fixed(family: Family, usual: float) -> float:
    """Return the requests of a fixed interval divided by ours, for jobs of this usual duration.

    Jobs have 20 runs of history. The interval is the one with the same mean delay for this family and
    duration, which is not known in advance.
    """
    ours = averages(family, [usual] * FEWER_JOBS)
    runs = 2000
    durations = [usual * family.quantile((run + 0.5) / runs) for run in range(runs)]
    return peers.requests_of_fixed(ours.late, durations) / ours.polls


def events_of_long_job() -> int:
    """History events of a run with one job of 72 hours: the maximum over three histories.

    No history; 20 runs as long; 20 runs of one hour, so that the job takes 72 times as long as expected.
    """
    random = Random(1)  # noqa: S311 - repeatable on purpose
    expectations = (UNKNOWN, _regular(LONG_JOB, random), _regular(HOUR, random))
    max_polls = max(
        len(poll_times(PollSchedule(FLOOR, None, expected), random, LONG_JOB)) for expected in expectations
    )
    return EVENTS_PER_RUN + EVENTS_PER_STEP + EVENTS_PER_POLL * max_polls


def _regular(usual: float, random: Random) -> Expectation:
    document: dict[str, Any] | None = None
    for took, succeeded in ORDINARY.history(usual, HISTORY, random):
        document = add_duration(document, took, succeeded)
    return expect(document)


def figures(ordinary: FamilyFigures, steady: FamilyFigures, fresh: PollAverages) -> Mapping[str, float]:
    """Return the figures by name, from the lines that the table also shows.

    ``vs_fixed_…``: the worst of 20 minutes, 1, 3 and 8 hours; ``limit_ratio``: the worse of steady and
    ordinary jobs; delays are in percent of the duration.
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

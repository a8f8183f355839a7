"""``python -m local.bench.polling``: a table for people, then one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from local.bench.polling import peers
from local.bench.polling.families import GROWING, ORDINARY, OTHERS, STEADY, WILD, Family
from local.bench.polling.figures import (
    FEWER_JOBS,
    HOUR,
    JOBS,
    FamilyFigures,
    figures,
    first,
    line,
    unknown,
)
from local.bench.polling.simulation import PollAverages, first_averages, spread

GOALS = {
    "polls_known": ("≤", 11.0),
    "lag_known_pct": ("≤", 1.75),
    "limit_ratio": ("≤", 1.2),
    "polls_unknown": ("≤", 46.0),
    "lag_unknown_pct": ("≤", 4.0),
    "vs_fixed_ordinary": ("≥", 2.5),
    "vs_fixed_steady": ("≥", 6.0),
    "events_72h": ("≤", 2500.0),
    "polls_first": ("≤", 12.0),
    "lag_first_pct": ("≤", 2.0),
    "misled_long_polls": ("≤", 1.25),
    "misled_long_lag": ("≤", 1.25),
    "misled_short_polls": ("≤", 1.25),
    "misled_short_lag": ("≤", 1.25),
}


def main() -> None:
    ordinary, steady = line(ORDINARY, JOBS), line(STEADY, JOBS)
    fresh = unknown()
    measured = figures(ordinary, steady, fresh)
    others = [line(family) for family in (WILD, GROWING, *OTHERS)]
    print("\n".join([*table([steady, ordinary, *others], fresh), "", *goals(measured)]))
    print(json.dumps(measured))


def table(lines: list[FamilyFigures], fresh: PollAverages) -> Iterator[str]:
    """Mean number of requests and mean delay: of the schedule by family, then of its peers."""
    yield f"{'Jobs of 1 min to 8 h, 20 runs known':<50}  requests  early  lateness  over limit"
    for entry in lines:
        yield _row(entry.family, entry.averages) + f"{entry.ratio:11.2f} ×" + _failures(entry)
    yield ""
    yield "No run known"
    yield f"  {'1 min to 8 h':<48}{fresh.polls:10.1f}{fresh.late:17.2%}"
    for name, low, high in (("10 s to 1 h", 10.0, HOUR), ("10 min to 48 h", HOUR / 6, 48 * HOUR)):
        result = unknown(low, high, 25)
        yield f"  {name:<48}{result.polls:10.1f}{result.late:17.2%}"
    yield ""
    yield "First run, executions in the list of Celonis only"
    lists = (
        ("20 executions", 20, 1.0),
        ("3 executions", 3, 1.0),
        ("1 execution", 1, 1.0),
        ("20 executions, which took 5 times as long", 20, 5.0),
        ("20 executions, which took twice as long", 20, 2.0),
        ("20 executions, which took half as long", 20, 0.5),
        ("20 executions, which took a fifth as long", 20, 0.2),
    )
    for name, listed, factor in lists:
        result = first(listed, factor, FEWER_JOBS)
        yield f"  {name:<48}{result.polls:10.1f}{result.late:17.2%}"
    for family in (STEADY, WILD, GROWING, *OTHERS):
        result = first_averages(family, spread(FEWER_JOBS))
        yield f"  20 executions, {family.name[:33]:<33}{result.polls:10.1f}{result.late:17.2%}"
    yield ""
    yield "The peers, 1 min to 8 h"
    for name, rule in peers.PEERS.items():
        polls, late = peers.averages(rule, spread(JOBS))
        yield f"  {name:<48}{polls:10.1f}{late:17.2%}"


def _row(family: Family, averages: PollAverages) -> str:
    return f"  {family.name:<48}{averages.polls:10.2f}{averages.early:7.2f}{averages.late:10.2%}"


def _failures(entry: FamilyFigures) -> str:
    if not entry.family.failing:
        return ""
    return f"   early failures: {entry.averages.failed_late:.0%} of a duration late"


def goals(values: Mapping[str, float]) -> Iterator[str]:
    for name, (sign, goal) in GOALS.items():
        met = values[name] <= goal if sign == "≤" else values[name] >= goal
        yield f"  {name:<20}{values[name]:10}   {sign} {goal:g}   {'met' if met else 'NOT MET'}"


if __name__ == "__main__":
    main()

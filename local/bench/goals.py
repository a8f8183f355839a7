"""The figures of the service: the meaning and the goal of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """``limit``: None for a figure without a goal. ``sign``: ≤ or ≥."""

    what: str
    sign: str = ""
    limit: float | None = None

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}" if self.limit is not None else ""

    def is_met(self, value: float) -> bool:
        """True also for a figure without a goal."""
        if self.limit is None:
            return True
        return value <= self.limit if self.sign == "≤" else value >= self.limit


def _at_most(limit: float, what: str) -> Goal:
    return Goal(what, "≤", limit)


def _at_least(limit: float, what: str) -> Goal:
    return Goal(what, "≥", limit)


GOALS: Mapping[str, Goal] = {
    "polls_known": _at_most(11, "status requests of a run, ordinary jobs, 20 runs known"),
    "lag_known_pct": _at_most(1.75, "their mean lateness, % of the duration"),
    "limit_ratio": _at_most(1.2, "lateness over the least possible with as many requests"),
    "polls_unknown": _at_most(46, "status requests of a run, nothing known"),
    "lag_unknown_pct": _at_most(4, "their mean lateness, % of the duration"),
    "vs_fixed_ordinary": _at_least(2.5, "polls of a fixed interval as late, over ours: ordinary jobs"),
    "vs_fixed_steady": _at_least(6, "the same: steady jobs"),
    "events_72h": _at_most(2500, "history events of a run with a job of 72 hours"),
    "polls_first": _at_most(12, "status requests of a first run, 20 executions in the list of Celonis"),
    "lag_first_pct": _at_most(2, "their mean lateness, % of the duration"),
    "polls_first_3": Goal("the same with 3 executions: status requests"),
    "lag_first_3_pct": Goal("their mean lateness, % of the duration"),
    "misled_long_polls": _at_most(1.25, "list 5 times too long: polls over those with nothing known"),
    "misled_long_lag": _at_most(1.25, "the same: lateness, % of the true duration"),
    "misled_short_polls": _at_most(1.25, "list 5 times too short: polls over those with nothing known"),
    "misled_short_lag": _at_most(1.25, "the same: lateness, % of the true duration"),
    "cold_trigger_ratio": _at_most(1.05, "cold start of the trigger over a bare handler"),
    "cold_check_ratio": _at_most(1.05, "cold start of a poll over a bare handler"),
    "memory_trigger_ratio": _at_most(1.1, "memory of the trigger over a bare handler"),
    "round_trips_start": _at_most(6, "requests of a warm webhook that starts a run"),
    "round_trips_join": _at_most(2, "requests of one that joins"),
    "round_trips_duplicate": _at_most(1, "requests of one that is sent again, and had joined"),
    "transitions_run": _at_most(42, "state transitions: a job and a load, 5 polls each"),
    "trigger_overhead_ratio": _at_most(1.25, "time of a warm webhook over its calls made bare"),
    "usd_per_1000_runs": _at_most(3.00, "1,000 runs: a job and a load of an hour each, no custom metrics"),
    "usd_per_month_idle": Goal("a month in which nothing runs"),
    "burst_ok": _at_least(1.0, "share of 1,000 deliveries at once that led to a run that succeeded"),
    "slowest_answer_s": Goal("the slowest answer to them, on this machine"),
    "hot_ok": _at_least(1.0, "one pipeline, 100 deliveries a second for 30 s: share accepted, by two runs"),
    "hot_transactions": _at_most(3, "transactions of DynamoDB for each of them, in virtual time"),
    "hot_slowest_s": _at_most(2.5, "the slowest answer to them, in virtual time"),
    "parallel_runs": _at_least(200, "runs at once on this machine"),
    "budget_429_pct": _at_most(0.999, "answers that were 429: 200 runs, 20 requests a second allowed"),
    "budget_failed": _at_most(0, "runs of those that did not succeed"),
}
"""In the order of the table. ``budget_429_pct`` is to be less than 1."""

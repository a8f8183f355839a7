"""Decides whether the data of a pipeline is fresh, at risk or stale. docs/freshness.md has the rules."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from celonis_refresh.pipelines.fresh_within import FreshnessRule


class FreshnessState(StrEnum):
    """``AT_RISK``: still fresh, but the expected duration shows that the deadline will be missed."""

    FRESH = "FRESH"
    AT_RISK = "AT_RISK"
    STALE = "STALE"


class Freshness(Struct, frozen=True):
    """``since``: when the state began; ``due``: when the data becomes, or became, stale. Epoch seconds."""

    state: FreshnessState
    since: float
    due: float


def due_at(rule: FreshnessRule, seen_at: float, data_from: float | None) -> float:
    """Return when the data becomes stale.

    ``data_from``: the start of the last run that succeeded; None if none has. Then it counts from
    ``seen_at``, the first evaluation with ``fresh_within``.
    """
    return rule.first_due(seen_at) if data_from is None else rule.due(data_from)


def decide(
    due: float,
    now: float,
    expected_end: float | None,
    before: Freshness | None,
    succeeded_at: float | None = None,
) -> Freshness:
    """Return the freshness now. ``before``: that of the last evaluation.

    ``expected_end``: when a run is expected to end that extends ``due``; None if unknown. A pipeline is at
    risk until ``due`` changes or has passed, so that a changing estimate sends no further notification. From
    stale it always becomes fresh first. ``succeeded_at``: the end of the last run that succeeded.
    """
    state = FreshnessState.FRESH if before is None else before.state
    if now >= due:
        is_stale = before is not None and before.state is FreshnessState.STALE
        return Freshness(FreshnessState.STALE, before.since if before and is_stale else due, due)
    if before is not None and before.state is FreshnessState.AT_RISK and before.due == due:
        return before
    is_late = expected_end is not None and expected_end > due
    if state is FreshnessState.FRESH and is_late:
        return Freshness(FreshnessState.AT_RISK, now, due)
    return Freshness(FreshnessState.FRESH, _fresh_since(now, before, succeeded_at), due)


def _fresh_since(now: float, before: Freshness | None, succeeded_at: float | None) -> float:
    """Return since when fresh data is fresh: the success that made it so, or now if ``fresh_within`` did."""
    if before is not None and before.state is FreshnessState.FRESH:
        return before.since
    if succeeded_at is None or succeeded_at > now or (before is not None and succeeded_at < before.since):
        return now
    return succeeded_at

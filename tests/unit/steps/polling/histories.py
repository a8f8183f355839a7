"""Histories for the tests: durations as they would have been learned."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp
from random import Random
from typing import Any

from celonis_refresh.steps.polling.durations import add_duration


def history(successes: Iterable[float], failures: Iterable[float] = ()) -> dict[str, Any]:
    """The failures first, the successes after them."""
    document: dict[str, Any] = {}
    for seconds in failures:
        document = add_duration(document, seconds, succeeded=False)
    for seconds in successes:
        document = add_duration(document, seconds, succeeded=True)
    return document


def scattered(usual: float, deviation: float, runs: int = 20, seed: int = 1) -> list[float]:
    """Durations around ``usual``, deviating by a factor, whose mean and deviation are exactly these."""
    random = chance(seed)
    values = [random.gauss(0, 1) for _ in range(runs)]
    mean = sum(values) / runs
    spread = (sum((value - mean) ** 2 for value in values) / max(1, runs - 1)) ** 0.5 or 1.0
    return [usual * exp(deviation * (value - mean) / spread) for value in values]


def chance(seed: int = 1) -> Random:
    """Random numbers with a fixed seed."""
    return Random(seed)  # noqa: S311 - repeatable on purpose

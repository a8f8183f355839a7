"""What is remembered of a job in one mode, or of a load of one kind: how long it took, newest last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REMEMBERED = 20
"""Durations that are kept, of successes and of failures each: enough to tell the spread, and soon new."""


def learn(document: Mapping[str, Any] | None, duration: float, succeeded: bool) -> dict[str, Any]:
    """The document with one more run in it; None stands for nothing learned yet.

    ``duration``: seconds from the start to the end, as Celonis dates them or as they were seen. The document
    is small JSON: ``{"successes": [seconds, …], "failures": [seconds, …], "failure_rate": 0 … 1}``. The rate
    of failures is kept apart from the two lists, because a list that is full no longer tells how rare its
    entries are.
    """
    successes, failures = durations(document, "successes"), durations(document, "failures")
    (successes if succeeded else failures).append(round(max(0.0, duration), 1))
    rate = failure_rate(document)
    return {
        "successes": successes[-REMEMBERED:],
        "failures": failures[-REMEMBERED:],
        "failure_rate": round(rate + ((not succeeded) - rate) / REMEMBERED, 4),
    }


def durations(document: Mapping[str, Any] | None, name: str) -> list[float]:
    """Seconds, oldest first; empty where nothing is known."""
    kept: Sequence[float] = (document or {}).get(name, ())
    return [float(seconds) for seconds in kept]


def failure_rate(document: Mapping[str, Any] | None) -> float:
    """The share of runs that failed, of late."""
    return float((document or {}).get("failure_rate", 0.0))

"""Compares two things by the median ratio of pairs that are measured right after each other.

A temporary slowdown affects both measurements of a pair, and the order alternates. A pair that was disturbed
in between does not change the median of many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def measure_pairs(ours: Callable[[], T], theirs: Callable[[], T], pairs: int) -> list[tuple[T, T]]:
    """Measure this number of pairs, in alternating order; ``ours`` is the first of each returned pair."""
    measured_pairs = []
    for number in range(pairs):
        if number % 2:
            second = theirs()
            measured_pairs.append((ours(), second))
        else:
            measured_pairs.append((ours(), theirs()))
    return measured_pairs


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the median of ours divided by theirs."""
    return median(ours / theirs for ours, theirs in pairs)

"""How two things are compared: in pairs, one right after the other and in turns first, by the median ratio.

A temporary slowdown affects both measurements of a pair, and the order alternates;
a pair that was disturbed in between is one among many, which the median does not follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def in_turns(ours: Callable[[], T], theirs: Callable[[], T], pairs: int) -> list[tuple[T, T]]:
    """So many pairs of measurements: ours first, theirs first, ours first …; ours stands first in each."""
    found = []
    for number in range(pairs):
        if number % 2:
            second = theirs()
            found.append((ours(), second))
        else:
            found.append((ours(), theirs()))
    return found


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of ours over theirs."""
    return median(ours / theirs for ours, theirs in pairs)

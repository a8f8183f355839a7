"""Deadlines and dates. The clock is always passed in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

Clock = Callable[[], float]
"""Seconds, as ``time.time`` or ``time.monotonic`` give them."""


class Deadline(Struct, frozen=True):
    """The time by which something must be done, in seconds of ``clock``."""

    at: float
    clock: Clock

    @staticmethod
    def after(seconds: float, clock: Clock) -> Deadline:
        return Deadline(clock() + seconds, clock)

    def left(self, reserve: float = 0.0) -> float:
        """Return the seconds left minus ``reserve``; never below zero."""
        return max(0.0, self.at - reserve - self.clock())


def iso(at: float) -> str:
    """Return ``2026-01-01T00:00:00.000Z``, which sorts by time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """Return the epoch seconds of a date that :func:`iso` wrote."""
    return datetime.fromisoformat(text).timestamp()

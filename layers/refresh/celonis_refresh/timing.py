"""Deadlines and dates. The clock is handed in: nothing here reads the time by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from math import inf

from msgspec import Struct

Clock = Callable[[], float]
"""Seconds since the epoch, as ``time.time`` gives them."""


class Deadline(Struct, frozen=True):
    """The moment by which an answer must be out, in seconds since the epoch."""

    at: float
    clock: Clock

    @staticmethod
    def after(seconds: float, clock: Clock) -> Deadline:
        return Deadline(clock() + seconds, clock)

    def left(self, reserve: float = 0.0) -> float:
        """Seconds left once ``reserve`` is set aside; never below zero."""
        return max(0.0, self.at - reserve - self.clock())


_bound: ContextVar[Deadline | None] = ContextVar("bound", default=None)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """What AWS is asked in this block is given up at ``deadline``; at that of a block around it, if earlier.

    It holds for this thread, and for the clients whose answer somebody waits for (``aws.clients``).
    """
    around = _bound.get()
    token = _bound.set(deadline if around is None or deadline.at < around.at else around)
    try:
        yield
    finally:
        _bound.reset(token)


def left_within() -> float:
    """Seconds left of the block at hand, never below zero; infinite outside of any."""
    deadline = _bound.get()
    return inf if deadline is None else deadline.left()


def iso(at: float) -> str:
    """``2026-01-01T00:00:00.000Z``: sorts as text in the order of time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """The seconds since the epoch of a date that :func:`iso` wrote."""
    return datetime.fromisoformat(text).timestamp()

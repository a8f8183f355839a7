"""One budget for all that ask over one connection: who may ask Celonis when.

As long as enough is left of the connection's rate limit, everybody asks as they like, and the table is read
once in a while only. The answer that shows that little is left, and every 429, writes the connection's item
(:mod:`rate_limits.state`). From then on every task takes a turn, one atomic write, that moves the
line on by what it will ask; so that together they stay below the limit, however many they are. Those for whom
the line is too long come back later, each at a moment of its own: with the same one, all would come at once.

A turn that comes soon is waited for here. What follows a task's first request belongs to its turn and is held
back by a pause alone: the task would have to begin anew. How many requests that are is what the tasks of this
process made of late; a function's tasks are alike. Nothing here fails a run: where the table cannot be used,
Celonis is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from celonis_refresh.celonis.answers import RateLimit
from celonis_refresh.celonis.calls import Call
from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.rate_limits import headers as rate_limits
from celonis_refresh.rate_limits.state import NotThrottled, RateLimitState
from celonis_refresh.runs import keys
from celonis_refresh.runs.table import Table
from celonis_refresh.timing import Clock

KEPT_SECONDS = 10.0
"""How old may be what a process knows of a connection that nobody has slowed down."""
FIRST_MAX_WAIT, LATER_MAX_WAIT = 1.0, 5.0
"""Seconds that a turn is waited for by a task's first request, and a pause by those that follow it."""
MIN_SECONDS = 1.0
"""What is kept for the request itself; one that is cut off may have to be looked up."""
REQUESTS = 3.0
"""What a task is taken to ask as long as nothing is known of it: to look, to list, to start."""
SMOOTHING = 1 / 3
CALM_SECONDS = 60.0
"""For so long everybody takes turns after the last sign that little is left, or twice the pause if longer."""
SPREAD_TURNS = 12
"""Where what is left is spread over hours, for so many requests: the next sign comes with one of them."""
MAX_WAIT = 900.0
"""A task comes back after that at the latest, to see in the table whether Celonis may be asked."""

HINT = "The run continues automatically. If this happens often, raise poll.floor or run fewer jobs at a time."


class SharedRateLimiter:
    """The turns of one ``connection``, as the rate limiter of a client."""

    def __init__(
        self, table: Table, connection: str, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._turns = RateLimitState(table, keys.asking(connection), clock)
        self._connection = connection
        self._clock = clock
        self._sleep = sleep
        self._hold = -inf
        self._made = 0
        self._usual = REQUESTS

    def enter(self, call: Call, seconds: float) -> None:
        """As :meth:`celonis_refresh.celonis.rate_limiter.RateLimiter.enter` says."""
        self._count(call)
        try:
            wait = self._pause(call, seconds) if call.follows else self._turn(call, seconds)
        except CelonisThrottled:
            self._made = 0
            raise
        except NotThrottled:
            return
        except (RefreshError, KeyError, TypeError, ValueError) as trouble:
            logger.warning("whether Celonis may be asked is not known", extra={"why": str(trouble)})
            return
        if wait > 0:
            self._sleep(wait)

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """As :meth:`celonis_refresh.celonis.rate_limiter.RateLimiter.answered` says."""
        reported = (None, None, None) if limit is None else (limit.limit, limit.remaining, limit.reset)
        wait = rate_limits.pause(*reported) if retry_after is None else retry_after
        if wait <= 0 and not rate_limits.is_scarce(*reported[:2]):
            return
        self._hold = self._clock() + wait
        try:
            spread = rate_limits.spread(reported[1], reported[2])
            step = max(spread, rate_limits.turn(reported[0], reported[2]))
            lasting = min(SPREAD_TURNS * spread, reported[2] or 0.0)
            self._slow_down(wait, step, max(CALM_SECONDS, lasting))
        except (RefreshError, KeyError, TypeError, ValueError) as trouble:
            logger.warning("a rate limit of Celonis could not be shared", extra={"why": str(trouble)})

    def _count(self, call: Call) -> None:
        """How many requests the tasks of this process make."""
        if not call.follows:
            self._usual += (self._made - self._usual) * SMOOTHING if self._made else 0.0
            self._made = 0
        self._made += 1

    def _pause(self, call: Call, seconds: float) -> float:
        """Seconds until a pause is over that this task has just learned of. Raises ``CelonisThrottled``."""
        wait = max(0.0, self._hold - self._clock())
        if wait > min(LATER_MAX_WAIT, seconds - MIN_SECONDS):
            raise self._come_back(call)
        return wait

    def _turn(self, call: Call, seconds: float) -> float:
        """Takes a turn where turns are taken; seconds until it comes. Raises ``CelonisThrottled``."""
        turns, now = self._turns, self._clock()
        if turns.calm <= now and now - turns.read_at >= KEPT_SECONDS:
            turns.read()
        if turns.calm <= now:
            return 0.0
        max_wait = max(0.0, min(FIRST_MAX_WAIT, seconds - MIN_SECONDS))
        turn = turns.take("next", turns.step * self._usual, now, now + max_wait)
        if turn is None:
            raise self._come_back(call)
        return turn - now

    def _come_back(self, call: Call) -> CelonisThrottled:
        """When this task is to come again."""
        turns, now = self._turns, self._clock()
        line = max(now, self._hold, turns.next)
        place = turns.take("later", turns.step * self._usual, line)
        wait = min(MAX_WAIT, (line if place is None else place) - now)
        return CelonisThrottled(
            f"No request to Celonis for {wait:.0f} s: the rate limit of connection "
            f"{self._connection!r} is nearly used up.",
            retry_after=wait,
            hint=HINT,
            method=call.method,
            path=call.path,
        )

    def _slow_down(self, wait: float, step: float, lasting: float) -> None:
        """Everybody takes turns from now on, for ``lasting`` seconds at least, and nobody before ``wait``."""
        turns, now = self._turns, self._clock()
        calm = now + max(lasting, 2 * wait)
        if turns.calm <= now and turns.begin(now + wait, calm, step):
            reported = {"connection": self._connection, "seconds": round(wait, 1), "step": round(step, 3)}
            logger.warning(
                "Celonis rate-limited a request; the connection's runs share the limit", extra=reported
            )
            return
        if wait > 0:
            turns.pause(now + wait, calm)
        elif turns.calm < now + lasting / 2:
            turns.go_on(calm)
        if step > turns.step:
            turns.slow_down(step)

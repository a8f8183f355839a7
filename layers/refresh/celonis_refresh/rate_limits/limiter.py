"""A rate limiter for all requests over one connection to Celonis, shared by all runs through the table.

While enough requests are left, requests are sent at once and the table is read only now and then. An answer
that shows a low remainder, and every 429, writes the connection's item. From then on each task reserves a
slot by one atomic write that moves the next free slot on by the requests that a task usually makes, so all
tasks together stay below the limit. A task whose slot is too far away retries at a slot of its own,
so that tasks do not return at the same time.

A slot that comes soon is waited for here. Further requests of a task belong to its slot and only wait for
pauses, because the task would otherwise have to start over. The limiter never fails a run: if the table
cannot be used, requests are sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Literal

from msgspec import Struct

from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.celonis.transport import Call, RateLimit
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger, measure
from celonis_refresh.runs.table import Action, ConditionFailed, Table, rate_limit_key
from celonis_refresh.timing import Clock, Deadline

LOW_FRACTION = 0.1
"""Below this fraction of the limit, the remaining requests are spread over the time until the reset."""
ASSUMED_CLIENTS = 10
"""Assumed number of clients that share the remaining requests: other runs, other services, users."""

WINDOWS = (1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)
"""Windows of rate limits in seconds."""
SHARE = 0.8
"""Fraction of a limit that the slots use; the rest is for clients outside of this service."""
MAX_SLOT_SECONDS = 60.0
SHORT_RESET = 60.0
"""Seconds until a reset that tasks can wait for. Until a later one, the remainder is spread by slots."""
MAX_SPREAD_SECONDS = 300.0
"""Maximum seconds between two requests when the remainder is spread."""


def pause_seconds(limit: float | None, remaining: float | None, reset: float | None) -> float:
    """Return how long to send nothing after an answer; 0 while enough is left.

    ``limit``, ``remaining`` (requests) and ``reset`` (seconds) are the ``x-ratelimit-`` headers, None if
    missing. The pause is at most ``reset``. Before a reset that is far away there is no pause unless nothing
    is left.
    """
    if remaining is None or reset is None or reset <= 0 or (reset > SHORT_RESET and remaining >= 1):
        return 0.0
    if remaining > (ASSUMED_CLIENTS if limit is None else limit * LOW_FRACTION):
        return 0.0
    return reset * min(1.0, ASSUMED_CLIENTS / max(remaining, 1.0))


def is_scarce(limit: float | None, remaining: float | None) -> bool:
    """Return whether so little is left that tasks should reserve slots."""
    if remaining is None:
        return False
    return remaining <= (
        ASSUMED_CLIENTS if limit is None else max(limit * LOW_FRACTION, min(ASSUMED_CLIENTS, limit / 2))
    )


def spread_seconds(remaining: float | None, reset: float | None) -> float:
    """Return seconds between two requests that make the remainder last until a late reset; else 0."""
    if not remaining or remaining < 1 or reset is None or reset <= SHORT_RESET:
        return 0.0
    return min(MAX_SPREAD_SECONDS, reset / remaining)


def slot_seconds(limit: float | None, reset: float | None) -> float:
    """Return seconds between two requests that stay below the limit.

    ``1 / ASSUMED_CLIENTS`` if no limit is known. The window of the limit is the shortest of ``WINDOWS`` that
    ``reset`` fits into.
    """
    if not limit or limit <= 0:
        return 1 / ASSUMED_CLIENTS
    window = next((window for window in WINDOWS if (reset or 0.0) <= window), WINDOWS[-1])
    return min(MAX_SLOT_SECONDS, window / (limit * SHARE))


WRITE_SECONDS = 1.0
EXPIRES_SECONDS = 3600
"""How long the item is kept after ``throttled_until``."""
ROUNDS = 8
"""Attempts of a reservation while other tasks reserve slots."""


class NotThrottled(Exception):
    """No slots are needed: requests may be sent at once."""


class RateLimitState(Struct):
    """The connection's item, as this process read it at ``read_at``. Methods raise ``TableBusy``."""

    table: Table
    key: str
    clock: Clock
    item: Mapping[str, Any] = {}
    read_at: float = -inf

    @property
    def throttled_until(self) -> float:
        """When slots are no longer needed (epoch seconds), as far as this process knows."""
        return float(self.item.get("throttled_until", 0))

    @property
    def next(self) -> float:
        return float(self.item["next"])

    @property
    def step(self) -> float:
        return float(self.item["step"])

    def read(self) -> None:
        self._note(self.table.get(self.key))

    def reserve(
        self, queue: Literal["next", "later"], step: float, earliest: float, latest: float = inf
    ) -> float | None:
        """Return the reserved time: the later of ``queue`` and ``earliest``; moves ``queue`` on by ``step``.

        Returns None if that is after ``latest``. Raises ``NotThrottled``.
        """
        held = {"now": self.clock(), "earliest": earliest}
        bound, upper = ({"latest": latest}, f" AND #{queue} <= :latest") if latest < inf else ({}, "")
        for _ in range(ROUNDS):
            standing = f"#throttled_until > :now AND #{queue} >= :earliest{upper}"
            moved = {**held, **bound, "step": step}
            if self._apply(self.table.change(self.key, f"SET #{queue} = #{queue} + :step", standing, moved)):
                return float(self.item[queue]) - step
            if self.throttled_until <= self.clock():
                raise NotThrottled
            if float(self.item[queue]) > latest:
                return None
            empty = f"#throttled_until > :now AND #{queue} < :earliest"
            then = {**held, "then": earliest + step}
            if self._apply(self.table.change(self.key, f"SET #{queue} = :then", empty, then)):
                return earliest
        return None

    def start_throttling(self, until: float, throttled_until: float, step: float) -> bool:
        """Require slots, none before ``until``; return False if they are already required."""
        facts = {"next": until, "later": until, "step": step, **_until(throttled_until)}
        condition = "attribute_not_exists(pk) OR #throttled_until <= :now"
        return self._set(facts, condition, {"now": self.clock()})

    def pause(self, until: float, throttled_until: float) -> None:
        """Allow no request before ``until``, unless a later time is set already."""
        self._set({"next": until, **_until(throttled_until)}, "#next < :next")

    def extend(self, throttled_until: float) -> None:
        """Require slots until ``throttled_until``, unless a later time is set already."""
        self._set(_until(throttled_until), "#throttled_until < :throttled_until")

    def slow_down(self, step: float) -> None:
        """Set the seconds between two requests to ``step``, unless more are set already."""
        self._set({"step": step}, "#step < :step")

    def _set(self, facts: Mapping[str, Any], condition: str, values: Mapping[str, Any] | None = None) -> bool:
        return self._apply(self.table.set(self.key, facts, condition, values))

    def _apply(self, change: Action) -> bool:
        """Return whether the condition held. In both cases the item is up to date afterwards."""
        try:
            self._note(self.table.changed(change, Deadline.after(WRITE_SECONDS, self.clock)))
        except ConditionFailed as refused:
            self._note(refused.items[0])
            return False
        return True

    def _note(self, item: Mapping[str, Any] | None) -> None:
        self.item, self.read_at = item or {}, self.clock()


def _until(at: float) -> dict[str, float]:
    return {"throttled_until": at, "expires": int(at) + EXPIRES_SECONDS}


STATE_SECONDS = 10.0
"""Maximum age of the state while no slots are needed."""
FIRST_MAX_WAIT, LATER_MAX_WAIT = 1.0, 5.0
"""Maximum wait of a task's first request for a slot, and of its later requests for the end of a pause."""
MIN_SECONDS = 1.0
"""Time reserved for the request itself."""
ASSUMED_REQUESTS = 3.0
"""Assumed requests of a task before any were counted."""
SMOOTHING = 1 / 3
MIN_THROTTLED_SECONDS = 60.0
"""How long slots are required after an answer with a low remainder; twice the pause if that is longer."""
SPREAD_SLOTS = 12
"""If the remainder is spread over hours, slots are required for this many requests."""
MAX_WAIT = 900.0
"""Maximum ``retry_after`` of a task, after which it reads the state again."""

HINT = "The run continues automatically. If this happens often, raise poll.floor or run fewer jobs at a time."


class SharedRateLimiter:
    """The rate limiter of one connection."""

    def __init__(
        self, table: Table, connection: str, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._state = RateLimitState(table, rate_limit_key(connection), clock)
        self._connection = connection
        self._clock = clock
        self._sleep = sleep
        self._paused_until = -inf
        self._requests = 0
        self._usual_requests = ASSUMED_REQUESTS

    def enter(self, call: Call, seconds: float) -> None:
        """See ``celonis.rate_limiter.RateLimiter.enter``."""
        self._count(call)
        try:
            wait = self._pause(call, seconds) if call.follows else self._wait_for_slot(call, seconds)
        except CelonisThrottled as throttled:
            self._requests = 0
            measure("CelonisThrottledTime", throttled.retry_after)
            raise
        except NotThrottled:
            return
        except (RefreshError, KeyError, TypeError, ValueError) as error:
            logger.warning("the rate limit could not be read; the request is sent", extra={"why": str(error)})
            return
        if wait > 0:
            measure("CelonisThrottledTime", wait)
            self._sleep(wait)

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """See ``celonis.rate_limiter.RateLimiter.answered``."""
        if retry_after:
            measure("CelonisThrottledTime", retry_after)  # the task ends, and comes back after this time
        reported = (None, None, None) if limit is None else (limit.limit, limit.remaining, limit.reset)
        wait = pause_seconds(*reported) if retry_after is None else retry_after
        if wait <= 0 and not is_scarce(*reported[:2]):
            return
        self._paused_until = self._clock() + wait
        try:
            spread = spread_seconds(reported[1], reported[2])
            step = max(spread, slot_seconds(reported[0], reported[2]))
            lasting = min(SPREAD_SLOTS * spread, reported[2] or 0.0)
            self._slow_down(wait, step, max(MIN_THROTTLED_SECONDS, lasting))
        except (RefreshError, KeyError, TypeError, ValueError) as error:
            logger.warning("the rate limit could not be written", extra={"why": str(error)})

    def _count(self, call: Call) -> None:
        """Count the requests that tasks of this process make."""
        if not call.follows:
            self._usual_requests += (
                (self._requests - self._usual_requests) * SMOOTHING if self._requests else 0.0
            )
            self._requests = 0
        self._requests += 1

    def _pause(self, call: Call, seconds: float) -> float:
        """Return seconds until the end of a pause. Raises ``CelonisThrottled``."""
        wait = max(0.0, self._paused_until - self._clock())
        if wait > min(LATER_MAX_WAIT, seconds - MIN_SECONDS):
            raise self._throttled(call)
        return wait

    def _wait_for_slot(self, call: Call, seconds: float) -> float:
        """Reserve a slot if needed and return the seconds until it. Raises ``CelonisThrottled``."""
        state, now = self._state, self._clock()
        if state.throttled_until <= now and now - state.read_at >= STATE_SECONDS:
            state.read()
        if state.throttled_until <= now:
            return 0.0
        max_wait = max(0.0, min(FIRST_MAX_WAIT, seconds - MIN_SECONDS))
        slot = state.reserve("next", state.step * self._usual_requests, now, now + max_wait)
        if slot is None:
            raise self._throttled(call)
        return slot - now

    def _throttled(self, call: Call) -> CelonisThrottled:
        """Return the error that makes the task retry at the time of its slot."""
        state, now = self._state, self._clock()
        queue = max(now, self._paused_until, state.next)
        place = state.reserve("later", state.step * self._usual_requests, queue)
        wait = min(MAX_WAIT, (queue if place is None else place) - now)
        return CelonisThrottled(
            f"No request to Celonis for {wait:.0f} s: the rate limit of connection "
            f"{self._connection!r} is nearly used up.",
            retry_after=wait,
            hint=HINT,
            method=call.method,
            path=call.path,
        )

    def _slow_down(self, wait: float, step: float, lasting: float) -> None:
        """Require slots for at least ``lasting`` seconds, and allow no request before ``wait`` seconds."""
        state, now = self._state, self._clock()
        throttled_until = now + max(lasting, 2 * wait)
        if state.throttled_until <= now and state.start_throttling(now + wait, throttled_until, step):
            reported = {"connection": self._connection, "seconds": round(wait, 1), "step": round(step, 3)}
            logger.warning(
                "Celonis rate-limited a request; the connection's runs share the limit", extra=reported
            )
            return
        if wait > 0:
            state.pause(now + wait, throttled_until)
        elif state.throttled_until < now + lasting / 2:
            state.extend(throttled_until)
        if step > state.step:
            state.slow_down(step)

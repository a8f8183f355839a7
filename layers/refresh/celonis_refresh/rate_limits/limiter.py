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
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Literal

from msgspec import Struct

from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.celonis.transport import Call, RateLimit
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.table import Action, ConditionFailed, Table, rate_limit_key
from celonis_refresh.timing import Clock, Deadline

LITTLE = 0.1
"""Below this share of the limit, what is left is spread over the time until the reset."""
PARTIES = 10
"""How many are taken to share what is left: other runs, other services, people."""

WINDOWS = (1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)
"""Seconds that rate limits are counted by."""
SHARE = 0.8
"""What all turns together use of a limit; the rest is for those who take none."""
LONGEST_TURN = 60.0
SHORT_RESET = 60.0
"""Seconds until the reset that everybody can wait for; over longer ones what is left is spread by turns."""
LONGEST_SPREAD = 300.0
"""Seconds between two requests, at most, that what is left is spread with."""


def pause_seconds(limit: float | None, remaining: float | None, reset: float | None) -> float:
    """Return seconds to ask nothing, from the last answer's rate limit headers; 0 while enough is left.

    ``limit`` and ``remaining``: requests, of ``x-ratelimit-limit`` and ``x-ratelimit-remaining``. ``reset``:
    seconds, of ``x-ratelimit-reset``. None where an answer said nothing. Never longer than ``reset``. A long
    way to the reset is no reason to ask nothing before nothing is left: turns spread what is.
    """
    if remaining is None or reset is None or reset <= 0 or (reset > SHORT_RESET and remaining >= 1):
        return 0.0
    if remaining > (PARTIES if limit is None else limit * LITTLE):
        return 0.0
    return reset * min(1.0, PARTIES / max(remaining, 1.0))


def is_scarce(limit: float | None, remaining: float | None) -> bool:
    """Whether so little is left that all who ask should take turns; sooner than that a pause is needed."""
    if remaining is None:
        return False
    return remaining <= (PARTIES if limit is None else max(limit * LITTLE, min(PARTIES, limit / 2)))


def spread_seconds(remaining: float | None, reset: float | None) -> float:
    """Seconds between two requests with which what is left lasts until a reset that is far away; else 0."""
    if not remaining or remaining < 1 or reset is None or reset <= SHORT_RESET:
        return 0.0
    return min(LONGEST_SPREAD, reset / remaining)


def turn_seconds(limit: float | None, reset: float | None) -> float:
    """Seconds between two requests that stay below the limit; ``PARTIES`` a second where none is known.

    A limit counts by one of ``WINDOWS``: by the shortest that ``reset`` fits in, or by a longer one, which
    the next answer shows.
    """
    if not limit or limit <= 0:
        return 1 / PARTIES
    window = next((window for window in WINDOWS if (reset or 0.0) <= window), WINDOWS[-1])
    return min(LONGEST_TURN, window / (limit * SHARE))


WRITE_SECONDS = 1.0
EXPIRES_SECONDS = 3600
"""How long the item outlasts its ``calm``."""
ROUNDS = 8
"""So often a place in the line is tried for, while others take theirs."""


class NotThrottled(Exception):
    """No turns are taken: everybody may ask."""


class RateLimitState(Struct):
    """The item at ``key``, and what this process knows of it since ``read_at``. Raises ``TableBusy``."""

    table: Table
    key: str
    clock: Clock
    item: Mapping[str, Any] = {}
    read_at: float = -inf

    @property
    def calm(self) -> float:
        """When everybody may ask freely, as far as is known here."""
        return float(self.item.get("calm", 0))

    @property
    def next(self) -> float:
        return float(self.item["next"])

    @property
    def step(self) -> float:
        return float(self.item["step"])

    def read(self) -> None:
        self._note(self.table.get(self.key))

    def take(
        self, line: Literal["next", "later"], step: float, least: float, most: float = inf
    ) -> float | None:
        """Take the moment at which ``line`` stands, or ``least``, and moves it on by ``step``.

        None where it stands past ``most``. Raises ``NotThrottled``.
        """
        held = {"now": self.clock(), "least": least}
        bound, upper = ({"most": most}, f" AND #{line} <= :most") if most < inf else ({}, "")
        for _ in range(ROUNDS):
            standing = f"#calm > :now AND #{line} >= :least{upper}"
            moved = {**held, **bound, "step": step}
            if self._apply(self.table.change(self.key, f"SET #{line} = #{line} + :step", standing, moved)):
                return float(self.item[line]) - step
            if self.calm <= self.clock():
                raise NotThrottled
            if float(self.item[line]) > most:
                return None
            empty = f"#calm > :now AND #{line} < :least"
            then = {**held, "then": least + step}
            if self._apply(self.table.change(self.key, f"SET #{line} = :then", empty, then)):
                return least
        return None

    def begin(self, until: float, calm: float, step: float) -> bool:
        """From now on turns are taken, and nobody asks before ``until``; False where that is so already."""
        facts = {"next": until, "later": until, "step": step, **_calm_until(calm)}
        condition = "attribute_not_exists(pk) OR #calm <= :now"
        return self._set(facts, condition, {"now": self.clock()})

    def pause(self, until: float, calm: float) -> None:
        """Nobody asks before ``until``, unless it is later already."""
        self._set({"next": until, **_calm_until(calm)}, "#next < :next")

    def go_on(self, calm: float) -> None:
        """Turns are taken until ``calm``, unless it is later already."""
        self._set(_calm_until(calm), "#calm < :calm")

    def slow_down(self, step: float) -> None:
        """A request takes ``step`` seconds of the line, unless it is more already."""
        self._set({"step": step}, "#step < :step")

    def _set(self, facts: Mapping[str, Any], condition: str, values: Mapping[str, Any] | None = None) -> bool:
        return self._apply(self.table.set(self.key, facts, condition, values))

    def _apply(self, change: Action) -> bool:
        """Return whether the condition held; either way it is known then how the item stands."""
        try:
            self._note(self.table.changed(change, Deadline.after(WRITE_SECONDS, self.clock)))
        except ConditionFailed as refused:
            self._note(refused.found[0])
            return False
        return True

    def _note(self, item: Mapping[str, Any] | None) -> None:
        self.item, self.read_at = item or {}, self.clock()


def _calm_until(at: float) -> dict[str, float]:
    return {"calm": at, "expires": int(at) + EXPIRES_SECONDS}


KEPT_SECONDS = 10.0
"""How old may be what a process knows of a connection that nobody has slowed down."""
FIRST_MAX_WAIT, LATER_MAX_WAIT = 1.0, 5.0
"""Seconds that a turn is waited for by a task's first request, and a pause by those that follow it."""
MIN_SECONDS = 1.0
"""What is kept for the request itself; one that is cut off may have to be looked up."""
REQUESTS = 3.0
"""What a task is taken to ask as long as nothing is known of it: to poll, to list, to start."""
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
        self._turns = RateLimitState(table, rate_limit_key(connection), clock)
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
        wait = pause_seconds(*reported) if retry_after is None else retry_after
        if wait <= 0 and not is_scarce(*reported[:2]):
            return
        self._hold = self._clock() + wait
        try:
            spread = spread_seconds(reported[1], reported[2])
            step = max(spread, turn_seconds(reported[0], reported[2]))
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
        """Take a turn where turns are taken; seconds until it comes. Raises ``CelonisThrottled``."""
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
        """Return when this task is to come again."""
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

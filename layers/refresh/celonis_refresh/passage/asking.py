"""One budget for all that ask over one connection: who may ask Celonis when.

As long as enough is left of the connection's rate limit, everybody asks as they like, and the table is read
once in a while only. The answer that shows that little is left, and every 429, writes the connection's item:

* ``next``: nobody asks before. Every task takes the turn that ``next`` names and moves it on by ``step`` for
  each request that it will make, one atomic write, so that together they stay below the limit, however many
  they are;
* ``later``: where those come back for whom the line is too long. They get moments one after the other too:
  told the same moment, they would all come at once;
* ``calm``: when everybody may ask freely again, unless it goes on.

A turn that comes soon is waited for here. What follows a task's first request belongs to its turn and is held
back by a pause alone: the task would have to begin anew. How many requests that are is what the tasks of this
process made of late; a function's tasks are alike. Nothing here fails a run: where the table cannot be used,
Celonis is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from celonis_refresh.celonis.answers import RateLimit
from celonis_refresh.celonis.calls import Call
from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.polling import rate_limits
from celonis_refresh.runs import keys
from celonis_refresh.runs.table import Refused, Table
from celonis_refresh.timing import Clock, Deadline

KEPT_SECONDS = 10.0
"""How old may be what a process knows of a connection that nobody has slowed down."""
FIRST_PATIENCE, LATER_PATIENCE = 1.0, 5.0
"""Seconds that a turn is waited for by a task's first request, and a pause by those that follow it."""
LEAST_SECONDS = 1.0
"""What is kept for the request itself; one that is cut off may have to be looked up."""
REQUESTS = 3.0
"""What a task is taken to ask as long as nothing is known of it: to look, to list, to start."""
SMOOTHING = 1 / 3
CALM_SECONDS = 60.0
"""For so long everybody takes turns after the last sign that little is left, or twice the pause if longer."""
LONGEST_WAIT = 900.0
EXPIRES_SECONDS = 3600
WRITE_SECONDS = 1.0
ROUNDS = 8

HINT = (
    "Nothing is lost: it goes on by itself. If it lasts, ask less often (poll) or for fewer jobs at a time."
)


class _Free(Exception):
    """The table says that everybody may ask."""


@dataclass
class Asking:
    """The turns of one ``connection``, as a client's gate."""

    table: Table
    connection: str
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    _read_at: float = -inf
    _known: Mapping[str, Any] = field(default_factory=dict)
    _hold: float = -inf
    _made: int = 0
    _usual: float = REQUESTS

    def enter(self, call: Call, seconds: float) -> None:
        """As :meth:`celonis_refresh.celonis.gate.Gate.enter` says."""
        self._count(call)
        try:
            wait = self._pause(call, seconds) if call.follows else self._turn(call, seconds)
        except CelonisThrottled:
            self._made = 0
            raise
        except _Free:
            return
        except (RefreshError, KeyError, TypeError, ValueError) as trouble:
            logger.warning("whether Celonis may be asked is not known", extra={"why": str(trouble)})
            return
        if wait > 0:
            self.sleep(wait)

    def _count(self, call: Call) -> None:
        """How many requests the tasks of this process make."""
        if not call.follows:
            self._usual += (self._made - self._usual) * SMOOTHING if self._made else 0.0
            self._made = 0
        self._made += 1

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        """As :meth:`celonis_refresh.celonis.gate.Gate.answered` says."""
        told = (None, None, None) if limit is None else (limit.limit, limit.remaining, limit.reset)
        wait = rate_limits.pause(*told) if retry_after is None else retry_after
        if wait <= 0 and not rate_limits.is_scarce(*told[:2]):
            return
        self._hold = self.clock() + wait
        try:
            self._slow_down(min(wait, LONGEST_WAIT), rate_limits.turn(told[0], told[2]))
        except RefreshError as trouble:
            logger.warning("that Celonis wants fewer requests is not shared", extra={"why": str(trouble)})

    def _is_free(self) -> bool:
        """As far as this process knows, which asks the table where that is long ago."""
        now = self.clock()
        if self._calm() <= now and now - self._read_at >= KEPT_SECONDS:
            self._known = self.table.get(self._key) or {}
            self._read_at = now
        return self._calm() <= now

    def _calm(self) -> float:
        return float(self._known.get("calm", 0))

    def _pause(self, call: Call, seconds: float) -> float:
        """Seconds until a pause is over that this task was just told of. Raises ``CelonisThrottled``."""
        wait = max(0.0, self._hold - self.clock())
        if wait > min(LATER_PATIENCE, seconds - LEAST_SECONDS):
            raise self._come_back(call)
        return wait

    def _turn(self, call: Call, seconds: float) -> float:
        """Takes a turn where turns are taken; seconds until it comes. Raises ``CelonisThrottled``."""
        if self._is_free():
            return 0.0
        now = self.clock()
        latest = now + max(0.0, min(FIRST_PATIENCE, seconds - LEAST_SECONDS))
        turn = self._advance("next", now, latest, self._step())
        if turn is None:
            raise self._come_back(call)
        return turn - now

    def _step(self) -> float:
        """By how much a task moves on what it takes."""
        return float(self._known["step"]) * self._usual

    def _come_back(self, call: Call) -> CelonisThrottled:
        """When this task is to come again."""
        now = self.clock()
        line = max(now, self._hold, float(self._known["next"]))
        place = self._advance("later", line, inf, self._step())
        wait = min(LONGEST_WAIT, (line if place is None else place) - now)
        return CelonisThrottled(
            f"Celonis is not asked for {wait:.0f} s: little is left of what connection "
            f"{self.connection!r} may ask.",
            retry_after=wait,
            hint=HINT,
            method=call.method,
            path=call.path,
        )

    def _advance(self, field_: str, least: float, most: float, step: float) -> float | None:
        """Takes the moment in ``field_``, or ``least``, and moves it on; None where it is past ``most``.

        Raises ``_Free``.
        """
        held = {"now": self.clock(), "least": least}
        in_line = f"#calm > :now AND #{field_} >= :least"
        for _ in range(ROUNDS):
            try:
                bounds = ({"most": most} if most < inf else {}) | held
                upper = f" AND #{field_} <= :most" if most < inf else ""
                self._change(f"SET #{field_} = #{field_} + :step", in_line + upper, {**bounds, "step": step})
                return float(self._known[field_]) - step
            except Refused as refused:
                self._note(refused)
            if float(self._known[field_]) > most:
                return None
            try:
                empty = f"#calm > :now AND #{field_} < :least"
                self._change(f"SET #{field_} = :then", empty, {**held, "then": least + step})
            except Refused as refused:
                self._note(refused)
            else:
                return least
        return None

    def _note(self, refused: Refused) -> None:
        """What stands in the table; raises ``_Free`` where it holds nobody back."""
        self._known, self._read_at = refused.found[0] or {}, self.clock()
        if self._calm() <= self.clock():
            raise _Free

    def _slow_down(self, wait: float, step: float) -> None:
        """Everybody takes turns from now on, and nobody before ``wait`` seconds are over."""
        now = self.clock()
        calm = now + max(CALM_SECONDS, 2 * wait)
        until = {"next": now + wait, "calm": calm, "expires": int(calm) + EXPIRES_SECONDS}
        begun = {**until, "later": now + wait, "step": step}
        if self._calm() <= now:
            try:
                self._change(_sets(begun), "attribute_not_exists(pk) OR #calm <= :now", begun | {"now": now})
            except Refused as refused:
                self._known, self._read_at = refused.found[0] or {}, now
            else:
                told = {"connection": self.connection, "seconds": round(wait, 1), "step": round(step, 3)}
                logger.warning("Celonis wants fewer requests: everybody takes turns", extra=told)
                return
        if wait > 0:
            self._raise_to(until, "next")
        elif self._calm() < now + CALM_SECONDS / 2:
            self._raise_to({name: until[name] for name in ("calm", "expires")}, "calm")
        if step > float(self._known.get("step", step)):
            self._raise_to({"step": step}, "step")

    def _raise_to(self, facts: Mapping[str, Any], by: str) -> None:
        """Writes ``facts`` unless what stands for ``by`` is later, or more, already."""
        try:
            self._change(_sets(facts), f"#{by} < :{by}", facts)
        except Refused as refused:
            self._known, self._read_at = refused.found[0] or {}, self.clock()

    def _change(self, expression: str, condition: str, values: Mapping[str, Any]) -> None:
        change = self.table.change(self._key, expression, condition, values)
        self._known = self.table.changed(change, Deadline.after(WRITE_SECONDS, self.clock))
        self._read_at = self.clock()

    @property
    def _key(self) -> str:
        return keys.asking(self.connection)


def _sets(facts: Mapping[str, Any]) -> str:
    return "SET " + ", ".join(f"#{name} = :{name}" for name in facts)

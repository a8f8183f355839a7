"""The item of a connection whose rate limit is nearly used up: when Celonis may be asked, and by whom.

``next``: nobody asks before; a turn moves it on. ``later``: where those come back for whom the line is too
long. ``step``: seconds that one request takes of the line. ``calm``: until then turns are taken at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Literal

from msgspec import Struct

from celonis_refresh.runs.table import Action, ConditionFailed, Table
from celonis_refresh.timing import Clock, Deadline

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
    known: Mapping[str, Any] = {}
    read_at: float = -inf

    @property
    def calm(self) -> float:
        """When everybody may ask freely, as far as is known here."""
        return float(self.known.get("calm", 0))

    @property
    def next(self) -> float:
        return float(self.known["next"])

    @property
    def step(self) -> float:
        return float(self.known["step"])

    def read(self) -> None:
        self._note(self.table.get(self.key))

    def take(
        self, line: Literal["next", "later"], step: float, least: float, most: float = inf
    ) -> float | None:
        """Takes the moment at which ``line`` stands, or ``least``, and moves it on by ``step``.

        None where it stands past ``most``. Raises ``NotThrottled``.
        """
        held = {"now": self.clock(), "least": least}
        bound, upper = ({"most": most}, f" AND #{line} <= :most") if most < inf else ({}, "")
        for _ in range(ROUNDS):
            standing = f"#calm > :now AND #{line} >= :least{upper}"
            moved = {**held, **bound, "step": step}
            if self._apply(self.table.change(self.key, f"SET #{line} = #{line} + :step", standing, moved)):
                return float(self.known[line]) - step
            if self.calm <= self.clock():
                raise NotThrottled
            if float(self.known[line]) > most:
                return None
            empty = f"#calm > :now AND #{line} < :least"
            then = {**held, "then": least + step}
            if self._apply(self.table.change(self.key, f"SET #{line} = :then", empty, then)):
                return least
        return None

    def begin(self, until: float, calm: float, step: float) -> bool:
        """From now on turns are taken, and nobody asks before ``until``; False where that is so already."""
        facts = {"next": until, "later": until, "step": step, **_calm(calm)}
        condition = "attribute_not_exists(pk) OR #calm <= :now"
        return self._set(facts, condition, {"now": self.clock()})

    def pause(self, until: float, calm: float) -> None:
        """Nobody asks before ``until``, unless it is later already."""
        self._set({"next": until, **_calm(calm)}, "#next < :next")

    def go_on(self, calm: float) -> None:
        """Turns are taken until ``calm``, unless it is later already."""
        self._set(_calm(calm), "#calm < :calm")

    def slow_down(self, step: float) -> None:
        """A request takes ``step`` seconds of the line, unless it is more already."""
        self._set({"step": step}, "#step < :step")

    def _set(self, facts: Mapping[str, Any], condition: str, values: Mapping[str, Any] | None = None) -> bool:
        return self._apply(self.table.set(self.key, facts, condition, values))

    def _apply(self, change: Action) -> bool:
        """Whether the condition held; either way it is known then how the item stands."""
        try:
            self._note(self.table.changed(change, Deadline.after(WRITE_SECONDS, self.clock)))
        except ConditionFailed as refused:
            self._note(refused.found[0])
            return False
        return True

    def _note(self, item: Mapping[str, Any] | None) -> None:
        self.known, self.read_at = item or {}, self.clock()


def _calm(at: float) -> dict[str, float]:
    return {"calm": at, "expires": int(at) + EXPIRES_SECONDS}

"""When to look next at something under way: as often as it is worth it, and no more.

A look costs something, and so does every moment between the end and the look that sees it. Let a look be worth
``PRICE`` of a duration: for one look fewer it may be seen later by that share. Let h(t) be the hazard, the
chance per second to end at t given that it has not ended yet, and n(t) the looks per second. From the start to
the end D there are ∫n(t)dt looks, and the end waits for 1/(2n(D)) on average, so the mean cost of a run is

    ∫ P(D > t) · ( n(t) + h(t) / (2 · n(t) · PRICE · t) ) dt ,

smallest, at each t by itself, for

    n(t) = √( h(t) / (2 · PRICE · t) ) .

That is the whole schedule: the next look is where ∫n has grown by one since now. It depends on nothing but the
time that has passed, so a look that came late, or was lost, is made good by the next. What is wanted follows:

* while it cannot end yet, h ≈ 0: no looks; where it usually ends, they are dense;
* failures, and whatever never happened before, lend the time before a hazard of their own, and so a few looks:
  their number grows with the root of how often the job fails. Their lateness is told as a share of the usual
  duration, since to see a failure of the fifth minute in the tenth is no loss of a whole run;
* over the usual time, or with nothing known, the hazard is that of a wide curve, about c/t: n ≈ const/t, so
  the waits grow geometrically.

Where only so many looks may still be used until the time-out, PRICE rises until they suffice: all waits grow in
the same proportion, and the last look is at the time-out. In units of the logarithm u of time, with hᵤ = t·h:
n(u) = √(hᵤ / (2 · PRICE)), which is what is summed below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, exp, inf, log, sqrt
from random import Random

from celonis_refresh.polling.expectation import Expectation, expect

PRICE = 0.0019
"""What a look is worth, as a share of the duration. The one number that trades requests for lateness."""
JITTER = 0.1
"""Each wait is spread by this share of itself, so that runs started together do not ask together."""
PROOF_WAIT = 2
PROOF_GROWTH = 0.5
"""Until the start is proven: the first wait in seconds, then this share of the time that has passed."""
ENOUGH_LOOKS = 20
"""With fewer left than this the budget outweighs the wish for an early proof."""
WEEK = 7 * 24 * 3600.0
UNKNOWN = expect(None)


@dataclass(frozen=True, slots=True)
class Schedule:
    """``floor`` and ``ceiling``: bounds of a wait in whole seconds; no ceiling where it is None.

    ``expected``: how long it may take, from the runs before.
    """

    floor: int
    ceiling: int | None = None
    expected: Expectation = UNKNOWN

    def next_wait(
        self,
        elapsed: float,
        random: Random,
        at_least: float = 0.0,
        *,
        time_left: float = WEEK,
        looks_left: int = 1000,
        proven: bool = True,
    ) -> int:
        """Whole seconds until the next look, ``elapsed`` seconds after the start.

        ``time_left``: seconds until the step's time-out; a look falls on it, or within the floor after it.
        ``looks_left``: looks that may still be made, the next one and that at the time-out among them.
        ``proven``: whether the start was seen; until then it is looked at often, because something short is
        proven best while it is under way. ``at_least``: seconds that the server asked for; they outweigh
        everything else, and get a jitter too, because many were told the same.
        """
        rest = max(0.0, time_left)
        floor = self.floor if proven else min(self.floor, PROOF_WAIT)
        aim, least = self._waits(max(0.0, elapsed), rest, looks_left, random.uniform(1 - JITTER, 1 + JITTER))
        wait = min(aim, inf if self.ceiling is None else self.ceiling)
        if not proven:
            wait = min(wait, max(PROOF_WAIT, elapsed * PROOF_GROWTH))
        if proven or looks_left < ENOUGH_LOOKS:
            wait = max(wait, least)
        wait = max(floor, min(round(wait), ceil(rest)))
        return max(1, wait, ceil(at_least * random.uniform(1, 1 + JITTER)) if at_least > 0 else 1)

    def _waits(self, elapsed: float, rest: float, looks_left: int, looks: float) -> tuple[float, float]:
        """The wait for ``looks`` (about one), and the least for which the looks left will do."""
        path = list(self._path(elapsed, elapsed + rest))
        total = path[-1][1]
        least = total / max(1, looks_left)
        if looks_left <= 1:
            return rest, rest
        return _reach(path, max(looks, least)) - elapsed, ceil(_reach(path, least) - elapsed)

    def _path(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Moments from ``start`` to ``end``, and how many looks it is worth to have made by then."""
        looks = 0.0
        at, last = log(max(1.0, start)), log(max(1.0, end))
        yield at, looks
        while at < last:
            step = min(self._step(at), last - at)
            looks += self._density(at + step / 2) * step
            at += step
            yield at, looks

    def _density(self, at: float) -> float:
        """n(u): looks per unit of the logarithm of time. Before the usual end, lateness is a share of that."""
        share = min(1.0, exp(at) / self.expected.usual) if self.expected.usual else 1.0
        return sqrt(self.expected.hazard(at) * share / (2 * PRICE))

    def _step(self, at: float) -> float:
        """Small beside what the hazard does here: it changes over a spread, and less far from a centre."""
        fits = (max(c.spread / 3, abs(at - c.centre) / 4) for c in self.expected.clusters)
        return max(1e-6, min(0.25, *fits))


def _reach(path: list[tuple[float, float]], looks: float) -> float:
    """The moment, in seconds, by which so many looks were worth making; the last one if there are not so many."""
    for (before, fewer), (after, more) in zip(path, path[1:], strict=False):
        if more >= looks and more > fewer:
            return exp(before + (after - before) * (looks - fewer) / (more - fewer))
    return exp(path[-1][0])

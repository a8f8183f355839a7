"""The best that any schedule could do, by dynamic programming over a duration that is known in distribution.

A schedule is a set of moments. For a price of a poll, the best set for a distribution cut into small steps
is found from its end backwards. Whatever the price, the least possible sum of requests and priced lateness
bounds the lateness of every schedule with as many requests (Lagrange's bound); the highest of these bounds is
the limit.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import inf
from statistics import NormalDist

from local.bench.polling.families import Quantile

STEPS = 400
WIDEST = 4.0
"""Deviations of a bell curve that the steps reach to, on either side."""
PRICES = tuple(0.0008 * 1.1**step for step in range(20))
"""The price of a poll: 0.08 % to 0.5 % of a duration."""


class Optimum:
    """The optimum for one distribution of the duration, without early polls."""

    def __init__(self, quantile: Quantile) -> None:
        steps = _Curve(quantile)
        self._bounds = [(price, steps.least_cost(price)) for price in PRICES]

    def lateness(self, requests: float) -> float:
        """The least mean lateness, as a share of the duration, of any schedule with so many requests."""
        return max(price * (cost - requests) for price, cost in self._bounds)


class _Curve:
    """``ends``: moments. ``ended``: the share of runs that ended by then; ``inverse``: their sum of 1/t."""

    def __init__(self, quantile: Quantile) -> None:
        normal = NormalDist()
        marks = (normal.cdf(WIDEST * (2 * step / STEPS - 1)) for step in range(1, STEPS))
        self.ended = [0.0, *marks, 1.0]
        middles = [(before + after) / 2 for before, after in pairwise(self.ended)]
        slices = [after - before for before, after in pairwise(self.ended)]
        self.ends = [quantile(min(max(share, 1e-9), 1 - 1e-9)) for share in self.ended[:-1]]
        self.ends.append(quantile(middles[-1]))
        parts = [size / quantile(middle) for size, middle in zip(slices, middles, strict=True)]
        self.inverse = list(accumulate(parts, initial=0.0))

    def least_cost(self, price: float) -> float:
        """The least mean of requests + lateness / price."""
        rest = [0.0] * (STEPS + 1)
        for at in reversed(range(STEPS)):
            rest[at] = 1 - self.ended[at] + self._next(at, rest, price)
        return rest[0]

    def _next(self, at: int, rest: list[float], price: float) -> float:
        """The least cost after the choice of the next poll; lateness alone soon rules out all later ones."""
        best = inf
        for then in range(at + 1, STEPS + 1):
            missed = self.inverse[then] - self.inverse[at]
            late = (self.ends[then] * missed - (self.ended[then] - self.ended[at])) / price
            if late > best:
                break
            best = min(best, late + rest[then])
        return best

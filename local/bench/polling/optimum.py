"""The optimal schedule for a known distribution of the duration, by dynamic programming.

A schedule is a set of times. For a given price of a poll, the optimal set for a distribution cut into small
steps is found backwards from its end. For every price, the minimum sum of requests and priced delay is a
lower bound on the delay of all schedules with as many requests (Lagrange's bound); the highest of these
bounds is the limit.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import inf
from statistics import NormalDist

from local.bench.polling.families import Quantile

STEPS = 400
WIDEST = 4.0
"""The steps cover this many standard deviations of a normal distribution on either side."""
PRICES = tuple(0.0008 * 1.1**step for step in range(20))
"""The price of a poll: 0.08 % to 0.5 % of a duration."""


class Optimum:
    """The optimum for one distribution of the duration, without early polls."""

    def __init__(self, quantile: Quantile) -> None:
        steps = _Curve(quantile)
        self._bounds = [(price, steps.min_cost(price)) for price in PRICES]

    def lateness(self, requests: float) -> float:
        """Return the minimum mean delay with this number of requests, as a share of the duration."""
        return max(price * (cost - requests) for price, cost in self._bounds)


class _Curve:
    """``ends``: times. ``ended``: the share of runs that ended by then; ``inverse``: their sum of 1/t."""

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

    def min_cost(self, price: float) -> float:
        """Return the minimum mean of requests + delay / price."""
        rest = [0.0] * (STEPS + 1)
        for at in reversed(range(STEPS)):
            rest[at] = 1 - self.ended[at] + self._next(at, rest, price)
        return rest[0]

    def _next(self, at: int, rest: list[float], price: float) -> float:
        """Return the minimum cost over all choices of the next poll; the delay alone rules out late ones."""
        best = inf
        for then in range(at + 1, STEPS + 1):
            missed = self.inverse[then] - self.inverse[at]
            late = (self.ends[then] * missed - (self.ended[then] - self.ended[at])) / price
            if late > best:
                break
            best = min(best, late + rest[then])
        return best

"""Families of simulated jobs: how the durations of one job scatter from run to run.

A family tells the duration of a run as a factor of the job's usual duration, by its quantiles: a number between
0 and 1 gives a factor. So the same family is drawn from at random for histories, and walked through evenly for
the runs that are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from random import Random
from statistics import NormalDist

Quantile = Callable[[float], float]

SHORTEST, LONGEST = 60.0, 8 * 3600.0
"""Usual durations in seconds; log-uniform in between."""
GROWTH = 1.01
EARLY_FAILURES = (0.01, 0.3)
"""A run that fails early does so within these shares of its usual duration, log-uniform."""


@dataclass(frozen=True, slots=True)
class Family:
    """``quantile``: of the factor of a run that succeeds. ``failing``: the share of runs that fail early.

    ``growth``: the factor from one run to the next.
    """

    name: str
    quantile: Quantile
    failing: float = 0.0
    growth: float = 1.0

    def history(self, usual: float, runs: int, random: Random) -> list[tuple[float, bool]]:
        """Durations in seconds, and whether the run succeeded, up to the run before the one measured."""
        return [self._draw(usual / self.growth ** (runs - run), random) for run in range(runs)]

    def _draw(self, usual: float, random: Random) -> tuple[float, bool]:
        if random.random() < self.failing:
            return usual * early(random.random()), False
        return usual * self.quantile(random.uniform(1e-9, 1 - 1e-9)), True


def early(share: float) -> float:
    """When a run fails early, as a share of its usual duration."""
    first, last = EARLY_FAILURES
    return first * (last / first) ** share


def deviation(of: float) -> Quantile:
    """Normal in the logarithm, with this deviation."""
    normal = NormalDist(0.0, of)
    return lambda share: exp(normal.inv_cdf(share))


def mixed(*parts: tuple[float, Quantile], steps: int = 4000) -> Quantile:
    """The quantiles of a mixture of (weight, quantiles), from as many points of each as its weight asks."""
    points = sorted(
        quantile((point + 0.5) / count)
        for weight, quantile in parts
        for count in [round(weight * steps)]
        for point in range(count)
    )
    return lambda share: points[min(int(share * len(points)), len(points) - 1)]


def times(factor: float, quantile: Quantile) -> Quantile:
    return lambda share: factor * quantile(share)


def summed(quantile: Callable[[Random], float], steps: int = 4000) -> Quantile:
    """The quantiles of whatever can only be drawn, from a fixed sample, as factors of its median."""
    random = Random(7)
    points = sorted(quantile(random) for _ in range(steps))
    middle = points[steps // 2]
    return lambda share: points[min(int(share * steps), steps - 1)] / middle


STEADY = Family("steady (5 %)", deviation(0.05))
ORDINARY = Family("ordinary (15 %)", deviation(0.15))
_WILD = mixed((0.95, deviation(0.5)), (0.05, times(3, deviation(0.5))))
WILD = Family("wild (50 %, outliers, failures)", _WILD, failing=0.05)
GROWING = Family("growing 1 % a day (15 %)", deviation(0.15), growth=GROWTH)

OTHERS = (
    Family("growing 1 % a day, steady (5 %)", deviation(0.05), growth=GROWTH),
    Family("10 %", deviation(0.10)),
    Family("30 %", deviation(0.30)),
    Family("15 %, one in twenty fails early", deviation(0.15), failing=0.05),
    Family("15 %, one in twenty three times as long", mixed((0.95, deviation(0.15)), (0.05, times(3, deviation(0.15))))),
    Family("gamma, as wide as 15 %", summed(lambda random: random.gammavariate(1 / 0.15**2, 1.0))),
    Family("gamma, as wide as 40 %", summed(lambda random: random.gammavariate(1 / 0.4**2, 1.0))),
    Family("Weibull, shape 6", lambda share: (-log(1 - share) / log(2)) ** (1 / 6)),
    Family("even between 0.7 and 1.3", lambda share: 0.7 + 0.6 * share),
    Family("a fixed part and an exponential one", lambda share: 0.8 - 0.2 * log(1 - share) / log(2)),
    Family("short and long days, 1 : 2.5", mixed((0.6, deviation(0.1)), (0.4, times(2.5, deviation(0.1))))),
)

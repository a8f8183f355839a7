"""Families of simulated jobs: how the durations of one job scatter from run to run.

A family gives the duration of a run as a factor of the job's usual duration, by its quantiles: a share
between 0 and 1 gives a factor. Histories are drawn from it at random; the runs that are measured are spread
over it evenly.
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
"""Growth of the duration per day, with one run a day."""
EARLY_FAILURES = (0.01, 0.3)
"""Shares of the usual duration between which a run fails early, log-uniform."""
POINTS = 4000


@dataclass(frozen=True, slots=True)
class Family:
    """``quantile``: factor of a successful run. ``failing``: the share of runs that fail early.

    ``growth``: the factor from one run to the next.
    """

    name: str
    quantile: Quantile
    failing: float = 0.0
    growth: float = 1.0

    def history(self, usual: float, runs: int, random: Random) -> list[tuple[float, bool]]:
        """Return seconds and success of each run before the one that is measured."""
        return [self._draw(usual / self.growth ** (runs - run), random) for run in range(runs)]

    def _draw(self, usual: float, random: Random) -> tuple[float, bool]:
        if random.random() < self.failing:
            return usual * early(random.random()), False
        return usual * self.quantile(random.uniform(1e-9, 1 - 1e-9)), True


def early(share: float) -> float:
    """Return when a run fails early, as a share of its usual duration."""
    first, last = EARLY_FAILURES
    return exp(log(first) + share * log(last / first))


def deviation(of: float) -> Quantile:
    """Normal in the logarithm, with this deviation."""
    normal = NormalDist(0.0, of)
    return lambda share: exp(normal.inv_cdf(share))


def times(factor: float, quantile: Quantile) -> Quantile:
    return lambda share: factor * quantile(share)


def mixed(*parts: tuple[float, Quantile]) -> Quantile:
    """A mixture of (weight, quantiles): the number of points of each is proportional to its weight."""
    counts = [(round(weight * POINTS), quantile) for weight, quantile in parts]
    return _listed([quantile((at + 0.5) / count) for count, quantile in counts for at in range(count)])


def gamma(relative: float) -> Quantile:
    """A gamma distribution with this deviation relative to its mean, as factors of its median."""
    random = Random(7)  # noqa: S311 - the same points each time
    points = sorted(random.gammavariate(1 / relative**2, 1.0) for _ in range(POINTS))
    return _listed([point / points[POINTS // 2] for point in points])


def _listed(points: list[float]) -> Quantile:
    points = sorted(points)
    return lambda share: points[min(int(share * len(points)), len(points) - 1)]


STEADY = Family("steady (5 %)", deviation(0.05))
ORDINARY = Family("ordinary (15 %)", deviation(0.15))
_OUTLIERS = (0.05, times(3, deviation(0.5)))
WILD = Family("wild (50 %, outliers, failures)", mixed((0.95, deviation(0.5)), _OUTLIERS), failing=0.05)
GROWING = Family("ordinary, growing 1 % a day", deviation(0.15), growth=GROWTH)

_TRIPLED = (0.05, times(3, deviation(0.15)))
_LONG_DAYS = (0.4, times(2.5, deviation(0.1)))
OTHERS = (
    Family("steady, growing 1 % a day", deviation(0.05), growth=GROWTH),
    Family("10 %", deviation(0.10)),
    Family("30 %", deviation(0.30)),
    Family("15 %, one in twenty fails early", deviation(0.15), failing=0.05),
    Family("15 %, one in twenty takes three times as long", mixed((0.95, deviation(0.15)), _TRIPLED)),
    Family("gamma, 15 %", gamma(0.15)),
    Family("gamma, 40 %", gamma(0.40)),
    Family("Weibull, shape 6", lambda share: exp(log(-log(1 - share) / log(2)) / 6)),
    Family("anything between 0.7 and 1.3", lambda share: 0.7 + 0.6 * share),
    Family("at least 0.8, then exponential", lambda share: 0.8 - 0.2 * log(1 - share) / log(2)),
    Family("short and long days, 1 : 2.5", mixed((0.6, deviation(0.1)), _LONG_DAYS)),
)
"""Families that no constant was tuned for: they show that the schedule is not fitted to the families above.
The expectation for a job without history was tuned for the simulated range of durations."""

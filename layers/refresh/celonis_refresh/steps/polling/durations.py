"""Durations of earlier runs of a job in one mode or a load of one kind, and the expectation from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import erfc, exp, inf, log, pi, sqrt
from typing import Any, NamedTuple

from msgspec import Struct

from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.table import ConditionFailed, Table
from celonis_refresh.timing import Clock, Deadline

REMEMBERED = 20
"""Durations that are stored, of successes and of failures each: enough for the spread, and soon replaced."""


def add_duration(document: Mapping[str, Any] | None, duration: float, succeeded: bool) -> dict[str, Any]:
    """Return the document with one more run; None is an empty document.

    ``duration``: seconds from the start to the end, as Celonis dates them or as they were seen. The document
    is small JSON: ``{"successes": [seconds, …], "failures": [seconds, …], "failure_rate": 0 … 1}``. The rate
    of failures is stored separately, because a full list does not show how rare its entries are.
    """
    successes, failures = durations(document, "successes"), durations(document, "failures")
    (successes if succeeded else failures).append(round(max(0.0, duration), 1))
    rate = failure_rate(document)
    return {
        "successes": successes[-REMEMBERED:],
        "failures": failures[-REMEMBERED:],
        "failure_rate": round(rate + ((not succeeded) - rate) / REMEMBERED, 4),
    }


def durations(document: Mapping[str, Any] | None, name: str) -> list[float]:
    """Return seconds, oldest first."""
    kept: Sequence[float] = (document or {}).get(name, ())
    return [float(seconds) for seconds in kept]


def failure_rate(document: Mapping[str, Any] | None) -> float:
    """Return the share of recent runs that failed."""
    return float((document or {}).get("failure_rate", 0.0))


PRIOR_CENTRE = log(520)
PRIOR_SPREAD = log(3.5)
"""Without history, a job is expected to take about eight minutes, times or divided by 3.5. This suits jobs
between a minute and eight hours; shorter ones are seen late, longer ones are polled more often."""
PRIOR_DEVIATION = 0.2
"""Prior for the deviation of the runs of one job; it has the weight of one run."""
MIN_DEVIATION = 0.02
"""Minimum deviation: dates have whole seconds, and queues vary."""
MEMORY = 0.95
"""Weight of a run relative to the next newer one."""
APART = 4.0
"""Minimum gap between two clusters, in deviations."""
PRIOR_DRIFT = 0.003
"""Typical growth of a job from run to run, as a factor less 1."""
NOVELTY = 0.2
"""Weight of durations never seen before, in runs."""
ENOUGH_RUNS = 3
"""Number of our own successes from which the executions that Celonis lists are ignored."""
HEDGED = log(6)
"""From a sixth of the shortest usual duration on, a job is polled although no listed run ended so early."""
BEYOND = 3.0
"""End of a cluster, in deviations above its centre."""

_TINY = 1e-300

Points = Sequence[tuple[float, float]]
"""Pairs of the logarithm of a duration and its weight, in ascending order."""


class Cluster(NamedTuple):
    """Runs of similar duration: share of all runs; ``centre``, ``spread`` of the logarithm of seconds."""

    weight: float
    centre: float
    spread: float


class Doubt(NamedTuple):
    """Where the durations that Celonis lists may mislead, in the logarithm of seconds.

    The job may have changed since. ``hedged_from``: from here on it may end although it never did so early;
    ``passed_from``: past the shortest cluster; ``unknown_from``: past all that is listed.
    """

    hedged_from: float
    passed_from: float
    unknown_from: float


class Expectation(NamedTuple):
    """``usual``: seconds after which a success is first likely; 0 without history.

    ``doubt``: bounds for durations that only Celonis lists; None for durations of our own runs.
    """

    clusters: tuple[Cluster, ...]
    usual: float
    doubt: Doubt | None = None

    def hazard(self, at: float) -> float:
        """Return the probability to end at ``at`` if it still runs, per unit of the logarithm of time."""
        ends = lasts = 0.0
        for cluster in self.clusters:
            z = (at - cluster.centre) / cluster.spread
            ends += cluster.weight * exp(-z * z / 2) / cluster.spread
            lasts += cluster.weight * erfc(z / sqrt(2))
        return ends * sqrt(2 / pi) / max(lasts, _TINY)


def expect(document: Mapping[str, Any] | None, listed: Mapping[str, Any] | None = None) -> Expectation:
    """Return the expectation from what ``durations.learn`` wrote; None is nothing.

    ``listed``: durations of earlier executions that Celonis shows, in the same form. Each run of ours
    reduces their weight.
    """
    if listed and needs_listed(document):
        return _expect(_joined(document, listed), is_listed=True)
    return _expect(document, is_listed=False)


def usual_seconds(item: Mapping[str, Any] | None, now: float) -> float:
    """Return the usual duration of a success by a stored item; 0 if it is not known."""
    if item is None or float(item.get("expires", 0)) < now:
        return 0.0
    try:
        return expect(item).usual
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        logger.warning("the durations could not be read", extra={"key": item.get("pk"), "why": str(error)})
        return 0.0


def needs_listed(document: Mapping[str, Any] | None) -> bool:
    """Return whether the durations that Celonis lists are used: few runs of ours are known."""
    return len(durations(document, "successes")) < ENOUGH_RUNS


def _joined(document: Mapping[str, Any] | None, listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the listed durations, of which each success of ours replaces a third, followed by ours.

    The failure rate is that of a history with the rate of the list to which our runs are added.
    """
    ours = {name: durations(document, name) for name in ("successes", "failures")}
    share = 1 - len(ours["successes"]) / ENOUGH_RUNS
    before = {name: durations(listed, name) for name in ours}
    kept = {name: values[len(values) - round(len(values) * share) :] for name, values in before.items()}
    runs = sum(map(len, ours.values()))
    rate = failure_rate(document) + failure_rate(listed) * (1 - 1 / REMEMBERED) ** runs
    return {**{name: [*kept[name], *ours[name]] for name in ours}, "failure_rate": min(rate, 1.0)}


def _expect(document: Mapping[str, Any] | None, *, is_listed: bool) -> Expectation:
    fails = _failures(durations(document, "failures"), failure_rate(document))
    remaining = 1.0 - sum(cluster.weight for cluster in fails)
    points = _points(durations(document, "successes"))
    if not points:
        doubt = Doubt(-inf, -inf, inf) if is_listed else None
        return Expectation((Cluster(remaining, PRIOR_CENTRE, PRIOR_SPREAD), *fails), usual=0.0, doubt=doubt)
    parts = clusters(points)
    rare = sum(len(part) == 1 for part in parts) - (max(map(len, parts)) == 1)
    novel = (rare + NOVELTY) / (len(points) + NOVELTY)
    estimated = [_cluster(part, remaining * (1 - novel) * _share(part, points)) for part in parts]
    usual = min(cluster.centre for cluster in estimated)
    wide = Cluster(remaining * novel, _mean(points), PRIOR_SPREAD)
    doubt = _doubt(usual, parts, estimated) if is_listed else None
    return Expectation((*estimated, wide, *fails), usual=exp(usual), doubt=doubt)


def _doubt(usual: float, parts: Sequence[Points], clusters: Sequence[Cluster]) -> Doubt:
    """Return the bounds; a single run that took far longer than the others does not extend them."""
    common = min(2, max(map(len, parts)))
    pairs = zip(parts, clusters, strict=True)
    ends = [cluster.centre + BEYOND * cluster.spread for part, cluster in pairs if len(part) >= common]
    return Doubt(usual - HEDGED, min(ends), max(ends))


def clusters(points: Points) -> list[Points]:
    """Split ``points`` at every gap that is wide compared with the deviation on both sides."""
    if len(points) < 2:
        return [points]
    cut = max(range(1, len(points)), key=lambda at: points[at][0] - points[at - 1][0])
    below, above = points[:cut], points[cut:]
    runs = _runs(below) + _runs(above)
    variance = (_runs(below) * _variance(below) + _runs(above) * _variance(above)) / runs
    if above[0][0] - below[-1][0] <= APART * deviation(runs - 1, variance):
        return [points]
    return clusters(below) + clusters(above)


def deviation(runs: float, variance: float) -> float:
    """Return the expected deviation of future runs, from the ``variance`` of ``runs`` (may be weighted).

    It is shrunk towards the prior in the logarithm, because errors of a deviation are factors.
    """
    if runs <= 1:
        return PRIOR_DEVIATION
    measured = max(MIN_DEVIATION, sqrt(variance * runs / (runs - 1)))
    return exp((log(PRIOR_DEVIATION) + (runs - 1) * log(measured)) / runs)


def drift(values: Sequence[float]) -> float:
    """Return the growth of the logarithm from run to run: the median slope of all pairs, robust to outliers.

    It is shrunk towards 0 by its standard error: it takes many runs, or very regular ones, to show growth.
    """
    runs = len(values)
    if runs < 3:
        return 0.0
    slopes = sorted((values[b] - values[a]) / (b - a) for a, b in combinations(range(runs), 2))
    slope = slopes[len(slopes) // 2]
    rests = [(value - slope * at, 1.0) for at, value in enumerate(values)]
    chance = 12 * deviation(runs, _variance(rests)) ** 2 / (runs * (runs**2 - 1))
    return slope * PRIOR_DRIFT**2 / (PRIOR_DRIFT**2 + chance)


def _points(seconds: Sequence[float]) -> Points:
    """Return the durations extrapolated to the next run, at least a second each."""
    values = [log(max(1.0, took)) for took in seconds]
    grown, runs = drift(values), len(values)
    return sorted((value + grown * (runs - at), MEMORY ** (runs - 1 - at)) for at, value in enumerate(values))


def _failures(seconds: Sequence[float], rate: float) -> list[Cluster]:
    """Return one cluster of all failures, which is wide while there are few."""
    if not seconds or rate <= 0:
        return []
    points = _points(seconds)
    doubt = (PRIOR_SPREAD**2 - _variance(points)) / len(points)
    return [Cluster(min(rate, 0.9), _mean(points), sqrt(_variance(points) + max(0.0, doubt)))]


def _cluster(points: Points, weight: float) -> Cluster:
    """Return the cluster with the spread of the next run: its deviation and the error of the centre."""
    runs = _runs(points)
    return Cluster(weight, _mean(points), deviation(runs, _variance(points)) * sqrt(1 + 1 / runs))


def _share(part: Points, whole: Points) -> float:
    return sum(counts for _, counts in part) / sum(counts for _, counts in whole)


def _runs(points: Points) -> float:
    """Return the effective number of runs (Kish)."""
    return sum(counts for _, counts in points) ** 2 / sum(counts**2 for _, counts in points)


def _mean(points: Points) -> float:
    return sum(value * counts for value, counts in points) / sum(counts for _, counts in points)


def _variance(points: Points) -> float:
    mean = _mean(points)
    return sum((value - mean) ** 2 * counts for value, counts in points) / sum(c for _, c in points)


KEPT_DAYS = 180
"""Durations expire after this time without a run."""
DAY = 86_400
WRITE_SECONDS = 2.0
"""Time limit for writing a duration, so that the end of the step is not delayed."""
GOOD: frozenset[str] = frozenset({JobStatus.SUCCESS, LoadStatus.SUCCESS, LoadStatus.WARNING})
BAD: frozenset[str] = frozenset({JobStatus.FAIL, LoadStatus.ERROR})
"""Durations with another end (cancelled, skipped) are not stored: they depend on people, not on the job."""

StoredDurations = dict[str, Any]
"""Durations as ``DurationHistory.learn`` writes them, and ``rev``, the revision of their item (0: none)."""


class DurationHistory(Struct, frozen=True):
    """Reads and writes durations, by the key of their item."""

    table: Table
    clock: Clock

    def read(self, key: str) -> StoredDurations | None:
        """Return the stored durations that have not expired; None if they cannot be read."""
        try:
            item = self.table.get(key) or {}
            rev = int(item.get("rev", 0))
            if float(item.get("expires", 0)) < self.clock():
                return {"rev": rev}
            stored = {
                name: item[name] for name in ("successes", "failures", "failure_rate") if item.get(name)
            }
            expect(stored)  # fails here, once, if the item cannot be used
        except (RefreshError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            logger.warning("the durations could not be read", extra={"key": key, "why": str(error)})
            return None
        return {"rev": rev, **stored}

    def learn(
        self, key: str, stored: Mapping[str, Any], took: float, status: str, deadline: Deadline
    ) -> None:
        """Add a run of ``took`` seconds that ended as ``status``, unless the item has changed."""
        if status not in GOOD | BAD:
            return
        rev = int(stored["rev"])
        facts = {
            **add_duration(stored, took, succeeded=status in GOOD),
            "rev": rev + 1,
            "expires": int(self.clock()) + KEPT_DAYS * DAY,
        }
        unmoved, values = ("#rev = :known", {"known": rev}) if rev else ("attribute_not_exists(pk)", {})
        change = self.table.set(key, facts, unmoved, values)
        try:
            self.table.update(change, Deadline.after(min(WRITE_SECONDS, deadline.left()), self.clock))
        except (ConditionFailed, RefreshError) as error:
            logger.info("a duration was not stored", extra={"key": key, "why": str(error)})


def took(dated: float | None, minimum: float, maximum: float) -> float:
    """Return the duration by Celonis's dates, within what polls showed; without dates, the middle of that.

    ``minimum``: when it was last seen running; ``maximum``: when its end was seen. Both are in seconds since
    the moment from which waits are counted.
    """
    return (minimum + maximum) / 2 if dated is None else min(max(dated, minimum), maximum)

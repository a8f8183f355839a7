"""What is remembered of a job in one mode, or of a load of one kind: how long it took, newest last."""

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
"""Durations that are kept, of successes and of failures each: enough to tell the spread, and soon new."""


def add_duration(document: Mapping[str, Any] | None, duration: float, succeeded: bool) -> dict[str, Any]:
    """The document with one more run in it; None stands for nothing learned yet.

    ``duration``: seconds from the start to the end, as Celonis dates them or as they were seen. The document
    is small JSON: ``{"successes": [seconds, …], "failures": [seconds, …], "failure_rate": 0 … 1}``. The rate
    of failures is kept apart from the two lists, because a list that is full no longer tells how rare its
    entries are.
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
    """Seconds, oldest first; empty where nothing is known."""
    kept: Sequence[float] = (document or {}).get(name, ())
    return [float(seconds) for seconds in kept]


def failure_rate(document: Mapping[str, Any] | None) -> float:
    """The share of runs that failed, of late."""
    return float((document or {}).get("failure_rate", 0.0))


PRIOR_CENTRE = log(520)
PRIOR_SPREAD = log(3.5)
"""A job of which nothing is known takes some eight minutes, times or divided by 3.5: chosen for jobs between
a minute and eight hours. Far shorter ones are found late at first, far longer ones polled more often."""
PRIOR_DEVIATION = 0.2
"""Runs of one job deviate by a fifth; counts as much as one run."""
MIN_DEVIATION = 0.02
"""Whole seconds and queues let no job be more regular than this."""
MEMORY = 0.95
"""A run counts this much of the one after it."""
APART = 4.0
"""A gap of more deviations than this parts two clusters."""
PRIOR_DRIFT = 0.003
"""Jobs grow, or shrink, by some thousandths from run to run."""
NOVELTY = 0.2
"""How many runs of a kind never seen before are counted on top of those seen."""
ENOUGH_RUNS = 3
"""So many successes of ours, and the executions that Celonis lists are not used any more."""
HEDGED = log(6)
"""From a sixth of the shortest usual duration on, a listed job may end although it never did."""
BEYOND = 3.0
"""Deviations above its centre at which a cluster is over."""

_TINY = 1e-300

Points = Sequence[tuple[float, float]]
"""The logarithm of a duration, and how much it counts; in ascending order."""


class Cluster(NamedTuple):
    """Runs that took alike: ``weight`` of all runs; ``centre`` and ``spread`` in the logarithm of seconds."""

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
    """``usual``: seconds after which a success is first likely; 0 where nothing is known.

    ``doubt``: how far durations are believed that no run of ours has confirmed; None where they are ours.
    """

    clusters: tuple[Cluster, ...]
    usual: float
    doubt: Doubt | None = None

    def hazard(self, at: float) -> float:
        """The chance per unit of the logarithm of time to end at ``at``, given that it is running still."""
        ends = lasts = 0.0
        for cluster in self.clusters:
            z = (at - cluster.centre) / cluster.spread
            ends += cluster.weight * exp(-z * z / 2) / cluster.spread
            lasts += cluster.weight * erfc(z / sqrt(2))
        return ends * sqrt(2 / pi) / max(lasts, _TINY)


def expect(document: Mapping[str, Any] | None, listed: Mapping[str, Any] | None = None) -> Expectation:
    """Return the expectation from what ``durations.learn`` wrote; None is nothing.

    ``listed``: durations of earlier executions that Celonis shows, in the same form. They count while few
    runs of ours are known, and less with each.
    """
    if listed and needs_listed(document):
        return _expect(_joined(document, listed), is_listed=True)
    return _expect(document, is_listed=False)


def needs_listed(document: Mapping[str, Any] | None) -> bool:
    """Whether so few runs of ours are known that the durations which Celonis lists are of use."""
    return len(durations(document, "successes")) < ENOUGH_RUNS


def _joined(document: Mapping[str, Any] | None, listed: Mapping[str, Any]) -> dict[str, Any]:
    """The listed durations, fewer with each run of ours, and then ours, which are newer.

    Each run of ours replaces a third of the list. The failure rate is the one that the runs of ours would
    have given if they had been added to a history with the rate of the list.
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
    left = 1.0 - sum(cluster.weight for cluster in fails)
    points = _points(durations(document, "successes"))
    if not points:
        doubt = Doubt(-inf, -inf, inf) if is_listed else None
        return Expectation((Cluster(left, PRIOR_CENTRE, PRIOR_SPREAD), *fails), usual=0.0, doubt=doubt)
    parts = clusters(points)
    rare = sum(len(part) == 1 for part in parts) - (max(map(len, parts)) == 1)
    novel = (rare + NOVELTY) / (len(points) + NOVELTY)
    known = [_cluster(part, left * (1 - novel) * _share(part, points)) for part in parts]
    usual = min(cluster.centre for cluster in known)
    wide = Cluster(left * novel, _mean(points), PRIOR_SPREAD)
    doubt = _doubt(usual, parts, known) if is_listed else None
    return Expectation((*known, wide, *fails), usual=exp(usual), doubt=doubt)


def _doubt(usual: float, parts: Sequence[Points], known: Sequence[Cluster]) -> Doubt:
    """A single run that took far longer than the others does not show that the next one may."""
    common = min(2, max(map(len, parts)))
    pairs = zip(parts, known, strict=True)
    ends = [cluster.centre + BEYOND * cluster.spread for part, cluster in pairs if len(part) >= common]
    return Doubt(usual - HEDGED, min(ends), max(ends))


def clusters(points: Points) -> list[Points]:
    """Parts ``points`` at every gap that is wide beside the deviation on its two sides."""
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
    """The deviation of the runs to come, from the ``variance`` of ``runs`` (which may be weighted) seen.

    Shrunk to what jobs have in general, in the logarithm, since it is a factor that one errs by.
    """
    if runs <= 1:
        return PRIOR_DEVIATION
    seen = max(MIN_DEVIATION, sqrt(variance * runs / (runs - 1)))
    return exp((log(PRIOR_DEVIATION) + (runs - 1) * log(seen)) / runs)


def drift(values: Sequence[float]) -> float:
    """By how much the logarithm grows from run to run: the median slope of all pairs, which no outlier bends.

    Shrunk by how far chance alone would bend it beside what jobs grow in general; so it takes many runs, or
    very regular ones, to show.
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
    """As if each had been the next run. A second at least: below that nothing can be distinguished."""
    values = [log(max(1.0, took)) for took in seconds]
    grown, runs = drift(values), len(values)
    return sorted((value + grown * (runs - at), MEMORY ** (runs - 1 - at)) for at, value in enumerate(values))


def _failures(seconds: Sequence[float], rate: float) -> list[Cluster]:
    """All failures are one cluster, and a wide one until many agree."""
    if not seconds or rate <= 0:
        return []
    points = _points(seconds)
    doubt = (PRIOR_SPREAD**2 - _variance(points)) / len(points)
    return [Cluster(min(rate, 0.9), _mean(points), sqrt(_variance(points) + max(0.0, doubt)))]


def _cluster(points: Points, weight: float) -> Cluster:
    """The spread is that of the next run: its own deviation, and the doubt where the centre is."""
    runs = _runs(points)
    return Cluster(weight, _mean(points), deviation(runs, _variance(points)) * sqrt(1 + 1 / runs))


def _share(part: Points, whole: Points) -> float:
    return sum(counts for _, counts in part) / sum(counts for _, counts in whole)


def _runs(points: Points) -> float:
    """How many runs of equal weight tell as much."""
    return sum(counts for _, counts in points) ** 2 / sum(counts**2 for _, counts in points)


def _mean(points: Points) -> float:
    return sum(value * counts for value, counts in points) / sum(counts for _, counts in points)


def _variance(points: Points) -> float:
    mean = _mean(points)
    return sum((value - mean) ** 2 * counts for value, counts in points) / sum(c for _, c in points)


KEPT_DAYS = 180
"""A job that did not run for so long is as good as new."""
DAY = 86_400
WRITE_SECONDS = 2.0
"""What may be spent on writing a duration: less than an end should wait for it."""
GOOD: frozenset[str] = frozenset({JobStatus.SUCCESS, LoadStatus.SUCCESS, LoadStatus.WARNING})
BAD: frozenset[str] = frozenset({JobStatus.FAIL, LoadStatus.ERROR})
"""Any other end (cancelled, skipped) tells of people, not of the job: nothing is learned from it."""

Known = dict[str, Any]
"""The durations as ``durations.learn`` writes them, and ``rev``, the revision of
the item that they were read from; 0 where there is none."""


class DurationHistory(Struct, frozen=True):
    """Reads and writes durations, by the key of their item."""

    table: Table
    clock: Clock

    def known(self, key: str) -> Known | None:
        """What was learned; None where it cannot be read now. What has expired is not known any more."""
        try:
            item = self.table.get(key) or {}
            rev = int(item.get("rev", 0))
            if float(item.get("expires", 0)) < self.clock():
                return {"rev": rev}
            known = {name: item[name] for name in ("successes", "failures", "failure_rate") if item.get(name)}
            expect(known)  # what cannot be used is not to be found out by every poll
        except (RefreshError, ArithmeticError, LookupError, TypeError, ValueError) as trouble:
            logger.warning("durations cannot be read", extra={"key": key, "why": str(trouble)})
            return None
        return {"rev": rev, **known}

    def learn(self, key: str, known: Mapping[str, Any], took: float, status: str, deadline: Deadline) -> None:
        """Adds a run that took ``took`` seconds and ended as ``status``, unless somebody wrote meanwhile."""
        if status not in GOOD | BAD:
            return
        rev = int(known["rev"])
        facts = {
            **add_duration(known, took, succeeded=status in GOOD),
            "rev": rev + 1,
            "expires": int(self.clock()) + KEPT_DAYS * DAY,
        }
        unmoved, values = ("#rev = :known", {"known": rev}) if rev else ("attribute_not_exists(pk)", {})
        change = self.table.set(key, facts, unmoved, values)
        try:
            self.table.update(change, Deadline.after(min(WRITE_SECONDS, deadline.left()), self.clock))
        except (ConditionFailed, RefreshError) as trouble:
            logger.info("a duration is not learned", extra={"key": key, "why": str(trouble)})


def took(dated: float | None, least: float, most: float) -> float:
    """Seconds that it took: as Celonis dates it, within what was seen; in the middle of that without dates.

    ``least``: when it was last seen running; ``most``: when its end was seen. Both since the moment that
    waits are counted from.
    """
    return (least + most) / 2 if dated is None else min(max(dated, least), most)

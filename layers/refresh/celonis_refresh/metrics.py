"""The metrics of a stack, each named once: docs/metrics.md describes them, and a test compares the two.

CloudWatch bills every combination of a name and its dimensions, so a metric has few dimensions, and only such
whose values the configuration of the stack limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

NAMESPACE = "CelonisRefresh"
"""Namespace of the metrics."""
SERVICE = "service"
"""Dimension that every metric has: the name of the stack."""


class Metric(Struct, frozen=True):
    """One metric. ``dimensions``: in addition to ``service``.

    ``summed``: values of one invocation are added up; the others are written one by one, for percentiles.
    """

    unit: Literal["Count", "Seconds"]
    meaning: str
    dimensions: tuple[str, ...] = ()
    summed: bool = False


def _count(meaning: str, *dimensions: str) -> Metric:
    return Metric("Count", meaning, dimensions, summed=True)


def _values(meaning: str, *dimensions: str, unit: Literal["Count", "Seconds"] = "Seconds") -> Metric:
    return Metric(unit, meaning, dimensions)


METRICS: Mapping[str, Metric] = {
    "RunsEnded": _count("runs that ended, by their status", "pipeline", "outcome"),
    "RunDuration": _values("from the start of a run to its end", "pipeline"),
    "RunWaitingTime": _values("from the first trigger of a run to its first start in Celonis", "pipeline"),
    "JobDuration": _values("from the start of a data job to its observed end"),
    "LoadDuration": _values("from the start of a data model load to its observed end"),
    "PollsPerRun": _values("polls of all steps of a run", unit="Count"),
    "SecondsSinceSuccess": _values("age of the data of a pipeline", "pipeline"),
    "StalePipelines": _values("pipelines that are not fresh", unit="Count"),
    "Deliveries": _count("events of a source, by what they led to", "source", "result"),
    "CelonisRequests": _count("requests to Celonis, by call and HTTP status", "call", "status"),
    "CelonisThrottledTime": Metric(
        "Seconds", "time that tasks wait for the rate limit of Celonis", summed=True
    ),
    "CelonisRemainingRequests": _values("requests that Celonis still allows", unit="Count"),
    "NotificationsSent": _count("notifications that were sent"),
    "NotificationsFailed": _count("attempts to send a notification that failed"),
    "NotificationsGivenUp": _count("notifications that are not sent any more"),
    "ReconcileFindings": _count("what reconcile found and finished, by kind", "finding"),
    "ReconcileFailures": _count("what reconcile could not finish"),
    "ConfigurationErrors": _count("events that the configuration of the stack keeps from starting a run"),
}
"""By name."""

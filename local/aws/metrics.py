"""The metrics of AWS for functions, APIs and queues, and those that functions log.

Metrics have no periods: an alarm is compared with the sum since the deployment.
"""

import json
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse

_Key = tuple[str, str, frozenset[tuple[str, str]]]
_BREACHES = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


class Metrics:
    """Sums by namespace, name and dimensions. As a gateway layer, it counts messages sent to queues."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[_Key, float] = {}

    def add(self, namespace: str, name: str, dimensions: Mapping[str, str], value: float = 1) -> None:
        key = (namespace, name, frozenset(dimensions.items()))
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + value

    def add_embedded(self, text: str) -> None:
        """Add the metrics of a log line in the embedded metric format; ignore other lines."""
        if '"CloudWatchMetrics"' not in text:
            return
        line: dict[str, Any] = json.loads(text)
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = {name: str(line[name]) for name in names}
                for metric in directive["Metrics"]:
                    values = line[metric["Name"]]
                    total = sum(values) if isinstance(values, list) else values
                    self.add(directive["Namespace"], metric["Name"], dimensions, total)

    def value(self, namespace: str, name: str, dimensions: Mapping[str, str]) -> float | None:
        """Return the sum since the deployment; None without data."""
        with self._lock:
            return self._sums.get((namespace, name, frozenset(dimensions.items())))

    def listed(self) -> list[dict[str, Any]]:
        """Return all sums since the deployment, by namespace, name and dimensions."""
        with self._lock:
            sums = dict(self._sums)
        found = [
            {"namespace": space, "metric": name, "dimensions": dict(sorted(dimensions)), "sum": total}
            for (space, name, dimensions), total in sums.items()
        ]
        return sorted(found, key=lambda each: (each["namespace"], each["metric"], str(each["dimensions"])))

    def __call__(self, call: AwsCall, request: HttpRequest, proceed: Next) -> HttpResponse:  # noqa: ARG002
        response = proceed()
        if call.service == "sqs" and call.operation.startswith("SendMessage") and response.status == 200:
            queue = str(call.parameters["QueueUrl"]).rsplit("/", 1)[-1]
            self.add(
                "AWS/SQS",
                "NumberOfMessagesSent",
                {"QueueName": queue},
                len(call.parameters.get("Entries", "1")),
            )
        return response

    def alarming(self, alarms: Iterable[Mapping[str, Any]]) -> set[str]:
        """Return the names of the alarms whose threshold is breached, as in DescribeAlarms."""
        return {str(alarm["AlarmName"]) for alarm in alarms if self._is_breached(alarm)}

    def _is_breached(self, alarm: Mapping[str, Any]) -> bool:
        value = self._watched(alarm)
        if value is None:
            return bool(alarm.get("TreatMissingData") == "breaching")
        return bool(_BREACHES[alarm["ComparisonOperator"]](value, alarm["Threshold"]))

    def _watched(self, alarm: Mapping[str, Any]) -> float | None:
        queries = alarm.get("Metrics") or []
        if not queries:
            return self._of(alarm)
        values = {one["Id"]: self._of(one["MetricStat"]["Metric"]) for one in queries if "MetricStat" in one}
        (expression,) = (one["Expression"] for one in queries if one.get("Expression"))
        return _difference(expression, values)

    def _of(self, metric: Mapping[str, Any]) -> float | None:
        dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])}
        return self.value(metric["Namespace"], metric["MetricName"], dimensions)


def _difference(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Evaluate `a - b`, the only supported expression; None if one of them has no data."""
    match = re.fullmatch(r"(\w+) - (\w+)", expression)
    if match is None:
        raise ValueError(f"the expression {expression!r} is not evaluated here")
    left, right = values[match[1]], values[match[2]]
    return None if left is None or right is None else left - right

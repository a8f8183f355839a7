"""The metrics that AWS would have: of functions, APIs and queues, and those that functions log.

They are kept whole, without periods. An alarm is compared with the sum of everything since the deployment.
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
    """Sums by namespace, name and dimensions. As a layer of the gateway, it counts what queues are sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[_Key, float] = {}

    def add(self, namespace: str, name: str, dimensions: Mapping[str, str], value: float = 1) -> None:
        key = (namespace, name, frozenset(dimensions.items()))
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + value

    def add_embedded(self, text: str) -> None:
        """Add what a log line in the embedded metric format holds; any other line adds nothing."""
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
        """The sum since the deployment; None where there is no data."""
        with self._lock:
            return self._sums.get((namespace, name, frozenset(dimensions.items())))

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
        """The names of the alarms, as DescribeAlarms shows them, whose threshold is breached."""
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
    """`a - b`, the only expression that is understood here; without data of one, there is no result."""
    found = re.fullmatch(r"(\w+) - (\w+)", expression)
    if found is None:
        raise ValueError(f"the expression {expression!r} is not evaluated here")
    left, right = values[found[1]], values[found[2]]
    return None if left is None or right is None else left - right

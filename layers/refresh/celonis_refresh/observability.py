"""The logger and the metrics of all functions: one JSON object per line, with the ids that are known."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar, cast

from aws_lambda_powertools import Logger

from celonis_refresh.metrics import METRICS, NAMESPACE, SERVICE

LAMBDA_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""Names of levels that Lambda knows; it treats any other name as INFO."""


def to_line(fields: dict[str, Any]) -> str:
    """Return a log line as JSON, with the level as Lambda names it."""
    level = fields.get("level")
    named = {**fields, "level": LAMBDA_LEVELS.get(str(level), level)}
    return json.dumps(named, default=str, ensure_ascii=False)


# The level comes from AWS_LAMBDA_LOG_LEVEL, which Lambda sets from ApplicationLogLevel. Lambda filters the
# lines again, and treats a line without an RFC 3339 timestamp as INFO.
logger = Logger(use_rfc3339=True, utc=True, json_serializer=to_line)

# The runtime gives the root logger the same level; the debug lines of botocore hold values of secrets.
logging.getLogger().setLevel(max(logging.getLogger().level, logging.INFO))
# Its warnings about a malformed answer have the whole address, of which the query may be a secret.
logging.getLogger("urllib3").setLevel(logging.ERROR)


CELONIS_KEYS = ("data_pool", "data_job", "data_model", "execution_id", "load_id")
KEYS = ("run_id", "pipeline", "source", "delivery_id", "step", *CELONIS_KEYS)
"""Log keys that a line with metrics has as well, as they are known when a value is recorded."""


@contextmanager
def log_scope(**keys: object) -> Iterator[None]:
    """Add keys to the log lines of a block. Keys that the block itself adds end with it as well."""
    before = dict(logger.get_current_keys())
    logger.append_keys(**keys)
    try:
        yield
    finally:
        logger.remove_keys([name for name in logger.get_current_keys() if name not in before])
        logger.append_keys(**before)


_Group = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
"""Dimensions and facts of metrics."""
MAX_VALUES = 100
"""Values of a metric in a line of the embedded metric format."""


class _Line:
    """Metrics that one line can have: each dimension, fact and metric is a field, which has one value."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.groups: list[tuple[dict[str, str], dict[str, Sequence[float]]]] = []

    def add(self, group: _Group, name: str, values: Sequence[float]) -> bool:
        """Add values of a metric; False if another line must have them."""
        dimensions, facts = dict(group[0]), dict(group[1])
        fields = {**facts, **dimensions}
        if any(self.fields.get(key, value) != value for key, value in fields.items()):
            return False
        if any(name in metrics for _, metrics in self.groups):
            return False
        self.fields |= fields
        metrics = next((metrics for known, metrics in self.groups if known == dimensions), None)
        if metrics is None:
            metrics = {}
            self.groups.append((dimensions, metrics))
        metrics[name] = values
        return True

    def write(self) -> None:
        """Write the metrics as one line in the embedded metric format.

        The line has the level that the function logs at least, so that Lambda drops it at no ``LogLevel``.
        """
        from aws_lambda_powertools.metrics import EphemeralMetrics

        formatter = EphemeralMetrics(namespace=NAMESPACE)
        known = logger.get_current_keys()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {key: known[key] for key in KEYS if key in known}
        line |= {"level": _min_level(), "timestamp": now, **self.fields}
        directives: list[Any] = []
        for dimensions, metrics in self.groups:
            units = {name: {"Unit": METRICS[name].unit, "Value": values} for name, values in metrics.items()}
            named = {SERVICE: logger.service, **dimensions}
            part = cast("dict[str, Any]", formatter.serialize_metric_set(units, named, {}))
            directives += part["_aws"]["CloudWatchMetrics"]
            line |= part
        line["_aws"]["CloudWatchMetrics"] = directives
        print(json.dumps(line, separators=(",", ":")))


def _min_level() -> str:
    """Return the minimum log level, at least INFO, as Lambda names it."""
    level = logging.getLevelName(max(logger.log_level, logging.INFO))
    return LAMBDA_LEVELS.get(level, level)


class _Collector:
    """The metrics of an invocation, until they are written. Outside of one, each is written at once."""

    def __init__(self) -> None:
        self.is_collecting = False
        self._values: dict[tuple[_Group, str], list[float]] = {}
        self._lock = Lock()

    def add(self, name: str, value: float, dimensions: dict[str, str], facts: dict[str, str]) -> None:
        group = tuple(dimensions.items()), tuple(facts.items())
        with self._lock:  # messages are sent in threads
            values = self._values.setdefault((group, name), [])
            if METRICS[name].summed and values:
                values[0] += value
            else:
                values.append(value)
        if not self.is_collecting:
            self.write()

    def write(self) -> None:
        """Write what was collected, in as few lines as its dimensions allow."""
        with self._lock:
            collected, self._values = self._values, {}
        lines: list[_Line] = []
        for (group, name), values in collected.items():
            for first in range(0, len(values), MAX_VALUES):
                part = values[first : first + MAX_VALUES]
                if not any(line.add(group, name, part) for line in lines):
                    lines.append(_Line())
                    lines[-1].add(group, name, part)
        for line in lines:
            line.write()


_collector = _Collector()


def measure(name: str, value: float, **facts: str) -> None:
    """Record a value of a metric of ``METRICS``.

    ``facts``: the dimensions of the metric; others are added to the line, not to the metric.
    """
    dimensions = {dimension: facts.pop(dimension) for dimension in METRICS[name].dimensions}
    known = logger.get_current_keys()
    facts = {key: str(known[key]) for key in KEYS if key in known and key not in dimensions} | facts
    _collector.add(name, value, dimensions, facts)


def count(name: str, value: float = 1, **facts: str) -> None:
    """As :func:`measure`, for one more of what the metric counts."""
    measure(name, value, **facts)


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def collecting_metrics(handler: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Write the metrics of an invocation at its end, in few lines; also if it fails."""

    @wraps(handler)
    def collecting(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
        _collector.is_collecting = True
        try:
            return handler(*arguments, **named)
        finally:
            _collector.is_collecting = False
            _collector.write()

    return collecting

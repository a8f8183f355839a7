"""The logger and the metrics of all functions: one JSON object per line, with the run's id."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

NAMESPACE = "CelonisRefresh"
"""Namespace of the metrics."""
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


def count(metric: str, value: int = 1, **facts: str) -> None:
    """Add to a metric of this stack. ``facts`` are metadata of the line, not dimensions.

    The line has the level ERROR, so that it is logged with every ``LogLevel``. Powertools' metrics are
    imported on first use, because counts are rare.
    """
    from aws_lambda_powertools.metrics import MetricUnit, single_metric

    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with single_metric(name=metric, unit=MetricUnit.Count, value=value, namespace=NAMESPACE) as counted:
        counted.add_dimension("service", logger.service)
        for name, fact in {"level": "ERROR", "timestamp": now, **facts}.items():
            counted.add_metadata(name, fact)

"""The logger of all functions: one JSON object a line, the run's id in each."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger()

NAMESPACE = "CelonisRefresh"
"""Of the metrics."""


def count(metric: str, **dimensions: str) -> None:
    """Adds one to a metric of the service. What counts is rare, so it is loaded when it happens."""
    from aws_lambda_powertools.metrics import MetricUnit, single_metric

    with single_metric(name=metric, unit=MetricUnit.Count, value=1, namespace=NAMESPACE) as counted:
        for name, value in {"service": logger.service, **dimensions}.items():
            counted.add_dimension(name, value)

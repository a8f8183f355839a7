"""What a run and an idle month cost at list prices, and what the peers cost.

US dollars, region us-east-1, without free tiers, discounts and data transfer. Each price is listed with the
page that lists it. Usage comes from the other figures where available. Assumed usage is stated here and is
rather too high than too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local.bench.transitions import transitions_for
from local.serve import ROOT

# https://aws.amazon.com/lambda/pricing/ (arm64)
LAMBDA_REQUEST = 0.20 / 1e6
LAMBDA_GB_SECOND = 0.0000133334
# https://aws.amazon.com/step-functions/pricing/ (Standard)
TRANSITION = 25.0 / 1e6
# https://aws.amazon.com/api-gateway/pricing/ (HTTP API)
API_REQUEST = 1.00 / 1e6
# https://aws.amazon.com/dynamodb/pricing/on-demand/ (standard table class)
WRITE_UNIT, READ_UNIT = 0.625 / 1e6, 0.125 / 1e6
# https://aws.amazon.com/cloudwatch/pricing/
LOGS_GB, ALARM_MONTH, DASHBOARD_MONTH, METRIC_MONTH = 0.50, 0.10, 3.00, 0.30
# https://aws.amazon.com/secrets-manager/pricing/
SECRET_MONTH, SECRET_CALL = 0.40, 0.05 / 1e4
# https://aws.amazon.com/eventbridge/pricing/ (Scheduler)
SCHEDULER_CALL = 1.00 / 1e6
# https://aws.amazon.com/eventbridge/pricing/ (custom events on the bus, each up to 64 KB)
EVENT = 1.00 / 1e6
# https://aws.amazon.com/xray/pricing/
TRACE = 5.00 / 1e6
# https://aws.amazon.com/managed-workflows-for-apache-airflow/pricing/ (mw1.small: environment, per hour)
AIRFLOW_HOUR = 0.49
# https://aws.amazon.com/fargate/pricing/ (Linux, arm64: per vCPU and hour, per GB and hour)
FARGATE_VCPU_HOUR, FARGATE_GB_HOUR = 0.03238, 0.00356

HOURS_A_MONTH = 730
RECONCILE_A_MONTH = HOURS_A_MONTH * 60 // 5
MEMORY_GB = 0.5
BILLED_SECONDS = 1.0
"""Seconds of each invocation, including a cold start: polls that are minutes apart rarely find a warm
process. This is several times the duration measured here, because 512 MB come with less than a third of a
vCPU."""
RECORD_UNITS = 4
"""Write units of a write to a run's record, which has up to 2 KB and is in two indexes."""
CLAIM_UNITS = 2 * (1 + 1 + 1 + RECORD_UNITS)
"""Write units of the transaction that claims a run (delivery, slot, lease, record); transactions count
twice."""
WRITES_PER_RUN = 8
"""Writes to the record besides those of polls: baseline, opening, two starts, ends, closing."""
EVENTS_PER_RUN = 6
"""Run events on EventBridge: started and ended, of the run and of its two steps."""
OUTBOX_MESSAGES = 7
"""Messages of a run in the outbox: its events, and a notification for the topic."""
OUTBOX_UNITS = OUTBOX_MESSAGES * (2 + 1 + 1)
"""Write units of the outbox: each message is put in a transaction (twice the units), claimed and removed."""
BY_SOURCE_UNITS = 2 + 2
"""Write units of the delivery in the index ``by_source``: in the transaction of the claim, and its result."""
METRICS_PER_RUN = 20
"""Custom metrics of a run, each billed for an hour at least. They are not part of ``run``: runs in the same
hour share most of them."""
LOG_BYTES = 3072
"""Log bytes of an invocation: the lines of the platform (start, end, report) and ours, including metrics."""
IDLE_METRICS = 1
"""Metrics that have values while nothing runs: ``StalePipelines``."""
FARGATE_VCPU, FARGATE_GB = 0.25, 0.5
"""The smallest task."""
OTHER_INVOCATIONS = 6
"""Invocations of a run other than polls: trigger, open, two starts, close, and one spare."""


@dataclass(frozen=True)
class Costs:
    """``usd`` by what it is for."""

    usd: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.usd.values())


def run(polls: float, transitions_run: int) -> Costs:
    """One run: a webhook, a job of one hour and a load of one hour, with this number of polls each."""
    invocations = OTHER_INVOCATIONS + 2 * polls
    writes = CLAIM_UNITS + OUTBOX_UNITS + BY_SOURCE_UNITS + RECORD_UNITS * (WRITES_PER_RUN + 2 * polls)
    return Costs(
        {
            "Lambda": _lambda(invocations),
            "Step Functions": TRANSITION * transitions_for(transitions_run, 2 * polls),
            "API": API_REQUEST,
            "events": EVENT * EVENTS_PER_RUN,
            "DynamoDB": WRITE_UNIT * writes + READ_UNIT * invocations,
            "logs": LOGS_GB * LOG_BYTES * invocations / 1e9,
            "secrets": SECRET_CALL * invocations,
            "traces": TRACE * invocations,
        }
    )


def metrics_of_a_run() -> float:
    """Return the price of the custom metrics of a run that shares its hour with no other run."""
    return METRIC_MONTH / HOURS_A_MONTH * METRICS_PER_RUN


def idle_month() -> Costs:
    """A month in which nothing runs: fixed costs, and ``reconcile`` every five minutes."""
    types = [resource["Type"] for resource in _template()["Resources"].values()]
    return Costs(
        {
            "secrets": SECRET_MONTH * types.count("AWS::SecretsManager::Secret"),
            "alarms": ALARM_MONTH * types.count("AWS::CloudWatch::Alarm"),
            "dashboards": DASHBOARD_MONTH * types.count("AWS::CloudWatch::Dashboard"),
            "metrics": METRIC_MONTH * IDLE_METRICS,
            "Lambda": _lambda(RECONCILE_A_MONTH),
            "scheduler": SCHEDULER_CALL * RECONCILE_A_MONTH,
            "DynamoDB": READ_UNIT * 4 * RECONCILE_A_MONTH,
            "logs": LOGS_GB * LOG_BYTES * RECONCILE_A_MONTH / 1e9,
            "traces": TRACE * RECONCILE_A_MONTH,
        }
    )


def airflow_month() -> float:
    """A small managed Airflow, which costs the same whether it is used or not."""
    return AIRFLOW_HOUR * HOURS_A_MONTH


def fargate_run(hours: float) -> float:
    """A Fargate task that starts the job, waits and polls."""
    return hours * (FARGATE_VCPU * FARGATE_VCPU_HOUR + FARGATE_GB * FARGATE_GB_HOUR)


def _lambda(invocations: float) -> float:
    return invocations * (LAMBDA_REQUEST + LAMBDA_GB_SECOND * MEMORY_GB * BILLED_SECONDS)


def _template() -> dict[str, Any]:
    document: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return document

"""What a run and an idle month cost at list prices, and what the peers cost.

US dollars, region us-east-1, without free tiers, discounts and data transfer. Each price is listed with the
page that lists it. Usage comes from the other figures where available, and is stated here where it
is assumed, mostly on the dear side.
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
LOGS_GB, ALARM_MONTH = 0.50, 0.10
# https://aws.amazon.com/secrets-manager/pricing/
SECRET_MONTH, SECRET_CALL = 0.40, 0.05 / 1e4
# https://aws.amazon.com/eventbridge/pricing/ (Scheduler)
SCHEDULER_CALL = 1.00 / 1e6
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
"""Of each invocation, a cold start among it: polls that are minutes apart mostly find no warm process. That
is several times what one takes here: half a gigabyte comes with less than a third of a processor."""
RECORD_UNITS = 4
"""Write units of a write to a run's record: it has up to 2 KB and is in two indexes."""
CLAIM_UNITS = 2 * (1 + 1 + 1 + RECORD_UNITS)
"""Of the transaction that claims: delivery, slot, lease, record; a transaction counts twice."""
WRITES_PER_RUN = 8
"""Writes to the record in addition to those of the polls: baseline, opening, two starts, ends, closing."""
LOG_BYTES = 2048
"""Of an invocation: the lines of the platform (start, end, report) and ours."""
FARGATE_VCPU, FARGATE_GB = 0.25, 0.5
"""The smallest task."""
OTHER_INVOCATIONS = 6
"""Invocations of a run other than polls: trigger, open, two starts, close, and one to spare."""


@dataclass(frozen=True)
class Costs:
    """``usd`` by what it is for."""

    usd: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.usd.values())


def run(polls: float, transitions_run: int) -> Costs:
    """One run: a webhook, a data job of an hour, a load of an hour, with this many polls of each."""
    invocations = OTHER_INVOCATIONS + 2 * polls
    writes = CLAIM_UNITS + RECORD_UNITS * (WRITES_PER_RUN + 2 * polls)
    return Costs(
        {
            "Lambda": _lambda(invocations),
            "Step Functions": TRANSITION * transitions_for(transitions_run, 2 * polls),
            "API": API_REQUEST,
            "DynamoDB": WRITE_UNIT * writes + READ_UNIT * invocations,
            "logs": LOGS_GB * LOG_BYTES * invocations / 1e9,
            "secrets": SECRET_CALL * invocations,
            "traces": TRACE * invocations,
        }
    )


def idle_month() -> Costs:
    """A month in which nothing runs: fixed costs, and ``reconcile`` every five minutes."""
    types = [resource["Type"] for resource in _template()["Resources"].values()]
    return Costs(
        {
            "secrets": SECRET_MONTH * types.count("AWS::SecretsManager::Secret"),
            "alarms": ALARM_MONTH * types.count("AWS::CloudWatch::Alarm"),
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
    """A task that starts the work, waits and polls."""
    return hours * (FARGATE_VCPU * FARGATE_VCPU_HOUR + FARGATE_GB * FARGATE_GB_HOUR)


def _lambda(invocations: float) -> float:
    return invocations * (LAMBDA_REQUEST + LAMBDA_GB_SECOND * MEMORY_GB * BILLED_SECONDS)


def _template() -> dict[str, Any]:
    document: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return document

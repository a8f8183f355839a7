"""Finish what a crash or a lost event left incomplete."""

import time
from functools import cache
from typing import Any

from msgspec.structs import asdict

from celonis_refresh import wiring
from celonis_refresh.observability import collecting_metrics, count, logger, measure
from celonis_refresh.timing import epoch
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.reconcile import Reconciler

REPEATED_SECONDS = 45.0
"""Age of an event from which its first invocation has failed: Lambda repeats it with the same event, after a
minute at the earliest."""


@cache
def _reconciler() -> Reconciler:
    return Reconciler(
        table=wiring.table(),
        records=wiring.records(),
        leases=wiring.leases(),
        listing=Listing(wiring.table(), time.time),
        executions=wiring.state_machine(),
        closer=wiring.run_closer(),
        freshness=wiring.freshness_monitor(),
        configuration=wiring.configuration_checks(),
        outbox=wiring.outbox(),
        target_for=wiring.target_for,
        clock=time.time,
    )


def is_repeated(event: dict[str, Any], now: float) -> bool:
    """Return whether an earlier invocation with this event of the schedule has failed."""
    return "time" in event and now - epoch(str(event["time"])) >= REPEATED_SECONDS


@logger.inject_lambda_context(clear_state=True)
@collecting_metrics
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, list[str]]:
    findings = asdict(
        _reconciler().reconcile(wiring.deadline(context), repeated=is_repeated(event, time.time()))
    )
    for kind, names in findings.items():
        if names:
            count("ReconcileFindings", len(names), finding=kind)
    if findings["failed"]:
        count("ReconcileFailures", len(findings["failed"]))
    measure("StalePipelines", len(findings["stale"]))
    logger.info("reconciled", extra={kind: names for kind, names in findings.items() if names})
    return findings

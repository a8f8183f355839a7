"""Finish what a crash or a lost event left incomplete."""

import time
from functools import cache
from typing import Any

from msgspec.structs import asdict

from celonis_refresh import wiring
from celonis_refresh.observability import count, logger
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.reconcile import Reconciler


@cache
def _reconciler() -> Reconciler:
    return Reconciler(
        table=wiring.table(),
        records=wiring.records(),
        leases=wiring.leases(),
        listing=Listing(wiring.table(), time.time),
        executions=wiring.state_machine(),
        closer=wiring.run_closer(),
        target_for=wiring.target_for,
        clock=time.time,
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> dict[str, list[str]]:  # noqa: ARG001
    findings = asdict(_reconciler().reconcile(wiring.deadline(context)))
    if findings["failed"]:
        count("ReconcileFailures", len(findings["failed"]))
    logger.info("reconciled", extra={kind: names for kind, names in findings.items() if names})
    return findings

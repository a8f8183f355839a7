"""Finishes what a crash or a lost event left behind."""

import time
from functools import cache
from typing import Any

from msgspec.structs import asdict

from celonis_refresh import assembly
from celonis_refresh.observability import count, logger
from celonis_refresh.passage.reconciling import Reconciling
from celonis_refresh.runs.listing import Listing


@cache
def _reconciling() -> Reconciling:
    return Reconciling(
        table=assembly.table(),
        records=assembly.records(),
        leases=assembly.leases(),
        listing=Listing(assembly.table(), time.time),
        executions=assembly.state_machine(),
        closing=assembly.closing(),
        work_for=assembly.work_for,
        clock=time.time,
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: assembly.LambdaContext) -> dict[str, list[str]]:  # noqa: ARG001
    findings = asdict(_reconciling().reconcile(assembly.deadline(context)))
    if findings["failed"]:
        count("ReconcileFailures", len(findings["failed"]))
    logger.info("reconciled", extra={kind: names for kind, names in findings.items() if names})
    return findings

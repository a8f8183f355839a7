"""Builds the RunCloser, RunCommands and Reconciler over a ServiceHarness."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.steps.cancel import StepCanceller
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.close import Publish, RunCloser
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.reconcile import Reconciler
from tests.fakes.executions import FakeExecutions
from tests.fakes.service import ServiceHarness

RETENTION_DAYS = 90


def make_run_closer(
    service: ServiceHarness, executions: FakeExecutions, notify: Publish, is_paused: Callable[[str], bool]
) -> RunCloser:
    return RunCloser(
        table=service.table,
        records=service.records,
        leases=service.leases,
        executions=executions,
        canceller=StepCanceller(service.target_for, service.clock, service.clock.sleep),
        publish=notify,
        is_paused=is_paused,
        clock=service.clock,
        retention_days=RETENTION_DAYS,
    )


def make_run_commands(
    service: ServiceHarness, executions: FakeExecutions, acceptor: TriggerAcceptor, pipelines: Iterable[str]
) -> RunCommands:
    return RunCommands(
        table=service.table,
        lookup=RunLookup(service.table, service.records),
        listing=Listing(service.table, service.clock),
        acceptor=acceptor,
        executions=executions,
        pipelines=lambda: list(pipelines),
        clock=service.clock,
    )


def make_reconciler(service: ServiceHarness, executions: FakeExecutions, closer: RunCloser) -> Reconciler:
    return Reconciler(
        table=service.table,
        records=service.records,
        leases=service.leases,
        listing=Listing(service.table, service.clock),
        executions=executions,
        closer=closer,
        target_for=service.target_for,
        clock=service.clock,
        sleep=service.clock.sleep,
    )

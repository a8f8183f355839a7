"""The parts that end, steer and take up runs, put together over a bench."""

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


def closing_over(
    bench: ServiceHarness, executions: FakeExecutions, notify: Publish, is_paused: Callable[[str], bool]
) -> RunCloser:
    return RunCloser(
        table=bench.table,
        records=bench.records,
        leases=bench.leases,
        executions=executions,
        canceller=StepCanceller(bench.target_for, bench.clock, bench.clock.sleep),
        publish=notify,
        is_paused=is_paused,
        clock=bench.clock,
        retention_days=RETENTION_DAYS,
    )


def steering_over(
    bench: ServiceHarness, executions: FakeExecutions, accepting: TriggerAcceptor, pipelines: Iterable[str]
) -> RunCommands:
    return RunCommands(
        table=bench.table,
        lookup=RunLookup(bench.table, bench.records),
        listing=Listing(bench.table, bench.clock),
        acceptor=accepting,
        executions=executions,
        pipelines=lambda: list(pipelines),
        clock=bench.clock,
    )


def reconciling_over(bench: ServiceHarness, executions: FakeExecutions, closing: RunCloser) -> Reconciler:
    return Reconciler(
        table=bench.table,
        records=bench.records,
        leases=bench.leases,
        listing=Listing(bench.table, bench.clock),
        executions=executions,
        closer=closing,
        target_for=bench.target_for,
        clock=bench.clock,
    )

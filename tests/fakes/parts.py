"""The parts that end, steer and take up runs, put together over a bench."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from celonis_refresh.passage.accepting import Accepting
from celonis_refresh.passage.closing import Closing, Notify
from celonis_refresh.passage.reconciling import Reconciling
from celonis_refresh.passage.steering import Steering
from celonis_refresh.passage.stopping import Stopping
from celonis_refresh.runs.listing import Listing
from celonis_refresh.runs.waiting import Lookup
from tests.fakes.bench import Bench
from tests.fakes.executions import FakeExecutions

RETENTION_DAYS = 90


def closing_over(
    bench: Bench, executions: FakeExecutions, notify: Notify, is_paused: Callable[[str], bool]
) -> Closing:
    return Closing(
        table=bench.table,
        records=bench.records,
        leases=bench.leases,
        executions=executions,
        stopping=Stopping(bench.work_for, bench.clock, bench.clock.sleep),
        notify=notify,
        is_paused=is_paused,
        clock=bench.clock,
        retention_days=RETENTION_DAYS,
    )


def steering_over(
    bench: Bench, executions: FakeExecutions, accepting: Accepting, pipelines: Iterable[str]
) -> Steering:
    return Steering(
        table=bench.table,
        lookup=Lookup(bench.table, bench.records),
        listing=Listing(bench.table, bench.clock),
        accepting=accepting,
        executions=executions,
        pipelines=lambda: list(pipelines),
        clock=bench.clock,
    )


def reconciling_over(bench: Bench, executions: FakeExecutions, closing: Closing) -> Reconciling:
    return Reconciling(
        table=bench.table,
        records=bench.records,
        leases=bench.leases,
        listing=Listing(bench.table, bench.clock),
        executions=executions,
        closing=closing,
        work_for=bench.work_for,
        clock=bench.clock,
    )

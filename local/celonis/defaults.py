"""Fills a platform with the default world."""

from __future__ import annotations

from collections.abc import Iterable

from local.celonis import world
from local.celonis.model import Platform
from local.celonis.setups import JobSetup, ModelSetup, TableSetup
from local.celonis.starts import RequestedStart
from local.celonis.targets import JobTarget, ModelTarget

HISTORY_SECONDS = 86_400.0
PAST_RUNS = 20
SCATTER = (1.0, 1.04, 0.97, 1.02, 0.95)
"""Factors of the durations of past runs, used in turn."""
HOUR = 3_600.0
JOBS = (
    (world.ERP_JOB_ID, world.POOL_ID, "ERP extraction"),
    (world.CRM_JOB_ID, world.POOL_ID, "CRM extraction"),
    (world.MASTER_DATA_JOB_ID, world.POOL_ID, "Master data"),
    (world.OTHER_JOB_ID, world.OTHER_POOL_ID, "P2P extraction"),
)
MODELS = (
    (world.MODEL_ID, world.POOL_ID, "Order to Cash", world.TABLES),
    (world.SECOND_MODEL_ID, world.POOL_ID, "Accounts receivable", world.SECOND_TABLES),
    (world.OTHER_MODEL_ID, world.OTHER_POOL_ID, "Purchase to Pay", world.OTHER_TABLES),
)


def tables(model_id: str, rows: Iterable[tuple[str, str | None, str]]) -> tuple[TableSetup, ...]:
    """Return the tables of a model from rows of name, alias and data source."""
    return tuple(
        TableSetup(world.table_id(model_id, name, source), name, alias, source)
        for name, alias, source in rows
    )


def add_past_runs(platform: Platform) -> None:
    """Add daily past runs of every job and loads of every model until yesterday, in every mode and kind.

    Each takes about the duration in its setup.
    """
    for day in range(PAST_RUNS + 1, 1, -1):
        factor = SCATTER[day % len(SCATTER)]
        for job in platform.jobs.values():
            for hour, mode in enumerate(("FULL", "DELTA")):
                seconds = factor * job.setup.run_seconds(mode)
                at = platform.clock() - day * HISTORY_SECONDS + hour * HOUR
                platform.add_past(job, RequestedStart(by="history", mode=mode, seconds=seconds), at)
        for model in platform.models.values():
            for hour, kind in enumerate(("COMPLETE", "PARTIAL", "FROM_CACHE")):
                seconds = factor * model.setup.run_seconds(kind)
                at = platform.clock() - day * HISTORY_SECONDS + hour * HOUR
                platform.add_past(model, RequestedStart(by="history", kind=kind, seconds=seconds), at)


def fill(platform: Platform, *, history: bool = True) -> None:
    """Put the default world into an empty platform.

    With ``history`` every job ran and every model was loaded once, a day ago; without, never.
    """
    platform.pools = {world.POOL_ID: world.POOL_NAME, world.OTHER_POOL_ID: world.OTHER_POOL_NAME}
    for job_id, pool_id, name in JOBS:
        platform.add_job(job_id, pool_id, name, JobSetup(seconds=world.DEFAULT_JOB_SECONDS))
    for model_id, pool_id, name, rows in MODELS:
        setup = ModelSetup(seconds=world.DEFAULT_LOAD_SECONDS, tables=tables(model_id, rows))
        platform.add_model(model_id, pool_id, name, setup)
    if history:
        before = platform.clock() - HISTORY_SECONDS
        targets: list[JobTarget | ModelTarget] = [*platform.jobs.values(), *platform.models.values()]
        for target in targets:
            platform.start(target, RequestedStart(by="history"), at=before)

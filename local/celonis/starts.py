"""Starts: the request, its result, and the operation built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from local.celonis.operations import InnerLoadStep, JobExecution, LoadOperation, Operation
from local.celonis.targets import JobTarget, ModelTarget

Effect = Literal["started", "queued", "refused", "ignored"]
API = "api"


@dataclass(frozen=True)
class RequestedStart:
    """A request to start a job or load. ``mode`` is for jobs, ``kind`` and ``tables`` for models.

    ``seconds`` and ``outcome`` override the setup for this one start.
    """

    by: str = API
    mode: str = "FULL"
    kind: str = "COMPLETE"
    tables: tuple[str, ...] = ()
    seconds: float | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class StartResult:
    """The result of a request. ``operation``: what was started, or else what is running."""

    effect: Effect
    operation: Operation


@dataclass(frozen=True)
class QueuePosition:
    """A new operation: number, ids, time of the request (seconds), and the operation that it waits for."""

    seq: int
    id: str
    item_id: str
    at: float
    after: Operation | None


def new_execution(job: JobTarget, options: RequestedStart, position: QueuePosition) -> JobExecution:
    """Return the execution of ``job`` for ``request``, with its current setup."""
    setup = job.setup
    inner = None
    if setup.loads_model is not None:
        inner = InnerLoadStep(setup.loads_model, setup.loads_tables, awaited=not setup.success_before_load)
    return JobExecution(
        seq=position.seq,
        id=position.id,
        by=options.by,
        requested_at=position.at,
        queue_seconds=setup.queue_seconds,
        run_seconds=setup.run_seconds(options.mode) if options.seconds is None else options.seconds,
        outcome=options.outcome or setup.outcome,
        after=position.after,
        job_id=job.id,
        mode=options.mode,
        item_id=position.id if setup.item_ids == "same" else position.item_id,
        inner=inner,
    )


def new_load(model: ModelTarget, options: RequestedStart, position: QueuePosition) -> LoadOperation:
    """Return the load of ``model`` for ``request``, with its current setup."""
    setup = model.setup
    return LoadOperation(
        seq=position.seq,
        id=position.id,
        by=options.by,
        requested_at=position.at,
        queue_seconds=setup.queue_seconds,
        run_seconds=setup.run_seconds(options.kind) if options.seconds is None else options.seconds,
        outcome=options.outcome or setup.outcome,
        after=position.after,
        model_id=model.id,
        kind=options.kind,
        tables=options.tables,
        message=setup.message,
    )

"""What it means to start something: the wish, what it led to, and the works built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from local.celonis.lanes import Job, Model
from local.celonis.work import Execution, InnerLoad, Load, Work

Effect = Literal["started", "queued", "refused", "ignored"]
API = "api"


@dataclass(frozen=True)
class Wish:
    """Somebody's wish to start something. ``mode`` counts for jobs, ``kind`` and ``tables`` for models.

    ``seconds`` and ``outcome`` override the setup for this one start.
    """

    by: str = API
    mode: str = "FULL"
    kind: str = "COMPLETE"
    tables: tuple[str, ...] = ()
    seconds: float | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class Start:
    """What a wish led to. ``work`` is what was started, or what is under way when nothing was."""

    effect: Effect
    work: Work


@dataclass(frozen=True)
class Place:
    """Where a new work stands: its number, its ids, when it was asked for (seconds), what it waits for."""

    seq: int
    id: str
    item_id: str
    at: float
    after: Work | None


def new_execution(job: Job, wish: Wish, place: Place) -> Execution:
    """The execution of ``job`` that ``wish`` asks for, as its setup says now."""
    setup = job.setup
    inner = None
    if setup.loads_model is not None:
        inner = InnerLoad(setup.loads_model, setup.loads_tables, awaited=not setup.success_before_load)
    return Execution(
        seq=place.seq,
        id=place.id,
        by=wish.by,
        requested_at=place.at,
        queue_seconds=setup.queue_seconds,
        run_seconds=setup.run_seconds(wish.mode) if wish.seconds is None else wish.seconds,
        outcome=wish.outcome or setup.outcome,
        after=place.after,
        job_id=job.id,
        mode=wish.mode,
        item_id=place.id if setup.item_ids == "same" else place.item_id,
        inner=inner,
    )


def new_load(model: Model, wish: Wish, place: Place) -> Load:
    """The load of ``model`` that ``wish`` asks for, as its setup says now."""
    setup = model.setup
    return Load(
        seq=place.seq,
        id=place.id,
        by=wish.by,
        requested_at=place.at,
        queue_seconds=setup.queue_seconds,
        run_seconds=setup.run_seconds(wish.kind) if wish.seconds is None else wish.seconds,
        outcome=wish.outcome or setup.outcome,
        after=place.after,
        model_id=model.id,
        kind=wish.kind,
        tables=wish.tables,
        message=setup.message,
    )

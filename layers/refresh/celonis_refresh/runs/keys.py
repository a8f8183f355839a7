"""The keys of the table's items, one kind of item a function, and the ids of runs."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from celonis_refresh.pipelines.definition import canonical_id

MAX_RUN_ID = 80
"""Characters: it is the name of an execution."""


def make_run_id(pipeline: str, at: datetime, token: str) -> str:
    """``order-to-cash-20260101T040000Z-0c0ffee0``; ``at`` in UTC, ``token``: eight hexadecimal digits.

    Readable, and sorted by time within a pipeline.
    """
    return f"{pipeline}-{at:%Y%m%dT%H%M%SZ}-{token}"


def pipeline_of(run_id: str) -> str:
    """The pipeline that an id of ours names; of another id, something that no slot agrees with."""
    return run_id.rsplit("-", 2)[0]


MAX_READABLE = 200
"""A longer delivery id is replaced by its digest: a key of the table has 2,048 bytes at most."""


def slot(pipeline: str) -> str:
    return f"slot#{pipeline}"


def run(run_id: str) -> str:
    return f"run#{run_id}"


WAITING = "WAITING"
LEASED = "LEASED"
NOT_NOTIFIED = "NOT_NOTIFIED"
"""What slots with a follow-up that nothing starts, leases, and ends that nobody was told of yet, stand under
in the index by status."""


def notice(run_id: str) -> str:
    return f"notice#{run_id}"


def job_lease(job: str) -> str:
    return f"lease#job#{canonical_id(job)}"


def model_lease(data_model: str) -> str:
    return f"lease#model#{canonical_id(data_model)}"


def earlier(lease: str) -> str:
    """Our last executions of what a lease is for."""
    return f"earlier#{lease.removeprefix('lease#')}"


def job_durations(job: str, mode: str) -> str:
    return f"durations#job#{canonical_id(job)}#{mode}"


def model_durations(data_model: str, kind: str) -> str:
    return f"durations#model#{canonical_id(data_model)}#{kind}"


def asking(connection: str) -> str:
    """When Celonis may be asked again over a connection."""
    return f"asking#{connection}"


def delivery(origin: str, delivery_id: str) -> str:
    """``origin``: ``execution`` or ``retry``; the other ways in have functions of their own.

    Ids of different origins never meet.
    """
    if len(delivery_id) > MAX_READABLE:
        delivery_id = "sha256:" + hashlib.sha256(delivery_id.encode()).hexdigest()
    return f"delivery#{origin}#{delivery_id}"


def webhook(source: str, delivery_id: str) -> str:
    """A webhook's delivery. A source may have any name, that of another origin too."""
    return delivery(f"source:{source}", delivery_id)


def batch(run_id: str) -> str:
    """The deliveries of a batch that were accepted and have no items of their own yet.

    ``run_id``: an id that was made for one of its claims, whether a run got it or not.
    """
    return f"batch#{run_id}"


def requested(caller: str, pipeline: str, mode: object, tables: object, idempotency_key: str) -> str:
    """A request to the runs API: another caller, or other run options, under the same key is another request.

    ``caller``: the role or the user, not the session.
    """
    return delivery("api", json.dumps([caller, pipeline, mode, tables, idempotency_key]))


def occurrence(pipeline: str, delivery_id: str) -> str:
    """What an execution's input names as its delivery, an occurrence of a schedule: of one pipeline."""
    return delivery("schedule", json.dumps([pipeline, delivery_id]))


def signed(source: str, digest: str) -> str:
    """A second key of a webhook's delivery, by the digest of what its sender signed."""
    return f"signed#source:{source}#{digest}"

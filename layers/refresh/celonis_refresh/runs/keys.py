"""The keys of the table's items, one kind of item a function."""

from __future__ import annotations

import hashlib

MAX_READABLE = 200
"""A longer delivery id is replaced by its digest: a key of the table has 2,048 bytes at most."""


def slot(pipeline: str) -> str:
    return f"slot#{pipeline}"


def run(run_id: str) -> str:
    return f"run#{run_id}"


WAITING = "WAITING"
LEASED = "LEASED"
UNTOLD = "UNTOLD"
"""What slots with a follow-up that nothing starts, leases, and ends that nobody was told of yet, stand under
in the index by status."""


def notice(run_id: str) -> str:
    return f"notice#{run_id}"


def job_lease(job: str) -> str:
    return f"lease#job#{job}"


def model_lease(data_model: str) -> str:
    return f"lease#model#{data_model}"


def job_durations(job: str, mode: str) -> str:
    return f"durations#job#{job}#{mode}"


def model_durations(data_model: str, kind: str) -> str:
    return f"durations#model#{data_model}#{kind}"


def asking(connection: str) -> str:
    """When Celonis may be asked again over a connection."""
    return f"asking#{connection}"


def delivery(origin: str, delivery_id: str) -> str:
    """``origin``: a source, ``execution`` or ``api``: ids of different origins never meet."""
    if len(delivery_id) > MAX_READABLE:
        delivery_id = "sha256:" + hashlib.sha256(delivery_id.encode()).hexdigest()
    return f"delivery#{origin}#{delivery_id}"


def signed(origin: str, digest: str) -> str:
    """A second key of a delivery, by the digest of what its sender signed."""
    return f"signed#{origin}#{digest}"

"""What a run's id looks like."""

from __future__ import annotations

from datetime import datetime

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

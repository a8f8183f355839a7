"""Polls that Celonis refuses (401, 403, 404 and other 4xx): one alone decides nothing, a row of them does.

The row is kept in the state of the step. A poll that succeeds ends it, and so does one without a usable
answer; a throttled poll does not, since it says nothing of access.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from celonis_refresh.celonis.errors import CelonisError

NAME = "poll_refusals"


class Row(NamedTuple):
    """``repeated``: the refused poll before had the same error. ``seconds``: since the first of the row."""

    repeated: bool
    seconds: float


def note_refusal(state: dict[str, Any], error: CelonisError, now: float) -> Row:
    """Adds one to the row in ``state``."""
    row = state.get(NAME, {})
    since = float(row.get("since", now))
    state[NAME] = {"error": error.name, "since": since}
    return Row(row.get("error") == error.name, now - since)


def end_row(state: dict[str, Any]) -> bool:
    """Forgets the row; whether there was one."""
    return state.pop(NAME, None) is not None

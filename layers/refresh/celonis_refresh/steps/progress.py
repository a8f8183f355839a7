"""What the state machine gives a task, and what a task tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from celonis_refresh.steps import errors


class StepEvent(TypedDict):
    """What the state machine gives a task."""

    run_id: str
    step: str


class Progress(TypedDict):
    """What a task tells the state machine. ``wait``: whole seconds until the next task.

    ``WAITING``: not started yet, to be tried again; ``RUNNING``: started, to be looked at again.
    """

    status: Literal["WAITING", "RUNNING", "SUCCEEDED"]
    wait: int


def is_started(state: Mapping[str, Any]) -> bool:
    """Whether a start of this step may be running: it was noted, and not refused since."""
    return "sent_by" in state and not state.get("refused")


def awaits_answer(state: Mapping[str, Any], posts: object) -> bool:
    """Return whether the answer to the start number ``posts`` of this step is not recorded yet."""
    return state.get("posts") == posts and not state.get("answered") and "ended_at" not in state


def replay(state: Mapping[str, Any]) -> Progress:
    """The end of a step, told once more."""
    if state.get("error"):
        raise errors.again(str(state["error"]), str(state["message"]))
    return {"status": "SUCCEEDED", "wait": 0}

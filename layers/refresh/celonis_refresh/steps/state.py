"""The stored state of a step: what is noted of its start, its polls, and the execution that is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from celonis_refresh.celonis.errors import CelonisError, CelonisUnavailable
from celonis_refresh.observability import logger
from celonis_refresh.steps import errors
from celonis_refresh.steps.observation import Activity, Baseline, Observation
from celonis_refresh.steps.ownership import (
    Evidence,
    Ownership,
    OwnershipStatus,
    SentStart,
    determine_ownership,
)
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, epoch


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


POLL_SECONDS = 12.0
"""How long one call of a poll may take; it fits several times into the tasks' own time-out."""


def observe_started(
    target: StepTarget,
    state: Mapping[str, Any],
    settle: float,
    clock: Clock,
    seconds: Callable[[float], float],
) -> tuple[Ownership, Observation]:
    """Polls once, the list too unless the record shows the execution that is known to be ours running.

    ``state``: what is noted of the step; ``seconds``: what a call may take, at most what it is given. The
    list is asked for only where it was there before the start: nothing else in it could be compared.
    """
    start, evidence, since = start_of(state, settle), evidence_of(state), clock() - _counted_from(state)
    observation = target.observe(lambda: seconds(POLL_SECONDS))
    is_known = evidence.ours is not None and observation.current in evidence.ids_of_ours
    if start.baseline.listed is not None and not (is_known and observation.activity is Activity.RUNNING):
        try:
            observation = target.with_executions(observation, seconds(POLL_SECONDS))
        except CelonisUnavailable as trouble:  # the list is waited for
            logger.info("no list of executions", extra={"subject": target.subject, "why": trouble.message})
    return determine_ownership(start, evidence, observation, since), observation


def start_of(state: Mapping[str, Any], settle: float) -> SentStart:
    """The start of a step, from what is noted of it."""
    return SentStart(
        baseline=Baseline.from_json(state["baseline"], _other_ids(state)),
        settle=settle,
        answered=bool(state.get("answered")),
        sent="posts" in state,
        answered_id=state.get("answered_id"),
        answered_by=state.get("answered_by"),
        shows_running=bool(state.get("shows_running")),
        two_spaces=bool(state.get("two_spaces")),
    )


def without_repeats(baseline: dict[str, Any]) -> dict[str, Any]:
    """A baseline as it is stored: the ids of the list stand in the list only."""
    listed = frozenset(baseline["listed"] or ())
    return {**baseline, "ids": [found for found in baseline["ids"] if found not in listed]}


def _other_ids(state: Mapping[str, Any]) -> Iterator[str]:
    """The ids of a stored baseline besides its ``ids``: those of its list, and of our earlier executions."""
    yield from state["baseline"]["listed"] or ()
    yield from state.get("earlier", ())


def evidence_of(state: Mapping[str, Any]) -> Evidence:
    """What the polls of a step have shown so far."""
    return Evidence.from_json(state["evidence"]) if "evidence" in state else Evidence()


def _counted_from(state: Mapping[str, Any]) -> float:
    """When the start was sent; of a load that a job starts, when its baseline was recorded."""
    return float(state["sent_by"]) if "posts" in state else epoch(str(state["noted_at"]))


def is_running(ownership: Ownership, observation: Observation) -> bool:
    """Whether the observation shows ours running: only then may it be cancelled.

    An execution that is not proven to be ours is not enough, and ours may be queued behind another one.
    """
    evidence = ownership.evidence
    if ownership.status is not OwnershipStatus.RUNNING or evidence.proven_by is None:
        return False
    if evidence.ids_of_others:
        return False  # ours may be over
    if observation.activity is not Activity.RUNNING:
        return False
    ours, running = evidence.ids_of_ours, observation.running_ids
    if not ours or not running:
        return not ours
    if evidence.shows_current:
        return running <= ours and observation.current in ours
    return running <= ours and _agrees(observation, running)


def _agrees(observation: Observation, running: frozenset[str]) -> bool:
    """Whether the record and the list show the same status: otherwise one of them is older."""
    return any(
        entry.id in running and entry.status == observation.status for entry in observation.executions or ()
    )

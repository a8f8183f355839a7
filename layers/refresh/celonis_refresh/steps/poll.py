"""One poll of a started step: which execution is ours, and what the poll adds to the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.observability import logger
from celonis_refresh.steps.observation import Activity, Baseline, Observation
from celonis_refresh.steps.ownership import Ownership, OwnershipStatus, SentStart, determine_ownership
from celonis_refresh.steps.step import (
    POLL_SECONDS,
    Step,
    clear_last_error,
    clear_refusals,
    evidence_of,
    own_id,
)
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, epoch

MAX_POLL_TIMES = 60
"""Times of polls in the state of a step."""


def observe_started(
    target: StepTarget,
    state: Mapping[str, Any],
    settle: float,
    clock: Clock,
    seconds: Callable[[float], float],
) -> tuple[Ownership, Observation]:
    """Poll a started step and determine which execution is ours.

    The list of executions is read only if the baseline has one, and not while the record shows our execution
    running. ``seconds``: returns the time left for a call, at most its argument.
    """
    start, evidence, since = start_of(state, settle), evidence_of(state), clock() - _counted_from(state)
    observation = target.observe(lambda: seconds(POLL_SECONDS))
    shows_ours = evidence.ours is not None and observation.current in evidence.ids_of_ours
    if start.baseline.listed is not None and not (shows_ours and observation.activity is Activity.RUNNING):
        try:
            observation = target.with_executions(observation, seconds(POLL_SECONDS))
        except CelonisUnavailable as error:  # a later poll reads it
            logger.info(
                "the list of executions could not be read",
                extra={"subject": target.subject, "why": error.message},
            )
    return determine_ownership(start, evidence, observation, since), observation


def start_of(state: Mapping[str, Any], settle: float) -> SentStart:
    """Return the start of a step as its state describes it."""
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


def _other_ids(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of a stored baseline that its ``ids`` lack: of its list and of our earlier executions."""
    yield from state["baseline"]["listed"] or ()
    yield from state.get("earlier", ())


def _counted_from(state: Mapping[str, Any]) -> float:
    """Return when the start was sent or, for a load that a job starts, when its baseline was recorded."""
    return float(state["sent_by"]) if "posts" in state else epoch(str(state["noted_at"]))


def is_running(ownership: Ownership, observation: Observation) -> bool:
    """Return whether the observation proves that our execution is running, so that it may be cancelled.

    False while ours is not proven, and while it may be queued behind another execution.
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
    """Return whether the record and the list show the same status; otherwise one of them is older."""
    return any(
        entry.id in running and entry.status == observation.status for entry in observation.executions or ()
    )


def record_poll(step: Step, ownership: Ownership, observation: Observation) -> None:
    """Add what a poll has shown to the state of the step."""
    clear_last_error(step.state)
    clear_refusals(step.state)
    logger.append_keys(**own_id(step.name, ownership.evidence))
    status = observation.status
    step.state |= {
        "evidence": ownership.evidence.to_json(),
        "polls": step.state.get("polls", 0) + 1,
        "poll_seconds": _with_poll(step),
        "status": ownership.execution_status or status,
    }
    _record_start_date(step, ownership, observation)
    _record_times(step, ownership, observation)
    if observation.activity is Activity.RUNNING:
        step.state["shows_running"] = True
    if observation.activity is Activity.UNKNOWN and status and status != step.state.get("unknown"):
        step.state["unknown"] = status
        facts = {"subject": step.target.subject, "status": status}
        logger.warning("Celonis shows an unknown status; the step waits", extra=facts)


def _with_poll(step: Step) -> list[int]:
    """Return the times of the polls in seconds since the start of the step, with this one.

    Of many polls, every second one is dropped: a chart shows them, nothing depends on them.
    """
    seconds = [int(each) for each in step.state.get("poll_seconds", ())]
    if "noted_at" in step.state:
        seconds.append(max(0, round(step.now() - epoch(str(step.state["noted_at"])))))
    return seconds if len(seconds) <= MAX_POLL_TIMES else seconds[1::2]


def _record_start_date(step: Step, ownership: Ownership, observation: Observation) -> None:
    """Record the start date of our execution by Celonis, once it is shown."""
    ours = ownership.evidence.ids_of_ours
    dates = [entry.started for entry in observation.executions or () if entry.id in ours]
    if observation.single and observation.identity in ours:
        dates = [observation.started]
    if dates and dates[0] is not None:
        step.state["started_date"] = dates[0]


def _record_times(step: Step, ownership: Ownership, observation: Observation) -> None:
    step.timer.note(refused=0)
    if ownership.status is OwnershipStatus.RUNNING and observation.activity is Activity.RUNNING:
        step.timer.note(seen=step.now())
        if step.state["status"] == JobStatus.QUEUED:
            step.timer.note(queued=step.now())

"""What a retry does not start again: what the retried run is done with, and what it left running. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.ids import canonical_id
from celonis_refresh.pipelines.plan import make_plan
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.steps.progress import is_started
from celonis_refresh.timing import epoch

MAX_SKIP_AGE = 24 * 3600.0
"""Seconds for which a retry counts on what the retried run did: what is older is done again."""
NOT_OF_THE_JOB = frozenset({"AuthenticationFailed", "PermissionDenied", "NotFound", "CelonisRejected"})
"""Errors that ended a step although its job or load may be running well."""


class RetrySkips(Struct, frozen=True):
    """``skip``: ids of jobs and models; ``since``: when the oldest of them ended (ISO 8601).

    ``jobs``: those of the skipped jobs, and of the jobs that a retry would wait for.
    """

    skip: tuple[str, ...] = ()
    since: str | None = None
    jobs: frozenset[str] = frozenset()


def skipped_by_retry(run: Run, definition: Definition, now: float) -> RetrySkips:
    """What a retry of ``run`` under today's ``definition`` leaves out or waits for.

    Nothing is left out once the oldest part is older than ``MAX_SKIP_AGE``. A data model is loaded again if
    any job is executed.
    """
    if not run.has_definition:
        return RetrySkips()
    done, since = _done(run)
    if since is None or now - epoch(since) > MAX_SKIP_AGE:
        done, since = frozenset(), None
    plan = make_plan(definition, run.options, done)
    models = {canonical_id(load.data_model_id) for load in definition.loads}
    skip = done - models if plan.jobs else done
    executed = {canonical_id(job.job) for job in plan.jobs}
    running = {canonical_id(job.job) for job in run.plan.jobs if left_running(run.steps.get(job.step, {}))}
    waited = running & executed if is_resumable(run, now) else set()
    left_out = skip - executed
    return RetrySkips(
        tuple(sorted(skip)), since if left_out else None, frozenset((left_out - models) | waited)
    )


def is_resumable(run: Run, now: float) -> bool:
    """Whether a retry may wait for what the run left running: it was not stopped, and ended not long ago."""
    if run.status is not RunStatus.FAILED or not run.has_definition:
        return False
    return now - epoch(str(run.item["ended_at"])) <= MAX_SKIP_AGE


def left_running(state: Mapping[str, Any]) -> bool:
    """Whether the job or load of a step of an ended run may be running still."""
    if not is_started(state) or state.get("cancel_requested"):
        return False
    return "ended_at" not in state or bool(state.get("held") and state.get("error") in NOT_OF_THE_JOB)


def has_started(run: Run, jobs: Collection[str]) -> str | None:
    """One of ``jobs`` that the run has started, if it has started any."""
    if not jobs or not run.has_definition:
        return None
    started = (canonical_id(job.job) for job in run.plan.jobs if is_started(run.steps.get(job.step, {})))
    return next((job for job in started if job in jobs), None)


def _done(run: Run) -> tuple[frozenset[str], str | None]:
    """The ids of jobs and models whose every step succeeded or was skipped; when the oldest of them ended."""
    steps = [(canonical_id(job.job), job.step) for job in run.plan.jobs]
    steps += [(canonical_id(load.data_model), load.step) for load in run.plan.loads]
    states = [(target, run.steps.get(step, {})) for target, step in steps]
    undone = {target for target, state in states if state.get("outcome") != "SUCCEEDED"}
    done = frozenset({*run.item.get("skip", ()), *(target for target, _ in steps)} - undone)
    ends = [str(state["ended_at"]) for target, state in states if target in done]
    ends += [str(run.item.get("skip_since", run.item["created_at"]))] if run.item.get("skip") else []
    return done, min(ends, default=None)

"""Retries: what a retry skips, and how it resumes an execution that the retried run left running.

If AWS ends a run, its job or load keeps running. The retry continues from the recorded start if a poll proves
that our execution is running or has succeeded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition, canonical_id
from celonis_refresh.pipelines.plan import PlannedJob, PlannedLoad, make_plan
from celonis_refresh.runs.earlier import read_earlier
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.steps.ownership import Ownership, OwnershipStatus
from celonis_refresh.steps.poll import observe_started, record_poll
from celonis_refresh.steps.step import Progress, Step, is_started
from celonis_refresh.timing import epoch

MAX_SKIP_AGE = 24 * 3600.0
"""Seconds after which a retry executes everything again."""
NOT_ABOUT_EXECUTION = frozenset({"AuthenticationFailed", "PermissionDenied", "NotFound", "CelonisRejected"})
"""Errors that can end a step while its job or load keeps running."""


class RetrySkips(Struct, frozen=True):
    """What a retry skips. ``skip``: ids of jobs and models; ``since``: when the oldest ended (ISO 8601).

    ``jobs``: ids of the skipped jobs and of those that the retry would wait for.
    """

    skip: tuple[str, ...] = ()
    since: str | None = None
    jobs: frozenset[str] = frozenset()


def skipped_by_retry(run: Run, definition: Definition, now: float) -> RetrySkips:
    """Return what a retry of ``run`` with the current ``definition`` skips or waits for.

    It skips nothing if the oldest part ended more than ``MAX_SKIP_AGE`` ago, and loads all models if any job
    is executed.
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
    """Return whether a retry may wait for what the run left running: it failed within ``MAX_SKIP_AGE``."""
    if run.status is not RunStatus.FAILED or not run.has_definition:
        return False
    return now - epoch(str(run.item["ended_at"])) <= MAX_SKIP_AGE


def left_running(state: Mapping[str, Any]) -> bool:
    """Return whether the job or load of a step of an ended run may still be running."""
    if not is_started(state) or state.get("cancel_requested"):
        return False
    return "ended_at" not in state or bool(state.get("held") and state.get("error") in NOT_ABOUT_EXECUTION)


def has_started(run: Run, jobs: Collection[str]) -> str | None:
    """Return one of ``jobs`` that the run has started, or None."""
    if not jobs or not run.has_definition:
        return None
    started = (canonical_id(job.job) for job in run.plan.jobs if is_started(run.steps.get(job.step, {})))
    return next((job for job in started if job in jobs), None)


def _done(run: Run) -> tuple[frozenset[str], str | None]:
    """Return the ids of jobs and models that succeeded or were skipped, and when the oldest of them ended."""
    steps = [(canonical_id(job.job), job.step) for job in run.plan.jobs]
    steps += [(canonical_id(load.data_model), load.step) for load in run.plan.loads]
    states = [(target, run.steps.get(step, {})) for target, step in steps]
    undone = {target for target, state in states if state.get("outcome") != "SUCCEEDED"}
    done = frozenset({*run.item.get("skip", ()), *(target for target, _ in steps)} - undone)
    ends = [str(state["ended_at"]) for target, state in states if target in done]
    ends += [str(run.item.get("skip_since", run.item["created_at"]))] if run.item.get("skip") else []
    return done, min(ends, default=None)


SUCCESSES = frozenset({JobStatus.SUCCESS, LoadStatus.SUCCESS, LoadStatus.WARNING})
NOT_RESUMED = frozenset(
    {"rev", "began", "polls", "rounds", "last_error", "failing_since", "waiting_for", "pace", "stopping"}
    | {"held", "ended_at", "outcome", "error", "message", "hint", "announced"}
)
"""Fields of a step's state that do not describe the execution that it started."""


def resume(step: Step) -> Progress | None:
    """Continue from the start that the retried run sent; None if the step has to be started again.

    The state of the step and its leases, with those of models that the job loads, are written together.
    """
    former = _former(step)
    state = _left_running(step, former) if former else None
    if former is None or state is None:
        return None
    try:
        ownership, observation = observe_started(
            step.target, state, step.run.definition.settle, step.context.clock, step.seconds
        )
    except (CelonisUnavailable, CelonisThrottled) as error:
        return step.wait_for_celonis(error)
    except CelonisError:
        return None  # the start gets the same error and reports it
    if not _is_running_or_succeeded(ownership) or _was_started_later(step, state, ownership):
        return None
    request = step.lease_request()
    began = step.state.get("began", step.now())
    step.state.clear()
    step.state |= {**state, "began": began, "resumed_from": former.run_id}
    record_poll(step, ownership, observation)
    write = step.context.records.step_write(step.run, step.name, step.state)
    if not step.context.leases.inherit(request, former.run_id, write, step.deadline):
        return None
    step.run, step.has_leases = write.run, True
    logger.info("the step is resumed", extra={"subject": step.target.subject, "run": former.run_id})
    ended = ownership.status is OwnershipStatus.ENDED
    return step.progress("RUNNING", at_most=1 if ended else ownership.recheck_in)


def add_former_baseline(step: Step) -> None:
    """Add the baseline of a load that a job starts, if the retried run has started that job."""
    if "baseline" not in step.state:
        former = step.context.records.get(str(step.run.item["retry_of"]))
        step.state |= _resumed_state(next(_states(former, step.run.plan.load(step.name))))


def _former(step: Step) -> Run | None:
    """Return the retried run, if it may have left something running that the retry may wait for."""
    former = step.context.records.find(str(step.run.item["retry_of"]))
    return former if former is not None and is_resumable(former, step.now()) else None


def _left_running(step: Step, former: Run) -> dict[str, Any] | None:
    """Return the former run's state of this step, if what it started may still be running.

    None unless the step is among the first ones: steps after a repeated job are repeated, too.
    """
    planned = _planned(step.run, step.name)
    is_first = planned.stage == 0 if isinstance(planned, PlannedJob) else not step.run.plan.jobs
    states = _states(former, planned)
    state = next((state for state in states if "posts" in state and left_running(state)), None)
    if state is None or not is_first or not _has_load_baselines(step, former):
        return None
    return _resumed_state(state)


def _was_started_later(step: Step, state: Mapping[str, Any], ownership: Ownership) -> bool:
    """Return whether another run has started the job or model since."""
    if "earlier" not in state:
        return False
    newest = read_earlier(step.context.records.table, step.target.lease).newest
    return bool(newest) and ownership.evidence.ids_of_ours.union(state["earlier"]).isdisjoint(newest)


def _has_load_baselines(step: Step, former: Run) -> bool:
    """Return whether the former run has recorded the baselines of the loads that its job starts."""
    loads = [load for load in step.run.plan.loads if load.started_by == "job"]
    states = [next(_states(former, load), {}) for load in loads]
    are_recorded = all("baseline" in state and not is_started(state) for state in states)
    return not loads or (are_recorded and len(step.run.plan.jobs) == 1)


def _is_running_or_succeeded(ownership: Ownership) -> bool:
    """Return whether our execution is proven, and is running or has succeeded."""
    if ownership.evidence.proven_by is None:
        return False
    succeeded = ownership.status is OwnershipStatus.ENDED and ownership.execution_status in SUCCESSES
    return succeeded or ownership.status is OwnershipStatus.RUNNING


def _planned(run: Run, step: str) -> PlannedJob | PlannedLoad:
    return run.plan.job(step) if step.startswith("job-") else run.plan.load(step)


def _steps(run: Run) -> list[PlannedJob | PlannedLoad]:
    return [*run.plan.jobs, *run.plan.loads]


def _states(run: Run, planned: PlannedJob | PlannedLoad) -> Iterator[Mapping[str, Any]]:
    """Return the states of the steps of a run that start the same as ``planned``."""
    return (run.steps.get(step.step, {}) for step in _steps(run) if _is_same(step, planned))


def _resumed_state(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in NOT_RESUMED}


def _is_same(step: PlannedJob | PlannedLoad, other: PlannedJob | PlannedLoad) -> bool:
    """Return whether two steps start the same job in the same mode or the same load of the same tables."""
    if isinstance(step, PlannedJob) and isinstance(other, PlannedJob):
        return (canonical_id(step.job), step.mode) == (canonical_id(other.job), other.mode)
    if isinstance(step, PlannedLoad) and isinstance(other, PlannedLoad):
        return _load_key(step) == _load_key(other)
    return False


def _load_key(load: PlannedLoad) -> tuple[object, ...]:
    model = canonical_id(load.data_model)
    return (model, load.kind, load.tables, load.requested, load.only_requested, load.started_by)

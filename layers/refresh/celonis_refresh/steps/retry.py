"""Retrying: what a retry does not start again, and how it resumes what the retried run left running.

A run that AWS ends leaves its job or load running. Its retry goes on with the record of that start, as long
as a poll proves that ours is still running or has succeeded.
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
from celonis_refresh.steps.check import Check
from celonis_refresh.steps.ownership import Ownership, OwnershipStatus
from celonis_refresh.steps.step import Progress, is_started, observe_started
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


SUCCESSES = frozenset({JobStatus.SUCCESS, LoadStatus.SUCCESS, LoadStatus.WARNING})
NOT_KEPT = frozenset(
    {"rev", "began", "polls", "rounds", "trouble", "waiting_for", "pace", "stopping"}
    | {"held", "ended_at", "outcome", "error", "message"}
)
"""What a step noted that says nothing about the execution that it started."""


class Resume(Check):
    """The first task of a step of a retry."""

    def resume(self) -> Progress | None:
        """Goes on with the start of the retried run; None where the step has to be started anew.

        The state of the step and its leases (with those of models that the job loads) are written together.
        """
        former = self._former()
        state = self._left_running(former) if former else None
        if former is None or state is None:
            return None
        try:
            ownership, observation = observe_started(
                self.target, state, self.run.definition.settle, self.context.clock, self.seconds
            )
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            return self.wait_out(trouble)
        except CelonisError:
            return None  # the start meets the same error, and reports it
        if not _is_good(ownership) or self._was_started_later(state, ownership):
            return None
        request = self.lease_request()
        began = self.state.get("began", self.now())
        self.state.clear()
        self.state |= {**state, "began": began, "resumed_from": former.run_id}
        self._note(ownership, observation)
        write = self.context.records.step_write(self.run, self.name, self.state)
        if not self.context.leases.inherit(request, former.run_id, write, self.deadline):
            return None
        self.run, self.holds = write.run, True
        logger.info("the step is resumed", extra={"subject": self.target.subject, "run": former.run_id})
        ended = ownership.status is OwnershipStatus.ENDED
        return self.progress("RUNNING", at_most=1 if ended else ownership.recheck_in)

    def expect(self) -> Progress:
        """As for any load that a job starts; the job that is resumed was started by the former run."""
        if "baseline" not in self.state:
            former = self.context.records.get(str(self.run.item["retry_of"]))
            self.state |= _kept(next(_states(former, self.run.plan.load(self.name))))
        return super().expect()

    def _former(self) -> Run | None:
        """The run that this one retries, if it may have left something running that is worth waiting for."""
        former = self.context.records.find(str(self.run.item["retry_of"]))
        return former if former is not None and is_resumable(former, self.now()) else None

    def _left_running(self, former: Run) -> dict[str, Any] | None:
        """What the former run noted of this step, if its start may be running still.

        Only of a step that comes first: what runs after a job that is executed again is executed again, too.
        """
        planned = _planned(self.run, self.name)
        is_first = planned.stage == 0 if isinstance(planned, PlannedJob) else not self.run.plan.jobs
        states = _states(former, planned)
        state = next((state for state in states if "posts" in state and left_running(state)), None)
        if state is None or not is_first or not self._knows_loads(former):
            return None
        return _kept(state)

    def _was_started_later(self, state: Mapping[str, Any], ownership: Ownership) -> bool:
        """Whether another run of ours has used the job or model since."""
        if "earlier" not in state:
            return False
        newest = read_earlier(self.context.records.table, self.target.lease).newest
        return bool(newest) and ownership.evidence.ids_of_ours.union(state["earlier"]).isdisjoint(newest)

    def _knows_loads(self, former: Run) -> bool:
        """Whether the former run noted what was there before the loads that its job starts."""
        loads = [load for load in self.run.plan.loads if load.started_by == "job"]
        states = [next(_states(former, load), {}) for load in loads]
        known = all("baseline" in state and not is_started(state) for state in states)
        return not loads or (known and len(self.run.plan.jobs) == 1)


def _is_good(ownership: Ownership) -> bool:
    """Whether ours is proven, and runs or has succeeded."""
    if ownership.evidence.proven_by is None:
        return False
    succeeded = ownership.status is OwnershipStatus.ENDED and ownership.execution_status in SUCCESSES
    return succeeded or ownership.status is OwnershipStatus.RUNNING


def _planned(run: Run, step: str) -> PlannedJob | PlannedLoad:
    return run.plan.job(step) if step.startswith("job-") else run.plan.load(step)


def _steps(run: Run) -> list[PlannedJob | PlannedLoad]:
    return [*run.plan.jobs, *run.plan.loads]


def _states(run: Run, planned: PlannedJob | PlannedLoad) -> Iterator[Mapping[str, Any]]:
    """What a run noted of its steps that start the same as ``planned``."""
    return (run.steps.get(step.step, {}) for step in _steps(run) if _is_same(step, planned))


def _kept(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in NOT_KEPT}


def _is_same(one: PlannedJob | PlannedLoad, other: PlannedJob | PlannedLoad) -> bool:
    """Whether two plans start the same: the same job in the same mode, the same load of the same tables."""
    if isinstance(one, PlannedJob) and isinstance(other, PlannedJob):
        return (canonical_id(one.job), one.mode) == (canonical_id(other.job), other.mode)
    if isinstance(one, PlannedLoad) and isinstance(other, PlannedLoad):
        return _load(one) == _load(other)
    return False


def _load(load: PlannedLoad) -> tuple[object, ...]:
    model = canonical_id(load.data_model)
    return (model, load.kind, load.tables, load.requested, load.only_requested, load.started_by)

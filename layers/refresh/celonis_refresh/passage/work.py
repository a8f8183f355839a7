"""The two kinds of work of a run, job and load, in the same movements: look, post, read the end, cancel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisUnavailable, NotFound
from celonis_refresh.celonis.records import Execution, Job, JobStatus, Load, LoadStatus
from celonis_refresh.observability import logger
from celonis_refresh.passage import errors
from celonis_refresh.passage.sights import Activity, Listed, Sight
from celonis_refresh.pipelines.modes import LoadKind
from celonis_refresh.pipelines.plan import PlannedJob, PlannedLoad
from celonis_refresh.pipelines.resolution import ResolvedLoad
from celonis_refresh.runs import keys

MOST_LISTED = 50
"""Executions of a list that are looked at, newest first: what is noted has to fit into a record."""
Seconds = Callable[[], float]
"""What the next call may take, told anew for each: a look may need two."""
FAIL_HINT = "Open it in Celonis, mend the cause and start the pipeline again."


class Ending(Struct, frozen=True):
    """How it ended in Celonis: ``error`` is None for a success; ``message`` is Celonis's own word."""

    error: errors.StepFailed | None
    message: str | None = None


class Work(Protocol):
    """One job or one load of a run."""

    @property
    def step(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def lease(self) -> str: ...
    @property
    def durations(self) -> str: ...
    @property
    def timeout(self) -> int: ...
    @property
    def timed_out(self) -> type[errors.StepFailed]: ...
    @property
    def busy(self) -> type[errors.StepFailed]: ...

    def look(self, seconds: Seconds) -> Sight:
        """One look."""

    def with_history(self, sight: Sight, timeout: float) -> Sight:
        """What was seen, with what ran before, where that is told by another call that is served."""

    def post(self, timeout: float) -> str | None:
        """Starts it; the id that the answer told, if it told one."""

    def ending(self, status: str | None, ours: str | None, sight: Sight, timeout: float) -> Ending:
        """What the status at its end means; ``sight`` is the look that showed it."""

    def cancel(self, timeout: float) -> bool:
        """Cancels what runs now; False where no call is known that does."""

    def facts(self) -> Mapping[str, object]:
        """What is started, for the record."""

    def urgent(self) -> Work:
        """The same work, to be looked at and stopped whatever is left of the rate limit."""


def activity(*, under_way: bool, terminal: bool) -> Activity:
    if under_way:
        return Activity.UNDER_WAY
    return Activity.AT_REST if terminal else Activity.UNCLEAR


class JobWork(Struct, frozen=True):
    """A data job: ``execute``, then the job's status."""

    client: CelonisClient
    pool: str
    plan: PlannedJob

    @property
    def step(self) -> str:
        return self.plan.step

    @property
    def subject(self) -> str:
        return f"Data job {self.plan.job}"

    @property
    def lease(self) -> str:
        return keys.job_lease(self.plan.job)

    @property
    def durations(self) -> str:
        return keys.job_durations(self.plan.job, self.plan.mode.value)

    @property
    def timeout(self) -> int:
        return self.plan.timeout

    @property
    def timed_out(self) -> type[errors.StepFailed]:
        return errors.JobTimedOut

    @property
    def busy(self) -> type[errors.StepFailed]:
        return errors.JobBusy

    def look(self, seconds: Seconds) -> Sight:
        """``GET …/jobs/{job}``. Where its status says nothing (none, or a new one) the history may."""
        sight = job_sight(self.client.job(self.pool, self.plan.job, timeout=seconds()))
        return self.with_history(sight, seconds()) if sight.activity is Activity.UNCLEAR else sight

    def with_history(self, sight: Sight, timeout: float) -> Sight:
        """``GET …/logs/{job}/executions``: the SDK's call, not served everywhere, never worth a failure."""
        if sight.history is not None:
            return sight
        try:
            executions = self.client.executions(self.pool, self.plan.job, timeout=timeout)
        except (CelonisUnavailable, CelonisRejected) as trouble:
            logger.info("no list of executions", extra={"subject": self.subject, "why": trouble.message})
            return sight
        return sight if executions is None else listed_sight(sight, executions[:MOST_LISTED])

    def post(self, timeout: float) -> str | None:
        answer = self.client.execute_job(self.pool, self.plan.job, self.plan.mode.value, timeout=timeout)
        return answer.execution_id

    def ending(self, status: str | None, ours: str | None, sight: Sight, timeout: float) -> Ending:
        if status == JobStatus.SUCCESS:
            return Ending(None)
        if status == JobStatus.CANCEL:
            return Ending(errors.JobCanceled(f"{self.subject} was cancelled in Celonis.", hint=FAIL_HINT))
        if status == JobStatus.SKIPPED:
            text = f"{self.subject} was skipped by Celonis: nothing was extracted."
            return Ending(errors.JobSkipped(text, hint=FAIL_HINT))
        reason = self._reason(_execution_id(ours, sight), timeout)
        return Ending(errors.JobFailed(f"{self.subject} failed in Celonis{reason}.", hint=FAIL_HINT))

    def _reason(self, ours: str | None, timeout: float) -> str:
        if ours is None:
            return ""
        try:
            failures = self.client.failed_task_messages(self.pool, self.plan.job, ours, timeout=timeout)
        except CelonisError as trouble:  # that it failed is known; why may stay unknown
            logger.info("no reasons of the failure", extra={"subject": self.subject, "why": trouble.message})
            return ""
        told = "; ".join(f"{failure.task}: {failure.message}".strip(": ") for failure in failures)
        return f": {told}".rstrip(".") if told else ""

    def cancel(self, timeout: float) -> bool:
        self.client.cancel_job(self.pool, self.plan.job, timeout=timeout)
        return True

    def urgent(self) -> JobWork:
        return replace(self, client=self.client.urgent())

    def facts(self) -> Mapping[str, object]:
        return {"job": self.plan.job, "mode": self.plan.mode.value}


def _execution_id(ours: str | None, sight: Sight) -> str | None:
    """The id whose log tells why: ours, or the newest that failed where ours is of another id space."""
    listed = [entry.id for entry in sight.history or ()]
    if ours in listed or not listed:
        return ours
    return next((entry.id for entry in sight.history or () if entry.status == sight.status), ours)


def job_sight(job: Job) -> Sight:
    """A job as the proof sees it."""
    return Sight(
        status=job.status,
        activity=activity(under_way=job.is_under_way, terminal=job.is_terminal),
        current=job.current_execution_id,
        latest=job.latest_execution_item_id,
    )


def listed_sight(sight: Sight, executions: Sequence[Execution]) -> Sight:
    """A sight with the list of executions. Where the job has no status they tell: none at all is at rest."""
    history = tuple(_listed(execution) for execution in executions)
    newest = history[0].activity if history else Activity.AT_REST
    return replace(sight, history=history, activity=newest if sight.status is None else sight.activity)


def _listed(execution: Execution) -> Listed:
    state = activity(under_way=execution.is_under_way, terminal=execution.is_terminal)
    dates = execution.start_date, execution.end_date
    return Listed(execution.execution_id, execution.status, state, *dates)


class LoadWork(Struct, frozen=True):
    """A data model load: complete, partial or from cache, then the model's last load."""

    client: CelonisClient
    pool: str
    plan: PlannedLoad
    resolved: ResolvedLoad

    @property
    def step(self) -> str:
        return self.plan.step

    @property
    def subject(self) -> str:
        return f"The load of data model {self.plan.data_model}"

    @property
    def lease(self) -> str:
        return keys.model_lease(self.plan.data_model)

    @property
    def durations(self) -> str:
        """A load that a job starts is counted from that job's end: something else than its own duration."""
        kind = "by_job" if self.plan.started_by == "job" else self.resolved.kind.value
        return keys.model_durations(self.plan.data_model, kind)

    @property
    def timeout(self) -> int:
        return self.plan.timeout

    @property
    def timed_out(self) -> type[errors.StepFailed]:
        return errors.LoadTimedOut

    @property
    def busy(self) -> type[errors.StepFailed]:
        return errors.ModelBusy

    def look(self, seconds: Seconds) -> Sight:
        """``GET …/last-load``. A 404 may mean "never loaded" or "no such model": the tables tell which."""
        model = self.plan.data_model
        try:
            return load_sight(self.client.last_load(self.pool, model, timeout=seconds()))
        except NotFound:
            self.client.tables(self.pool, model, timeout=seconds())
            return load_sight(None)

    def with_history(self, sight: Sight, timeout: float) -> Sight:  # noqa: ARG002 - one call tells it all
        return sight

    def post(self, timeout: float) -> str | None:
        model, kind = self.plan.data_model, self.resolved.kind
        if kind is LoadKind.PARTIAL:
            answer = self.client.load_tables(self.pool, model, sorted(self.resolved.tables), timeout=timeout)
        else:
            from_cache = kind is LoadKind.FROM_CACHE
            answer = self.client.load_model(self.pool, model, from_cache=from_cache, timeout=timeout)
        return answer.execution_id

    def ending(self, status: str | None, ours: str | None, sight: Sight, timeout: float) -> Ending:  # noqa: ARG002
        message = sight.message
        told = f": {message}".rstrip(".") if message else ""
        if status == LoadStatus.SUCCESS:
            return Ending(None, message)
        if status == LoadStatus.WARNING:
            failed = self.plan.on_warning == "fail"
            text = f"{self.subject} ended with a warning{told}."
            return Ending(errors.LoadWarned(text, hint=FAIL_HINT) if failed else None, message)
        if status == LoadStatus.CANCELED:
            return Ending(errors.LoadCanceled(f"{self.subject} was cancelled{told}.", hint=FAIL_HINT))
        return Ending(errors.LoadFailed(f"{self.subject} failed{told}.", hint=FAIL_HINT), message)

    def cancel(self, timeout: float) -> bool:  # noqa: ARG002 - no call is known that cancels a load
        return False

    def urgent(self) -> LoadWork:
        return replace(self, client=self.client.urgent())

    def facts(self) -> Mapping[str, object]:
        tables = sorted(self.resolved.tables.values())
        return {"data_model": self.plan.data_model, "kind": self.resolved.kind.value, "tables": tables}


def load_sight(load: Load | None) -> Sight:
    """A model's last load as the proof sees it. A model that was never loaded has an empty history.

    The record is no history of one: its status may be older than its id.
    """
    if load is None:
        return Sight(status=None, activity=Activity.AT_REST, history=(), single=True)
    return Sight(
        status=load.status,
        activity=activity(under_way=load.is_under_way, terminal=load.is_terminal),
        current=load.load_id if load.is_under_way else None,
        latest=load.load_id,
        started=load.start_date,
        message=load.message,
        single=True,
        ended=load.end_date,
    )

"""The targets of steps: data jobs and data model loads.

A target is observed, started and cancelled; ``ending`` turns its last status into success or an error.
``ModelTables`` resolves the table names of the loads of a run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, NotFound
from celonis_refresh.celonis.records import (
    Job,
    JobExecution,
    JobStatus,
    Load,
    LoadStatus,
    ModelTable,
    StartAnswer,
)
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition, LoadKind
from celonis_refresh.pipelines.options import inapplicable
from celonis_refresh.pipelines.plan import PlannedJob, PlannedLoad, ResolvedLoad, resolve
from celonis_refresh.runs.records import MAX_WARNING, Run, RunTooLarge, cut, item_size, room_for_opening
from celonis_refresh.runs.table import job_durations, job_lease, model_durations, model_lease
from celonis_refresh.steps import errors
from celonis_refresh.steps.observation import Activity, ListedExecution, Observation
from celonis_refresh.steps.polling.durations import BAD, GOOD, REMEMBERED
from celonis_refresh.timing import Clock, Deadline

MAX_LISTED = 50
"""Executions of a list that are compared: the baseline has to fit into a record."""
MAX_LISTED_SECONDS = 7 * 86_400
"""A step's timeout is no longer than that: a listed duration beyond it is taken for an error."""
MAX_REASON = 1800
"""Bytes of the reasons why a job failed; the outcomes of all steps must fit into an execution's state."""
Seconds = Callable[[], float]
"""Returns the time limit of the next call; a poll may need two."""
FAIL_HINT = "Open it in Celonis and fix the cause, then run it again."


class Ending(Struct, frozen=True):
    """How an execution ended: ``error`` is None for a success; ``message`` comes from Celonis."""

    error: errors.StepFailed | None
    message: str | None = None


def activity(*, running: bool, terminal: bool) -> Activity:
    if running:
        return Activity.RUNNING
    return Activity.IDLE if terminal else Activity.UNKNOWN


class DataJobTarget(Struct, frozen=True):
    """A data job."""

    client: CelonisClient
    pool: str
    plan: PlannedJob

    @property
    def step(self) -> str:
        return self.plan.step

    @property
    def subject(self) -> str:
        return f"Data job {self.plan.label}"

    @property
    def lease(self) -> str:
        return job_lease(self.plan.job)

    @property
    def durations(self) -> str:
        return job_durations(self.plan.job, self.plan.mode.value)

    @property
    def timeout(self) -> int:
        return self.plan.timeout

    @property
    def timed_out(self) -> type[errors.StepFailed]:
        return errors.JobTimedOut

    @property
    def busy(self) -> type[errors.StepFailed]:
        return errors.JobBusy

    def observe(self, seconds: Seconds) -> Observation:
        """``GET …/jobs/{job}``: the job and its current status."""
        observation = job_observation(self.client.job(self.pool, self.plan.job, timeout=seconds()))
        return replace(observation, requested_at=self.client.requested_at)

    def with_executions(self, observation: Observation, timeout: float) -> Observation:
        """Return the observation with ``GET …/logs/{job}/executions``, if that is served.

        Raises ``CelonisUnavailable`` and ``CelonisThrottled``.
        """
        try:
            executions = self.client.executions(self.pool, self.plan.job, timeout=timeout)
        except CelonisRejected as refusal:
            logger.info(
                "the list of executions could not be read",
                extra={"subject": self.subject, "why": refusal.message},
            )
            return observation
        if executions is None:
            return observation
        durations = _listed_durations(executions, self.plan.mode.value, observation.requested_at)
        return replace(listed_observation(observation, executions), durations=durations)

    def celonis_name(self, timeout: float) -> str | None:
        """Return the name of the job in Celonis. Raises ``CelonisError``."""
        return self.client.job(self.pool, self.plan.job, timeout=timeout).name

    def history(self, timeout: float) -> Mapping[str, Any] | None:  # noqa: ARG002 - the list has them
        return None

    def post(self, timeout: float) -> StartAnswer:
        return self.client.execute_job(self.pool, self.plan.job, self.plan.mode.value, timeout=timeout)

    def ending(
        self, status: str | None, ours: str | None, observation: Observation, timeout: float
    ) -> Ending:
        """Return what the final status means; ``observation`` is the one that showed it."""
        if status == JobStatus.SUCCESS:
            return Ending(None)
        execution_id = _execution_id(ours, observation)
        if status == JobStatus.CANCEL:
            why = self._why(execution_id, status, timeout)
            return Ending(
                errors.JobCanceled(f"{self.subject} was cancelled in Celonis{why}.", hint=FAIL_HINT)
            )
        if status == JobStatus.SKIPPED:
            why = self._why(execution_id, status, timeout) or ": nothing was extracted"
            return Ending(errors.JobSkipped(f"{self.subject} was skipped by Celonis{why}.", hint=FAIL_HINT))
        reason = self._reason(execution_id, timeout)
        return Ending(errors.JobFailed(f"{self.subject} failed in Celonis{reason}.", hint=FAIL_HINT))

    def _why(self, ours: str | None, status: str, timeout: float) -> str:
        """Return why it was cancelled or skipped by its log: ``": …"``, or empty."""
        if ours is None:
            return ""
        try:
            reason = self.client.why_ended(self.pool, self.plan.job, ours, status, timeout=timeout)
        except CelonisError as error:  # the status is known; the reason is optional
            logger.info(
                "the reason of the end could not be read",
                extra={"subject": self.subject, "why": error.message},
            )
            return ""
        return f": {reason}" if reason else ""

    def _reason(self, ours: str | None, timeout: float) -> str:
        if ours is None:
            return ""
        try:
            failures = self.client.failed_task_messages(self.pool, self.plan.job, ours, timeout=timeout)
        except CelonisError as error:  # the status is known; the reason is optional
            logger.info(
                "the reason of the failure could not be read",
                extra={"subject": self.subject, "why": error.message},
            )
            return ""
        reported = "; ".join(f"{failure.task}: {failure.message}".strip(": ") for failure in failures)
        return f": {cut(reported, MAX_REASON)}".rstrip(".") if reported else ""

    def cancel(self, timeout: float) -> bool:
        """Cancel the running execution; False if no call is known for it."""
        self.client.cancel_job(self.pool, self.plan.job, timeout=timeout)
        return True

    def ignoring_rate_limit(self) -> DataJobTarget:
        """Return the same target without our rate limiter."""
        return replace(self, client=self.client.ignoring_rate_limit())

    def facts(self) -> Mapping[str, object]:
        """Return what is started, for the record."""
        return {"job": self.plan.job, "mode": self.plan.mode.value}


def _execution_id(ours: str | None, observation: Observation) -> str | None:
    """Return the id whose log has the cause: ours, or the newest failed one if the id spaces differ."""
    entries = observation.executions or ()
    if ours in [entry.id for entry in entries] or not entries:
        return ours
    return next((entry.id for entry in entries if entry.status == observation.status), ours)


def job_observation(job: Job) -> Observation:
    """Return what the record of a job shows."""
    return Observation(
        status=job.status,
        activity=activity(running=job.is_active, terminal=job.is_terminal),
        current=job.current_execution_id,
        latest=job.latest_execution_item_id,
        name=job.name,
    )


def listed_observation(observation: Observation, executions: Sequence[JobExecution]) -> Observation:
    """Return the observation with the list, whose status replaces a missing one of the job."""
    entries = _within_limit([_listed(execution) for execution in executions])
    listed = replace(observation, executions=tuple(entries))
    return listed if observation.status else replace(listed, activity=_activity_of(entries))


class PastRun(NamedTuple):
    """An earlier execution or load. ``started``, ``ended``: Celonis's dates, epoch milliseconds."""

    status: str | None
    started: int | None
    ended: int | None


def listed_durations(runs: Iterable[PastRun], by: int | None) -> dict[str, Any] | None:
    """The durations of the newest ``REMEMBERED`` runs, in the form that ``add_duration`` returns.

    None where no run shows any. Only successes and failures count, with both dates: the time in a queue is
    before the start date. A duration below a second or above ``MAX_LISTED_SECONDS`` is left out, and so is
    an end after ``by``, the moment of the request by Celonis's clock (None: not known).
    """
    latest = inf if by is None else by
    dated = [
        (run.started, (run.ended - run.started) / 1000, run.status in GOOD)
        for run in runs
        if run.started is not None and run.ended is not None and run.status in GOOD | BAD
        if run.started > 0 and run.ended <= latest
        if 1000 <= run.ended - run.started <= MAX_LISTED_SECONDS * 1000
    ]
    newest = sorted(heapq.nlargest(REMEMBERED, dated))
    if not newest:
        return None
    successes = [round(seconds, 1) for _, seconds, succeeded in newest if succeeded]
    failures = [round(seconds, 1) for _, seconds, succeeded in newest if not succeeded]
    rate = round(len(failures) / len(newest), 4)
    return {"successes": successes, "failures": failures, "failure_rate": rate}


def _listed_durations(executions: Sequence[JobExecution], mode: str, by: int | None) -> dict[str, Any] | None:
    """The durations of the executions in this mode."""
    same_mode = (one for one in executions if _is_of(one.mode, mode))
    return listed_durations((PastRun(one.status, one.start_date, one.end_date) for one in same_mode), by)


def _is_of(shown: str | None, kind: str) -> bool:
    """Whether an execution or load is of this mode or type; one that shows none counts for all."""
    return shown is None or shown.upper() == kind.upper()


def _within_limit(entries: list[ListedExecution]) -> list[ListedExecution]:
    """Return both ends of a long list, because its order is not known."""
    if len(entries) <= MAX_LISTED:
        return entries
    half = MAX_LISTED // 2
    return entries[:half] + entries[-half:]


def _activity_of(entries: Sequence[ListedExecution]) -> Activity:
    """Return RUNNING if one entry runs, IDLE only if every status is known."""
    activities = {entry.activity for entry in entries}
    return next((each for each in (Activity.RUNNING, Activity.UNKNOWN) if each in activities), Activity.IDLE)


def _listed(execution: JobExecution) -> ListedExecution:
    state = activity(running=execution.is_active, terminal=execution.is_terminal)
    dates = execution.start_date, execution.end_date
    return ListedExecution(execution.execution_id, execution.status, state, *dates)


class DataModelTarget(Struct, frozen=True):
    """A data model load: complete, partial or from cache."""

    client: CelonisClient
    pool: str
    plan: PlannedLoad
    resolved: ResolvedLoad

    @property
    def step(self) -> str:
        return self.plan.step

    @property
    def subject(self) -> str:
        return f"The load of data model {self.plan.label}"

    @property
    def lease(self) -> str:
        return model_lease(self.plan.data_model)

    @property
    def durations(self) -> str:
        """The key of the durations; a load that a job starts counts from the end of that job."""
        kind = "by_job" if self.plan.started_by == "job" else self.resolved.kind.value
        return model_durations(self.plan.data_model, kind)

    @property
    def timeout(self) -> int:
        return self.plan.timeout

    @property
    def timed_out(self) -> type[errors.StepFailed]:
        return errors.LoadTimedOut

    @property
    def busy(self) -> type[errors.StepFailed]:
        return errors.ModelBusy

    def observe(self, seconds: Seconds) -> Observation:
        """Read ``GET …/last-load``. After a 404, the tables tell an unknown model from one never loaded."""
        model = self.plan.data_model
        try:
            load = self.client.last_load(self.pool, model, timeout=seconds())
        except NotFound:
            self.client.tables(self.pool, model, timeout=seconds())
            load = None
        by = self.client.requested_at
        durations = None if load is None else self._durations([load], by)
        return replace(load_observation(load), requested_at=by, durations=durations)

    def history(self, timeout: float) -> Mapping[str, Any] | None:
        """The durations of earlier loads of this kind; else their average; None where nothing is shown.

        ``GET …/load-history/load-info-sync`` is not documented: whatever goes wrong, nothing is known.
        """
        try:
            history = self.client.load_history(self.pool, self.plan.data_model, timeout=timeout)
        except CelonisError as error:
            logger.info("no load history", extra={"subject": self.subject, "why": error.message})
            return None
        if history is None:
            return None
        average = history.average_seconds.get(self.resolved.kind.value.upper(), 0.0)
        if durations := self._durations(history.loads, self.client.requested_at):
            return durations
        return {"successes": [round(average, 1)]} if 1 <= average <= MAX_LISTED_SECONDS else None

    def _durations(self, loads: Iterable[Load], by: int | None) -> dict[str, Any] | None:
        """None for a load that a job starts: its own duration counts from the end of that job."""
        if self.plan.started_by == "job":
            return None
        same_kind = (load for load in loads if _is_of(load.kind, self.resolved.kind.value))
        return listed_durations((PastRun(one.status, one.start_date, one.end_date) for one in same_kind), by)

    def with_executions(self, observation: Observation, timeout: float) -> Observation:  # noqa: ARG002 - no list
        return observation

    def celonis_name(self, timeout: float) -> str | None:
        """Return the name of the model in Celonis, if it is served. Raises ``CelonisError``."""
        return self.client.model_name(self.pool, self.plan.data_model, timeout=timeout)

    def post(self, timeout: float) -> StartAnswer:
        model, kind = self.plan.data_model, self.resolved.kind
        if kind is LoadKind.PARTIAL:
            return self.client.load_tables(self.pool, model, sorted(self.resolved.tables), timeout=timeout)
        from_cache = kind is LoadKind.FROM_CACHE
        return self.client.load_model(self.pool, model, from_cache=from_cache, timeout=timeout)

    def ending(
        self,
        status: str | None,
        ours: str | None,  # noqa: ARG002
        observation: Observation,
        timeout: float,  # noqa: ARG002
    ) -> Ending:
        message = observation.message
        reported = f": {message}".rstrip(".") if message else ""
        if status == LoadStatus.SUCCESS:
            return Ending(None, message)
        if status == LoadStatus.WARNING:
            failed = self.plan.on_warning == "fail"
            text = f"{self.subject} ended with a warning{reported}."
            return Ending(errors.LoadWarned(text, hint=FAIL_HINT) if failed else None, message)
        if status == LoadStatus.CANCELED:
            return Ending(errors.LoadCanceled(f"{self.subject} was cancelled{reported}.", hint=FAIL_HINT))
        return Ending(errors.LoadFailed(f"{self.subject} failed{reported}.", hint=FAIL_HINT), message)

    def cancel(self, timeout: float) -> bool:  # noqa: ARG002 - no call is known that cancels a load
        return False

    def ignoring_rate_limit(self) -> DataModelTarget:
        return replace(self, client=self.client.ignoring_rate_limit())

    def facts(self) -> Mapping[str, object]:
        return {"data_model": self.plan.data_model, "kind": self.resolved.kind.value}


StepTarget: TypeAlias = DataJobTarget | DataModelTarget
"""The job or load of a step."""


def resolved_load(run: Run, step: str) -> ResolvedLoad:
    """Return the load of a step with its tables, or without if the run has not resolved them."""
    if run.loads is None:
        return ResolvedLoad(run.plan.load(step).kind, {})
    load = run.loads[step]
    return ResolvedLoad(LoadKind(load["kind"]), load["tables"])


def load_observation(load: Load | None) -> Observation:
    """Return what the last load shows; None if the model was never loaded."""
    if load is None:
        return Observation(status=None, activity=Activity.IDLE, single=True)
    return Observation(
        status=load.status,
        activity=activity(running=load.is_active, terminal=load.is_terminal),
        current=load.load_id if load.is_active else None,
        latest=load.load_id,
        started=load.start_date,
        message=load.message,
        single=True,
        ended=load.end_date,
    )


TABLES_SECONDS = 300.0
ALL: Final[dict[str, Any]] = {"kind": LoadKind.COMPLETE.value, "tables": {}}
TOO_MANY = "The tables of the merged triggers do not fit into one record: all tables are loaded."


class ModelTables(Struct):
    """Resolves table names, with tables from Celonis that are cached for ``seconds``."""

    client_for: Callable[[Definition], CelonisClient]
    clock: Clock
    seconds: float = 0.0
    _cache: dict[tuple[str, str, str], tuple[float, Sequence[ModelTable]]] = field(default_factory=dict)

    def resolved(self, run: Run, deadline: Deadline) -> dict[str, Any]:
        """Return facts for the run's record: ``loads`` by step, and ``warnings`` about its options.

        Reads tables only for loads that name some. Raises ``UnknownTable``, ``RunTooLarge`` and what the
        client raises.
        """
        models = {load.data_model for load in run.plan.loads if load.names_tables}
        tables = {model: self._tables(run.definition, model, deadline) for model in sorted(models)}
        resolution = resolve(run.plan, tables)
        loads = {
            step: {"kind": load.kind.value, "tables": dict(load.tables)}
            for step, load in resolution.loads.items()
        }
        warnings = [*run.options.warnings, *_unused(run), *resolution.warnings]
        if run.options.merged and _excess(run, loads):
            loads |= {
                load.step: ALL for load in run.plan.loads if load.requested and load.started_by == "run"
            }
            warnings.append(TOO_MANY)
        if excess := _excess(run, loads):
            raise excess
        warnings = [cut(text, MAX_WARNING) for text in warnings]
        return {"loads": loads} | ({"warnings": warnings} if warnings else {})

    def _tables(self, definition: Definition, model: str, deadline: Deadline) -> Sequence[ModelTable]:
        key = (definition.connection, definition.data_pool_id, model)
        at, tables = self._cache.get(key, (0.0, ()))
        if 0.0 <= self.clock() - at < self.seconds:
            return tables
        client = self.client_for(definition)
        tables = client.tables(definition.data_pool_id, model, timeout=deadline.left())
        self._cache[key] = (self.clock(), tables)
        return tables


def _unused(run: Run) -> list[str]:
    """Return warnings about options that the definition, which may have changed, cannot use."""
    unused = inapplicable(run.pipeline, run.definition, run.options)
    return [f"A trigger set {field}, which is not used: {expected}." for field, expected in unused]


def _excess(run: Run, loads: dict[str, Any]) -> RunTooLarge | None:
    """Return an error if the record with ``loads`` has no room for its steps and its end."""
    steps = [job.step for job in run.plan.jobs] + [load.step for load in run.plan.loads]
    size, limit = item_size({**run.item, "loads": loads, "steps": {}}), room_for_opening(steps)
    return RunTooLarge(run.run_id, size, limit) if size > limit else None

"""Commands on runs (cancel, retry), and the state of pipelines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import InlineDefinition, canonical_id
from celonis_refresh.pipelines.plan import AS_DEFINED, make_plan
from celonis_refresh.runs.earlier import Earlier, read_earlier
from celonis_refresh.runs.errors import RunClosed, TableBusy
from celonis_refresh.runs.pipeline_state import PipelineState, shown_freshness
from celonis_refresh.runs.queued import QueuedRun, RunLookup
from celonis_refresh.runs.records import OPEN, Run, RunStatus, check_open
from celonis_refresh.runs.slots import drop_pending
from celonis_refresh.runs.table import ConditionFailed, Table, delivery_key, job_lease, pipeline_key, slot_key
from celonis_refresh.steps.ownership import Evidence
from celonis_refresh.steps.retry import RetrySkips, has_started, skipped_by_retry
from celonis_refresh.timing import Clock, Deadline, epoch
from celonis_refresh.workflow.accept import TriggerAcceptor, response_body, start_execution_of
from celonis_refresh.workflow.executions import Executions
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.pipeline_details import (
    PipelineDetails,
    expected_seconds,
    shown_pipeline,
    usual_durations,
)
from celonis_refresh.workflow.requests import read_pipelines_query

PAGE = 20
"""Later runs in one request."""
MAX_LATER = 200
"""Maximum later runs of its pipeline with which a run can be retried: each costs a read."""
SUCCESS_PAGES = 2
"""Pages of a pipeline's runs that are searched for its last success: about 10,000 runs."""


class RunOpen(RefreshError):
    """A run that is open or pending cannot be retried."""

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id = run_id
        super().__init__(f"Run {run_id} is {status}.", hint="A run can be retried after it has ended.")


class RunSuperseded(RefreshError):
    """A retry would skip what a later run has done since.

    ``later``: that run, None if it is of another pipeline; ``job``: the data job that it started, None if the
    run succeeded.
    """

    def __init__(self, run_id: str, later: str | None, job: str | None = None) -> None:
        self.run_id = run_id
        self.later = later
        self.job = job
        who = f"{later}, a later run of its pipeline," if later else "a run of another pipeline"
        if job is None:
            what = f"{who} succeeded"
            hint = "If the later run did less (another mode, fewer tables), start a new run for the rest."
        else:
            what = f"{who} has started data job {job} since, which the retry would not execute again"
            hint = "Retry the later run, or start a new one."
        super().__init__(f"Run {run_id} is not retried: {what}.", hint=hint)


class RunInline(RefreshError):
    """A run with an inline definition cannot be retried by its pipeline's name."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"Run {run_id} had an inline definition, which cannot be run again by its name.",
            hint="Start it again as an execution, with its definition.",
        )


class RunTooOld(RefreshError):
    """A run that more than ``MAX_LATER`` runs of its pipeline followed is not retried."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"Run {run_id} is not retried: more than {MAX_LATER} runs of its pipeline have ended since.",
            hint="Retry the last run of the pipeline, or start a new one.",
        )


class RunCommands(Struct, frozen=True):
    """Cancels and retries runs. ``pipelines``: returns a page of names, and the token of the next."""

    table: Table
    lookup: RunLookup
    listing: Listing
    acceptor: TriggerAcceptor
    executions: Executions
    pipelines: Callable[[str | None], tuple[list[str], str | None]]
    details: PipelineDetails
    clock: Clock

    def cancel(self, run_id: str, caller: str, deadline: Deadline, *, drop_pending: bool) -> dict[str, Any]:
        """Stop the run's execution; close_run cancels its jobs and starts the follow-up run.

        ``drop_pending``: drop the follow-up run as well. A pending run is dropped at once. Raises
        ``RunNotFound``, ``RunClosed``.
        """
        run = self.lookup.get(run_id)
        if isinstance(run, QueuedRun):
            options = self._drop(run.pipeline, run.slot, caller, deadline)["options"]
            return {"run_id": run_id, "status": "dropped", "options": options}
        check_open(run)
        dropped = self._drop_follow_up(run, caller, deadline) if drop_pending else None
        self.executions.start(run_id)  # stop needs an execution, even if it was not started yet
        self.executions.stop(run_id, "Canceled", f"Cancelled by {caller}.")
        return {"run_id": run_id, "status": "cancelling"} | ({"dropped": dropped} if dropped else {})

    def retry(self, run_id: str, caller: str, deadline: Deadline) -> dict[str, Any]:
        """Start a new run with the current definition, without what the old run has completed.

        A repeated request returns the same run. Raises ``RunNotFound``, ``RunOpen``, ``RunClosed`` for a run
        that succeeded, ``RunInline``, ``RunSuperseded``, ``RunTooOld``, ``PipelineBusy``, ``PipelinePaused``.
        """
        run = self.lookup.get(run_id)
        if isinstance(run, QueuedRun) or run.is_open:
            raise RunOpen(run_id, run.status)
        if run.status is RunStatus.SUCCEEDED:
            raise RunClosed(run_id, run.status)
        if run.has_definition and isinstance(run.definition, InlineDefinition):
            raise RunInline(run_id)
        delivery = delivery_key("retry", run_id)
        acceptance = self.acceptor.claims.known(delivery)
        if acceptance is None:
            definition = self.acceptor.definition(run.pipeline)
            skips = skipped_by_retry(run, definition, self.clock())
            self._check_is_newest(run, skips)
            acceptance = self.acceptor.accept_retry(run, definition, skips, caller, [delivery], deadline)
        start_execution_of(self.executions, acceptance.results[0].run_id)
        return {"retry_of": run_id, **response_body(acceptance)}

    def list_pipelines(self, query: Mapping[str, str], deadline: Deadline) -> dict[str, Any]:
        """Return a page ``{"pipelines": [name, …], "freshness": {name: …}, "next": token}``.

        ``freshness``: of the pipelines that had ``fresh_within`` when ``reconcile`` evaluated them last.
        ``next``: ``after`` of the next page; null on the last. With ``runs`` in the query, the details of
        each pipeline as well. Raises ``InvalidTrigger``.
        """
        request = read_pipelines_query(query)
        if request.runs is not None:
            return self.details.page(request.after or None, request.runs, deadline)
        names, token = self.pipelines(request.after or None)
        now = self.clock()
        items = self.table.get_all([pipeline_key(name) for name in names], deadline)
        states = {name: PipelineState(items.get(pipeline_key(name), {})) for name in names}
        rules = {name: state.stored.fresh_within for name, state in states.items() if state.stored}
        freshness = {name: shown_freshness(states[name], rule, now) for name, rule in rules.items()}
        return {"pipelines": names, "freshness": freshness, "next": token}

    def show_pipeline(self, name: str, deadline: Deadline) -> dict[str, Any]:
        """Return the current and pending run of a pipeline, its last success and its age (seconds).

        Raises ``UnknownPipeline``, ``InvalidDefinition``.
        """
        definition = self.acceptor.definition(name)
        slot = self.table.get(slot_key(name)) or {}
        state = PipelineState(self.table.get(pipeline_key(name)) or {})
        last = self._last_success(name)
        now, plan = self.clock(), make_plan(definition, AS_DEFINED)
        fresh = round(now - epoch(self._fresh_from(last))) if last else None
        usual = usual_durations(self.table, [plan], deadline, now)
        return {
            **shown_pipeline(name, definition, slot, state, now),
            "last_success": last,
            "seconds_since_last_success": fresh,
            "expected_seconds": expected_seconds(plan, usual, now),
        }

    def _last_success(self, name: str) -> Mapping[str, Any] | None:
        """Return the newest successful run, or None if it is not among the searched runs."""
        before: str | None = None
        for _ in range(SUCCESS_PAGES):
            page = self.listing.page(1, name, RunStatus.SUCCEEDED, before)
            before = page.before
            if page.runs or before is None:
                return next(iter(page.runs), None)
        return None

    def _fresh_from(self, last: Mapping[str, Any]) -> str:
        """Return the end of a run or, for a retry, of the oldest job that it skipped."""
        record = self.lookup.records.find(str(last["run_id"]))
        skipped = record.item.get("skip_since") if record else None
        return str(skipped or last["ended_at"])

    def _drop_follow_up(self, run: Run, caller: str, deadline: Deadline) -> Mapping[str, Any] | None:
        slot = self.table.get(slot_key(run.pipeline)) or {}
        if slot.get("run_id") != run.run_id or "pending" not in slot:
            return None
        return self._drop(run.pipeline, slot, caller, deadline)

    def _drop(
        self, pipeline: str, slot: Mapping[str, Any], caller: str, deadline: Deadline
    ) -> Mapping[str, Any]:
        """Drop the pending run of a slot and return its run id and options, which are only logged."""
        pending: Mapping[str, Any] = slot["pending"]
        try:
            self.table.update(drop_pending(self.table, pipeline, slot), deadline)
        except ConditionFailed as refused:
            if not _is_dropped(refused.items[0], slot):
                raise TableBusy("the run began, or another trigger joined it, at the same time") from None
        triggers = [reason["trigger"] for reason in pending["options"]["reasons"]]
        dropped = {"run_id": pending["run_id"], "caller": caller, "triggers": triggers}
        logger.warning("a pending run is dropped", extra=dropped)
        return pending

    def _check_is_newest(self, run: Run, skips: RetrySkips) -> None:
        """Raise ``RunSuperseded`` if a later run succeeded or started a job that the retry skips."""
        for item in self._ended_after(run):
            later = str(item["run_id"])
            if item["status"] == RunStatus.SUCCEEDED:
                raise RunSuperseded(run.run_id, later)
            record = self.lookup.records.find(later) if skips.jobs else None
            if record is not None and (job := has_started(record, skips.jobs)):
                raise RunSuperseded(run.run_id, later, job)
        retried = self._with_retried(run)
        for job in sorted(skips.jobs):
            last = read_earlier(self.table, job_lease(job))
            is_done = job in skips.skip
            by_others = (
                last.run_id not in (None, *retried) if is_done else _was_executed_since(run, job, last)
            )
            if by_others or self._is_executed_by_others(job, retried):
                raise RunSuperseded(run.run_id, None, job)

    def _ended_after(self, run: Run) -> Iterator[dict[str, Any]]:
        """Yield the ended runs of the pipeline that began after ``run``, newest first.

        Raises ``RunTooOld``.
        """
        before: str | None = None
        for _ in range(MAX_LATER // PAGE):
            page = self.listing.page(PAGE, run.pipeline, None, before)
            for item in page.runs:
                if item["created_at"] <= run.item["created_at"]:
                    return
                if item["status"] not in OPEN:
                    yield item
            if page.before is None:
                return
            before = page.before
        raise RunTooOld(run.run_id)

    def _with_retried(self, run: Run) -> set[str]:
        """Return the ids of the run and of the runs that it retries, directly or indirectly."""
        run_ids, former = {run.run_id}, run.item.get("retry_of")
        while former is not None and former not in run_ids:
            run_ids.add(str(former))
            record = self.lookup.records.find(str(former))
            former = record.item.get("retry_of") if record else None
        return run_ids

    def _is_executed_by_others(self, job: str, runs: Collection[str]) -> bool:
        """Return whether another run has started the job and still has its lease."""
        holder = (self.table.get(job_lease(job)) or {}).get("run_id")
        if holder is None or holder in runs:
            return False
        record = self.lookup.records.find(str(holder))
        return record is not None and has_started(record, {job}) is not None


def _was_executed_since(run: Run, job: str, last: Earlier) -> bool:
    """Return whether our last execution of a job began after that of the run.

    The last ended one may be older, and of any run.
    """
    states = [run.steps.get(each.step, {}) for each in run.plan.jobs if canonical_id(each.job) == job]
    state: Mapping[str, Any] = states[0] if states else {}
    ours = Evidence.from_json(state["evidence"]).ids_of_ours if "evidence" in state else frozenset()
    ids = ours.union(state.get("earlier", ()))
    return bool(ours) and bool(last.newest) and ids.isdisjoint(last.newest)


def _is_dropped(item: Mapping[str, Any] | None, slot: Mapping[str, Any]) -> bool:
    """Return whether the next change of the slot dropped its pending run, by this call or another."""
    current = item or {}
    same = current.get("run_id") == slot.get("run_id") and current.get("rev") == slot["rev"] + 1
    return same and "pending" not in current

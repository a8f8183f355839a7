"""Closes runs: the end of an execution becomes the end of its run, once.

Every step can be repeated, because the event arrives at least once, late and sometimes twice. What a crash
left incomplete (the notification, the start of the follow-up run) is done when the event arrives again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import InlineDefinition
from celonis_refresh.runs.errors import RunClosed, TableBusy
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import (
    IS_OPEN,
    MAX_ERROR,
    MAX_OUTCOME,
    MAX_SENTENCE,
    OPEN_VALUES,
    Records,
    Run,
    RunStatus,
    cut,
    fit_step,
)
from celonis_refresh.runs.slots import release
from celonis_refresh.runs.table import (
    NOT_NOTIFIED,
    Action,
    ConditionFailed,
    Table,
    notice_key,
    run_key,
    slot_key,
)
from celonis_refresh.steps.cancel import CancelFindings, StepCanceller, free_leases
from celonis_refresh.steps.retry import RetrySkips, skipped_by_retry
from celonis_refresh.timing import Clock, Deadline, epoch, iso
from celonis_refresh.workflow.executions import ExecutionDescription, Executions

DAY = 86_400


RETRY_COMMAND = """Retry command (docs/runs.md and the README define the shell functions signed and output):

signed -X POST "$(output ApiUrl)/runs/{run_id}/retry\""""

Publish = Callable[[str, str, dict[str, Any]], None]
"""Publishes a notification: a subject, a text, and the facts as JSON values."""


class RunCloser(Struct, frozen=True):
    """Closes runs. ``is_paused``: whether a pipeline starts nothing for now."""

    table: Table
    records: Records
    leases: Leases
    executions: Executions
    canceller: StepCanceller
    publish: Publish
    is_paused: Callable[[str], bool]
    clock: Clock
    retention_days: int

    def close(self, execution_arn: str, deadline: Deadline) -> Run | None:
        """Close the run of an ended execution; None if it is running or has no run."""
        execution = self.executions.describe(execution_arn)
        return None if execution.status == "RUNNING" else self.close_as(execution, deadline)

    def close_as(self, execution: ExecutionDescription, deadline: Deadline) -> Run | None:
        """As :meth:`close`, for an execution that is known to have ended."""
        run = self.records.find(execution.name)
        if run is None:
            self._notify_of_refusal(execution)
            return None
        if run.is_open:
            run = self._end(run, execution, deadline)
        self._start_follow_up(run)
        self._notify(run, deadline)
        return run

    def notify_late(self, run_id: str, deadline: Deadline) -> bool:
        """Send the notification of a run that was closed without one.

        Returns False if the record has expired; then the notice is removed.
        """
        run = self.records.find(run_id)
        if run is None:
            self.table.delete(self.table.remove(notice_key(run_id), ""), deadline)
            return False
        self._notify(run, deadline)
        return True

    def _end(self, run: Run, execution: ExecutionDescription, deadline: Deadline) -> Run:
        """Cancel what a stopped run left running, then write the end of the run, its slot and leases."""
        try:
            run = self._hold(run, execution, deadline)
        except RunClosed:
            return self.records.get(run.run_id)
        findings = self.canceller.stop(run, deadline, cancel=execution.was_stopped)
        for lease, until in findings.held.items():
            self.leases.hold(run.run_id, lease, until, deadline)
        run = self.records.get(run.run_id)
        facts = self._facts(run, execution, findings)
        while run.is_open:
            if deadline.left() <= 0:
                raise TableBusy("the slot kept changing")
            slot = self.table.get(slot_key(run.pipeline)) or {}
            follow_up = slot.get("pending", {}).get("run_id")
            paused = follow_up is not None and self.is_paused(run.pipeline)
            end = facts | ({"follow_up": follow_up} if follow_up and not paused else {})
            try:
                self.table.transact(self._actions(run, slot, end, paused=paused), deadline)
            except ConditionFailed as refused:  # a trigger has joined, or another call closed it
                run = self.records.get(run.run_id)
                is_ours = refused.retried and run.item.get("ended_at") == facts["ended_at"]
            else:
                run, is_ours = Run({**run.item, **end}), True
            if is_ours:
                _log_end(run)
        free_leases(run, findings, self.leases, self.clock(), deadline)
        return run

    def _hold(self, run: Run, execution: ExecutionDescription, deadline: Deadline) -> Run:
        """Mark the run as being closed, so that no task starts anything more; not after a success."""
        if _outcome(run, execution)[0] is RunStatus.SUCCEEDED:
            return run
        return self.records.begin_closing(run, iso(self.clock()), deadline)

    def _facts(self, run: Run, execution: ExecutionDescription, findings: CancelFindings) -> dict[str, Any]:
        status, error, message = _outcome(run, execution)
        now = self.clock()
        facts: dict[str, Any] = {
            "status": status,
            "ended_at": iso(now),
            "execution_arn": execution.arn,
            "expires": int(now) + self.retention_days * DAY,
            **_steps_after(run, findings, iso(now)),
        }
        advice = _advice(Run({**run.item, **facts}), now)
        messages = [cut(message, MAX_SENTENCE), *_load_warnings(run)]
        parts = [*messages, *findings.messages, *advice, *run.warnings]
        facts["outcome"] = cut(" ".join(parts), MAX_OUTCOME)
        return facts | ({"error": cut(error, MAX_ERROR)} if error else {})

    def _actions(
        self, run: Run, slot: dict[str, Any], facts: dict[str, Any], *, paused: bool
    ) -> list[Action]:
        at = str(facts["ended_at"])
        actions = [self.table.set(run_key(run.run_id), facts, IS_OPEN, OPEN_VALUES)]
        if slot.get("run_id") == run.run_id:
            actions += release(self.table, run.pipeline, slot, run.run_id, at, paused=paused)
        if facts["status"] is not RunStatus.SUCCEEDED or run.warnings:
            actions.append(self.table.put(_unnotified(run.run_id, at)))
        return actions

    def _start_follow_up(self, run: Run) -> None:
        follow_up = run.item.get("follow_up")
        if not follow_up:
            return
        follow_up_run = self.records.find(str(follow_up))
        if follow_up_run is not None and follow_up_run.status is RunStatus.OPENING:
            self.executions.start(follow_up_run.run_id)

    def _notify(self, run: Run, deadline: Deadline) -> None:
        is_expected = run.status is RunStatus.SUCCEEDED and not run.warnings
        if is_expected or run.item.get("notified_at"):
            return
        facts = {name: run.item.get(name) for name in ("run_id", "pipeline", "status", "error", "outcome")}
        text = f"Run {run.run_id} of pipeline {run.pipeline} ended {run.status}.\n\n{run.item['outcome']}"
        skips = _retry_skips(run, self.clock())
        if skips.skip or skips.jobs:
            text += f"\n\n{RETRY_COMMAND.format(run_id=run.run_id)}"
        self.publish(f"{run.pipeline}: {run.status}", text, facts)
        at = {"notified_at": iso(self.clock())}
        notified = self.table.set(run_key(run.run_id), at, "attribute_exists(pk)")
        self.table.transact([notified, self.table.remove(notice_key(run.run_id), "")], deadline)

    def _notify_of_refusal(self, execution: ExecutionDescription) -> None:
        """Notify of a failed execution that never became a run, because its input was not valid."""
        if execution.status == RunStatus.SUCCEEDED:
            return
        ended = f"Execution {execution.name} ended {execution.status} before it became a run."
        text = f"{ended}\n\n{execution.cause}"
        facts = {"execution": execution.name, "status": execution.status, "error": execution.error}
        self.publish(f"Celonis Refresh: execution {execution.status}", text, facts)


def _retry_skips(run: Run, now: float) -> RetrySkips:
    """Return what a retry of an ended run would skip; nothing if it cannot be retried."""
    if run.status is RunStatus.SUCCEEDED or not run.has_definition:
        return RetrySkips()
    if isinstance(run.definition, InlineDefinition):
        return RetrySkips()
    return skipped_by_retry(run, run.definition, now)


def _advice(run: Run, now: float) -> list[str]:
    """Return the sentence that advises a retry, if it skips what has succeeded."""
    skip = _retry_skips(run, now).skip
    done = ", ".join(skip)
    return (
        [f"To retry, send POST /runs/{run.run_id}/retry: it skips {done}, which succeeded."] if skip else []
    )


def _log_end(run: Run) -> None:
    """Log the end of a run, once."""
    began = str(run.item.get("started_at", run.item["created_at"]))
    facts = {name: run.item[name] for name in ("run_id", "pipeline", "status", "error") if name in run.item}
    seconds = round(epoch(str(run.item["ended_at"])) - epoch(began), 3)
    logger.info("run ended", extra={**facts, "outcome": run.item["outcome"], "seconds": seconds})


CANCELLING = "CANCELLING"
"""Status of a step whose cancel was accepted and whose end no poll has shown."""


def _steps_after(run: Run, findings: CancelFindings, at: str) -> dict[str, Any]:
    """Return ``{"steps": …}`` with the findings of closing; empty if there are none.

    No task writes steps once a run is being closed.
    """
    changed: dict[str, dict[str, Any]] = {}
    for step, end in findings.ends.items():
        is_cancelled = end.status in (JobStatus.CANCEL, LoadStatus.CANCELED)
        ended = {"outcome": "CANCELLED", "ended_at": at} if is_cancelled else {}
        before = run.steps[step]
        changed[step] = {
            **before,
            "status": end.status,
            "evidence": end.evidence.to_json(),
            "polls": int(before.get("polls", 0)) + end.polls,
            **ended,
        }
    changed |= {
        step: {**run.steps[step], "cancel_requested": True, "status": CANCELLING}
        for step in findings.cancelling
    }
    fitted = {step: fit_step(step, state) for step, state in changed.items()}
    return {"steps": {**run.steps, **fitted}} if fitted else {}


def _unnotified(run_id: str, at: str) -> dict[str, str]:
    """Return the item that exists until the notification of a run's end is sent."""
    return {
        "pk": notice_key(run_id),
        "run_id": run_id,
        "status": NOT_NOTIFIED,
        "position": f"{at} {run_id}",
    }


def _outcome(run: Run, execution: ExecutionDescription) -> tuple[RunStatus, str, str]:
    """Return status, error name and message; a run only succeeds if all its steps have.

    The error of a failed step is the cause, because that of the execution may be an error of AWS.
    """
    status = RunStatus(execution.status)
    failed = _failed_step(run)
    if status is RunStatus.SUCCEEDED:
        if all(run.steps.get(step, {}).get("outcome") == "SUCCEEDED" for step in _steps(run)):
            return status, "", _success(run)
        unproven = "OutcomeUnproven", "The execution succeeded, but not every step has a proven end."
        return RunStatus.FAILED, *(failed or unproven)
    if status is RunStatus.FAILED:
        unknown = execution.error or "Unknown", execution.cause or "The execution failed without a cause."
        return status, *(failed or unknown)
    if status is RunStatus.TIMED_OUT:
        return status, "States.Timeout", "The execution reached the timeout of the state machine."
    return status, execution.error or "Aborted", execution.cause or "The execution was stopped."


def _steps(run: Run) -> list[str]:
    """Return the steps in the order of the plan."""
    return [job.step for job in run.plan.jobs] + [load.step for load in run.plan.loads]


def _failed_step(run: Run) -> tuple[str, str] | None:
    """Return the recorded error name and message of the first failed step."""
    if not run.has_definition:
        return None
    for step in _steps(run):
        state = run.steps.get(step, {})
        if state.get("outcome") == "FAILED" and state.get("error"):
            return str(state["error"]), str(state.get("message", ""))
    return None


def _success(run: Run) -> str:
    """Return the message of a run that succeeded."""
    jobs = [f"{job.mode} {job.job}" for job in run.plan.jobs]
    loads = [
        f"{(run.loads or {}).get(load.step, {}).get('kind')} {load.data_model}" for load in run.plan.loads
    ]
    parts = [f"executed {', '.join(jobs)}"] if jobs else []
    parts += [f"loaded {', '.join(loads)}"] if loads else []
    if not parts:
        return f"Succeeded: nothing was left to do after run {run.item.get('retry_of')}."
    return f"Succeeded: {' and '.join(parts)}."


def _load_warnings(run: Run) -> Iterator[str]:
    """Yield the warnings of loads that succeeded."""
    for load in run.plan.loads if run.has_definition else ():
        state = run.steps.get(load.step, {})
        if state.get("status") == LoadStatus.WARNING and state.get("outcome") == "SUCCEEDED":
            message = " ".join(str(state.get("message", "")).split()).rstrip(".")
            messages = f": {message}" if message else ""
            yield f"The load of data model {load.data_model} ended with a warning{messages}."

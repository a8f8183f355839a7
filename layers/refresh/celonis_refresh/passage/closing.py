"""CloseRun: the end of an execution becomes the end of its run, once, whatever the end was.

Every movement is safe to repeat: the event comes at least once, late and sometimes twice. What a crash
left undone (the notice, the start of what waited) is done when the event comes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from celonis_refresh.celonis.records import LoadStatus
from celonis_refresh.passage.executions import EndedExecution, Executions
from celonis_refresh.passage.stopping import Stopping, free_leases
from celonis_refresh.runs import keys
from celonis_refresh.runs.errors import RunClosed, TableBusy
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import IS_OPEN, OPEN_VALUES, Records, Run, RunStatus
from celonis_refresh.runs.sizes import MAX_ERROR, MAX_OUTCOME, MAX_SENTENCE, cut
from celonis_refresh.runs.slots import release
from celonis_refresh.runs.table import Action, Refused, Table
from celonis_refresh.timing import Clock, Deadline, iso

DAY = 86_400


Notify = Callable[[str, str, dict[str, Any]], None]
"""Tells somebody: a subject, a text, and the facts as JSON values."""


class Closing(Struct, frozen=True):
    """Closes runs. ``is_paused``: whether a pipeline starts nothing for now."""

    table: Table
    records: Records
    leases: Leases
    executions: Executions
    stopping: Stopping
    notify: Notify
    is_paused: Callable[[str], bool]
    clock: Clock
    retention_days: int

    def close(self, execution_arn: str, deadline: Deadline) -> Run | None:
        """Closes the run of an execution that has ended; None where there is nothing to close."""
        execution = self.executions.describe(execution_arn)
        return None if execution.status == "RUNNING" else self.close_as(execution, deadline)

    def close_as(self, execution: EndedExecution, deadline: Deadline) -> Run | None:
        """As :meth:`close`, for an execution that is known to have ended."""
        run = self.records.find(execution.name)
        if run is None:
            self._tell_of_refusal(execution)
            return None
        if run.is_open:
            run = self._end(run, execution, deadline)
        self._start_follow_up(run)
        self._tell(run, deadline)
        return run

    def tell(self, run_id: str, deadline: Deadline) -> bool:
        """Sends the notification of a run whose closing died before that.

        Returns False where the record has expired: nothing is left to notify of, and the notice is removed.
        """
        run = self.records.find(run_id)
        if run is None:
            self.table.delete(self.table.remove(keys.notice(run_id), ""), deadline)
            return False
        self._tell(run, deadline)
        return True

    def _end(self, run: Run, execution: EndedExecution, deadline: Deadline) -> Run:
        """Stops what a stopped run left running, then writes the end of the run, its slot and its leases."""
        try:
            run = self._hold(run, execution, deadline)
        except RunClosed:
            return self.records.get(run.run_id)
        findings = self.stopping.stop(run, deadline, cancel=execution.was_stopped)
        for lease, until in findings.held.items():
            self.leases.hold(run.run_id, lease, until, deadline)
        run = self.records.get(run.run_id)
        facts = self._facts(run, execution, findings.sentences)
        while run.is_open:
            if deadline.left() <= 0:
                raise TableBusy("the slot kept changing")
            slot = self.table.get(keys.slot(run.pipeline)) or {}
            follow_up = slot.get("pending", {}).get("run_id")
            paused = follow_up is not None and self.is_paused(run.pipeline)
            known = facts | ({"follow_up": follow_up} if follow_up and not paused else {})
            try:
                self.table.transact(self._actions(run, slot, known, paused=paused), deadline)
            except Refused:
                run = self.records.get(run.run_id)  # a trigger joined just now, or somebody else closed it
            else:
                run = Run({**run.item, **known})
        free_leases(run, findings, self.leases, self.clock(), deadline)
        return run

    def _hold(self, run: Run, execution: EndedExecution, deadline: Deadline) -> Run:
        """From here on no task of the run starts anything: one that was under way when its execution was
        stopped still is. What was sent by then is noted. A proven success has nothing under way."""
        if _outcome(run, execution)[0] is RunStatus.SUCCEEDED:
            return run
        return self.records.begin_closing(run, iso(self.clock()), deadline)

    def _facts(self, run: Run, execution: EndedExecution, sentences: list[str]) -> dict[str, Any]:
        status, error, message = _outcome(run, execution)
        now = self.clock()
        facts: dict[str, Any] = {
            "status": status,
            "ended_at": iso(now),
            "execution_arn": execution.arn,
            "outcome": cut(" ".join([cut(message, MAX_SENTENCE), *sentences, *run.warnings]), MAX_OUTCOME),
            "expires": int(now) + self.retention_days * DAY,
        }
        return facts | ({"error": cut(error, MAX_ERROR)} if error else {})

    def _actions(
        self, run: Run, slot: dict[str, Any], facts: dict[str, Any], *, paused: bool
    ) -> list[Action]:
        at = str(facts["ended_at"])
        actions = [self.table.set(keys.run(run.run_id), facts, IS_OPEN, OPEN_VALUES)]
        if slot.get("run_id") == run.run_id:
            actions += release(self.table, run.pipeline, slot, run.run_id, at, paused=paused)
        if facts["status"] is not RunStatus.SUCCEEDED or run.warnings:
            actions.append(self.table.put(_untold(run.run_id, at)))
        return actions

    def _start_follow_up(self, run: Run) -> None:
        follow_up = run.item.get("follow_up")
        if not follow_up:
            return
        waiting = self.records.find(str(follow_up))
        if waiting is not None and waiting.status is RunStatus.OPENING:
            self.executions.start(waiting.run_id)

    def _tell(self, run: Run, deadline: Deadline) -> None:
        is_expected = run.status is RunStatus.SUCCEEDED and not run.warnings
        if is_expected or run.item.get("told_at"):
            return
        facts = {name: run.item.get(name) for name in ("run_id", "pipeline", "status", "error", "outcome")}
        text = f"Run {run.run_id} of pipeline {run.pipeline} ended {run.status}.\n\n{run.item['outcome']}"
        self.notify(f"{run.pipeline}: {run.status}", text, facts)
        at = {"told_at": iso(self.clock())}
        told = self.table.set(keys.run(run.run_id), at, "attribute_exists(pk)")
        self.table.transact([told, self.table.remove(keys.notice(run.run_id), "")], deadline)

    def _tell_of_refusal(self, execution: EndedExecution) -> None:
        """An execution that never became a run: it joined, which is well, or its input made no sense."""
        if execution.status == RunStatus.SUCCEEDED:
            return
        ended = f"Execution {execution.name} ended {execution.status} before it became a run."
        text = f"{ended}\n\n{execution.cause}"
        facts = {"execution": execution.name, "status": execution.status, "error": execution.error}
        self.notify(f"Celonis Refresh: execution {execution.status}", text, facts)


def _untold(run_id: str, at: str) -> dict[str, str]:
    """The item that stands as long as nobody was told of the end of a run."""
    return {"pk": keys.notice(run_id), "run_id": run_id, "status": keys.UNTOLD, "position": f"{at} {run_id}"}


def _outcome(run: Run, execution: EndedExecution) -> tuple[RunStatus, str, str]:
    """Status, error name and sentence. A green execution with a step that is not green is not green.

    Where a step failed, its error is the cause: that of the execution may be an error of AWS.
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
        return status, "States.Timeout", "The execution reached the time-out of the state machine."
    return status, execution.error or "Aborted", execution.cause or "The execution was stopped."


def _steps(run: Run) -> list[str]:
    """The steps in the order of the plan."""
    return [job.step for job in run.plan.jobs] + [load.step for load in run.plan.loads]


def _failed_step(run: Run) -> tuple[str, str] | None:
    """Error name and message of the first step that failed, as they were recorded."""
    if not run.has_definition:
        return None
    for step in _steps(run):
        state = run.steps.get(step, {})
        if state.get("outcome") == "FAILED" and state.get("error"):
            return str(state["error"]), str(state.get("message", ""))
    return None


def _success(run: Run) -> str:
    """What a run that succeeded did, and the warnings of its loads."""
    jobs = [f"{job.mode} {job.job}" for job in run.plan.jobs]
    loads = [
        f"{(run.loads or {}).get(load.step, {}).get('kind')} {load.data_model}" for load in run.plan.loads
    ]
    parts = [f"executed {', '.join(jobs)}"] if jobs else []
    parts += [f"loaded {', '.join(loads)}"] if loads else []
    if not parts:
        return f"Succeeded: nothing was left to do after run {run.item.get('retry_of')}."
    return " ".join([f"Succeeded: {' and '.join(parts)}.", *_warnings(run)])


def _warnings(run: Run) -> Iterator[str]:
    for load in run.plan.loads:
        state = run.steps.get(load.step, {})
        if state.get("status") == LoadStatus.WARNING:
            message = " ".join(str(state.get("message", "")).split()).rstrip(".")
            said = f": {message}" if message else ""
            yield f"The load of data model {load.data_model} ended with a warning{said}."

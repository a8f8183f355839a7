"""Closes runs: the end of an execution becomes the end of its run, once.

Every step can be repeated, because the event arrives at least once, late and sometimes twice. What a crash
left incomplete (the start of the follow-up run, notifications) is done when the event arrives again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.notifications.callbacks import callback_facts, promise_callbacks
from celonis_refresh.notifications.events import events_message
from celonis_refresh.notifications.health import RECOVERED, Health, health_after
from celonis_refresh.notifications.messages import notification_messages
from celonis_refresh.notifications.outbox import Message, Outbox
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.callbacks import callbacks_of
from celonis_refresh.runs.errors import RunClosed, TableBusy
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.pipeline_state import run_ended, success_facts
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
    Action,
    ConditionFailed,
    Table,
    pipeline_key,
    refusal_cause_key,
    refusal_key,
    run_key,
    slot_key,
)
from celonis_refresh.steps.cancel import CancelFindings, StepCanceller, free_leases
from celonis_refresh.timing import Clock, Deadline, epoch, iso
from celonis_refresh.workflow.configuration_reports import REPORT_SECONDS
from celonis_refresh.workflow.executions import (
    ExecutionDescription,
    Executions,
    refusal_cause,
    shown_input,
)
from celonis_refresh.workflow.run_metrics import measure_end
from celonis_refresh.workflow.run_report import (
    CANCELLING,
    end_facts,
    failed_step,
    freshness_facts,
    load_warnings,
    names_of,
    reported_step,
    retry_advice,
    run_end,
    steps_of,
    success,
    with_names,
)

DAY = 86_400
MAX_NAMES = 3
"""Names that are read in Celonis for one notification."""
REFUSAL_DAYS = 14
"""How long the refusal of an execution is known: its event arrives again before."""


class RunCloser(Struct, frozen=True):
    """Closes runs.

    ``is_paused``: whether a pipeline starts nothing for now. ``celonis_address``: of a pipeline's team.
    ``celonis_name``: reads the name of a step's job or model; "" if it cannot be read. ``stack``: its name,
    for events.
    """

    table: Table
    records: Records
    leases: Leases
    executions: Executions
    canceller: StepCanceller
    outbox: Outbox
    is_paused: Callable[[str], bool]
    celonis_address: Callable[[Definition], str | None]
    celonis_name: Callable[[Run, str], str]
    clock: Clock
    retention_days: int
    stack: str

    def close(self, execution_arn: str, deadline: Deadline) -> Run | None:
        """Close the run of an ended execution; None if it is running or has no run."""
        execution = self.executions.describe(execution_arn)
        return None if execution.status == "RUNNING" else self.close_as(execution, deadline)

    def close_as(self, execution: ExecutionDescription, deadline: Deadline) -> Run | None:
        """As :meth:`close`, for an execution that is known to have ended."""
        run = self.records.find(execution.name)
        if run is None:
            self._notify_of_refusal(execution, deadline)
            return None
        logger.append_keys(**run.log_keys)
        messages: Sequence[Message] = ()
        if run.is_open:
            run, messages = self._end(run, execution, deadline)
        self._start_follow_up(run)
        if messages:
            self.outbox.send_put(messages, deadline)
        else:
            self.outbox.send_unsent(run.item.get("messages", ()), deadline)
        self._post_callbacks(run, deadline)
        return run

    def _post_callbacks(self, run: Run, deadline: Deadline) -> None:
        """Post the result to the systems that wait for it; what fails here is left to reconcile."""
        try:
            callbacks = callbacks_of(self.table, run.run_id, deadline)
            messages = promise_callbacks(self.outbox, callbacks, callback_facts(run), deadline)
        except TableBusy as error:
            logger.warning("callbacks are left to reconcile", extra={"run_id": run.run_id, "why": str(error)})
            return
        self.outbox.send_put(messages, deadline)

    def _end(
        self, run: Run, execution: ExecutionDescription, deadline: Deadline
    ) -> tuple[Run, Sequence[Message]]:
        """Cancel what a stopped run left running, then write the end of the run, its slot and leases.

        Return the messages that this call has put; none if another call closed the run.
        """
        try:
            run = self._hold(run, execution, deadline)
        except RunClosed:
            return self.records.get(run.run_id), ()
        findings = self.canceller.stop(run, deadline, cancel=execution.was_stopped)
        for lease, until in findings.held.items():
            self.leases.hold(run.run_id, lease, until, deadline)
        run = self.records.get(run.run_id)
        facts = self._facts(run, execution, findings)
        put: Sequence[Message] = ()
        while run.is_open:
            if deadline.left() <= 0:
                raise TableBusy("the slot kept changing")
            slot = self.table.get(slot_key(run.pipeline)) or {}
            follow_up = slot.get("pending", {}).get("run_id")
            paused = follow_up is not None and ("pause" in slot or self.is_paused(run.pipeline))
            end = facts | ({"follow_up": follow_up} if follow_up and not paused else {})
            ended = Run({**run.item, **end})
            health = _health(slot, ended)
            messages = [*self._messages(ended, health), events_message(self.outbox, self.stack, ended)]
            end |= {"messages": [message.message_id for message in messages]}
            try:
                self.table.transact(self._actions(run, slot, end, health, messages, paused=paused), deadline)
            except ConditionFailed as refused:  # a trigger has joined, or another call closed it
                run = self.records.get(run.run_id)
                is_ours = refused.retried and run.item.get("ended_at") == facts["ended_at"]
            else:
                run, is_ours, put = Run({**run.item, **end}), True, messages
            if is_ours:
                _log_end(run)
        free_leases(run, findings, self.leases, self.clock(), deadline)
        return run, put

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
        advice = retry_advice(Run({**run.item, **facts}), now)
        named = with_names(run, message, names_of(run))
        messages = [cut(named, MAX_SENTENCE), *(sentence for _, sentence in load_warnings(run))]
        parts = [*messages, *findings.messages, *advice, *run.warnings]
        facts["outcome"] = cut(" ".join(parts), MAX_OUTCOME)
        return facts | ({"error": cut(error, MAX_ERROR)} if error else {})

    def _actions(
        self,
        run: Run,
        slot: Mapping[str, Any],
        facts: Mapping[str, Any],
        health: Health,
        messages: Sequence[Message],
        *,
        paused: bool,
    ) -> list[Action]:
        at = str(facts["ended_at"])
        actions = [self.table.set(run_key(run.run_id), facts, IS_OPEN, OPEN_VALUES)]
        if slot.get("run_id") == run.run_id:
            actions += release(self.table, run.pipeline, slot, run.run_id, at, health.facts, paused=paused)
            actions.append(run_ended(self.table, run, facts))
        return actions + [self.outbox.put(message) for message in messages]

    def _messages(self, run: Run, health: Health) -> list[Message]:
        """Return the notifications of the end of a run."""
        if not health.what:
            return []
        definition = run.definition if run.has_definition else None
        address = self.celonis_address(definition) if definition else None
        step = reported_step(run)
        name = self.celonis_name(run, step) if step and step not in names_of(run) else ""
        before = self.table.get(pipeline_key(run.pipeline)) or {}
        facts = {**end_facts(run, address, step, name), "last_success_at": before.get("last_success_at")}
        if health.what == RECOVERED:
            facts |= {"outcome": self._named_success(run)}
        facts |= {"failing_since": health.failing_since}
        after = {**before, **success_facts(run, run.item)}
        rule = definition.fresh_within if definition else None
        facts |= freshness_facts(after, rule, self.clock())
        notify = definition.notify if definition else None
        return notification_messages(self.outbox, notify, health.what, facts, occasion="ended")

    def _named_success(self, run: Run) -> str:
        """Return the outcome of a success with the names of jobs and models that its record does not have."""
        names, outcome = names_of(run), str(run.item["outcome"])
        unnamed = [step for step in steps_of(run) if step not in names][:MAX_NAMES]
        named = names | {step: name for step in unnamed if (name := self.celonis_name(run, step))}
        return outcome.replace(success(run, names), success(run, named))

    def _start_follow_up(self, run: Run) -> None:
        follow_up = run.item.get("follow_up")
        if not follow_up:
            return
        follow_up_run = self.records.find(str(follow_up))
        if follow_up_run is not None and follow_up_run.status is RunStatus.OPENING:
            self.executions.start(follow_up_run.run_id)

    def _notify_of_refusal(self, execution: ExecutionDescription, deadline: Deadline) -> None:
        """Notify of a failed execution that never became a run, because its input was not valid.

        A cause is notified once in ``REPORT_SECONDS``, because a schedule repeats its mistake at each firing.
        """
        if execution.status == RunStatus.SUCCEEDED:
            return
        cause, now = refusal_cause(execution), self.clock()
        messages = notification_messages(
            self.outbox,
            None,
            "refused",
            _refusal_facts(execution, cause),
            occasion=f"refused/{execution.name}",
        )
        notified = {
            "pk": refusal_cause_key(cause),
            "at": now,
            "expires": int(now + REPORT_SECONDS) + 1,
        }
        actions = [
            self._refused(execution, messages),
            self.table.put(
                notified, "attribute_not_exists(pk) OR #at <= :before", {"before": now - REPORT_SECONDS}
            ),
            *(self.outbox.put(message) for message in messages),
        ]
        try:
            self.table.transact(actions, deadline)
        except ConditionFailed as refused:
            self._send_refusal(execution, refused.items[0], deadline)
        else:
            self.outbox.send_put(messages, deadline)

    def _send_refusal(
        self, execution: ExecutionDescription, known: Mapping[str, Any] | None, deadline: Deadline
    ) -> None:
        """Send what was promised of a refusal. ``known``: its item, None if its cause was just notified.

        Without an item, an event that arrives again after ``REPORT_SECONDS`` would send a notification.
        """
        if not known:
            try:
                self.table.transact([self._refused(execution, ())], deadline)
            except ConditionFailed as refused:  # the event has arrived twice at the same time
                known = refused.items[0]
        self.outbox.send_unsent((known or {}).get("messages", ()), deadline)

    def _refused(self, execution: ExecutionDescription, messages: Sequence[Message]) -> Action:
        """Return the write that notes a refusal and its messages, unless it is known."""
        known = {
            "pk": refusal_key(execution.name),
            "messages": [message.message_id for message in messages],
            "expires": int(self.clock()) + REFUSAL_DAYS * DAY,
        }
        return self.table.put(known, "attribute_not_exists(pk)")


def _refusal_facts(execution: ExecutionDescription, cause: str) -> dict[str, Any]:
    return {
        "execution": execution.name,
        "input": shown_input(execution.input),
        "started_at": execution.started_at,
        "execution_arn": execution.arn,
        "status": execution.status,
        "error": execution.error,
        "outcome": cut(execution.cause, MAX_SENTENCE),
        "incident": f"refused/{cause}",
    }


def _health(slot: Mapping[str, Any], run: Run) -> Health:
    repeat_after = run.definition.notify.repeat_after if run.has_definition else 0
    return health_after(slot, run_end(run), repeat_after)


def _log_end(run: Run) -> None:
    """Log the end of a run, once."""
    began = str(run.item.get("started_at", run.item["created_at"]))
    facts = {name: run.item[name] for name in ("run_id", "pipeline", "status", "error") if name in run.item}
    seconds = round(epoch(str(run.item["ended_at"])) - epoch(began), 3)
    logger.info("run ended", extra={**facts, "outcome": run.item["outcome"], "seconds": seconds})
    measure_end(run)


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


def _outcome(run: Run, execution: ExecutionDescription) -> tuple[RunStatus, str, str]:
    """Return status, error name and message; a run only succeeds if all its steps have.

    The error of a failed step is the cause, because that of the execution may be an error of AWS.
    """
    status = RunStatus(execution.status)
    step = failed_step(run)
    failed = (str(run.steps[step]["error"]), str(run.steps[step].get("message", ""))) if step else None
    if status is RunStatus.SUCCEEDED:
        if all(run.steps.get(step, {}).get("outcome") == "SUCCEEDED" for step in steps_of(run)):
            return status, "", success(run, names_of(run))
        unproven = "OutcomeUnproven", "The execution succeeded, but not every step has a proven end."
        return RunStatus.FAILED, *(failed or unproven)
    if status is RunStatus.FAILED:
        unknown = execution.error or "Unknown", execution.cause or "The execution failed without a cause."
        return status, *(failed or unknown)
    if status is RunStatus.TIMED_OUT:
        return status, "States.Timeout", "The execution reached the timeout of the state machine."
    return status, execution.error or "Aborted", execution.cause or "The execution was stopped."

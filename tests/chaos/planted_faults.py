"""Faults planted into the service, one at a time: the invariants have to find every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from celonis_refresh.celonis.records import StartAnswer
from celonis_refresh.errors import RefreshError
from celonis_refresh.notifications.outbox import Message, Outbox, SendResult, outbox_key
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs import claims, deliveries, leases, slots
from celonis_refresh.runs.records import Run
from celonis_refresh.runs.table import Action, Table
from celonis_refresh.steps import check, start
from celonis_refresh.steps.cancel import StepCanceller
from celonis_refresh.steps.observation import Observation
from celonis_refresh.steps.ownership import Ownership
from celonis_refresh.steps.step import Progress, Step
from celonis_refresh.timing import Deadline
from celonis_refresh.workflow import close as closer
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.commands import RunCommands
from celonis_refresh.workflow.executions import ExecutionDescription
from celonis_refresh.workflow.reconcile import ReconcileFindings, Reconciler


def _unconditional(action: Action) -> Action:
    ((_, body),) = action.items()
    for name in ("ConditionExpression", "ReturnValuesOnConditionCheckFailure"):
        body.pop(name, None)
    used = body.get("UpdateExpression", "")
    for place in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        body[place] = {name: value for name, value in body.get(place, {}).items() if name in used}
        if not body[place]:
            del body[place]
    return action


@contextmanager
def claim_without_condition() -> Iterator[None]:
    """A slot is taken even if another run holds it."""
    real = claims._Attempt._change_slot

    def change(self: Any, *arguments: Any) -> Action:
        return _unconditional(real(self, *arguments))

    with patch.object(claims._Attempt, "_change_slot", change):
        yield


@contextmanager
def delivery_without_condition() -> Iterator[None]:
    """A delivery is recorded even if it is known."""
    real = deliveries._record

    def record(*arguments: Any) -> Action:
        return _unconditional(real(*arguments))

    with patch.object(deliveries, "_record", record):
        yield


@contextmanager
def lease_freed_early() -> Iterator[None]:
    """The first poll that shows ours running frees the lease."""
    real = check._keep_polling

    def keep_polling(step: Step, ownership: Ownership, observation: Observation) -> Progress:
        progress = real(step, ownership, observation)
        step.context.leases.free(step.run.run_id, step.target.lease, step.deadline)
        return progress

    with patch.object(check, "_keep_polling", keep_polling):
        yield


@contextmanager
def slot_released_without_follow_up() -> Iterator[None]:
    """The pending run is dropped when the slot is released."""
    real = slots.release

    def release(
        table: Table,
        pipeline: str,
        slot: Mapping[str, Any],
        run_id: str,
        at: str,
        health: Mapping[str, Any],
        *,
        paused: bool,
    ) -> list[Action]:
        actions = real(table, pipeline, {**slot, "pending": None}, run_id, at, health, paused=paused)
        for action in actions:
            action["Update"]["UpdateExpression"] += ", #pending"
            action["Update"]["ExpressionAttributeNames"]["#pending"] = "pending"
        return actions

    with patch.object(closer, "release", release):
        yield


@contextmanager
def sent_mark_after_the_post() -> Iterator[None]:
    """The baseline and the mark that the start was sent are written after it was sent."""
    real = Step.save

    def save(self: Step, *arguments: Any) -> None:
        is_mark = "sent_by" in self.state and "baseline" in self.state and not self.state.get("answered")
        if is_mark and "is_late" not in vars(self):
            vars(self)["is_late"] = True
            return
        real(self, *arguments)

    with patch.object(Step, "save", save):
        yield


@contextmanager
def message_removed_before_it_is_sent() -> Iterator[None]:
    """A message is removed from the outbox before it is sent."""
    real = Outbox._send_claimed

    def send(self: Outbox, message: Message, deadline: Deadline) -> SendResult:
        self.table.delete(self.table.remove(outbox_key(message.message_id), ""), deadline)
        return real(self, message, deadline)

    with patch.object(Outbox, "_send_claimed", send):
        yield


@contextmanager
def lease_without_condition() -> Iterator[None]:
    """A lease is taken even if another run holds it."""
    with patch.object(leases._LeaseView, "_holder", lambda self, lease: None):
        yield


@contextmanager
def ended_runs_not_reconciled() -> Iterator[None]:
    """Reconcile does not close runs whose end was lost."""

    def close(
        self: Reconciler, execution: ExecutionDescription, findings: ReconcileFindings, deadline: Deadline
    ) -> None:
        return

    with patch.object(Reconciler, "_close", close):
        yield


@contextmanager
def lost_answer_posted_again() -> Iterator[None]:
    """A start whose answer was lost is sent again at once."""
    real = start._after_lost_answer

    def after(step: Step, lost: Any) -> Progress:
        try:
            answer: StartAnswer = step.target.post(step.seconds(20.0))
        except RefreshError:
            return real(step, lost)
        return start._after_answer(step, answer)

    with patch.object(start, "_after_lost_answer", after):
        yield


@contextmanager
def cancel_that_stops_nothing() -> Iterator[None]:
    """A cancel answers, and does not stop the execution."""
    real = RunCommands.cancel

    def cancel(self: RunCommands, run_id: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        executions = self.executions

        class IgnoresTriggers:
            def start(self, *given: Any) -> None:
                executions.start(*given)

            def stop(self, *given: Any) -> None:
                return

        parts = {name: getattr(self, name) for name in RunCommands.__struct_fields__}
        return real(RunCommands(**{**parts, "executions": IgnoresTriggers()}), run_id, *arguments, **options)

    with patch.object(RunCommands, "cancel", cancel):
        yield


@contextmanager
def merged_options_lost() -> Iterator[None]:
    """Of two triggers that are merged, the options of the first count."""

    def join(self: RunOptions, other: RunOptions) -> RunOptions:
        return self

    with patch.object(RunOptions, "join", join):
        yield


@contextmanager
def retry_without_delivery() -> Iterator[None]:
    """A retry is not recorded, so that a second one starts another run."""
    real: Callable[..., Any] = TriggerAcceptor.accept_retry

    def accept_retry(self: TriggerAcceptor, *arguments: Any) -> Any:
        *before, given, deadline = arguments
        acceptance = real(self, *before, given, deadline)
        self.claims.remembered.clear()
        for key in given:
            self.claims.table.delete(self.claims.table.remove(key, ""), deadline)
        return acceptance

    with patch.object(TriggerAcceptor, "accept_retry", accept_retry):
        yield


@contextmanager
def stop_that_cancels_nothing() -> Iterator[None]:
    """What a stopped run left running keeps running, and the record says that it was cancelled."""
    real = StepCanceller.stop

    def stop(self: StepCanceller, run: Run, deadline: Deadline, *, cancel: bool = True) -> Any:
        found = real(self, run, deadline, cancel=False)
        found.messages.clear()
        return found

    with patch.object(StepCanceller, "stop", stop):
        yield


Plant = Callable[[], Any]
PLANTED: dict[Plant, str] = {
    claim_without_condition: "one run at a time",
    delivery_without_condition: "twice",
    lease_freed_early: "lease",
    slot_released_without_follow_up: "lost",
    sent_mark_after_the_post: "twice",
    message_removed_before_it_is_sent: "visible",
    lease_without_condition: "lease",
    ended_runs_not_reconciled: "ends",
    lost_answer_posted_again: "twice",
    cancel_that_stops_nothing: "cancel",
    merged_options_lost: "lost",
    retry_without_delivery: "retry",
    stop_that_cancels_nothing: "stop",
}
"""Each planted fault, and the invariant that it violates."""

"""Reconcile: completes within minutes what a crash or a lost event has left incomplete.

A round does a bounded number of tasks, oldest first. If there are more, the next round continues after the
last one; at the end of the list, the following round starts with the oldest again.

A task may kill the function, by its time or its memory. Lambda then repeats the invocation, which notes each
task before it begins it: the invocation after that reports the task and continues behind it.

Another function may make the same change at the same time. Each write is therefore conditional on what was
read, and has no effect if the change has already been made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct, field
from msgspec.structs import asdict

from celonis_refresh.errors import RefreshError
from celonis_refresh.notifications.callbacks import promise_results
from celonis_refresh.notifications.messages import notification_messages
from celonis_refresh.notifications.outbox import UNSENT, MessageKind, Outbox, SendResult, outbox_key
from celonis_refresh.observability import log_scope, logger
from celonis_refresh.runs.callbacks import CALLBACK
from celonis_refresh.runs.errors import RunClosed, StepMoved, TableBusy
from celonis_refresh.runs.leases import Lease, Leases
from celonis_refresh.runs.queued import RunLookup
from celonis_refresh.runs.records import IS_OPEN, OPEN, OPEN_VALUES, Records, Run, RunStatus
from celonis_refresh.runs.slots import start_pending
from celonis_refresh.runs.table import (
    LEASED,
    REPORTED,
    WAITING,
    ConditionFailed,
    Table,
    job_lease,
    model_lease,
    pipeline_of,
    report_key,
    run_key,
    slot_key,
)
from celonis_refresh.steps.observation import Activity
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, Deadline, epoch, iso
from celonis_refresh.workflow.close import RunCloser
from celonis_refresh.workflow.configuration_checks import ConfigurationChecks
from celonis_refresh.workflow.executions import ExecutionDescription, Executions
from celonis_refresh.workflow.freshness import MAX_PAGES, FreshnessFindings, FreshnessMonitor
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.run_report import names_of, run_facts, step_facts
from celonis_refresh.workflow.stuck import stuck

MIN_AGE_SECONDS = 20.0
"""Twice the trigger's timeout: until then, the function that wrote an item may still be working on it."""
GONE_SECONDS = 300.0
"""Seconds after the start of a run in which Step Functions may not describe its execution yet: its reads are
eventually consistent. An execution is kept for 90 days."""
ROUND_SECONDS = 300.0
"""Seconds between two rounds, as scheduled in the template."""
UNUSED_SECONDS = 300.0
"""Maximum time that a task holds a lease before it sends its start: tasks end after 90 s."""
POLL_SECONDS = 10.0
MAX_TASKS = 500
"""Maximum tasks of one kind in a round. A task of a run calls DescribeExecution once, and an account may call
it about ten times a second."""
UNPACED_TASKS = 100
TASK_SECONDS = 0.15
"""Seconds between the starts of two tasks after the first ``UNPACED_TASKS`` of a round, which leaves most of
the rate of DescribeExecution and GetParameter to the other functions."""
FRESHNESS = "FRESHNESS"
"""The name of the kind of work that evaluates the freshness of pipelines, among the positions."""
POSITIONS = "reconcile#positions"
"""Key of the item with the position of the last completed task, by kind. ``trying``: the task that a repeated
round has begun, "" after a round that ended."""
MIN_SECONDS = 20.0
"""Minimum remaining seconds to begin a task; with less, the next round does it."""
MIN_CLOSE_SECONDS = 80.0
"""Minimum remaining seconds to close a run: its jobs and loads are polled, cancelled and verified."""


class ReconcileFindings(Struct):
    """What a round did, by kind: ids of runs and messages, names of pipelines, keys of leases.

    ``failed``: tasks that the next round repeats; ``given_up``: messages that are not sent any more.
    ``stale``: the pipelines that are stale now; ``freshness``: what has changed. ``unusable``: configuration
    that was found to be unusable and reported; ``usable``: reports that were resolved.
    """

    started: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    freshness: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    usable: list[str] = field(default_factory=list)


T = TypeVar("T")
Act = Callable[[str, ReconcileFindings, Deadline], None]


class Task(Struct, frozen=True):
    """One run, slot or lease to reconcile, its position in the index, and the function that does it."""

    name: str
    position: str
    act: Callable[[ReconcileFindings, Deadline], None]


class Positions(Struct, frozen=True):
    """Where a round continues. ``after``: by status; ``trying``: the task at which the function has died."""

    after: Mapping[str, str]
    trying: str = ""


class NextRound(Exception):
    """The round has too little time left for this task."""


class TaskKind(Struct):
    """One kind of task: the items with ``status`` in the index.

    ``after``: the position of the last completed task; None: the round begins with the oldest. ``deferred``:
    a task was deferred to the next round, which begins with it. ``used``: seconds that this kind has used in
    this round; ``tasks_done``: number of its tasks.
    """

    name: str
    status: str
    tasks: Iterator[Task]
    after: str | None = None
    deferred: bool = False
    used: float = 0.0
    tasks_done: int = 0

    def done(self, position: str | None) -> None:
        """Note that the task at this position is completed; None: the last one of the list."""
        if not self.deferred:
            self.after = position


class Reconciler(Struct, frozen=True):
    """Runs one round over all open runs, notifications, slots and leases."""

    table: Table
    records: Records
    leases: Leases
    listing: Listing
    executions: Executions
    closer: RunCloser
    freshness: FreshnessMonitor
    configuration: ConfigurationChecks
    outbox: Outbox
    target_for: Callable[[Run, str], StepTarget]
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def reconcile(self, deadline: Deadline, *, repeated: bool = False) -> ReconcileFindings:
        """Reconcile open runs, unsent messages, slots with a pending run, and leases.

        A failed task does not prevent the others. The next task is always of the kind that has used the least
        time, so a slow kind does not starve the others. ``repeated``: the invocation before has failed, and
        one of the tasks may be the cause.
        """
        findings = ReconcileFindings()
        before = self._positions()
        if before.trying:
            findings.failed.append(before.trying)
            logger.error("the function died at this item, and skips it", extra={"item": before.trying})
        kinds = self._kinds(before.after)
        remaining = list(kinds)
        while remaining:
            if deadline.left() < MIN_SECONDS:
                logger.warning("the rest is left to the next round")
                break
            kind = min(remaining, key=lambda each: (each.used, each.tasks_done))
            began = self.clock()
            with log_scope(kind=kind.name):
                note = partial(self._note, kinds, deadline) if repeated else _ignore
                is_last = not self._do_next(kind, note, findings, deadline)
            if is_last:
                remaining.remove(kind)
            kind.used, kind.tasks_done = kind.used + self.clock() - began, kind.tasks_done + 1
            if sum(each.tasks_done for each in kinds) > UNPACED_TASKS:
                self.sleep(min(TASK_SECONDS, max(0.0, began + TASK_SECONDS - self.clock())))
        after = Positions({kind.status: kind.after for kind in kinds if kind.after})
        if repeated or after != before:  # a repeated round has noted its last task
            self._save(after, deadline)
        return findings

    def _note(self, kinds: Sequence[TaskKind], deadline: Deadline, task: Task) -> None:
        """Save the positions behind a task that is to begin, in case that it kills the function."""
        after = {kind.status: kind.after for kind in kinds if kind.after is not None}
        self._save(Positions(after, task.name), deadline)

    def _do_next(
        self, kind: TaskKind, note: Callable[[Task], None], findings: ReconcileFindings, deadline: Deadline
    ) -> bool:
        """Do the next task of a kind; return False if there is none. A failed list ends the kind."""
        name, before = f"the list of {kind.name}", kind.after
        try:
            task = next(kind.tasks)
            name = task.name
            kind.done(task.position)  # even if it fails, so that the following tasks are done
            note(task)
            task.act(findings, deadline)
        except StopIteration:
            return False
        except NextRound:
            kind.after, kind.deferred = before, True
            logger.warning("a run is closed in the next round", extra={"run_id": name})
        except RefreshError as error:
            findings.failed.append(name)
            logger.warning("could not be reconciled", extra={"item": name, "why": str(error)})
        except Exception:  # noqa: BLE001 - logged in full; the other tasks continue
            findings.failed.append(name)
            logger.exception("could not be reconciled", extra={"item": name})
        return True

    def _kinds(self, positions: Mapping[str, str]) -> list[TaskKind]:
        """Return the kinds of tasks, which are listed lazily; every round begins with another kind.

        A slow task may use the whole round: without this rotation, later kinds would never be done.
        """
        kinds = [
            self._kind(positions, "slots", WAITING, "pk", self._slot),
            self._kind(positions, "leases", LEASED, "pk", self._lease),
            self._kind(positions, "callbacks", CALLBACK, "run_id", self._callbacks),
            self._kind(positions, "messages", UNSENT, "pk", partial(self._message, set())),
            self._kind(positions, "reports", REPORTED, "pk", self._report),
            *(self._kind(positions, "runs", status, "run_id", self._run) for status in sorted(OPEN)),
            self._freshness(positions),
        ]
        return self._rotated(kinds)

    def _rotated(self, entries: Sequence[T]) -> list[T]:
        """Return the entries, beginning with another one in every round."""
        first = int(self.clock() // ROUND_SECONDS) % max(1, len(entries))
        return [*entries[first:], *entries[:first]]

    def _kind(
        self, positions: Mapping[str, str], name: str, status: str, attribute: str, act: Act
    ) -> TaskKind:
        """``attribute``: the attribute of an item that is passed to ``act``."""
        kind = TaskKind(name, status, iter(()), positions.get(status))
        kind.tasks = self._tasks(kind, attribute, act)
        return kind

    def _tasks(self, kind: TaskKind, attribute: str, act: Act) -> Iterator[Task]:
        """Yield a task for each of the next items of a kind, oldest first."""
        count = 0
        for item in self.listing.oldest(kind.status, kind.after, MAX_TASKS):
            count += 1
            if kind.status == WAITING or self._is_old_enough(item):
                named = str(item[attribute])
                yield Task(named, str(item["position"]), partial(act, named))
        if count < MAX_TASKS:
            kind.done(None)

    def _freshness(self, positions: Mapping[str, str]) -> TaskKind:
        """The pages of definitions; the position of a page is the token of the next one."""
        kind = TaskKind("pipelines", FRESHNESS, iter(()), positions.get(FRESHNESS))
        kind.tasks = self._pages(kind)
        return kind

    def _pages(self, kind: TaskKind) -> Iterator[Task]:
        """One task for each page of definitions; none after a round that died at the last page."""
        if kind.after == "":
            kind.done(None)
            return
        for _ in range(MAX_PAGES):
            page = self.freshness.read_page(kind.after)
            names = f"the pipelines {', '.join(page.texts)}"
            yield Task(names, page.token or "", partial(self._page, page.texts))
            if page.token is None:
                kind.done(None)
                return

    def _page(self, texts: Mapping[str, str], findings: ReconcileFindings, deadline: Deadline) -> None:
        """Evaluate a page: its pipelines begin with another one in every round, because one may kill it."""
        found = FreshnessFindings()
        self.freshness.evaluate(dict(self._rotated(list(texts.items()))), deadline, found)
        findings.stale += found.stale
        findings.freshness += found.changes
        findings.failed += found.failed
        findings.unusable += self.configuration.check(texts, deadline)

    def _report(self, key: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """Resolve a report of unusable configuration if the configuration can be used again."""
        item = self.table.get(key)
        if item is not None and self.configuration.recheck(item, deadline):
            findings.usable.append(key.removeprefix(report_key("")))

    def _positions(self) -> Positions:
        """Return where the last round stopped; empty if it cannot be read."""
        try:
            item = self.table.get(POSITIONS) or {}
        except TableBusy as error:
            logger.warning("the round begins with the oldest", extra={"why": str(error)})
            return Positions({})
        return Positions(item.get("after", {}), str(item.get("trying", "")))

    def _save(self, positions: Positions, deadline: Deadline) -> None:
        try:
            self.table.update(self.table.set(POSITIONS, asdict(positions), ""), deadline)
        except TableBusy as error:
            logger.warning("the next round does not continue this one", extra={"why": str(error)})

    def _is_old_enough(self, item: Mapping[str, Any]) -> bool:
        """Return whether the function that wrote the item must have ended by now."""
        made_at = str(item["position"]).split(" ", 1)[0]
        return self.clock() - epoch(made_at) >= MIN_AGE_SECONDS

    def _run(self, run_id: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """Start the execution of an open run if it was never started; close the run if it has ended."""
        run = self.records.find(run_id)
        if run is None or not run.is_open:
            return
        logger.append_keys(run_id=run_id, pipeline=run.pipeline)  # until the end of this task
        execution = self.executions.find(run_id)
        if execution is None and run.status is RunStatus.OPENING:
            self.executions.start(run_id)
            findings.started.append(run_id)
        elif execution is None and self._is_new(run):
            logger.info("an execution cannot be described yet", extra={"run_id": run_id})
        elif execution is None:
            logger.warning("the execution of an open run is gone", extra={"run_id": run_id})
            gone = ExecutionDescription(
                run_id, str(run.item.get("execution_arn", "")), "FAILED", "ExecutionGone", GONE
            )
            self._close(gone, findings, deadline)
        elif execution.status != "RUNNING":
            self._close(execution, findings, deadline)
        else:
            self._report_stuck(run, findings, deadline)

    def _report_stuck(self, run: Run, findings: ReconcileFindings, deadline: Deadline) -> None:
        """Notify of a run that waits for long, once for each cause."""
        before = run.item.get("stuck")
        reported = list(before or ())
        causes = {each.cause: each for each in stuck(run, self.clock()) if each.cause not in reported}
        if not causes:
            return
        logger.append_keys(**run.log_keys)
        definition = run.definition if run.has_definition else None
        address = self.closer.celonis_address(definition) if definition else None
        notify = definition.notify if definition else None
        messages = []
        for cause, each in causes.items():
            facts = {**run_facts(run), **each.facts()}
            if each.step:
                known = each.step in names_of(run)
                name = "" if known else self.closer.celonis_name(run, each.step)
                facts |= step_facts(run, each.step, address, name)
            messages += notification_messages(self.outbox, notify, "stuck", facts, occasion=f"stuck-{cause}")
        named = {"stuck": [*reported, *causes]}
        is_same = "attribute_not_exists(#stuck)" if before is None else "#stuck = :before"
        values = OPEN_VALUES if before is None else {**OPEN_VALUES, "before": before}
        try:
            self.table.transact(
                [
                    self.table.set(run_key(run.run_id), named, f"{IS_OPEN} AND {is_same}", values),
                    *(self.outbox.put(message) for message in messages),
                ],
                deadline,
            )
        except ConditionFailed:
            return  # it has ended, or another round has reported it
        logger.warning("a run is stuck", extra={"run_id": run.run_id, "causes": list(causes)})
        findings.stuck.append(run.run_id)
        self.outbox.send_put(messages, deadline)

    def _close(
        self, execution: ExecutionDescription, findings: ReconcileFindings, deadline: Deadline
    ) -> None:
        if deadline.left() < MIN_CLOSE_SECONDS:
            raise NextRound
        self.closer.close_as(execution, deadline)
        findings.closed.append(execution.name)

    def _is_new(self, run: Run) -> bool:
        """Return whether the run is so new that Step Functions may not describe its execution yet."""
        began = str(run.item.get("started_at") or run.item["created_at"])
        return self.clock() - epoch(began) < GONE_SECONDS

    def _callbacks(self, run_id: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """Post the result of an ended or dropped run to the callbacks that close did not know of."""
        logger.append_keys(run_id=run_id, pipeline=pipeline_of(run_id))
        lookup = RunLookup(self.table, self.records)
        messages = promise_results(self.outbox, lookup, run_id, deadline)
        findings.notified += [message.message_id for message in messages]
        self.outbox.send_put(messages, deadline)

    def _message(
        self,
        silent: set[tuple[MessageKind, str]],
        key: str,
        findings: ReconcileFindings,
        deadline: Deadline,
    ) -> None:
        """Send a message again, unless another function sends it.

        ``silent``: targets that took none in this round; their other messages are left to the next one.
        """
        message_id = key.removeprefix(outbox_key(""))
        message = self.outbox.find(message_id)
        if message is None or (message.kind, message.target) in silent:
            return
        match self.outbox.send_again(message, deadline):
            case SendResult.SENT:
                findings.notified.append(message_id)
            case SendResult.GIVEN_UP:
                findings.given_up.append(message_id)
            case SendResult.FAILED:
                silent.add((message.kind, message.target))
                if message.kind is not MessageKind.CALLBACK:  # a system of others, which was logged
                    findings.failed.append(message_id)

    def _slot(self, key: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """Start the pending run of a free slot, unless its pipeline is paused."""
        slot: dict[str, Any] = self.table.get(key) or {}
        pipeline = key.removeprefix(slot_key(""))
        logger.append_keys(pipeline=pipeline)
        if "run_id" in slot or "pending" not in slot or "pause" in slot:
            return
        if self.closer.is_paused(pipeline):
            return
        try:
            self.table.transact(start_pending(self.table, pipeline, slot, iso(self.clock())), deadline)
        except ConditionFailed:
            return  # another trigger has just started or joined it
        self.executions.start(str(slot["pending"]["run_id"]))
        findings.slots.append(pipeline)

    def _lease(self, key: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """Free a lease whose run has ended, once nothing of that run is running there.

        Ended runs are removed from its queue at once. A lease of an open run is freed if its task was killed
        before it sent anything: the retry, perhaps hours later, acquires the lease again.
        """
        lease = self.leases.find(key)
        if lease.run_id is not None:
            logger.append_keys(run_id=lease.run_id, pipeline=pipeline_of(lease.run_id))
        changed = self.leases.remove_ended(lease, deadline)
        if lease.run_id is not None and self._is_over(lease):
            self.leases.free(lease.run_id, key, deadline)
            changed = True
        elif lease.run_id is not None and self._is_old(lease):
            changed = self._free_unused(lease, lease.run_id, deadline) or changed
        if changed:
            findings.leases.append(key)

    def _is_old(self, lease: Lease) -> bool:
        return lease.at is not None and self.clock() - epoch(lease.at) >= UNUSED_SECONDS

    def _free_unused(self, lease: Lease, run_id: str, deadline: Deadline) -> bool:
        """Free a lease that an open run holds for steps that sent nothing; return whether it was freed.

        The same transaction writes these steps, so a task that still works on one of them cannot send
        anything any more, and starts again.
        """
        run = self.records.find(run_id)
        if run is None or not run.is_open or run.is_closing or not run.has_definition:
            return False
        steps = unused_steps(run, lease.key)
        if not steps:
            return False
        first, *others = ((step, run.steps.get(step, {})) for step in steps)
        write = self.records.step_write(run, *first, also=dict(others))
        try:
            self.leases.end(run_id, lease.key, write, deadline)
        except (StepMoved, RunClosed):
            return False  # a task works on it, or the run is being closed
        logger.warning("a lease is released whose task died", extra={"run_id": run_id, "lease": lease.key})
        return True

    def _is_over(self, lease: Lease) -> bool:
        """Return whether the run that holds the lease and its execution in Celonis have both ended."""
        if (lease.held_until or 0.0) > self.clock():
            return False
        run = self.records.find(str(lease.run_id))
        return run is None or not (run.is_open or self._is_running(run, lease.key))

    def _is_running(self, run: Run, lease: str) -> bool:
        for step in run.steps:
            target = self.target_for(run, step)
            if target.lease == lease:
                return target.observe(lambda: POLL_SECONDS).activity is Activity.RUNNING
        return False


def _ignore(_: Task) -> None:
    """Note nothing: an ordinary round saves its positions once, at its end."""


GONE = "The execution of this run no longer exists in Step Functions."


def unused_steps(run: Run, lease: str) -> list[str]:
    """Return the steps for which the run may hold a lease, or none if a request was sent for any of them.

    A request needs a baseline first. Steps that have ended and released the lease are omitted.
    """
    leases = {job.step: job_lease(job.job) for job in run.plan.jobs}
    leases |= {load.step: model_lease(load.data_model) for load in run.plan.loads}
    states = {step: run.steps.get(step, {}) for step, key in leases.items() if key == lease}
    open_states = {step: one for step, one in states.items() if "ended_at" not in one or one.get("held")}
    if any("baseline" in one and not one.get("refused") for one in open_states.values()):
        return []
    return list(open_states)

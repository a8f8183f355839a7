"""Reconcile: what a crash or a lost event left behind is finished, a few minutes later at most.

A round does a bounded number of tasks, oldest first. Where there are more, the next round continues after the
last of them, and begins with the oldest again once it has reached the end of the list.

Every movement is one that somebody else may be making at the same moment; each is conditional on what was
read, and harmless when it was made already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import Struct, field

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import count, logger
from celonis_refresh.runs.errors import RunClosed, StepMoved, TableBusy
from celonis_refresh.runs.leases import Lease, Leases
from celonis_refresh.runs.records import OPEN, Records, Run, RunStatus
from celonis_refresh.runs.slots import start_pending
from celonis_refresh.runs.table import (
    LEASED,
    NOT_NOTIFIED,
    WAITING,
    ConditionFailed,
    Table,
    job_lease,
    model_lease,
    slot_key,
)
from celonis_refresh.steps.observation import Activity
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, Deadline, epoch, iso
from celonis_refresh.workflow.close import RunCloser
from celonis_refresh.workflow.executions import ExecutionDescription, Executions
from celonis_refresh.workflow.listing import Listing

MIN_AGE_SECONDS = 20.0
"""Twice the trigger's time-out: until then, whoever began a passage may still be at it."""
GONE_SECONDS = 300.0
"""So long after its start a run may have an execution that Step Functions does not describe yet: what it
tells is only eventually consistent, and an execution is not forgotten before 90 days."""
ROUND_SECONDS = 300.0
"""From one round to the next, as the template schedules them."""
UNUSED_SECONDS = 300.0
"""No task holds a lease for longer before it sends its start: tasks end after 90 s."""
POLL_SECONDS = 10.0
MAX_TASKS = 500
"""Tasks of one kind in a round. DescribeExecution allows some ten requests a second in an account, and a task
of a run sends one."""
UNPACED_TASKS = 100
TASK_SECONDS = 0.15
"""After the first ``UNPACED_TASKS`` of a round, one task begins in this time, so that most of the rate of
DescribeExecution and GetParameter is left to the other functions."""
POSITIONS = "reconcile#positions"
"""The item that has, by kind of work, the position of the last task that was done."""
MIN_SECONDS = 20.0
"""With less of the function's time left, the rest is left to the next round."""
MIN_CLOSE_SECONDS = 80.0
"""With less left, no run is closed: what it left running could not be observed, cancelled and verified."""


class ReconcileFindings(Struct):
    """What was done, by kind: the ids of runs, the names of pipelines, the keys of leases.

    ``failed``: what is tried again in the next round; ``given_up``: runs of which nobody will be notified.
    """

    started: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)


Act = Callable[[str, ReconcileFindings, Deadline], None]


class Task(Struct, frozen=True):
    """What is reconciled (a run, a slot or a lease), its position in the index, and the call that does it."""

    name: str
    position: str
    act: Callable[[ReconcileFindings, Deadline], None]


class NextRound(Exception):
    """A task for which this round has too little time left."""


class Kind(Struct):
    """One kind of work: the items under ``status`` in the index.

    ``after``: the position of the last task that was done; None: the round begins with the oldest.
    ``deferred``: a task was left to the next round, which begins with it. ``used``: seconds that the kind has
    taken of this round; ``turns``: how many tasks.
    """

    name: str
    status: str
    tasks: Iterator[Task]
    after: str | None = None
    deferred: bool = False
    used: float = 0.0
    turns: int = 0

    def done(self, position: str | None) -> None:
        """The task at this position was done; None: the last one of the list."""
        if not self.deferred:
            self.after = position


class Reconciler(Struct, frozen=True):
    """One round over everything that is open."""

    table: Table
    records: Records
    leases: Leases
    listing: Listing
    executions: Executions
    closer: RunCloser
    target_for: Callable[[Run, str], StepTarget]
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def reconcile(self, deadline: Deadline) -> ReconcileFindings:
        """Goes over open runs, ends that nobody was notified of, slots in which something waits, and leases.

        One that fails hides no other, and a slow kind starves no other: the next task is one of the kind that
        has used the least time.
        """
        findings = ReconcileFindings()
        before = self._positions()
        kinds = self._kinds(before)
        left = list(kinds)
        while left:
            if deadline.left() < MIN_SECONDS:
                logger.warning("the rest is left to the next round")
                break
            kind = min(left, key=lambda each: (each.used, each.turns))
            began = self.clock()
            if not self._do_next(kind, findings, deadline):
                left.remove(kind)
            kind.used, kind.turns = kind.used + self.clock() - began, kind.turns + 1
            if sum(each.turns for each in kinds) > UNPACED_TASKS:
                self.sleep(max(0.0, began + TASK_SECONDS - self.clock()))
        self._save({kind.status: kind.after for kind in kinds if kind.after is not None}, before, deadline)
        return findings

    def _do_next(self, kind: Kind, findings: ReconcileFindings, deadline: Deadline) -> bool:
        """Does the next task of a kind; False once there is none. A list that fails ends with the failure."""
        name, before = f"the list of {kind.name}", kind.after
        try:
            task = next(kind.tasks)
            name = task.name
            kind.done(task.position)  # also if it fails: the tasks after it have their turn
            task.act(findings, deadline)
        except StopIteration:
            return False
        except NextRound:
            kind.after, kind.deferred = before, True
            logger.warning("a run is closed in the next round", extra={"run_id": name})
        except RefreshError as error:
            findings.failed.append(name)
            logger.warning("could not be reconciled", extra={"item": name, "why": str(error)})
        except Exception:  # noqa: BLE001 - logged whole; it must not keep the others from being reconciled
            findings.failed.append(name)
            logger.exception("could not be reconciled", extra={"item": name})
        return True

    def _kinds(self, positions: Mapping[str, str]) -> list[Kind]:
        """The kinds of work, each listed as it goes on; every round begins with another one.

        One slow task may use up a round: without the rotation, the kinds after it would never be done.
        """
        kinds = [
            self._kind(positions, "slots", WAITING, "pk", self._slot),
            self._kind(positions, "leases", LEASED, "pk", self._lease),
            self._kind(positions, "notices", NOT_NOTIFIED, "run_id", self._reported),
            *(self._kind(positions, "runs", status, "run_id", self._run) for status in sorted(OPEN)),
        ]
        first = int(self.clock() // ROUND_SECONDS) % len(kinds)
        return kinds[first:] + kinds[:first]

    def _kind(self, positions: Mapping[str, str], name: str, status: str, attribute: str, act: Act) -> Kind:
        """``attribute``: what names an item in ``act``."""
        kind = Kind(name, status, iter(()), positions.get(status))
        kind.tasks = self._tasks(kind, attribute, act)
        return kind

    def _tasks(self, kind: Kind, attribute: str, act: Act) -> Iterator[Task]:
        """One task for each of the next items of a kind, oldest first."""
        found = 0
        for item in self.listing.oldest(kind.status, kind.after, MAX_TASKS):
            found += 1
            if kind.status == WAITING or self._is_old_enough(item):
                named = str(item[attribute])
                yield Task(named, str(item["position"]), partial(act, named))
        if found < MAX_TASKS:
            kind.done(None)

    def _positions(self) -> Mapping[str, str]:
        """Where the last round stopped, by status; empty where that cannot be read."""
        try:
            item = self.table.get(POSITIONS) or {}
        except TableBusy as error:
            logger.warning("the round begins with the oldest", extra={"why": str(error)})
            return {}
        positions: Mapping[str, str] = item.get("after", {})
        return positions

    def _save(self, positions: Mapping[str, str], before: Mapping[str, str], deadline: Deadline) -> None:
        if positions == before:
            return
        try:
            self.table.update(self.table.set(POSITIONS, {"after": positions}, ""), deadline)
        except TableBusy as error:
            logger.warning("the next round does not continue this one", extra={"why": str(error)})

    def _is_old_enough(self, item: Mapping[str, Any]) -> bool:
        """Whether the item is too old for whoever made it to be at work on it still."""
        made_at = str(item["position"]).split(" ", 1)[0]
        return self.clock() - epoch(made_at) >= MIN_AGE_SECONDS

    def _run(self, run_id: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """An open run: its execution is started if it never was, and its end is written if it has ended."""
        run = self.records.find(run_id)
        if run is None or not run.is_open:
            return
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

    def _close(
        self, execution: ExecutionDescription, findings: ReconcileFindings, deadline: Deadline
    ) -> None:
        if deadline.left() < MIN_CLOSE_SECONDS:
            raise NextRound
        self.closer.close_as(execution, deadline)
        findings.closed.append(execution.name)

    def _is_new(self, run: Run) -> bool:
        """Whether the run began too short a time ago for its execution to be gone."""
        began = str(run.item.get("started_at") or run.item["created_at"])
        return self.clock() - epoch(began) < GONE_SECONDS

    def _reported(self, run_id: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """A run that is closed and of which nobody was notified; given up once its record has expired."""
        if self.closer.notify_late(run_id, deadline):
            findings.notified.append(run_id)
            return
        findings.given_up.append(run_id)
        count("NotificationsGivenUp")
        logger.error(
            "a notification was not sent: the record of its run has expired", extra={"run_id": run_id}
        )

    def _slot(self, key: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """A free slot in which something waits: started, unless its pipeline is paused."""
        slot: dict[str, Any] = self.table.get(key) or {}
        pipeline = key.removeprefix(slot_key(""))
        if "run_id" in slot or "pending" not in slot or self.closer.is_paused(pipeline):
            return
        try:
            self.table.transact(start_pending(self.table, pipeline, slot, iso(self.clock())), deadline)
        except ConditionFailed:
            return  # it was started, or joined, just now
        self.executions.start(str(slot["pending"]["run_id"]))
        findings.slots.append(pipeline)

    def _lease(self, key: str, findings: ReconcileFindings, deadline: Deadline) -> None:
        """A lease of a run that has ended: freed once nothing of that run is running there. The places that
        such runs have in its queue go at once. A lease of an open run is freed if its task died before it
        sent anything: its retry may come hours later, and acquires the lease again.
        """
        lease = self.leases.find(key)
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
        """Frees a lease that an open run holds for steps that sent nothing; whether it was freed.

        The same transaction writes these steps: a task that is still at work on one of them can send nothing
        any more, and begins anew.
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
            return False  # a task is at work on it, or the run is being closed
        logger.warning("a lease is released whose task died", extra={"run_id": run_id, "lease": lease.key})
        return True

    def _is_over(self, lease: Lease) -> bool:
        """Whether the run that holds the lease has ended, and what it started there as well."""
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


GONE = "The execution of this run no longer exists in Step Functions."


def unused_steps(run: Run, lease: str) -> list[str]:
    """Return the steps for which the run may hold a lease, if nothing was sent for any of them; else none.

    What is sent needs a baseline first. Steps that have ended and given the lease back are left out.
    """
    leases = {job.step: job_lease(job.job) for job in run.plan.jobs}
    leases |= {load.step: model_lease(load.data_model) for load in run.plan.loads}
    states = {step: run.steps.get(step, {}) for step, key in leases.items() if key == lease}
    open_states = {step: one for step, one in states.items() if "ended_at" not in one or one.get("held")}
    if any("baseline" in one and not one.get("refused") for one in open_states.values()):
        return []
    return list(open_states)

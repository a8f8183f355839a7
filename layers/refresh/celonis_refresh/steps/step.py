"""A step of a run as a task works on it: its stored state, its leases, its timeout and its end.

A load that a data job starts (``started_by: job``) may begin with any job of its run. Therefore the first job
acquires the leases of all these models and records their baselines, and the run keeps each lease until its
load has ended.

One poll that Celonis refuses (401, 403, 404 and other 4xx) decides nothing; several in a row do. The count is
part of the step's state. A poll that succeeds or has no usable answer resets it; a throttled poll does not,
because it says nothing about access.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from math import ceil
from random import Random
from typing import Any, Literal, NamedTuple, TypedDict

from msgspec import Struct, field

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled, CelonisUnavailable
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.earlier import Earlier, read_earlier
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.leases import LeaseRequest, Leases, QueuePlace
from celonis_refresh.runs.records import (
    STARTED,
    Announce,
    Records,
    Run,
    States,
    StepWrite,
    announce_nothing,
    cut,
    due_of_step,
)
from celonis_refresh.runs.table import Action, ConditionFailed, job_lease, model_lease
from celonis_refresh.steps import errors
from celonis_refresh.steps.observation import Baseline, Observation
from celonis_refresh.steps.ownership import Evidence
from celonis_refresh.steps.polling.durations import DurationHistory
from celonis_refresh.steps.polling.schedule import PollTimer, polls_per_step
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, Deadline, iso


class StepEvent(TypedDict):
    """The input of a task."""

    run_id: str
    step: str


class Progress(TypedDict):
    """The result of a task. ``wait``: whole seconds until the next task.

    ``WAITING``: not started yet, try again; ``RUNNING``: started, poll again.
    """

    status: Literal["WAITING", "RUNNING", "SUCCEEDED"]
    wait: int


def celonis_ids(run: Run, step: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of a step in Celonis, for log lines; that of our execution or load once it is known."""
    if step.startswith("job-"):
        ids = {"data_job": run.plan.job(step).job}
    else:
        ids = {"data_model": run.plan.load(step).data_model}
    return {"data_pool": run.definition.data_pool_id, **ids, **own_id(step, evidence_of(state))}


def own_id(step: str, evidence: Evidence) -> dict[str, str]:
    """Return the id of our execution or load for log lines; empty if it is not known."""
    name = "execution_id" if step.startswith("job-") else "load_id"
    return {name: evidence.ours} if evidence.ours else {}


def log_step(run: Run, step: str) -> None:
    """Add the ids of a run, its step and its targets in Celonis to the log lines of this invocation."""
    state = run.steps.get(step, {})
    logger.append_keys(**run.log_keys, step=step, **celonis_ids(run, step, state))


def is_started(state: Mapping[str, Any]) -> bool:
    """Return whether a start of this step may be running: it was recorded and not refused."""
    return "sent_by" in state and not state.get("refused")


def awaits_answer(state: Mapping[str, Any], posts: object) -> bool:
    """Return whether the answer to the start number ``posts`` of this step is not recorded yet."""
    return state.get("posts") == posts and not state.get("answered") and "ended_at" not in state


def replay(state: Mapping[str, Any]) -> Progress:
    """Return the recorded end of a step, or raise its error."""
    if state.get("error"):
        raise errors.recorded_error(str(state["error"]), str(state["message"]), str(state.get("hint", "")))
    return {"status": "SUCCEEDED", "wait": 0}


REFUSALS = "poll_refusals"


class RefusalStreak(NamedTuple):
    """``repeated``: the refused poll before had the same error. ``seconds``: since the first one."""

    repeated: bool
    seconds: float


def record_refusal(state: dict[str, Any], error: CelonisError, now: float) -> RefusalStreak:
    """Add a refused poll to the streak in ``state``."""
    streak = state.get(REFUSALS, {})
    since = float(streak.get("since", now))
    state[REFUSALS] = {"error": error.name, "since": since}
    return RefusalStreak(streak.get("error") == error.name, now - since)


def clear_last_error(state: dict[str, Any]) -> None:
    """Record that Celonis has answered."""
    state.pop("last_error", None)
    state.pop("failing_since", None)


def clear_refusals(state: dict[str, Any]) -> None:
    state.pop(REFUSALS, None)


POLL_SECONDS = 12.0
"""Time limit of one call of a poll: a fraction of the timeout of a task."""


def without_repeats(baseline: dict[str, Any]) -> dict[str, Any]:
    """Return a baseline as it is stored: ids of the list are not repeated in ``ids``."""
    listed = frozenset(baseline["listed"] or ())
    return {**baseline, "ids": [id_ for id_ in baseline["ids"] if id_ not in listed]}


def evidence_of(state: Mapping[str, Any]) -> Evidence:
    """Return what the polls of a step have shown so far."""
    return Evidence.from_json(state["evidence"]) if "evidence" in state else Evidence()


def inner_loads(run: Run, step: str) -> dict[str, str]:
    """Return the leases of the models that jobs of the run load, by load step; none for a step of a load."""
    if not step.startswith("job-"):
        return {}
    return {load.step: model_lease(load.data_model) for load in run.plan.loads if load.started_by == "job"}


def has_model_leases(run: Run, step: str) -> bool:
    """Return whether another job of the run may have been started: then the run has the leases of models."""
    return any(is_started(run.steps.get(job.step, {})) for job in run.plan.jobs if job.step != step)


def lease_request(run: Run, step: str, own: str, since: float) -> LeaseRequest:
    """Return the leases that a step needs. ``own``: of its job or model; ``since``: queued since then."""
    models = sorted(inner_loads(run, step).values())
    has_leases = bool(models) and has_model_leases(run, step)
    # A step that ended while its start may still run keeps its lease until the run ends.
    place = QueuePlace(
        priority=has_leases or any("held" in state for state in run.steps.values()), since=since
    )
    if has_leases or not models:
        return LeaseRequest(run.run_id, (own,), place)
    jobs = {job_lease(job.job) for job in run.plan.jobs}
    return LeaseRequest(run.run_id, (own, *models), place, later=tuple(sorted(jobs - {own})))


def release_write(
    records: Records, run: Run, step: str, request: LeaseRequest, state: Mapping[str, Any]
) -> StepWrite:
    """Return the write of a step that releases its leases, and with them the baselines of its models.

    Such a baseline would not show what another run loads in the meantime.
    """
    loads = inner_loads(run, step)
    removed: States = {load: {} for load, lease in loads.items() if lease in request.leases}
    return records.step_write(run, step, state, also=removed)


def release_first_job(records: Records, leases: Leases, run: Run, deadline: Deadline) -> None:
    """Release the leases that a run has for its first job, before that job was started.

    Raises ``StepMoved`` if the recorded state of the job is newer than ``run``: the start may have been sent.
    """
    if not run.plan.jobs:
        return
    job = run.plan.jobs[0]
    request = lease_request(run, job.step, job_lease(job.job), since=0.0)
    write = release_write(records, run, job.step, request, run.steps.get(job.step, {}))
    leases.release(request, write, deadline)


CLEARED_AT_START = frozenset(
    {
        "evidence",
        "by_webhook",
        "answered",
        "answered_id",
        "answered_by",
        "stood",
        "busy",
        "shown",
        "queued_at",
        "poll_seconds",
    }
)
MAX_NAME = 200
"""Bytes of the name of a job in the state of a step."""
OTHER_RUN = "run "
"""What stands before the id of the run that a step waits for (``waiting_for``)."""
POST_SECONDS = 20.0
"""Time limit of a start: a fraction of the timeout of a task."""


class StepContext(Struct, frozen=True):
    """Dependencies of every task.

    ``target_for``: returns the job or load of a step. ``announce``: sends events.
    """

    records: Records
    leases: Leases
    target_for: Callable[[Run, str], StepTarget]
    clock: Clock
    random: Random = field(default_factory=Random)
    announce: Announce = announce_nothing

    @property
    def duration_history(self) -> DurationHistory:
        return DurationHistory(self.records.table, self.clock)


class Step:
    """``run``: as last read or written; ``state``: of the step, to be written with :meth:`save`.

    ``claim_facts``: of a run that was claimed a moment ago together with the lease of this step; facts of the
    run that are written with the baseline. ``has_leases``: whether the step is known to have its leases.
    ``model_states``: states of loads that a job starts, by step. ``unsaved_answer``: what Celonis answered to
    a start, if the input of the execution is to carry it.
    """

    def __init__(
        self,
        context: StepContext,
        run: Run,
        name: str,
        deadline: Deadline,
        claim_facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.context, self.run, self.name, self.deadline = context, run, name, deadline
        self.state: dict[str, Any] = dict(run.steps.get(name, {}))
        log_step(run, name)
        self.target = context.target_for(run, name)
        self._earlier: Earlier | None = None
        self.claim_facts = claim_facts
        self.has_leases = claim_facts is not None
        self.model_states: dict[str, Mapping[str, Any]] = {}
        self.unsaved_answer: dict[str, Any] | None = None

    @cached_property
    def timer(self) -> PollTimer:
        plan = self.run.plan
        polls = polls_per_step(len(plan.jobs) + len(plan.loads))
        poll, timeout = self.run.definition.poll, self.target.timeout
        return PollTimer(self.state, poll, timeout, polls, self.context.clock, self.context.random)

    def now(self) -> float:
        return self.context.clock()

    def seconds(self, limit: float) -> float:
        """Return ``limit`` or, if less is left of the task's time, that."""
        return min(limit, self.deadline.left())

    def poll_seconds(self) -> float:
        return self.seconds(POLL_SECONDS)

    def save(
        self,
        facts: Mapping[str, Any] | None = None,
        check: Action | None = None,
        also: States | None = None,
    ) -> None:
        """Write the state and ``facts`` of the run. Raises as ``Records.save_step`` does."""
        self.run = self.context.records.save_step(
            self.run, self.name, self.state, self.deadline, facts, check, also
        )

    def lease_request(self) -> LeaseRequest:
        since = float(self.state.get("queued_at", self.now()))
        return lease_request(self.run, self.name, self.target.lease, since)

    def release_leases(self, place: QueuePlace | None = None) -> None:
        """Write the state of a step that is not started and release its leases.

        ``place``: the step is queued for them instead.
        """
        request = self.lease_request()
        write = release_write(self.context.records, self.run, self.name, request, self.state)
        self.context.leases.release(request, write, self.deadline, place, held=self.has_leases)
        self.run, self.has_leases = write.run, False

    def set_baseline(self, observation: Observation, now: float) -> None:
        """Set the baseline and remove what is recorded of an earlier start. ``now``: when it was observed."""
        for name in CLEARED_AT_START:
            self.state.pop(name, None)
        self.state |= {
            **self.target.facts(),
            "baseline": without_repeats(Baseline.of(observation).to_json()),
            "noted_at": iso(now),
            "began": self.state.get("began", now),
        }
        if observation.name:
            self.state["name"] = cut(observation.name, MAX_NAME)
        if observation.durations:
            self.state["listed_durations"] = dict(observation.durations)

    def load_durations(self) -> None:
        """Read how long earlier runs of the step took, once per step."""
        self.timer.recall(lambda: self.context.duration_history.read(self.target.durations))
        if not self.timer.needs_listed:
            self.state.pop("listed_durations", None)

    def progress(self, status: Literal["WAITING", "RUNNING"], at_most: float | None = None) -> Progress:
        """Return the status and the wait by the schedule, at most ``at_most`` seconds."""
        wait = self.timer.wait(started=status == "RUNNING")
        return {"status": status, "wait": wait if at_most is None else min(wait, max(1, ceil(at_most)))}

    def wait_for_celonis(self, error: CelonisError, grace: float = 0.0) -> Progress:
        """Wait after a failed poll. Raises the timeout of the step ``grace`` seconds after it has passed."""
        if isinstance(error, CelonisUnavailable):
            clear_refusals(self.state)
        if self.state.get("last_error") != error.message:
            facts = {"subject": self.target.subject, "why": error.message}
            logger.warning("Celonis could not be polled; the step keeps waiting", extra=facts)
        self.state |= {"last_error": error.message, "began": self.state.get("began", self.now())}
        self.state.setdefault("failing_since", self.now())
        if self.is_expired(grace):
            raise self.expired()
        self.timer.count_round()
        self.timer.count_refusal(refused=isinstance(error, CelonisThrottled))
        started = is_started(self.state)
        if started:
            self.save()
        else:
            self.state.pop("queued_at", None)
            self.release_leases()
        at_least = error.retry_after if isinstance(error, CelonisThrottled) else 0.0
        wait = self.timer.wait_out(started=started, at_least=at_least)
        return {"status": "RUNNING" if started else "WAITING", "wait": wait}

    def is_expired(self, grace: float = 0.0) -> bool:
        """Return whether the step's timeout and ``grace`` seconds more have passed."""
        began = self.state.get("began")
        return began is not None and self.now() - float(began) >= self.target.timeout + grace

    def expired(self, detail: str = "") -> RefreshError:
        """Write the end of the step by its timeout and return the error to raise."""
        return self.failed(self.timeout_error(detail), free=False)

    def timeout_error(self, detail: str = "", *, has_ended: bool = False) -> RefreshError:
        """Return the error of the timeout. ``has_ended``: ``detail`` says how the execution has ended."""
        text = f"{self.target.subject} did not end within its timeout of {self.target.timeout} s"
        last_error = self.state.get("last_error") or (
            not is_started(self.state) and self.state.get("waiting_for")
        )
        message = f"{text} (last: {last_error})." if last_error else f"{text}."
        if is_started(self.state) and self.state.get("status") and not has_ended:
            message += f" Its last status was {self.state['status']}."
        hint = "Set a longer timeout, or check in Celonis what delays it."
        return self.target.timed_out(f"{message} {detail}".strip(), hint=hint)

    def failed(self, error: RefreshError, *, free: bool = True) -> RefreshError:
        """Write the end of a step that failed and return the error to raise.

        ``free``: whether our execution of the job or model has ended.
        """
        self.state |= {"error": error.name, "message": str(error)}
        if error.hint:
            self.state["hint"] = error.hint
        self.close("FAILED", free=free)
        return error

    def close(self, outcome: str, *, free: bool = True) -> None:
        """Write the end of the step and free its lease, or record that the lease is to be held."""
        started = is_started(self.state)
        earlier = self.followed_by_ours() if free and started else None
        self.state |= {"outcome": outcome, "ended_at": iso(self.now())}
        for name in ("pace", "queued_at", "listed_durations"):
            self.state.pop(name, None)
        if not started:
            self.has_leases = True  # free them even if this task does not know of them
            self.release_leases()
        elif free:
            write = self.context.records.step_write(self.run, self.name, self.state)
            self.context.leases.end(self.run.run_id, self.target.lease, write, self.deadline, earlier)
            self.run = write.run
        else:
            self.state["held"] = True
            self.save()
        self._announce_end()

    def announce_start(self) -> None:
        """Send the start of the step if it is due, and note it in the state, which is written next."""
        due = due_of_step(self.run, self.name, self.state)
        if due and self.claim_facts is None and self._announce(due):
            self.state["announced"] = STARTED

    def _announce_end(self) -> None:
        """Send what is due once the end is written. The end of the run sends the rest."""
        due = due_of_step(self.run, self.name, self.state)
        if not due or self.claim_facts is not None or not self._announce(due):
            return
        try:
            self.context.records.set_announced(self.run, self.name, self.deadline)
        except (TableBusy, ConditionFailed) as error:
            logger.warning("the event of a step is sent again", extra={"why": str(error)})

    def _announce(self, names: list[str]) -> bool:
        run = Run({**self.run.item, "steps": {**self.run.steps, self.name: self.state}})
        return self.context.announce(run, names, self.deadline)

    def earlier(self) -> Earlier:
        """Return our last executions of this job or model; read once per step."""
        if self._earlier is None:
            self._earlier = read_earlier(self.context.records.table, self.target.lease)
            self.state["earlier"] = list(self._earlier.ids)
            if self._earlier.shows_running:
                self.state["shows_running"] = True
            if len(self._earlier.newest) > 1:
                self.state["two_spaces"] = True
        return self._earlier

    def followed_by_ours(self) -> Earlier | None:
        """Return our last executions including this step's; None if it adds nothing."""
        by = self.now() + self.run.definition.settle
        return earlier_after(self.earlier, self.state, evidence_of(self.state), by)


def earlier_after(
    earlier: Callable[[], Earlier], state: Mapping[str, Any], evidence: Evidence, by: float
) -> Earlier | None:
    """Return ``earlier`` with the execution of a started step; None if it adds nothing.

    ``by``: epoch seconds from which every poll shows this execution.
    """
    if evidence.proven_by is None or "sent_by" not in state:
        return None
    return earlier().followed_by(
        evidence.ids_of_ours,
        state.get("started_date"),
        by,
        shows_running=bool(state.get("shows_running")),
        others=evidence.ids_of_others,
    )

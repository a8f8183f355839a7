"""One task at work on one step of a run: its stored state, what a poll shows of it, its leases, its end.

A load that a data job starts (``started_by: job``) may begin with any job of its run. So the first job is
started together with the leases and the baselines of all these models, and from then on the run keeps them:
each until its load has ended.

Polls that Celonis refuses (401, 403, 404 and other 4xx): one alone decides nothing, a row of them does. The
row is kept in the state of the step. A poll that succeeds ends it, and so does one without a usable answer; a
throttled poll does not, since it says nothing of access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from math import ceil
from random import Random
from typing import Any, Literal, NamedTuple, TypedDict

from msgspec import Struct, field

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled, CelonisUnavailable
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.earlier import Earlier, read_earlier
from celonis_refresh.runs.leases import LeaseRequest, Leases, QueuePlace
from celonis_refresh.runs.records import Records, Run, States, StepWrite
from celonis_refresh.runs.table import Action, job_lease, model_lease
from celonis_refresh.steps import errors
from celonis_refresh.steps.observation import Activity, Baseline, Observation
from celonis_refresh.steps.ownership import (
    Evidence,
    Ownership,
    OwnershipStatus,
    SentStart,
    determine_ownership,
)
from celonis_refresh.steps.polling.durations import DurationHistory
from celonis_refresh.steps.polling.schedule import PollTimer, polls_per_step
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Clock, Deadline, epoch, iso


class StepEvent(TypedDict):
    """What the state machine gives a task."""

    run_id: str
    step: str


class Progress(TypedDict):
    """What a task tells the state machine. ``wait``: whole seconds until the next task.

    ``WAITING``: not started yet, to be tried again; ``RUNNING``: started, to be polled again.
    """

    status: Literal["WAITING", "RUNNING", "SUCCEEDED"]
    wait: int


def is_started(state: Mapping[str, Any]) -> bool:
    """Whether a start of this step may be running: it was noted, and not refused since."""
    return "sent_by" in state and not state.get("refused")


def awaits_answer(state: Mapping[str, Any], posts: object) -> bool:
    """Return whether the answer to the start number ``posts`` of this step is not recorded yet."""
    return state.get("posts") == posts and not state.get("answered") and "ended_at" not in state


def replay(state: Mapping[str, Any]) -> Progress:
    """The recorded end of a step."""
    if state.get("error"):
        raise errors.again(str(state["error"]), str(state["message"]))
    return {"status": "SUCCEEDED", "wait": 0}


NAME = "poll_refusals"


class Row(NamedTuple):
    """``repeated``: the refused poll before had the same error. ``seconds``: since the first of the row."""

    repeated: bool
    seconds: float


def note_refusal(state: dict[str, Any], error: CelonisError, now: float) -> Row:
    """Adds one to the row in ``state``."""
    row = state.get(NAME, {})
    since = float(row.get("since", now))
    state[NAME] = {"error": error.name, "since": since}
    return Row(row.get("error") == error.name, now - since)


def end_row(state: dict[str, Any]) -> bool:
    """Forgets the row; whether there was one."""
    return state.pop(NAME, None) is not None


POLL_SECONDS = 12.0
"""How long one call of a poll may take; it fits several times into the tasks' own time-out."""


def observe_started(
    target: StepTarget,
    state: Mapping[str, Any],
    settle: float,
    clock: Clock,
    seconds: Callable[[float], float],
) -> tuple[Ownership, Observation]:
    """Polls once, the list too unless the record shows the execution that is known to be ours running.

    ``state``: what is noted of the step; ``seconds``: what a call may take, at most what it is given. The
    list is asked for only where it was there before the start: nothing else in it could be compared.
    """
    start, evidence, since = start_of(state, settle), evidence_of(state), clock() - _counted_from(state)
    observation = target.observe(lambda: seconds(POLL_SECONDS))
    is_known = evidence.ours is not None and observation.current in evidence.ids_of_ours
    if start.baseline.listed is not None and not (is_known and observation.activity is Activity.RUNNING):
        try:
            observation = target.with_executions(observation, seconds(POLL_SECONDS))
        except CelonisUnavailable as trouble:  # the list is waited for
            logger.info("no list of executions", extra={"subject": target.subject, "why": trouble.message})
    return determine_ownership(start, evidence, observation, since), observation


def start_of(state: Mapping[str, Any], settle: float) -> SentStart:
    """The start of a step, from what is noted of it."""
    return SentStart(
        baseline=Baseline.from_json(state["baseline"], _other_ids(state)),
        settle=settle,
        answered=bool(state.get("answered")),
        sent="posts" in state,
        answered_id=state.get("answered_id"),
        answered_by=state.get("answered_by"),
        shows_running=bool(state.get("shows_running")),
        two_spaces=bool(state.get("two_spaces")),
    )


def without_repeats(baseline: dict[str, Any]) -> dict[str, Any]:
    """A baseline as it is stored: the ids of the list stand in the list only."""
    listed = frozenset(baseline["listed"] or ())
    return {**baseline, "ids": [found for found in baseline["ids"] if found not in listed]}


def _other_ids(state: Mapping[str, Any]) -> Iterator[str]:
    """The ids of a stored baseline besides its ``ids``: those of its list, and of our earlier executions."""
    yield from state["baseline"]["listed"] or ()
    yield from state.get("earlier", ())


def evidence_of(state: Mapping[str, Any]) -> Evidence:
    """What the polls of a step have shown so far."""
    return Evidence.from_json(state["evidence"]) if "evidence" in state else Evidence()


def _counted_from(state: Mapping[str, Any]) -> float:
    """When the start was sent; of a load that a job starts, when its baseline was recorded."""
    return float(state["sent_by"]) if "posts" in state else epoch(str(state["noted_at"]))


def is_running(ownership: Ownership, observation: Observation) -> bool:
    """Whether the observation shows ours running: only then may it be cancelled.

    An execution that is not proven to be ours is not enough, and ours may be queued behind another one.
    """
    evidence = ownership.evidence
    if ownership.status is not OwnershipStatus.RUNNING or evidence.proven_by is None:
        return False
    if evidence.ids_of_others:
        return False  # ours may be over
    if observation.activity is not Activity.RUNNING:
        return False
    ours, running = evidence.ids_of_ours, observation.running_ids
    if not ours or not running:
        return not ours
    if evidence.shows_current:
        return running <= ours and observation.current in ours
    return running <= ours and _agrees(observation, running)


def _agrees(observation: Observation, running: frozenset[str]) -> bool:
    """Whether the record and the list show the same status: otherwise one of them is older."""
    return any(
        entry.id in running and entry.status == observation.status for entry in observation.executions or ()
    )


def inner_loads(run: Run, step: str) -> dict[str, str]:
    """Return the leases of the models that jobs of the run load, by load step; none for a step of a load."""
    if not step.startswith("job-"):
        return {}
    return {load.step: model_lease(load.data_model) for load in run.plan.loads if load.started_by == "job"}


def keeps_models(run: Run, step: str) -> bool:
    """Whether another job of the run was started, or may have been: what it loads is ours to keep."""
    return any(is_started(run.steps.get(job.step, {})) for job in run.plan.jobs if job.step != step)


def lease_request(run: Run, step: str, own: str, since: float) -> LeaseRequest:
    """Return what a step needs to start; ``own``: the lease of its job or model, ``since``: its place."""
    models = sorted(inner_loads(run, step).values())
    keeps = bool(models) and keeps_models(run, step)
    # A step that ended while its start may still run has its lease until the run ends: others wait for that.
    place = QueuePlace(keeps=keeps or any("held" in state for state in run.steps.values()), since=since)
    if keeps or not models:
        return LeaseRequest(run.run_id, (own,), place)
    jobs = {job_lease(job.job) for job in run.plan.jobs}
    return LeaseRequest(run.run_id, (own, *models), place, later=tuple(sorted(jobs - {own})))


def without_leases(
    records: Records, run: Run, step: str, request: LeaseRequest, state: Mapping[str, Any]
) -> StepWrite:
    """Return the write of a step that gives its leases back.

    The baselines of models go with their leases: a baseline does not show what another run loads meanwhile.
    """
    loads = inner_loads(run, step)
    forgotten: States = {load: {} for load, lease in loads.items() if lease in request.leases}
    return records.step_write(run, step, state, also=forgotten)


def give_back_first(records: Records, leases: Leases, run: Run, deadline: Deadline) -> None:
    """Frees the leases that a run has for its first job, before the start of that job was sent.

    Raises ``StepMoved`` where anything is noted of the job that ``run`` does not have yet: the start may have
    been sent.
    """
    if not run.plan.jobs:
        return
    job = run.plan.jobs[0]
    request = lease_request(run, job.step, job_lease(job.job), since=0.0)
    write = without_leases(records, run, job.step, request, run.steps.get(job.step, {}))
    leases.give_back(request, write, deadline)


FORGOTTEN_AT_A_START = frozenset(
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
    }
)
POST_SECONDS = 20.0
"""How long a start may take; it fits several times into the tasks' own time-out."""


class StepContext(Struct, frozen=True):
    """What every task works with. ``target_for`` gives the job or load behind a step of a run."""

    records: Records
    leases: Leases
    target_for: Callable[[Run, str], StepTarget]
    clock: Clock
    random: Random = field(default_factory=Random)

    @property
    def learning(self) -> DurationHistory:
        return DurationHistory(self.records.table, self.clock)


class Step:
    """``state`` is what will be written; ``run`` what was read last.

    ``just_claimed``: facts of a run that was made a moment ago, together with this step's lease; they are
    written with the baseline. ``holds``: whether the leases of the step are known to be held for it.
    """

    def __init__(
        self,
        context: StepContext,
        run: Run,
        name: str,
        deadline: Deadline,
        just_claimed: Mapping[str, Any] | None = None,
    ) -> None:
        self.context, self.run, self.name, self.deadline = context, run, name, deadline
        self.target = context.target_for(run, name)
        self.state: dict[str, Any] = dict(run.steps.get(name, {}))
        self._earlier: Earlier | None = None
        self.just_claimed = just_claimed
        self.holds = just_claimed is not None
        self.models: dict[str, Mapping[str, Any]] = {}
        self.unsaved_answer: dict[str, Any] | None = None

    @cached_property
    def timer(self) -> PollTimer:
        """When to poll next."""
        plan = self.run.plan
        polls = polls_per_step(len(plan.jobs) + len(plan.loads))
        poll, timeout = self.run.definition.poll, self.target.timeout
        return PollTimer(self.state, poll, timeout, polls, self.context.clock, self.context.random)

    def now(self) -> float:
        return self.context.clock()

    def seconds(self, most: float) -> float:
        """What a call may take: ``most``, or what is left of the task's time."""
        return min(most, self.deadline.left())

    def poll_seconds(self) -> float:
        """What one call of a poll may take."""
        return self.seconds(POLL_SECONDS)

    def save(
        self,
        facts: Mapping[str, Any] | None = None,
        check: Action | None = None,
        also: States | None = None,
    ) -> None:
        """Writes the state, and ``facts`` of the run with it. Raises as ``Records.save_step`` does."""
        self.run = self.context.records.save_step(
            self.run, self.name, self.state, self.deadline, facts, check, also
        )

    def lease_request(self) -> LeaseRequest:
        """Return which leases the step needs to start."""
        since = float(self.state.get("queued_at", self.now()))
        return lease_request(self.run, self.name, self.target.lease, since)

    def give_back(self, place: QueuePlace | None = None) -> None:
        """Writes the state and frees the leases of a step that is not started: it waits without any.

        ``place``: the step is queued for them instead.
        """
        request = self.lease_request()
        write = without_leases(self.context.records, self.run, self.name, request, self.state)
        self.context.leases.give_back(request, write, self.deadline, place, held=self.holds)
        self.run, self.holds = write.run, False

    def note_baseline(self, observation: Observation, now: float) -> None:
        """What is there before the start: after a crash, ownership is determined from here."""
        for name in FORGOTTEN_AT_A_START:
            self.state.pop(name, None)
        self.state |= {
            **self.target.facts(),
            "baseline": without_repeats(Baseline.of(observation).to_json()),
            "noted_at": iso(now),
            "began": self.state.get("began", now),
        }
        if observation.durations:
            self.state["listed_durations"] = dict(observation.durations)

    def recall(self) -> None:
        """Reads what the runs before tell of its duration, once."""
        self.timer.recall(lambda: self.context.learning.known(self.target.durations))
        if not self.timer.needs_listed:
            self.state.pop("listed_durations", None)

    def progress(self, status: Literal["WAITING", "RUNNING"], at_most: float | None = None) -> Progress:
        """How it stands, and when to come again: ``at_most`` seconds from now."""
        wait = self.timer.wait(started=status == "RUNNING")
        return {"status": status, "wait": wait if at_most is None else min(wait, max(1, ceil(at_most)))}

    def wait_out(self, trouble: CelonisError, grace: float = 0.0) -> Progress:
        """Celonis could not be asked. That ends nothing; only the step's time-out does, and ``grace``."""
        if isinstance(trouble, CelonisUnavailable):
            end_row(self.state)
        if self.state.get("trouble") != trouble.message:
            facts = {"subject": self.target.subject, "why": trouble.message}
            logger.warning("Celonis could not be polled; the step keeps waiting", extra=facts)
        self.state |= {"trouble": trouble.message, "began": self.state.get("began", self.now())}
        if self.is_expired(grace):
            raise self.expired()
        self.timer.count_round()
        self.timer.count_refusal(refused=isinstance(trouble, CelonisThrottled))
        started = is_started(self.state)
        if started:
            self.save()
        else:
            self.state.pop("queued_at", None)
            self.give_back()
        at_least = trouble.retry_after if isinstance(trouble, CelonisThrottled) else 0.0
        wait = self.timer.wait_out(started=started, at_least=at_least)
        return {"status": "RUNNING" if started else "WAITING", "wait": wait}

    def is_expired(self, grace: float = 0.0) -> bool:
        """Whether the step's time-out has passed, and ``grace`` seconds more."""
        began = self.state.get("began")
        return began is not None and self.now() - float(began) >= self.target.timeout + grace

    def expired(self, found: str = "") -> RefreshError:
        """The time-out of the step as an error, written and ready to be raised."""
        return self.failed(self.too_late(found), free=False)

    def too_late(self, found: str = "") -> RefreshError:
        """The time-out of the step, with what was found of it then."""
        text = f"{self.target.subject} did not end within its timeout of {self.target.timeout} s"
        trouble = self.state.get("trouble") or (not is_started(self.state) and self.state.get("waiting_for"))
        message = f"{text} (last: {trouble})." if trouble else f"{text}."
        if is_started(self.state) and self.state.get("status"):
            message += f" Its last status was {self.state['status']}."
        hint = "Set a longer timeout, or check in Celonis what delays it."
        return self.target.timed_out(f"{message} {found}".strip(), hint=hint)

    def failed(self, error: RefreshError, *, free: bool = True) -> RefreshError:
        """Writes the end of a step that failed and gives the error back to be raised.

        ``free``: whether nothing of ours uses the job or model any more.
        """
        self.state |= {"error": error.name, "message": str(error)}
        self.close("FAILED", free=free)
        return error

    def close(self, outcome: str, *, free: bool = True) -> None:
        """Writes the end of the step and frees its lease with that, or notes that it is to be held."""
        started = is_started(self.state)
        earlier = self.followed_by_ours() if free and started else None
        self.state |= {"outcome": outcome, "ended_at": iso(self.now())}
        for name in ("pace", "queued_at", "listed_durations"):
            self.state.pop(name, None)
        if not started:
            self.holds = True  # whether it does or not: what the run holds or is queued for is freed
            self.give_back()
        elif free:
            write = self.context.records.step_write(self.run, self.name, self.state)
            self.context.leases.end(self.run.run_id, self.target.lease, write, self.deadline, earlier)
            self.run = write.run
        else:
            self.state["held"] = True
            self.save()

    def earlier(self) -> Earlier:
        """Our last executions of this job or model, read once for the step."""
        if self._earlier is None:
            self._earlier = read_earlier(self.context.records.table, self.target.lease)
            self.state["earlier"] = list(self._earlier.ids)
            if self._earlier.shows_running:
                self.state["shows_running"] = True
            if len(self._earlier.newest) > 1:
                self.state["two_spaces"] = True
        return self._earlier

    def followed_by_ours(self) -> Earlier | None:
        """Our last executions after this step; None where it adds nothing to them."""
        by = self.now() + self.run.definition.settle
        return earlier_after(self.earlier, self.state, evidence_of(self.state), by)


def earlier_after(
    earlier: Callable[[], Earlier], state: Mapping[str, Any], evidence: Evidence, by: float
) -> Earlier | None:
    """Our last executions after a step that was started; None where it adds nothing to ``earlier``.

    ``state``: what is noted of the step; ``by``: when every reading shows what it has seen.
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

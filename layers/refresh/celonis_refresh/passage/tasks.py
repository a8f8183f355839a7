"""A step of a run, whatever its kind: started once, looked at until it ended, its end written once.

Both movements are safe to repeat at any moment: what was done is in the record, and the record is read
first. Whatever Celonis says wrong while it is only asked (no answer, 429, 5xx) is waited out within the
step's time-out; whatever it says about a start is looked up before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, TypedDict

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.errors import RefreshError
from celonis_refresh.passage import errors
from celonis_refresh.passage.proof import Case, Evidence, Ruling, Verdict
from celonis_refresh.passage.sights import Activity, Baseline, Sight
from celonis_refresh.passage.work import Work
from celonis_refresh.polling.schedule import Schedule
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records, Run
from celonis_refresh.timing import Clock, Deadline, iso

MAX_POSTS = 2
"""A start is sent again once at most, and only after it provably did not take place."""
LOOK_SECONDS = 12.0
POST_SECONDS = 20.0
LEAST_POST_SECONDS = 0.5
PROOF_WAIT = 2
"""Seconds until the first looks: something short is proven best while it is seen under way."""
"""How long a look, and a start, may take; both fit several times into the tasks' own time-out."""


class StepEvent(TypedDict):
    """What the state machine gives a task."""

    run_id: str
    step: str


class Progress(TypedDict):
    """What a task tells the state machine. ``wait``: whole seconds until the next task."""

    status: Literal["WAITING", "RUNNING", "SUCCEEDED"]
    wait: int


@dataclass(frozen=True)
class Tasks:
    """Starts and checks steps. ``work_for`` gives the work behind a step of a run."""

    records: Records
    leases: Leases
    work_for: Callable[[Run, str], Work]
    clock: Clock
    random: Random = field(default_factory=Random)

    def start(self, run_id: str, step: str, deadline: Deadline) -> Progress:
        """Starts the step, or says that it has to wait. Raises what ends the step for good."""
        run = self.records.get_open(run_id)
        return self.start_step(run, step, deadline)

    def start_step(
        self, run: Run, step: str, deadline: Deadline, *, just_claimed: Mapping[str, Any] | None = None
    ) -> Progress:
        """As :meth:`start`, for a run that was just read.

        ``just_claimed``: the run was made a moment ago, together with this step's lease; facts of the run
        that are written together with the step's baseline.
        """
        state = run.steps.get(step, {})
        if "ended_at" in state:
            return replay(state)
        if "baseline" in state and not state.get("refused"):
            return self._progress(run, "RUNNING", state)
        attempt = _Attempt(self, run, self.work_for(run, step), dict(state), deadline, just_claimed)
        return attempt.start()

    def check(self, run_id: str, step: str, deadline: Deadline) -> Progress:
        """Looks at the step. Raises the error that it ended with, again and again if asked again."""
        run = self.records.get_open(run_id)
        state = run.steps.get(step, {})
        if "ended_at" in state:
            return replay(state)
        attempt = _Attempt(self, run, self.work_for(run, step), dict(state), deadline)
        if "baseline" not in state or state.get("refused"):
            return attempt.wait_for_turn()
        return attempt.check()

    def _progress(
        self, run: Run, status: Literal["WAITING", "RUNNING"], state: Mapping[str, Any], at_least: float = 0.0
    ) -> Progress:
        poll = run.definition.poll
        proven = state.get("evidence", {}).get("proven_by")
        floor = poll.floor if proven or status == "WAITING" else min(poll.floor, PROOF_WAIT)
        elapsed = self.clock() - float(state.get("sent_by", self.clock()))
        wait = Schedule(floor, poll.ceiling).next_wait(max(0.0, elapsed), self.random, at_least)
        return {"status": status, "wait": wait}


def replay(state: Mapping[str, Any]) -> Progress:
    """The end of a step, told once more."""
    if state.get("error"):
        raise errors.again(str(state["error"]), str(state["message"]))
    return {"status": "SUCCEEDED", "wait": 0}


@dataclass
class _Attempt:
    """One task at work on one step. ``state`` is what will be written; ``run`` what was read."""

    tasks: Tasks
    run: Run
    work: Work
    state: dict[str, Any]
    deadline: Deadline
    just_claimed: Mapping[str, Any] | None = None

    def start(self) -> Progress:
        if not self._has_lease():
            return self._wait("busy with another run")
        try:
            sight = self.work.look(history=False, timeout=self._seconds(LOOK_SECONDS))
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            return self._wait_out(trouble)
        except CelonisError as error:
            raise self._end(error) from None
        if sight.activity is Activity.UNDER_WAY or sight.current is not None:
            return self._wait("under way in Celonis already")
        if self.deadline.left() < LEAST_POST_SECONDS:
            return self._wait("too little time left to start it here")
        self._note_baseline(sight)
        return self._post()

    def check(self) -> Progress:
        try:
            ruling, sight = self._judge()
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            return self._wait_out(trouble)
        except CelonisError as error:
            raise self._end(error) from None
        self.state |= {"evidence": ruling.evidence.to_json(), "polls": self.state.get("polls", 0) + 1}
        self.state["status"] = sight.status
        self.state.pop("trouble", None)
        if ruling.verdict is Verdict.ENDED:
            return self._ended(ruling, sight)
        if ruling.verdict is Verdict.NOT_STARTED and self.state["posts"] < MAX_POSTS:
            self._note_baseline(sight)
            return self._post()
        if ruling.verdict in (Verdict.PENDING, Verdict.UNDER_WAY):
            return self._go_on()
        raise self._end(self._unproven(ruling.verdict)) from None

    def _has_lease(self) -> bool:
        claimed = self.just_claimed is not None
        return claimed or self.tasks.leases.take(self.run.run_id, self.work.lease, self.deadline)

    def wait_for_turn(self) -> Progress:
        """A step that is not started yet: the state machine tries again, until the time-out."""
        self._expire()
        return self.tasks._progress(self.run, "WAITING", self.state)

    def _judge(self) -> tuple[Ruling, Sight]:
        """One look, and a second with the history when the first shows an end or something new."""
        baseline = Baseline.from_json(self.state["baseline"])
        case = Case(baseline, self.run.definition.settle, bool(self.state.get("answered")))
        evidence = Evidence.from_json(self.state["evidence"]) if "evidence" in self.state else Evidence()
        proven = evidence.proven_by is not None
        sight = self.work.look(history=not proven, timeout=self._seconds(LOOK_SECONDS))
        since = self.tasks.clock() - float(self.state["sent_by"])
        ruling = case.judge(evidence, sight, since)
        quiet = ruling.verdict is Verdict.UNDER_WAY and sight.activity is Activity.UNDER_WAY
        if sight.history is None and proven and not quiet:
            sight = self.work.look(history=True, timeout=self._seconds(LOOK_SECONDS))
            ruling = case.judge(evidence, sight, since)
        return ruling, sight

    def _note_baseline(self, sight: Sight) -> None:
        """Written before the start: whoever comes after a crash proves from here."""
        now = self.tasks.clock()
        self.state.pop("refused", None)
        self.state |= {
            **self.work.facts(),
            "baseline": Baseline.of(sight).to_json(),
            "noted_at": iso(now),
            "began": self.state.get("began", now),
            "sent_by": now + POST_SECONDS,
            "posts": self.state.get("posts", 0) + 1,
        }
        self.state.pop("evidence", None)
        self._save(self.just_claimed)

    def _post(self) -> Progress:
        try:
            answered = self.work.post(self._seconds(POST_SECONDS))
        except CelonisUnavailable as lost:
            return self._after_lost_answer(lost)
        except (CelonisThrottled, CelonisRejected) as refused:
            return self._after_refusal(refused)
        except CelonisError as error:
            raise self._end(error) from None
        self.state["sent_by"] = self.tasks.clock()
        evidence = Evidence(proven_by="answer", ours=answered) if answered else Evidence()
        if answered or self.just_claimed is None or not (self.state["baseline"]["ids"]):
            # A claim saves the write where the next look tells as much.
            self.state |= {"answered": True, "evidence": evidence.to_json()}
            self._save()
        return self.tasks._progress(self.run, "RUNNING", self.state)

    def _after_lost_answer(self, lost: CelonisUnavailable) -> Progress:
        """It may have started: the next look tells. Only what never left may be sent again at once."""
        self.state["trouble"] = lost.message
        if lost.may_have_started:
            self.state["sent_by"] = self.tasks.clock()
        else:
            self.state |= {"refused": True, "posts": self.state["posts"] - 1}
        self._save()
        status: Literal["RUNNING", "WAITING"] = "RUNNING" if lost.may_have_started else "WAITING"
        return self.tasks._progress(self.run, status, self.state)

    def _after_refusal(self, refused: CelonisThrottled | CelonisRejected) -> Progress:
        """Celonis provably did nothing. Busy (409) and throttled pass; any other refusal is for good."""
        if isinstance(refused, CelonisRejected) and refused.status != 409:
            raise self._end(refused) from None
        self.state |= {"refused": True, "posts": self.state["posts"] - 1, "trouble": refused.message}
        self._save()
        return self._waiting(refused)

    def _ended(self, ruling: Ruling, sight: Sight) -> Progress:
        self.state["status"] = ruling.status
        ours = ruling.evidence.ours
        timeout = self._seconds(LOOK_SECONDS)
        ending = self.work.ending(ruling.status, ours, sight.message, timeout)
        if ending.message:
            self.state["message"] = ending.message
        if ending.error is not None:
            raise self._end(ending.error) from None
        self._close("SUCCEEDED")
        return {"status": "SUCCEEDED", "wait": 0}

    def _go_on(self) -> Progress:
        self._expire()
        self._save()
        return self.tasks._progress(self.run, "RUNNING", self.state)

    def _wait(self, why: str) -> Progress:
        """Not our turn yet: noted once, so that a person can see why."""
        self._expire()
        if self.state.get("waiting_for") != why:
            self.state |= {"waiting_for": why, "began": self.state.get("began", self.tasks.clock())}
            self._save()
        return self.tasks._progress(self.run, "WAITING", self.state)

    def _wait_out(self, trouble: CelonisUnavailable | CelonisThrottled) -> Progress:
        """Celonis could not be asked. That ends nothing but the step's own time-out."""
        self.state |= {"trouble": trouble.message, "began": self.state.get("began", self.tasks.clock())}
        self._expire()
        self._save()
        return self._waiting(trouble)

    def _waiting(self, trouble: CelonisError) -> Progress:
        at_least = trouble.retry_after if isinstance(trouble, CelonisThrottled) else 0.0
        started = "baseline" in self.state and not self.state.get("refused")
        return self.tasks._progress(self.run, "RUNNING" if started else "WAITING", self.state, at_least)

    def _expire(self) -> None:
        """Raises the time-out of the step, once it is reached."""
        began = self.state.get("began")
        if began is None or self.tasks.clock() - float(began) < self.work.timeout:
            return
        text = f"{self.work.subject} did not end within its time-out of {self.work.timeout} s"
        trouble = self.state.get("trouble") or self.state.get("waiting_for")
        told = f"{text} (last: {trouble})." if trouble else f"{text}."
        raise self._end(self.work.timed_out(told, hint="Give it a longer timeout, or see what holds it up."))

    def _unproven(self, verdict: Verdict) -> errors.StepFailed:
        subject, settle = self.work.subject, self.run.definition.settle
        check = "Look at it in Celonis before you start the pipeline again."
        if verdict is Verdict.AMBIGUOUS:
            text = (
                f"{subject}: more than one start was seen since ours was sent; which is ours cannot be told."
            )
            return errors.StartAmbiguous(text, hint=check)
        if verdict is Verdict.TAKEN_OVER:
            text = f"{subject}: somebody else's start took the place of ours before its end could be read."
            return errors.TakenOver(text, hint=check)
        if verdict is Verdict.NOT_STARTED:
            text = f"{subject}: the start was sent twice, and neither took place within {settle} s."
            return errors.StartIgnored(text, hint=check)
        text = f"{subject}: nothing seen within {settle} s proves that our start took place."
        return errors.OutcomeUnproven(text, hint=check)

    def _end(self, error: RefreshError) -> RefreshError:
        """Writes the end of a step that failed and gives the error back to be raised."""
        self.state |= {"error": error.name, "message": str(error)}
        self._close("FAILED")
        return error

    def _close(self, outcome: str) -> None:
        self.state |= {"outcome": outcome, "ended_at": iso(self.tasks.clock())}
        self._save()
        self.tasks.leases.free(self.run.run_id, self.work.lease, self.deadline)

    def _save(self, facts: Mapping[str, Any] | None = None) -> None:
        records = self.tasks.records
        self.run = records.save_step(self.run, self.work.step, self.state, self.deadline, facts)

    def _seconds(self, most: float) -> float:
        return min(most, self.deadline.left())

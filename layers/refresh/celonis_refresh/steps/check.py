"""Polls a step that was started, until its end is proven and written.

No usable answer, a 429 and a 5xx to a poll are waited out within the step's time-out; polls that Celonis
refuses (401, 403, 404) are waited out for ``settle``. A time-out cancels what is provably ours and still
runs, and says what became of it; these polls ignore the rate limiter.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.observability import logger
from celonis_refresh.steps import errors
from celonis_refresh.steps.observation import Activity, Observation
from celonis_refresh.steps.ownership import Ownership, OwnershipStatus
from celonis_refresh.steps.polling.durations import took
from celonis_refresh.steps.start import Start
from celonis_refresh.steps.step import (
    POLL_SECONDS,
    Progress,
    StepContext,
    awaits_answer,
    end_row,
    is_running,
    is_started,
    note_refusal,
    observe_started,
    replay,
)
from celonis_refresh.timing import Deadline, epoch

HISTORY_SECONDS = 5.0
"""How long the load history may take, which a run does without."""
MAX_POSTS = 2
"""A start is sent again once at most, and only after it provably did not take place."""
STOP_SECONDS = 60.0
"""How long a cancelled job may take until it shows as ended, and polls may fail at the time-out."""
POLLS_IN_ROW = 4
"""About so many polls are refused within ``settle`` before that ends a step."""


TRIGGER_SECONDS = 10.0
"""The time-out of the function that takes webhooks: after it, no answer is recorded any more."""
LEFT_ALONE = "It was not cancelled: it is not proven that our execution is running."


def check_step(context: StepContext, run_id: str, step: str, deadline: Deadline) -> Progress:
    """Poll the step. Raises the error that it ended with, again and again if called again."""
    run = context.records.get_open(run_id)
    state = run.steps.get(step, {})
    if "ended_at" in state:
        return replay(state)
    check = Check(context, run, step, deadline)
    pending = check.answer_pending()
    if pending:  # nothing is written, so that the answer can be
        return {"status": "RUNNING", "wait": ceil(pending)}
    return check.check() if is_started(state) else check.wait_for_turn()


class Check(Start):
    """One poll of a step."""

    def check(self) -> Progress:
        """Returns when to poll again. Raises the error that the step ended with."""
        self.recall()
        if self.is_expired():
            self.target = self.target.ignoring_rate_limit()
        if "earlier" not in self.state:
            self.earlier()
        try:
            ownership, observation = observe_started(
                self.target, self.state, self.run.definition.settle, self.context.clock, self.seconds
            )
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            # One poll that fails at the time-out must not leave ours running: it could not be cancelled.
            return self.wait_out(trouble, grace=STOP_SECONDS)
        except CelonisError as error:
            return self._outlast(error)
        self._note(ownership, observation)
        status = ownership.status
        if status is OwnershipStatus.ENDED:
            return self._ended(ownership, observation)
        if status is OwnershipStatus.NOT_STARTED and self.state.get("posts", MAX_POSTS) < MAX_POSTS:
            return self._send_again(ownership, observation)
        if status in (OwnershipStatus.PENDING, OwnershipStatus.RUNNING):
            return self._go_on(ownership, observation)
        raise self.failed(self._unproven(status), free=status is OwnershipStatus.NOT_STARTED)

    def answer_pending(self) -> float:
        """Return the seconds for which a webhook's function may still record the answer to its start."""
        if not self.state.get("by_webhook") or not awaits_answer(self.state, self.state.get("posts")):
            return 0.0
        return max(0.0, epoch(str(self.state["noted_at"])) + TRIGGER_SECONDS - self.now())

    def _send_again(self, ownership: Ownership, observation: Observation) -> Progress:
        """Sends the start once more, on new baselines of the models that the job loads."""
        try:
            is_idle = self._observe_models()
        except CelonisError as trouble:  # the next poll decides again
            self.state["trouble"] = trouble.message
            is_idle = False
        return self.send(observation) if is_idle else self._go_on(ownership, observation)

    def _outlast(self, error: CelonisError) -> Progress:
        """A refused poll says nothing of what runs: it ends the step once a row of them outlasts ``settle``.

        Until then polls come sooner than the schedule has them, so that it is no row of two.
        """
        settle = self.run.definition.settle
        row = note_refusal(self.state, error, self.now())
        if row.seconds >= settle:
            raise self.failed(error, free=False) from None
        progress = self.wait_out(error, grace=STOP_SECONDS)
        soon = ceil(min(settle / POLLS_IN_ROW, settle - row.seconds))
        return {**progress, "wait": min(progress["wait"], max(soon, self.run.definition.poll.floor))}

    def wait_for_turn(self) -> Progress:
        """A step that is not started yet: the state machine tries again, until the time-out."""
        if self.is_expired():
            raise self.expired()
        self.timer.count_round(polls=2)
        self.save()
        return self.progress("WAITING")

    def _note(self, ownership: Ownership, observation: Observation) -> None:
        self.state.pop("trouble", None)
        end_row(self.state)
        status = observation.status
        self.state |= {
            "evidence": ownership.evidence.to_json(),
            "polls": self.state.get("polls", 0) + 1,
            "status": ownership.execution_status or status,
        }
        self._note_date(ownership, observation)
        self._note_pace(ownership, observation)
        if observation.activity is Activity.RUNNING:
            self.state["shows_running"] = True
        if observation.activity is Activity.UNKNOWN and status and status != self.state.get("unknown"):
            self.state["unknown"] = status
            facts = {"subject": self.target.subject, "status": status}
            logger.warning("Celonis shows an unknown status; the step waits", extra=facts)

    def _note_date(self, ownership: Ownership, observation: Observation) -> None:
        """The start date of ours by Celonis, once it is shown."""
        ours = ownership.evidence.ids_of_ours
        dates = [entry.started for entry in observation.executions or () if entry.id in ours]
        if observation.single and observation.identity in ours:
            dates = [observation.started]
        if dates and dates[0] is not None:
            self.state["started_date"] = dates[0]

    def _note_pace(self, ownership: Ownership, observation: Observation) -> None:
        self.timer.note(refused=0)
        if ownership.status is OwnershipStatus.RUNNING and observation.activity is Activity.RUNNING:
            self.timer.note(seen=self.now())
            if self.state["status"] == JobStatus.QUEUED:
                self.timer.note(queued=self.now())

    def _ended(self, ownership: Ownership, observation: Observation) -> Progress:
        learn = self._lesson(ownership, observation)
        status = ownership.execution_status
        if self.state.get("stopping"):
            what = "was cancelled" if status == JobStatus.CANCEL else "ended by itself, too late"
            raise self.failed(self.too_late(f"It {what} ({status})."))
        ending = self.target.ending(status, ownership.evidence.ours, observation, self.poll_seconds())
        if ending.message:
            self.state["message"] = ending.message
        if ending.error is None:
            self.close("SUCCEEDED")
        else:
            self.failed(ending.error)
        learn()  # after the end is written, which happens once: so nothing is ever learned twice
        if ending.error is not None:
            raise ending.error
        return {"status": "SUCCEEDED", "wait": 0}

    def _lesson(self, ownership: Ownership, observation: Observation) -> Callable[[], None]:
        """What this end teaches, to be called once it is written."""
        now, begin, known = self.now(), self.timer.counted_from(), self.timer.noted.get("known")
        if known is None:
            return lambda: None
        ours = ownership.evidence.ids_of_ours
        dated = None if self._is_begun_by_a_job() else observation.seconds_of(ours)
        least = max(0.0, float(self.timer.noted.get("seen", 0.0)) - begin)
        lasted, status = took(dated, least, max(0.0, now - begin)), str(ownership.execution_status)
        key, learning = self.target.durations, self.context.learning
        return lambda: learning.learn(key, known, lasted, status, self.deadline)

    def _is_begun_by_a_job(self) -> bool:
        """A load that a job starts is counted from the end of that job: its dates tell something else."""
        return "posts" not in self.state

    def _go_on(self, ownership: Ownership, observation: Observation) -> Progress:
        if self.is_expired():
            return self._stop(is_running(ownership, observation))
        self._read_history()
        self.save()
        return self.progress("RUNNING", at_most=ownership.recheck_in)

    def _read_history(self) -> None:
        """Reads the load history once, for the first load of a run: one request a run at most.

        Not before the start: nothing is to delay it once the baseline is there. Without it, and for the other
        loads, the last load of the model shows one duration.
        """
        loads = [load.step for load in self.run.plan.loads if load.started_by == "run"]
        if loads[:1] != [self.name] or self.state.get("history_read") or not self.timer.needs_listed:
            return
        self.state["history_read"] = True
        if known := self.target.history(self.seconds(HISTORY_SECONDS)):
            self.state["listed_durations"] = dict(known)

    def _stop(self, ours_runs: bool) -> Progress:
        """Past the time-out: cancels what is ours and runs, and polls until it has ended."""
        if "stopping" not in self.state:
            self._may_cancel(ours_runs)
            # Noted before it is sent: after a crash, the next task knows whose cancel it was.
            self.state["stopping"] = self.now()
            self.save()
        elif self.now() - float(self.state["stopping"]) >= STOP_SECONDS:
            requested = "was" if self.state.get("cancel_requested") else "could not be"
            raise self.expired(f"Its cancellation {requested} requested, but it has not ended.")
        if not self.state.get("cancel_requested") and ours_runs:
            self._cancel()
        self.save()
        return {"status": "RUNNING", "wait": 2}

    def _may_cancel(self, ours_runs: bool) -> None:
        """Raises the time-out where there is nothing to cancel, or nothing that can be."""
        if not ours_runs:
            raise self.expired(LEFT_ALONE)
        if not self.run.definition.cancel_on_stop:
            raise self.expired("It keeps running: the pipeline has cancel_on_stop: false.")

    def _cancel(self) -> None:
        """Sends the cancel. One that is lost, or refused once, is sent again if the next poll shows ours."""
        try:
            cancelled = self.target.cancel(self.seconds(POLL_SECONDS))
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            self.state["trouble"] = trouble.message
        except CelonisError as error:
            if self.state.get("cancel_refused"):
                raise self.expired(f"It could not be cancelled: {error}") from None
            self.state |= {"trouble": error.message, "cancel_refused": True}
        else:
            if not cancelled:
                raise self.expired("It keeps running: no call is known that cancels a load.")
            self.state["cancel_requested"] = True

    def _unproven(self, status: OwnershipStatus) -> errors.StepFailed:
        rejected = self.state.get("rejected")
        if rejected and status is OwnershipStatus.NOT_STARTED:
            return errors.again(CelonisRejected.__name__, rejected)
        subject, settle = self.target.subject, self.run.definition.settle
        check = "Check it in Celonis before you start the pipeline again."
        if status is OwnershipStatus.AMBIGUOUS:
            text = f"{subject}: more than one execution began after our start, and any of them may be ours."
            return errors.StartAmbiguous(text, hint=check)
        if status is OwnershipStatus.TAKEN_OVER:
            text = f"{subject}: another user started a newer execution before the end of ours could be read."
            return errors.TakenOver(text, hint=check)
        if status is OwnershipStatus.NOT_STARTED:
            text = f"{subject}: the start was sent twice, and neither took effect within {settle} s."
            return errors.StartIgnored(text, hint=check)
        text = f"{subject}: no poll within {settle} s proves that our start took effect."
        return errors.OutcomeUnproven(text, hint=check)

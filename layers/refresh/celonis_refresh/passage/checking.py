"""Looking at a step that was started, until its end is proven and written.

Whatever Celonis says wrong while it is only asked (no answer, 429, 5xx) is waited out within the step's
time-out. A time-out cancels what is provably ours and still runs, and says what became of it; its looks
take no turn where little is left of a rate limit.
"""

from __future__ import annotations

from collections.abc import Callable

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.observability import logger
from celonis_refresh.passage import errors
from celonis_refresh.passage.learning import took
from celonis_refresh.passage.looking import LOOK_SECONDS, is_running, look_at
from celonis_refresh.passage.progress import Progress
from celonis_refresh.passage.proof import Ruling, Verdict, names_of_ours
from celonis_refresh.passage.sights import Activity, Sight
from celonis_refresh.passage.starting import Start

MAX_POSTS = 2
"""A start is sent again once at most, and only after it provably did not take place."""
STOP_SECONDS = 60.0
"""How long a cancelled job may take until it shows as ended, and looks may fail at the time-out."""


class Check(Start):
    """One look at a step."""

    def check(self) -> Progress:
        """Says when to look again. Raises the error that the step ended with."""
        self.recall()
        if self.is_expired():
            self.work = self.work.urgent()
        try:
            ruling, sight = look_at(
                self.work, self.state, self.run.definition.settle, self.means.clock, self.seconds
            )
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            # One look that fails at the time-out must not leave ours running: it could not be cancelled.
            return self.wait_out(trouble, grace=STOP_SECONDS)
        except CelonisError as error:
            raise self.failed(error, free=False) from None
        self._note(ruling, sight)
        if ruling.verdict is Verdict.ENDED:
            return self._ended(ruling, sight)
        if ruling.verdict is Verdict.NOT_STARTED and self.state.get("posts", MAX_POSTS) < MAX_POSTS:
            return self.send(sight)
        if ruling.verdict in (Verdict.PENDING, Verdict.UNDER_WAY):
            return self._go_on(ruling, sight)
        raise self.failed(self._unproven(ruling.verdict), free=ruling.verdict is Verdict.NOT_STARTED)

    def wait_for_turn(self) -> Progress:
        """A step that is not started yet: the state machine tries again, until the time-out."""
        if self.is_expired():
            raise self.expired()
        self.pacing.count_round(looks=2)
        self.save()
        return self.progress("WAITING")

    def _note(self, ruling: Ruling, sight: Sight) -> None:
        self.state.pop("trouble", None)
        self.state |= {
            "evidence": ruling.evidence.to_json(),
            "polls": self.state.get("polls", 0) + 1,
            "status": ruling.status or sight.status,
        }
        self._note_pace(ruling, sight)
        if sight.activity is Activity.UNCLEAR and sight.status and sight.status != self.state.get("unknown"):
            self.state["unknown"] = sight.status
            told = {"subject": self.work.subject, "status": sight.status}
            logger.warning("Celonis tells a status that is not known; it is waited on", extra=told)

    def _note_pace(self, ruling: Ruling, sight: Sight) -> None:
        self.pacing.note(refused=0)
        if ruling.verdict is Verdict.UNDER_WAY and sight.activity is Activity.UNDER_WAY:
            self.pacing.note(seen=self.now())
            if self.state["status"] == JobStatus.QUEUED:
                self.pacing.note(queued=self.now())

    def _ended(self, ruling: Ruling, sight: Sight) -> Progress:
        learn = self._lesson(ruling, sight)
        if self.state.get("stopping"):
            by_us = ruling.status == JobStatus.CANCEL
            what = "was cancelled" if by_us else "ended by itself, too late"
            raise self.failed(self.too_late(f"It {what} ({ruling.status})."))
        timeout = self.seconds(LOOK_SECONDS)
        ending = self.work.ending(ruling.status, ruling.evidence.ours, sight, timeout)
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

    def _lesson(self, ruling: Ruling, sight: Sight) -> Callable[[], None]:
        """What this end teaches, to be called once it is written."""
        now, begin, known = self.now(), self.pacing.counted_from(), self.pacing.noted.get("known")
        if known is None:
            return lambda: None
        dated = None if self._is_begun_by_a_job() else sight.seconds_of(names_of_ours(ruling.evidence))
        least = max(0.0, float(self.pacing.noted.get("seen", 0.0)) - begin)
        lasted, status = took(dated, least, max(0.0, now - begin)), str(ruling.status)
        key, learning = self.work.durations, self.means.learning
        return lambda: learning.learn(key, known, lasted, status, self.deadline)

    def _is_begun_by_a_job(self) -> bool:
        """A load that a job starts is counted from the end of that job: its dates tell something else."""
        return "posts" not in self.state

    def _go_on(self, ruling: Ruling, sight: Sight) -> Progress:
        if self.is_expired():
            return self._stop(is_running(self.state, ruling, sight))
        self.save()
        return self.progress("RUNNING")

    def _stop(self, ours_runs: bool) -> Progress:
        """Past the time-out: cancels what is ours and runs, and looks until it has ended."""
        if "stopping" not in self.state:
            self._may_cancel(ours_runs)
            # Noted before it is sent: whoever comes after a crash knows whose cancel it was.
            self.state["stopping"] = self.now()
            self.save()
        elif self.now() - float(self.state["stopping"]) >= STOP_SECONDS:
            told = "was" if self.state.get("told_to_cancel") else "could not be"
            raise self.expired(f"It {told} told to cancel and has not ended.")
        if not self.state.get("told_to_cancel") and ours_runs:
            self._cancel()
        self.save()
        return {"status": "RUNNING", "wait": 2}

    def _may_cancel(self, ours_runs: bool) -> None:
        """Raises the time-out where there is nothing to cancel, or nothing that can be."""
        if not ours_runs:
            raise self.expired("It was left alone: it is not proven that ours is running.")
        if not self.run.definition.cancel_on_stop:
            raise self.expired("It runs on: the pipeline says not to cancel it.")

    def _cancel(self) -> None:
        """An answer that is lost is no matter: the next look sends it again, if ours still runs."""
        try:
            cancelled = self.work.cancel(self.seconds(LOOK_SECONDS))
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            self.state["trouble"] = trouble.message
        except CelonisError as error:
            raise self.expired(f"It could not be cancelled: {error}") from None
        else:
            if not cancelled:
                raise self.expired("It runs on: no call is known that cancels a load.")
            self.state["told_to_cancel"] = True

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

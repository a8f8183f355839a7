"""Looking at a step that was started, until its end is proven and written.

Whatever Celonis says wrong while it is only asked (no answer, 429, 5xx) is waited out within the step's
time-out. A time-out cancels what is provably ours and still runs, and says what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled, CelonisUnavailable
from celonis_refresh.observability import logger
from celonis_refresh.passage import errors
from celonis_refresh.passage.progress import Progress
from celonis_refresh.passage.proof import Case, Evidence, Ruling, Verdict
from celonis_refresh.passage.sights import Activity, Baseline, Sight
from celonis_refresh.passage.starting import Start
from celonis_refresh.passage.step import LOOK_SECONDS

MAX_POSTS = 2
"""A start is sent again once at most, and only after it provably did not take place."""
STOP_SECONDS = 60.0
"""How long a cancelled job may take until it shows as ended."""


@dataclass
class Check(Start):
    """One look at a step."""

    def check(self) -> Progress:
        """Says when to look again. Raises the error that the step ended with."""
        try:
            ruling, sight = self._judge()
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            return self.wait_out(trouble)
        except CelonisError as error:
            raise self.failed(error, free=False) from None
        self._note(ruling, sight)
        if ruling.verdict is Verdict.ENDED:
            return self._ended(ruling, sight)
        if ruling.verdict is Verdict.NOT_STARTED and self.state.get("posts", MAX_POSTS) < MAX_POSTS:
            return self.send(sight)
        if ruling.verdict in (Verdict.PENDING, Verdict.UNDER_WAY):
            return self._go_on(ruling)
        raise self.failed(self._unproven(ruling.verdict), free=False)

    def wait_for_turn(self) -> Progress:
        """A step that is not started yet: the state machine tries again, until the time-out."""
        if self.is_expired():
            raise self.expired()
        return self.progress("WAITING")

    def _judge(self) -> tuple[Ruling, Sight]:
        """One look, with the history unless it shows what was proven before, still under way."""
        baseline = Baseline.from_json(self.state["baseline"])
        case = Case(baseline, self.run.definition.settle, bool(self.state.get("answered")))
        evidence = Evidence.from_json(self.state["evidence"]) if "evidence" in self.state else Evidence()
        since = self.now() - float(self.state["sent_by"])
        sight = self.work.look(self.seconds(LOOK_SECONDS))
        ruling = case.judge(evidence, sight, since)
        quiet = ruling.verdict is Verdict.UNDER_WAY and sight.activity is Activity.UNDER_WAY
        if evidence.proven_by is None or not quiet:
            sight = self.work.with_history(sight, self.seconds(LOOK_SECONDS))
            ruling = case.judge(evidence, sight, since)
        return ruling, sight

    def _note(self, ruling: Ruling, sight: Sight) -> None:
        self.state.pop("trouble", None)
        self.state |= {
            "evidence": ruling.evidence.to_json(),
            "polls": self.state.get("polls", 0) + 1,
            "status": ruling.status or sight.status,
        }
        if sight.activity is Activity.UNCLEAR and sight.status and sight.status != self.state.get("unknown"):
            self.state["unknown"] = sight.status
            told = {"subject": self.work.subject, "status": sight.status}
            logger.warning("Celonis tells a status that is not known; it is waited on", extra=told)

    def _ended(self, ruling: Ruling, sight: Sight) -> Progress:
        if self.state.get("stopping"):
            raise self.expired(f"It was cancelled ({ruling.status}).")
        timeout = self.seconds(LOOK_SECONDS)
        ending = self.work.ending(ruling.status, ruling.evidence.ours, sight, timeout)
        if ending.message:
            self.state["message"] = ending.message
        if ending.error is not None:
            raise self.failed(ending.error)
        self.close("SUCCEEDED")
        return {"status": "SUCCEEDED", "wait": 0}

    def _go_on(self, ruling: Ruling) -> Progress:
        if self.is_expired():
            return self._stop(ruling)
        self.save()
        return self.progress("RUNNING")

    def _stop(self, ruling: Ruling) -> Progress:
        """Past the time-out: cancels what is ours and runs, and looks until it has ended."""
        stopping = self.state.get("stopping")
        if stopping and self.now() - float(stopping) >= STOP_SECONDS:
            raise self.expired("It was told to cancel and has not ended.")
        if not stopping:
            self._cancel(ruling)
        self.save()
        return {"status": "RUNNING", "wait": 2}

    def _cancel(self, ruling: Ruling) -> None:
        """Raises the time-out where there is nothing to cancel, or nothing that can be."""
        if ruling.verdict is not Verdict.UNDER_WAY:
            raise self.expired("It was left alone: it is not proven that ours is running.")
        if not self.run.definition.cancel_on_stop:
            raise self.expired("It runs on: the pipeline says not to cancel it.")
        try:
            cancelled = self.work.cancel(self.seconds(LOOK_SECONDS))
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            self.state["trouble"] = trouble.message
            return  # the next look sends it again, if ours still runs
        except CelonisError as error:
            raise self.expired(f"It could not be cancelled: {error}") from None
        if not cancelled:
            raise self.expired("It runs on: no call is known that cancels a load.")
        self.state["stopping"] = self.now()

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

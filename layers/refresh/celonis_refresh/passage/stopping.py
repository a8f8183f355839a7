"""Stopping what a run that ended early left behind at Celonis.

A job is cancelled only when a look just before shows that ours is running. No call is known that cancels
a load: it is left to end. What little is left of a rate limit holds none of this back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from celonis_refresh.celonis.errors import CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import JobStatus
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.passage.looking import LOOK_SECONDS, is_running, look_at
from celonis_refresh.passage.progress import is_started
from celonis_refresh.passage.proof import Ruling, Verdict
from celonis_refresh.passage.work import Work
from celonis_refresh.runs import keys
from celonis_refresh.runs.records import Run
from celonis_refresh.timing import Clock, Deadline

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
VERIFY_SECONDS = 40.0
"""How long a cancelled job may take until it shows as ended."""
RUNS_ON = "runs on: no call is known that cancels a load."


@dataclass
class Findings:
    """``sentences``: what was found and done, for the record. ``free``: the leases that nothing uses."""

    sentences: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stopping:
    """Looks at every step that may have left something under way."""

    work_for: Callable[[Run, str], Work]
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def stop(self, run: Run, deadline: Deadline) -> Findings:
        """Cancels what runs and is ours, unless the pipeline says not to. Never raises: a run must end."""
        findings = Findings()
        for step, lease in _leases(run):
            try:
                sentence, at_rest = self._look_after(run, step, deadline)
            except RefreshError as error:
                sentence, at_rest = f"What became of {step} could not be looked at: {error}", False
            except Exception:  # noqa: BLE001 - logged whole; it must not keep the run from its end
                logger.exception("a step could not be looked at", extra={"step": step})
                sentence, at_rest = f"What became of {step} could not be looked at: see the log.", False
            findings.sentences += [sentence] if sentence else []
            findings.free += [lease] if at_rest else []
        return findings

    def _look_after(self, run: Run, step: str, deadline: Deadline) -> tuple[str, bool]:
        """What is to be said of a step, if anything, and whether nothing of it is under way."""
        state = run.steps.get(step, {})
        if "ended_at" in state:
            return "", not state.get("held")
        if is_started(state):
            return self._stop(run, self.work_for(run, step).urgent(), deadline)
        if "baseline" in state and not state.get("refused"):
            return self._left_by_a_job(self.work_for(run, step).urgent(), deadline)
        return "", True

    def _left_by_a_job(self, work: Work, deadline: Deadline) -> tuple[str, bool]:
        """A load that a job of this run may have started before the run came to wait for it."""
        if work.look(lambda: min(LOOK_SECONDS, deadline.left())).is_busy:
            return f"{work.subject} {RUNS_ON}", False
        return "", True

    def _stop(self, run: Run, work: Work, deadline: Deadline) -> tuple[str, bool]:
        ruling, running = self._first_look(run, work, deadline)
        if ruling.verdict is Verdict.ENDED:
            what = "was cancelled" if ruling.status == JobStatus.CANCEL else "had ended"
            return f"{work.subject} {what} ({ruling.status}).", True
        if ruling.verdict is Verdict.NOT_STARTED:
            return f"{work.subject} had not been started.", True
        if not running:
            return f"{work.subject} was left alone: it is not proven that ours is running.", False
        if not run.definition.cancel_on_stop:
            return f"{work.subject} runs on: the pipeline says not to cancel it.", False
        return self._cancel(run, work, deadline)

    def _first_look(self, run: Run, work: Work, deadline: Deadline) -> tuple[Ruling, bool]:
        """A start may be on its way, or not show yet: looks until it is proven, or cannot be any more."""
        pause = FIRST_PAUSE
        while True:
            left = deadline.left(reserve=VERIFY_SECONDS + LOOK_SECONDS)
            if left <= 0:
                return self._look(run, work, deadline)
            ruling, running = self._look_if_possible(run, work, deadline)
            pending = ruling and ruling.verdict in (Verdict.PENDING, Verdict.UNDER_WAY) and not running
            if ruling and not pending:
                return ruling, running
            self.sleep(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _cancel(self, run: Run, work: Work, deadline: Deadline) -> tuple[str, bool]:
        """Cancels, and looks until it has ended. A cancel whose answer was lost is sent again."""
        until = Deadline(min(self.clock() + VERIFY_SECONDS, deadline.at - LOOK_SECONDS), self.clock)
        pause, told, running = FIRST_PAUSE, False, True
        while until.left() > 0:
            try:
                if running and not told and not work.cancel(min(LOOK_SECONDS, deadline.left())):
                    return f"{work.subject} {RUNS_ON}", False
                told = True
            except (CelonisUnavailable, CelonisThrottled) as trouble:
                logger.info("cancel is sent again", extra={"subject": work.subject, "why": trouble.message})
            self.sleep(min(pause, until.left()))
            pause = min(pause * 2, LONGEST_PAUSE)
            ruling, running = self._look_if_possible(run, work, deadline)
            if ruling and ruling.verdict is Verdict.ENDED:
                what = "was cancelled" if ruling.status == JobStatus.CANCEL else "ended by itself"
                return f"{work.subject} {what} ({ruling.status}).", True
        return f"{work.subject} was told to cancel and has not ended yet.", False

    def _look_if_possible(self, run: Run, work: Work, deadline: Deadline) -> tuple[Ruling | None, bool]:
        """As :meth:`_look`; no ruling where Celonis could not be asked just now."""
        try:
            return self._look(run, work, deadline)
        except (CelonisUnavailable, CelonisThrottled):
            return None, False

    def _look(self, run: Run, work: Work, deadline: Deadline) -> tuple[Ruling, bool]:
        """What one look proves, and whether it shows ours under way."""
        state, settle = run.steps[work.step], run.definition.settle
        ruling, sight = look_at(work, state, settle, self.clock, lambda most: min(most, deadline.left()))
        return ruling, is_running(state, ruling, sight)


def _leases(run: Run) -> list[tuple[str, str]]:
    """The steps in the order of the plan, with their leases. A run that never opened has none."""
    if not run.has_definition:
        return []
    jobs = [(job.step, keys.job_lease(job.job)) for job in run.plan.jobs]
    return jobs + [(load.step, keys.model_lease(load.data_model)) for load in run.plan.loads]

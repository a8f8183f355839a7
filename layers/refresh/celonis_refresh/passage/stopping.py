"""Stopping what a run that ended early left behind at Celonis.

A job is cancelled only when a look just before shows that ours is running. No call is known that cancels
a load: it is left to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from celonis_refresh.errors import RefreshError
from celonis_refresh.passage.looking import LOOK_SECONDS, is_running, look_at
from celonis_refresh.passage.progress import is_started
from celonis_refresh.passage.proof import Ruling, Verdict
from celonis_refresh.passage.work import Work
from celonis_refresh.runs.records import Run
from celonis_refresh.timing import Clock, Deadline

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
VERIFY_SECONDS = 40.0
"""How long a cancelled job may take until it shows as ended."""


@dataclass
class Findings:
    """``sentences``: what was found and done, for the record. ``free``: the leases that nothing uses."""

    sentences: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stopping:
    """Looks at every step that was started and has no end yet."""

    work_for: Callable[[Run, str], Work]
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def stop(self, run: Run, deadline: Deadline) -> Findings:
        """Cancels what runs and is ours, unless the pipeline says not to. Never raises for Celonis."""
        findings = Findings()
        for step, state in run.steps.items():
            work = self.work_for(run, step)
            if not is_started(state) or "ended_at" in state:
                findings.free.append(work.lease)
                continue
            try:
                sentence, at_rest = self._stop(run, work, deadline)
            except RefreshError as error:
                sentence, at_rest = f"{work.subject} could not be looked at: {error}", False
            findings.sentences.append(sentence)
            if at_rest:
                findings.free.append(work.lease)
        return findings

    def _stop(self, run: Run, work: Work, deadline: Deadline) -> tuple[str, bool]:
        ruling, running = self._first_look(run, work, deadline)
        if ruling.verdict is Verdict.ENDED:
            return f"{work.subject} had ended ({ruling.status}).", True
        if ruling.verdict is Verdict.NOT_STARTED:
            return f"{work.subject} had not been started.", True
        if not running:
            return f"{work.subject} was left alone: it is not proven that ours is running.", False
        if not run.definition.cancel_on_stop:
            return f"{work.subject} runs on: the pipeline says not to cancel it.", False
        if not work.cancel(min(LOOK_SECONDS, deadline.left())):
            return f"{work.subject} runs on: no call is known that cancels a load.", False
        return self._verify(run, work, deadline)

    def _first_look(self, run: Run, work: Work, deadline: Deadline) -> tuple[Ruling, bool]:
        """A start may be on its way, or not show yet: looks until it is proven, or cannot be any more."""
        pause = FIRST_PAUSE
        while True:
            ruling, running = self._look(run, work, deadline)
            left = deadline.left(reserve=VERIFY_SECONDS + LOOK_SECONDS)
            unclear = ruling.verdict in (Verdict.PENDING, Verdict.UNDER_WAY) and not running
            if not unclear or left <= 0:
                return ruling, running
            self.sleep(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _verify(self, run: Run, work: Work, deadline: Deadline) -> tuple[str, bool]:
        until = Deadline(min(self.clock() + VERIFY_SECONDS, deadline.at - LOOK_SECONDS), self.clock)
        pause = FIRST_PAUSE
        while until.left() > 0:
            self.sleep(min(pause, until.left()))
            pause *= 2
            ruling, _ = self._look(run, work, deadline)
            if ruling.verdict is Verdict.ENDED:
                return f"{work.subject} was cancelled ({ruling.status}).", True
        return f"{work.subject} was told to cancel and has not ended yet.", False

    def _look(self, run: Run, work: Work, deadline: Deadline) -> tuple[Ruling, bool]:
        """What one look proves, and whether it shows ours under way."""
        state, settle = run.steps[work.step], run.definition.settle
        ruling, sight = look_at(work, state, settle, self.clock, lambda most: min(most, deadline.left()))
        return ruling, is_running(ruling, sight)

"""When a step is looked at next: the schedule of looks, and what it goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from random import Random
from typing import Any

from msgspec import Struct

from celonis_refresh.pipelines.definition import Polling
from celonis_refresh.steps.polling.expectation import expect
from celonis_refresh.steps.polling.history import Known
from celonis_refresh.steps.polling.schedule import JITTER, Schedule
from celonis_refresh.timing import Clock

MADE_UP = 20
"""So many refused looks in a row are made up for as soon as Celonis may be asked; then the schedule rules."""
QUEUE_GROWTH = 0.1
"""While Celonis keeps a job in a queue, a wait is at least this share of the time it has been there."""


class PollTimer(Struct):
    """The waits of one step. ``state``: what is noted of it, and will be written.

    ``timeout``: seconds, of the step; ``looks``: that it may use in all, so that the execution's history
    stays far below its limit.
    """

    state: dict[str, Any]
    poll: Polling
    timeout: int
    looks: int
    clock: Clock
    random: Random

    @property
    def noted(self) -> Mapping[str, Any]:
        """What the waits go by.

        ``known`` of the runs before; when it was last seen ``queued``, and when running (``seen``);
        ``refused``: the looks in a row that were not allowed.
        """
        noted: Mapping[str, Any] = self.state.get("pace", {})
        return noted

    def note(self, **facts: object) -> None:
        self.state["pace"] = {**self.noted, **facts}

    def recall(self, read: Callable[[], Known | None]) -> None:
        """Reads what the runs before tell, once for the step; what cannot be read now is read by the next."""
        if "known" not in self.noted:
            known = read()
            self.note(**({} if known is None else {"known": known}))

    def counted_from(self) -> float:
        """The moment from which its duration counts: when it was sent, or last seen to wait in a queue."""
        return max(float(self.state["sent_by"]), float(self.noted.get("queued", 0.0)))

    def count_round(self, looks: int = 1) -> None:
        """A round that showed nothing uses up looks too; one that waits for its turn uses two."""
        self.state["rounds"] = int(self.state.get("rounds", 0)) + looks

    def count_refusal(self, *, refused: bool) -> None:
        """A look that Celonis did not allow, or one that went wrong otherwise: that ends the row of them."""
        self.note(refused=int(self.noted.get("refused", 0)) + 1 if refused else 0)

    def wait(self, *, started: bool, at_least: float = 0.0) -> int:
        """Whole seconds until the next look. ``at_least``: for so long Celonis is not to be asked."""
        now = self.clock()
        began = self._began(now)
        elapsed = max(0.0, now - (self.counted_from() if started else began))
        expected = expect(self.noted.get("known") if started else None)
        return Schedule(self.poll.floor, self.poll.ceiling, expected).next_wait(
            elapsed,
            self.random,
            max(at_least, self._in_queue(now) if started else 0.0),
            time_left=self.timeout - (now - began),
            looks_left=self._polls_left(),
            proven=started and self._is_seen(),
        )

    def wait_out(self, *, started: bool, at_least: float) -> int:
        """The wait after a look that came to nothing: one that was refused is made up for soon."""
        wait = self.wait(started=started, at_least=at_least)
        if 0 < self.noted["refused"] <= MADE_UP:
            soon = max(self.poll.floor, ceil(at_least * self.random.uniform(1, 1 + JITTER)))
            wait = min(wait, soon)
        now = self.clock()
        left = self.timeout - (now - self._began(now))
        # The look at the time-out is made whatever was refused before.
        return min(wait, max(1, ceil(left))) if left > 0 else wait

    def _began(self, now: float) -> float:
        return float(self.state.get("began", now))

    def _is_seen(self) -> bool:
        """Whether ours is proven and was seen running: what was not is believed to have ended late only."""
        evidence: Mapping[str, Any] = self.state.get("evidence", {})
        return bool(evidence.get("proven_by") and evidence.get("ran"))

    def _in_queue(self, now: float) -> float:
        """The least wait for what Celonis keeps in a queue: the schedule begins anew with every such look."""
        if self.noted.get("queued", 0.0) < now:
            return 0.0
        least = (now - float(self.state["sent_by"])) * QUEUE_GROWTH
        ceiling = self.poll.ceiling
        return least if ceiling is None else min(least, ceiling / (1 + JITTER))

    def _polls_left(self) -> int:
        used = int(self.state.get("polls", 0)) + int(self.state.get("rounds", 0))
        return max(1, self.looks - used)

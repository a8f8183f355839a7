"""One task at work on one step of a run: what it read, what it will write, and the ways out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import Any, Literal

from celonis_refresh.celonis.errors import CelonisError, CelonisThrottled
from celonis_refresh.errors import RefreshError
from celonis_refresh.passage.learning import Learning
from celonis_refresh.passage.looking import LOOK_SECONDS
from celonis_refresh.passage.progress import Progress, is_started
from celonis_refresh.passage.sights import Baseline, Sight
from celonis_refresh.passage.work import Work
from celonis_refresh.polling.budget import looks_per_step
from celonis_refresh.polling.expectation import expect
from celonis_refresh.polling.schedule import JITTER, Schedule
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records, Run
from celonis_refresh.timing import Clock, Deadline, iso

POST_SECONDS = 20.0
"""How long a start may take; it fits several times into the tasks' own time-out."""
MADE_UP = 20
"""So many refused looks in a row are made up for as soon as Celonis may be asked; then the schedule rules."""
QUEUE_GROWTH = 0.1
"""While Celonis keeps a job in a queue, a wait is at least this share of the time it has been there."""


@dataclass(frozen=True)
class Means:
    """What every task works with. ``work_for`` gives the job or load behind a step of a run."""

    records: Records
    leases: Leases
    work_for: Callable[[Run, str], Work]
    clock: Clock
    random: Random = field(default_factory=Random)

    @property
    def learning(self) -> Learning:
        return Learning(self.records.table, self.clock)


@dataclass
class Step:
    """``state`` is what will be written; ``run`` what was read last."""

    means: Means
    run: Run
    name: str
    deadline: Deadline

    def __post_init__(self) -> None:
        self.work = self.means.work_for(self.run, self.name)
        self.state: dict[str, Any] = dict(self.run.steps.get(self.name, {}))

    def now(self) -> float:
        return self.means.clock()

    def seconds(self, most: float) -> float:
        """What a call may take: ``most``, or what is left of the task's time."""
        return min(most, self.deadline.left())

    def look_seconds(self) -> float:
        """What one call of a look may take."""
        return self.seconds(LOOK_SECONDS)

    def save(self, facts: Mapping[str, Any] | None = None) -> None:
        """Writes the state, and ``facts`` of the run with it. Raises ``StepMoved``, ``RunClosed``."""
        self.run = self.means.records.save_step(self.run, self.name, self.state, self.deadline, facts)

    def note_baseline(self, sight: Sight, now: float) -> None:
        """What is there before the start: whoever comes after a crash proves from here."""
        self.state.pop("evidence", None)
        self.state |= {
            **self.work.facts(),
            "baseline": Baseline.of(sight).to_json(),
            "noted_at": iso(now),
            "began": self.state.get("began", now),
        }

    @property
    def pace(self) -> Mapping[str, Any]:
        """What the waits go by.

        ``known`` of the runs before; when it was last seen ``queued``, and when under way (``seen``);
        ``refused``: the looks in a row that were not allowed.
        """
        pace: Mapping[str, Any] = self.state.get("pace", {})
        return pace

    def set_pace(self, **facts: object) -> None:
        self.state["pace"] = {**self.pace, **facts}

    def recall(self) -> None:
        """Reads what the runs before tell, once for the step; what cannot be read now is read by the next."""
        if "known" not in self.pace:
            known = self.means.learning.known(self.work.durations)
            self.set_pace(**({} if known is None else {"known": known}))

    def counted_from(self) -> float:
        """The moment from which its duration counts: when it was sent, or last seen to wait in a queue."""
        return max(float(self.state["sent_by"]), float(self.pace.get("queued", 0.0)))

    def progress(self, status: Literal["WAITING", "RUNNING"], at_least: float = 0.0) -> Progress:
        """How it stands, and when to come again. ``at_least``: seconds that Celonis is not to be asked."""
        poll, now = self.run.definition.poll, self.now()
        began, started = float(self.state.get("began", now)), status == "RUNNING"
        elapsed = max(0.0, now - (self.counted_from() if started else began))
        expected = expect(self.pace.get("known") if started else None)
        wait = Schedule(poll.floor, poll.ceiling, expected).next_wait(
            elapsed,
            self.means.random,
            max(at_least, self._in_queue(now) if started else 0.0),
            time_left=self.work.timeout - (now - began),
            looks_left=self._looks_left(),
            proven=started and self._is_seen(),
        )
        return {"status": status, "wait": wait}

    def _is_seen(self) -> bool:
        """Whether ours is proven and was seen under way: what was not is believed to have ended late only."""
        evidence: Mapping[str, Any] = self.state.get("evidence", {})
        return bool(evidence.get("proven_by") and evidence.get("ran"))

    def _in_queue(self, now: float) -> float:
        """The least wait for what Celonis keeps in a queue: the schedule begins anew with every such look."""
        if self.pace.get("queued", 0.0) < now:
            return 0.0
        least = (now - float(self.state["sent_by"])) * QUEUE_GROWTH
        ceiling = self.run.definition.poll.ceiling
        return least if ceiling is None else min(least, ceiling / (1 + JITTER))

    def _looks_left(self) -> int:
        """Looks that the step may still use, so that the execution's history stays far below its limit."""
        plan = self.run.plan
        used = int(self.state.get("polls", 0)) + int(self.state.get("rounds", 0))
        return max(1, looks_per_step(len(plan.jobs) + len(plan.loads)) - used)

    def count_round(self, looks: int = 1) -> None:
        """A round that showed nothing uses up looks too; one that waits for its turn uses two."""
        self.state["rounds"] = int(self.state.get("rounds", 0)) + looks

    def wait_out(self, trouble: CelonisError, grace: float = 0.0) -> Progress:
        """Celonis could not be asked. That ends nothing; only the step's time-out does, and ``grace``."""
        self.state |= {"trouble": trouble.message, "began": self.state.get("began", self.now())}
        if self.is_expired(grace):
            raise self.expired()
        self.count_round()
        refused = int(self.pace.get("refused", 0)) + 1 if isinstance(trouble, CelonisThrottled) else 0
        self.set_pace(refused=refused)
        self.save()
        at_least = trouble.retry_after if isinstance(trouble, CelonisThrottled) else 0.0
        progress = self.progress("RUNNING" if is_started(self.state) else "WAITING", at_least)
        if 0 < refused <= MADE_UP:
            soon = max(
                self.run.definition.poll.floor, ceil(at_least * self.means.random.uniform(1, 1 + JITTER))
            )
            progress["wait"] = min(progress["wait"], soon)
        left = self.work.timeout - (self.now() - float(self.state["began"]))
        if left > 0:  # the look at the time-out is made whatever was refused before
            progress["wait"] = min(progress["wait"], max(1, ceil(left)))
        return progress

    def is_expired(self, grace: float = 0.0) -> bool:
        """Whether the step's time-out has passed, and ``grace`` seconds more."""
        began = self.state.get("began")
        return began is not None and self.now() - float(began) >= self.work.timeout + grace

    def expired(self, found: str = "") -> RefreshError:
        """The time-out of the step as an error, written and ready to be raised."""
        return self.failed(self.too_late(found), free=False)

    def too_late(self, found: str = "") -> RefreshError:
        """The time-out of the step, with what was found of it then."""
        text = f"{self.work.subject} did not end within its time-out of {self.work.timeout} s"
        trouble = self.state.get("trouble") or (not is_started(self.state) and self.state.get("waiting_for"))
        told = f"{text} (last: {trouble})." if trouble else f"{text}."
        if is_started(self.state) and self.state.get("status"):
            told += f" Celonis tells {self.state['status']}."
        hint = "Give it a longer timeout, or see in Celonis what holds it up."
        return self.work.timed_out(f"{told} {found}".strip(), hint=hint)

    def failed(self, error: RefreshError, *, free: bool = True) -> RefreshError:
        """Writes the end of a step that failed and gives the error back to be raised.

        ``free``: whether nothing of ours uses the job or model any more.
        """
        self.state |= {"error": error.name, "message": str(error)}
        self.close("FAILED", free=free)
        return error

    def close(self, outcome: str, *, free: bool = True) -> None:
        """Writes the end of the step, then frees its lease, or notes that it is to be held."""
        free = free or not is_started(self.state)
        self.state |= {"outcome": outcome, "ended_at": iso(self.now())}
        self.state.pop("pace", None)
        self.state |= {} if free else {"held": True}
        self.save()
        if free:
            self.means.leases.free(self.run.run_id, self.work.lease, self.deadline)

"""When to poll next: the schedule with the lowest expected cost of polls and of delay.

A poll costs ``PRICE`` of a duration: one poll less is worth a delay of that share. Let h(t) be the hazard,
the probability per second to end at t if it has not ended yet, and n(t) the polls per second. From the start
to the end D there are ∫n(t)dt polls, and the end is seen 1/(2n(D)) late on average. A run costs, on average,

    ∫ P(D > t) · ( n(t) + h(t) / (2 · n(t) · PRICE · t) ) dt ,

which is smallest, for each t separately, with

    n(t) = √( h(t) / (2 · PRICE · t) ) .

That is the schedule: the next poll is where ∫n has grown by one. It depends only on the time that has passed,
so a late or lost poll needs no correction. It follows that

* there are no polls while it cannot end (h ≈ 0), and many around its usual end;
* failures, and durations never seen before, add a small hazard, and so a few polls, before the usual end.
  Their number grows with the square root of the failure rate. The delay of these ends is measured by the
  usual duration (t in the formula is at least that);
* durations that only Celonis lists are used within bounds (``_hedged``);
* after the usual end, or without history, the hazard is about c/t, so n ≈ √c/t, and the waits grow
  geometrically.

If the number of polls until the timeout is limited, PRICE rises until they suffice: all waits grow in the
same proportion, and the last poll is at the timeout. Sums run over u, the logarithm of time, with
the hazard t·h(t) per unit of u: n(u) = √( t·h(t) / (2 · PRICE) ).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from math import ceil, exp, log, sqrt
from random import Random
from typing import Any, NamedTuple

from msgspec import Struct

from celonis_refresh.pipelines.definition import Polling
from celonis_refresh.steps.polling.durations import Doubt, Expectation, StoredDurations, expect, needs_listed
from celonis_refresh.timing import Clock

HISTORY_EVENTS = 25_000
"""Maximum number of history events of a standard execution in Step Functions."""
POLL_SHARE = 0.5
"""Share of these events for polls; the rest is reserved for retries."""
EVENTS_PER_POLL = 9
"""Wait and Choice are entered and exited; the task is also scheduled, started and succeeds."""
EVENTS_PER_STEP = 25
"""A step's iteration, its start and its end."""
EVENTS_PER_RUN = 60
"""Opening the run, the choices and the Maps around the steps."""


def polls_per_step(steps: int) -> int:
    """Return the polls for each of ``steps`` jobs and loads of a run, so that all stay within the share.

    A round of a step that waits to start invokes two tasks: it counts as two polls.
    """
    events = (HISTORY_EVENTS * POLL_SHARE - EVENTS_PER_RUN) / max(1, steps) - EVENTS_PER_STEP
    return max(1, int(events / EVENTS_PER_POLL))


PRICE = 0.0019
"""Cost of a poll, as a share of the duration: the balance between requests and delay."""
LISTED_PRICE = 0.0025
"""The same for durations that only Celonis lists; higher, because ``HEDGE`` adds polls."""
MAX_REGRET = 1.25
"""Maximum factor of an interval compared with that without history, between listed durations."""
HEDGE = 1.9
"""Minimum number of polls while the elapsed time grows by the factor e, before the listed durations. An
interval is at most exp(1 / HEDGE) - 1 (69 %) of the elapsed time. docs/figures.md compares other values."""
JITTER = 0.1
"""Random share of each wait, so that runs that start together do not poll together."""
UNPROVEN_WAIT = 2
UNPROVEN_GROWTH = 0.5
"""Maximum waits until the start is proven: first in seconds, then as a share of the elapsed time."""
FEW_POLLS = 10
"""With fewer polls left, the limit on polls takes precedence over an early proof."""
WEEK = 7 * 24 * 3600.0
UNKNOWN = expect(None)


class PollSchedule(NamedTuple):
    """``floor`` and ``ceiling``: bounds of a wait in whole seconds; None is no ceiling.

    ``expected``: expected duration, from earlier runs.
    """

    floor: int
    ceiling: int | None = None
    expected: Expectation = UNKNOWN

    def next_wait(
        self,
        elapsed: float,
        random: Random,
        at_least: float = 0.0,
        *,
        time_left: float = WEEK,
        polls_left: int = 1000,
        proven: bool = True,
    ) -> int:
        """Return whole seconds until the next poll, ``elapsed`` seconds after the start.

        ``at_least``: seconds that the server requested; they take precedence and get jitter as well, because
        many callers get the same answer. ``time_left``: seconds until the timeout of the step; a poll is
        made then, or within the floor after it. ``polls_left``: remaining polls, including the next one and
        the one at the timeout; if they are few, a wait exceeds the ceiling. ``proven``: whether the start
        was seen. Until then polls are early, because a short execution is proven best while it runs.
        """
        elapsed, time_left = max(0.0, elapsed), max(0.0, time_left)
        polls = random.uniform(1 - JITTER, 1 + JITTER)
        wait, least = self._waits(elapsed, time_left, polls, polls_left)
        if self.ceiling is not None:
            wait = min(wait, self.ceiling)
            # At this ceiling, half of the remaining polls suffice: the limit on polls does not apply.
            least = min(least, self.ceiling) if 2 * time_left <= self.ceiling * polls_left else least
        if not proven:
            wait = min(wait, max(UNPROVEN_WAIT, int(elapsed * UNPROVEN_GROWTH)))
        if proven or polls_left < FEW_POLLS:
            wait = max(wait, least)
        floor = self.floor if proven else min(self.floor, UNPROVEN_WAIT)
        requested = at_least * random.uniform(1, 1 + JITTER)
        return max(1, floor, min(wait, ceil(time_left)), ceil(requested))

    def _waits(self, elapsed: float, time_left: float, polls: float, polls_left: int) -> tuple[int, int]:
        """Return seconds until ``polls`` (about one) are due, and the minimum that ``polls_left`` allow."""
        if polls_left <= 1:
            return ceil(time_left), ceil(time_left)
        path = list(self._path(elapsed, elapsed + time_left))
        least = path[-1][1] / polls_left
        aim = _moment(path, max(polls, least)) - elapsed
        return round(aim) if aim < time_left - 1 else ceil(time_left), ceil(_moment(path, least) - elapsed)

    def _path(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Yield logarithms of moments from ``start`` to ``end``, and the number of polls due by then."""
        at, last, polls = log(max(1.0, start)), log(max(1.0, end)), 0.0
        yield at, polls
        while at < last:
            after = min(last, at + self._step(at))
            polls += self._density((at + after) / 2) * (after - at)
            at = after
            yield at, polls

    def _density(self, at: float) -> float:
        """Return n(u), polls per unit of the logarithm of time."""
        expected = self.expected
        share = min(1.0, exp(at) / expected.usual) if expected.usual else 1.0
        price = PRICE if expected.doubt is None else LISTED_PRICE
        density = sqrt(expected.hazard(at) * share / (2 * price))
        return density if expected.doubt is None else _hedged(density, at, expected.doubt)

    def _step(self, at: float) -> float:
        """Return a step in which the hazard changes little: a part of a spread or of a distance."""
        fits = (max(c.spread / 3, abs(at - c.centre) / 4) for c in self.expected.clusters)
        return min(0.25, *fits)


def _hedged(density: float, at: float, doubt: Doubt) -> float:
    """Return the density for durations that only Celonis lists, which may mislead.

    The job may have changed since, and only its end shows that. So the worst case is bounded, for any list
    and any duration:

    * longer than all listed durations: from there on, it is polled as without history;
    * longer than the shortest usual duration, and shorter than the longest: no interval is longer than
      ``MAX_REGRET`` times that without history;
    * shorter than the shortest: fewer polls than without history, and the end is seen at exp(1 / ``HEDGE``)
      times its duration or at a sixth of the shortest, whichever is later (plus jitter).

    There are at most ``MAX_REGRET`` times the polls without history, plus 40 around listed durations.
    """
    if at < doubt.hedged_from:
        return density
    if at < doubt.passed_from:
        return max(density, HEDGE)
    unknown = sqrt(UNKNOWN.hazard(at) / (2 * PRICE))
    return max(density, unknown / MAX_REGRET) if at < doubt.unknown_from else unknown


def _moment(path: list[tuple[float, float]], polls: float) -> float:
    """Return the second by which ``polls`` are due; the end of the path if there are fewer."""
    for (before, fewer), (after, more) in pairwise(path):
        if fewer < more >= polls:
            return exp(before + (after - before) * (polls - fewer) / (more - fewer))
    return exp(path[-1][0])


MAX_PROMPT_RETRIES = 20
"""Throttled polls are retried promptly, at most this many in a row."""
QUEUE_GROWTH = 0.1
"""Minimum wait while Celonis queues a job, as a share of the time in the queue."""


class PollTimer(Struct):
    """The waits of one step. ``state``: the state of the step, which the caller writes.

    ``timeout``: that of the step, in seconds; ``polls``: their maximum number, so that the history of the
    execution stays below its limit.
    """

    state: dict[str, Any]
    poll: Polling
    timeout: int
    polls: int
    clock: Clock
    random: Random

    @property
    def noted(self) -> Mapping[str, Any]:
        """Return the stored state of the timer.

        ``known``: durations of earlier runs; ``queued``, ``seen``: when it was last seen queued, and running;
        ``refused``: number of throttled polls in a row.
        """
        noted: Mapping[str, Any] = self.state.get("pace", {})
        return noted

    def note(self, **facts: object) -> None:
        self.state["pace"] = {**self.noted, **facts}

    def recall(self, read: Callable[[], StoredDurations | None]) -> None:
        """Read the durations of earlier runs once per step; if that fails, the next poll reads them."""
        if "known" not in self.noted:
            stored = read()
            self.note(**({} if stored is None else {"known": stored}))

    @property
    def needs_listed(self) -> bool:
        """Whether the durations that Celonis lists are used: few runs of ours are known."""
        return needs_listed(self.noted.get("known"))

    def counted_from(self) -> float:
        """Return the moment from which the duration counts: when it was sent, or last seen queued."""
        return max(float(self.state["sent_by"]), float(self.noted.get("queued", 0.0)))

    def count_round(self, polls: int = 1) -> None:
        """Count a round without a result: one poll, or two while the step waits to start."""
        self.state["rounds"] = int(self.state.get("rounds", 0)) + polls

    def count_refusal(self, *, refused: bool) -> None:
        """Count a throttled poll; any other failed poll ends the row."""
        self.note(refused=int(self.noted.get("refused", 0)) + 1 if refused else 0)

    def wait(self, *, started: bool, at_least: float = 0.0) -> int:
        """Return whole seconds until the next poll. ``at_least``: seconds in which no request is sent."""
        now = self.clock()
        began = self._began(now)
        elapsed = max(0.0, now - (self.counted_from() if started else began))
        stored, listed = (
            (self.noted.get("known"), self.state.get("listed_durations")) if started else (None, None)
        )
        expected = expect(stored, listed)
        return PollSchedule(self.poll.floor, self.poll.ceiling, expected).next_wait(
            elapsed,
            self.random,
            max(at_least, self._in_queue(now) if started else 0.0),
            time_left=self.timeout - (now - began),
            polls_left=self._polls_left(),
            proven=started and self._is_seen(),
        )

    def wait_out(self, *, started: bool, at_least: float) -> int:
        """Return the wait after a failed poll; a throttled one is retried promptly."""
        wait = self.wait(started=started, at_least=at_least)
        if 0 < self.noted["refused"] <= MAX_PROMPT_RETRIES:
            soon = max(self.poll.floor, ceil(at_least * self.random.uniform(1, 1 + JITTER)))
            wait = min(wait, soon)
        now = self.clock()
        time_left = self.timeout - (now - self._began(now))
        # The poll at the timeout is always made.
        return min(wait, max(1, ceil(time_left))) if time_left > 0 else wait

    def _began(self, now: float) -> float:
        return float(self.state.get("began", now))

    def _is_seen(self) -> bool:
        """Return whether ours is proven and was seen running; otherwise its end is only believed late."""
        evidence: Mapping[str, Any] = self.state.get("evidence", {})
        return bool(evidence.get("proven_by") and evidence.get("ran"))

    def _in_queue(self, now: float) -> float:
        """Return the minimum wait while Celonis queues the job: each such poll restarts the schedule."""
        if self.noted.get("queued", 0.0) < now:
            return 0.0
        least = (now - float(self.state["sent_by"])) * QUEUE_GROWTH
        ceiling = self.poll.ceiling
        return least if ceiling is None else min(least, ceiling / (1 + JITTER))

    def _polls_left(self) -> int:
        used = int(self.state.get("polls", 0)) + int(self.state.get("rounds", 0))
        return max(1, self.polls - used)

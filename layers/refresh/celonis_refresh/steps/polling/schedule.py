"""When to poll next: as often as it is worth it, and no more.

A poll costs something, and so does every moment between the end and the poll that sees it. Let a poll be
worth ``PRICE`` of a duration: for one poll fewer it may be seen later by that share. Let h(t) be the hazard,
the chance per second to end at t given that it has not ended yet, and n(t) the polls per second. From the
start to the end D there are ∫n(t)dt polls, and the end waits for 1/(2n(D)) on average, so a run costs, on
average,

    ∫ P(D > t) · ( n(t) + h(t) / (2 · n(t) · PRICE · t) ) dt ,

which is smallest, at each t by itself, for

    n(t) = √( h(t) / (2 · PRICE · t) ) .

That is the whole schedule: the next poll is where ∫n has grown by one since now. It depends on nothing but
the time that has passed, so a poll that came late, or was lost, is made good by the next. It follows that

* while it cannot end yet, h ≈ 0, there are no polls; where it usually ends, they are dense;
* failures, and whatever never happened before, lend the time before a hazard of their own, and so a few
  polls: their number grows with the root of how often the job fails. Their lateness is a share of
  the usual duration (t is not less than that in the formula): to see in the tenth minute what failed in the
  fifth costs a job of eight hours next to nothing;
* durations that Celonis lists, and no run of ours has confirmed, are believed within bounds (``_hedged``);
* past the usual time, or with nothing known, the hazard is that of a wide curve, about c/t, so n ≈ √c/t, and
  the waits grow geometrically.

Where only so many polls may still be used until the time-out, PRICE rises until they suffice: all waits grow
in the same proportion, and the last poll falls on the time-out. Sums run over u, the logarithm of time, with
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
from celonis_refresh.steps.polling.durations import Doubt, Expectation, Known, expect, needs_listed
from celonis_refresh.timing import Clock

HISTORY_EVENTS = 25_000
"""Step Functions ends a standard execution at so many history events."""
POLL_SHARE = 0.5
"""What polls may use of them; the rest is for retries, and for what nobody foresaw."""
EVENTS_PER_POLL = 9
"""Wait and Choice are entered and exited; the task is also scheduled, started and succeeds."""
EVENTS_PER_STEP = 25
"""A step's iteration, its start and its end."""
EVENTS_PER_RUN = 60
"""Opening the run, the choices and the Maps around the steps."""


def polls_per_step(steps: int) -> int:
    """Polls for each of a run's ``steps``, jobs and loads together, so that all stay within the share.

    A round of a step that waits for its turn starts the task before the poll too: it counts as two polls.
    """
    events = (HISTORY_EVENTS * POLL_SHARE - EVENTS_PER_RUN) / max(1, steps) - EVENTS_PER_STEP
    return max(1, int(events / EVENTS_PER_POLL))


PRICE = 0.0019
"""What a poll is worth, as a share of the duration. The one number that trades requests for lateness."""
LISTED_PRICE = 0.0025
"""The same while the durations are those that Celonis lists: what is saved there pays for ``HEDGE``."""
MAX_REGRET = 1.25
"""Past what is listed, no interval is longer than with nothing known by more than this factor."""
HEDGE = 1.9
"""Before what is listed, at least so many polls while the time grows by the factor e: an interval is at most
exp(1 / HEDGE) - 1, 69 %, of the time that has passed. Eleven would be needed to see an end as soon as with
nothing known, which takes 28 polls where the list is right, instead of 12."""
JITTER = 0.1
"""Each wait is spread by this share of itself, so that runs started together do not ask together."""
PROOF_WAIT = 2
PROOF_GROWTH = 0.5
"""Until the start is proven: the first wait in seconds; then this share of the time that has passed."""
FEW_POLLS = 10
"""With fewer left the budget outweighs an early proof."""
WEEK = 7 * 24 * 3600.0
UNKNOWN = expect(None)


class Schedule(NamedTuple):
    """``floor`` and ``ceiling``: bounds of a wait in whole seconds; no ceiling where it is None.

    ``expected``: how long it may take, from the runs before.
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
        """Whole seconds until the next poll, ``elapsed`` seconds after the start.

        ``at_least``: seconds that the server asked for. They outweigh all else, and get a jitter too, since
        many got the same answer. ``time_left``: seconds until the step's time-out; a poll falls on it, or
        within the floor after it. ``polls_left``: polls that may still be made, the next and that at the
        time-out among them; short of polls, a wait exceeds the ceiling. ``proven``: whether the start was
        seen. Until then polls come early: something short is proven best while it is running.
        """
        elapsed, time_left = max(0.0, elapsed), max(0.0, time_left)
        polls = random.uniform(1 - JITTER, 1 + JITTER)
        wait, least = self._waits(elapsed, time_left, polls, polls_left)
        if self.ceiling is not None:
            wait = min(wait, self.ceiling)
            # At the ceiling's pace, half of the polls left would do: then the budget asks for nothing.
            least = min(least, self.ceiling) if 2 * time_left <= self.ceiling * polls_left else least
        if not proven:
            wait = min(wait, max(PROOF_WAIT, int(elapsed * PROOF_GROWTH)))
        if proven or polls_left < FEW_POLLS:
            wait = max(wait, least)
        floor = self.floor if proven else min(self.floor, PROOF_WAIT)
        asked = at_least * random.uniform(1, 1 + JITTER)
        return max(1, floor, min(wait, ceil(time_left)), ceil(asked))

    def _waits(self, elapsed: float, left: float, polls: float, polls_left: int) -> tuple[int, int]:
        """Seconds until ``polls`` (about one) are worth it, and the least for the polls left to do."""
        if polls_left <= 1:
            return ceil(left), ceil(left)
        path = list(self._path(elapsed, elapsed + left))
        least = path[-1][1] / polls_left
        aim = _moment(path, max(polls, least)) - elapsed
        return round(aim) if aim < left - 1 else ceil(left), ceil(_moment(path, least) - elapsed)

    def _path(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Logarithms of moments from ``start`` to ``end``, and how many polls it is worth to make by then."""
        at, last, polls = log(max(1.0, start)), log(max(1.0, end)), 0.0
        yield at, polls
        while at < last:
            after = min(last, at + self._step(at))
            polls += self._density((at + after) / 2) * (after - at)
            at = after
            yield at, polls

    def _density(self, at: float) -> float:
        """n(u), polls per unit of the logarithm of time."""
        expected = self.expected
        share = min(1.0, exp(at) / expected.usual) if expected.usual else 1.0
        price = PRICE if expected.doubt is None else LISTED_PRICE
        density = sqrt(expected.hazard(at) * share / (2 * price))
        return density if expected.doubt is None else _hedged(density, at, expected.doubt)

    def _step(self, at: float) -> float:
        """A step in which the hazard changes little: a part of a spread, or of the way to a centre."""
        fits = (max(c.spread / 3, abs(at - c.centre) / 4) for c in self.expected.clusters)
        return min(0.25, *fits)


def _hedged(density: float, at: float, doubt: Doubt) -> float:
    """The density while the durations are those that Celonis lists: they may mislead.

    The job may have been rewritten since, and only the end shows it. So the worst case is bounded, for any
    list and any duration:

    * the run takes longer than all that is listed: from there on it is polled as with nothing known;
    * it takes longer than the shortest usual duration, and less than the longest: no interval is longer
      than with nothing known by more than ``MAX_REGRET``;
    * it takes less than the shortest: fewer polls than with nothing known, and the end is seen after
      exp(1 / ``HEDGE``) of its duration, or at a sixth of the shortest, whichever is later (and the jitter).

    Polls: at most ``MAX_REGRET`` times those with nothing known, and the 40 at most that it takes to poll
    closely where durations are listed.
    """
    if at < doubt.hedged_from:
        return density
    if at < doubt.passed_from:
        return max(density, HEDGE)
    unknown = sqrt(UNKNOWN.hazard(at) / (2 * PRICE))
    return max(density, unknown / MAX_REGRET) if at < doubt.unknown_from else unknown


def _moment(path: list[tuple[float, float]], polls: float) -> float:
    """The second by which so many polls are worth making; the end of the path if there are not so many."""
    for (before, fewer), (after, more) in pairwise(path):
        if fewer < more >= polls:
            return exp(before + (after - before) * (polls - fewer) / (more - fewer))
    return exp(path[-1][0])


MADE_UP = 20
"""So many refused polls in a row are made up for as soon as Celonis may be asked; then the schedule rules."""
QUEUE_GROWTH = 0.1
"""While Celonis keeps a job in a queue, a wait is at least this share of the time it has been there."""


class PollTimer(Struct):
    """The waits of one step. ``state``: what is noted of it, and will be written.

    ``timeout``: seconds, of the step; ``polls``: that it may use in all, so that the execution's history
    stays far below its limit.
    """

    state: dict[str, Any]
    poll: Polling
    timeout: int
    polls: int
    clock: Clock
    random: Random

    @property
    def noted(self) -> Mapping[str, Any]:
        """What the waits go by.

        ``known`` of the runs before; when it was last seen ``queued``, and when running (``seen``);
        ``refused``: the polls in a row that were not allowed.
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

    @property
    def needs_listed(self) -> bool:
        """Whether the durations that Celonis lists are of use: few runs of ours are known."""
        return needs_listed(self.noted.get("known"))

    def counted_from(self) -> float:
        """The moment from which its duration counts: when it was sent, or last seen to wait in a queue."""
        return max(float(self.state["sent_by"]), float(self.noted.get("queued", 0.0)))

    def count_round(self, polls: int = 1) -> None:
        """A round that showed nothing uses up polls too; one that waits for its turn uses two."""
        self.state["rounds"] = int(self.state.get("rounds", 0)) + polls

    def count_refusal(self, *, refused: bool) -> None:
        """A poll that Celonis did not allow, or one that went wrong otherwise: that ends the row of them."""
        self.note(refused=int(self.noted.get("refused", 0)) + 1 if refused else 0)

    def wait(self, *, started: bool, at_least: float = 0.0) -> int:
        """Whole seconds until the next poll. ``at_least``: for so long Celonis is not to be asked."""
        now = self.clock()
        began = self._began(now)
        elapsed = max(0.0, now - (self.counted_from() if started else began))
        known, listed = (
            (self.noted.get("known"), self.state.get("listed_durations")) if started else (None, None)
        )
        expected = expect(known, listed)
        return Schedule(self.poll.floor, self.poll.ceiling, expected).next_wait(
            elapsed,
            self.random,
            max(at_least, self._in_queue(now) if started else 0.0),
            time_left=self.timeout - (now - began),
            polls_left=self._polls_left(),
            proven=started and self._is_seen(),
        )

    def wait_out(self, *, started: bool, at_least: float) -> int:
        """The wait after a poll that came to nothing: one that was refused is made up for soon."""
        wait = self.wait(started=started, at_least=at_least)
        if 0 < self.noted["refused"] <= MADE_UP:
            soon = max(self.poll.floor, ceil(at_least * self.random.uniform(1, 1 + JITTER)))
            wait = min(wait, soon)
        now = self.clock()
        left = self.timeout - (now - self._began(now))
        # The poll at the time-out is made whatever was refused before.
        return min(wait, max(1, ceil(left))) if left > 0 else wait

    def _began(self, now: float) -> float:
        return float(self.state.get("began", now))

    def _is_seen(self) -> bool:
        """Whether ours is proven and was seen running: what was not is believed to have ended late only."""
        evidence: Mapping[str, Any] = self.state.get("evidence", {})
        return bool(evidence.get("proven_by") and evidence.get("ran"))

    def _in_queue(self, now: float) -> float:
        """The least wait for what Celonis keeps in a queue: the schedule begins anew with every such poll."""
        if self.noted.get("queued", 0.0) < now:
            return 0.0
        least = (now - float(self.state["sent_by"])) * QUEUE_GROWTH
        ceiling = self.poll.ceiling
        return least if ceiling is None else min(least, ceiling / (1 + JITTER))

    def _polls_left(self) -> int:
        used = int(self.state.get("polls", 0)) + int(self.state.get("rounds", 0))
        return max(1, self.polls - used)

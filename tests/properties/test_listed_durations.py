"""For any list of executions: what is read from it is small and sane, and a wrong list costs little."""

from __future__ import annotations

from bisect import bisect_left
from math import exp, log
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.steps.polling.durations import ENOUGH_RUNS, REMEMBERED, Expectation, add_duration, expect
from celonis_refresh.steps.polling.schedule import HEDGE, JITTER, MAX_REGRET, WEEK, PollSchedule
from celonis_refresh.steps.target import MAX_LISTED_SECONDS, PastRun, listed_durations
from local.bench.polling.simulation import poll_times

DAY = 86_400_000
CLOSE = 40
"""Polls that a wrong list may add on top of the share, as it is polled closely where it has durations."""
FLOOR = 2

dates = st.none() | st.integers(-(10**15), 10**15) | st.integers(1_700_000_000_000, 1_800_000_000_000)
statuses = st.none() | st.sampled_from([*JobStatus, *LoadStatus]) | st.text(max_size=8)
rows = st.builds(PastRun, statuses, dates, dates)


def past_run(number: int, seconds: float, *, succeeded: bool) -> PastRun:
    start = (1 + number) * DAY
    return PastRun("SUCCESS" if succeeded else "FAIL", start, start + round(1000 * seconds))


@st.composite
def lists(draw: st.DrawFn) -> dict[str, Any]:
    """Durations of one job, regular or wild, with failures and outliers."""
    usual = exp(draw(st.floats(log(5), log(2e5))))
    deviation = draw(st.sampled_from([0.0, 0.02, 0.15, 0.5, 2.0]))
    factors = draw(st.lists(st.floats(-2, 2), min_size=1, max_size=30))
    jumps = draw(st.sampled_from([(1.0,), (1.0, 2.5), (1.0, 10.0, 100.0)]))
    runs = [
        past_run(
            number,
            min(max(1.0, usual * exp(deviation * factor) * jumps[number % len(jumps)]), MAX_LISTED_SECONDS),
            succeeded=draw(st.integers(0, 9)) > 0,
        )
        for number, factor in enumerate(factors)
    ]
    found = listed_durations(runs, by=None)
    assert found is not None
    return found


class Even(Random):
    """Draws the same share of a jitter each time."""

    def __init__(self, share: float) -> None:
        super().__init__(1)
        self.share = share

    def uniform(self, a: float, b: float) -> float:
        return self.share


def wait(expected: Expectation, elapsed: float, polls: float = 1.0) -> int:
    return PollSchedule(1, None, expected).next_wait(elapsed, Even(polls), time_left=4 * WEEK)


@given(st.lists(rows, max_size=60), st.none() | st.integers(0, 10**15), st.randoms())
def test_any_list_gives_few_sane_numbers_in_any_order(
    found: list[PastRun], by: int | None, random: Random
) -> None:
    known = listed_durations(found, by)
    shuffled = random.sample(found, len(found))
    assert listed_durations(shuffled, by) == known
    if known is None:
        return
    numbers = [*known["successes"], *known["failures"]]
    assert 1 <= len(numbers) <= REMEMBERED
    assert all(1 <= seconds <= MAX_LISTED_SECONDS for seconds in numbers)
    assert 0 <= known["failure_rate"] <= 1
    expect(None, known)


@given(lists(), st.floats(0, 12))
def test_past_what_is_listed_it_is_polled_nearly_as_often_as_with_nothing_known(
    listed: dict[str, Any], further: float
) -> None:
    expected = expect(None, listed)
    assert expected.doubt is not None
    elapsed = exp(max(0.0, expected.doubt.passed_from) + further)
    assume(elapsed < WEEK)
    longest = wait(expect(None), elapsed, MAX_REGRET)
    assert wait(expected, elapsed) <= 1.02 * longest + 1


@given(lists(), st.floats(0, 1))
def test_before_what_is_listed_no_interval_is_longer_than_its_share_of_the_time(
    listed: dict[str, Any], share: float
) -> None:
    expected = expect(None, listed)
    assert expected.doubt is not None
    first, last = max(0.0, expected.doubt.hedged_from), max(0.0, expected.doubt.passed_from)
    elapsed = exp(first + share * max(0.0, last - first))
    unknown = wait(expect(None), elapsed, MAX_REGRET)
    assert wait(expected, elapsed) <= 1.02 * max(unknown, elapsed * (exp(1 / HEDGE) - 1)) + 1


@settings(deadline=None, max_examples=40)
@given(lists(), st.floats(log(10), log(3e5)), st.integers(0, 1000))
def test_the_worst_list_costs_a_share_more_polls_and_those_near_what_it_shows(
    listed: dict[str, Any], duration: float, seed: int
) -> None:
    took = exp(duration)
    known = poll_times(PollSchedule(FLOOR, None, expect(None, listed)), Random(seed), took)  # noqa: S311
    unknown = poll_times(PollSchedule(FLOOR), Random(seed), took)  # noqa: S311
    assert bisect_left(known, took) + 1 <= MAX_REGRET * len(unknown) * (1 + JITTER) + CLOSE


@given(lists(), st.lists(st.floats(1, 1e5), min_size=ENOUGH_RUNS, max_size=25))
def test_what_is_learned_replaces_the_list(listed: dict[str, Any], ours: list[float]) -> None:
    document: dict[str, Any] | None = None
    for seconds in ours:
        document = add_duration(document, seconds, succeeded=True)
    assert expect(document, listed) == expect(document)


@given(st.floats(20, 1e5), st.floats(3, 30), st.integers(1, ENOUGH_RUNS - 1))
def test_each_run_of_ours_outweighs_a_list_that_misleads_a_little_more(
    usual: float, factor: float, runs: int
) -> None:
    """The share of the listed duration falls from run to run, and ours is where an end is first likely."""
    rows = [past_run(day, usual * factor, succeeded=True) for day in range(REMEMBERED)]
    listed = listed_durations(rows, by=None)
    document: dict[str, Any] | None = None
    shares = []
    for _ in range(runs + 1):
        clusters = expect(document, listed).clusters
        shares.append(sum(one.weight for one in clusters if abs(one.centre - log(usual * factor)) < 0.1))
        document = add_duration(document, usual, succeeded=True)
    assert shares == sorted(shares, reverse=True)
    assert expect(document, listed).usual < 1.5 * usual

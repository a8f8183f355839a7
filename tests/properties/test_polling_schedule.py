"""For any schedule: waits keep within the bounds, and the polls last until the timeout."""

from __future__ import annotations

from math import ceil
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from celonis_refresh.rate_limits.limiter import pause_seconds
from celonis_refresh.steps.polling.durations import Expectation, add_duration, expect
from celonis_refresh.steps.polling.schedule import FEW_POLLS, JITTER, WEEK, PollSchedule
from tests.unit.steps.polling.histories import chance

seconds = st.sampled_from([0.0, 1.0, 60.0, 3600.0, WEEK, 1e9]) | st.floats(0, 1e6)
histories = st.lists(st.tuples(seconds, st.booleans()), max_size=25)
regular = st.tuples(st.floats(1, 1e5), st.floats(1, 2), st.integers(1, 20)).map(
    lambda job: [(job[0] * job[1] ** (run % 3), True) for run in range(job[2])]
)
randoms = st.integers(0, 2**32).map(chance)
elapsed_times = st.floats(0, 2 * WEEK)
floors = st.integers(1, 3600)


def expected(runs: list[tuple[float, bool]]) -> Expectation:
    document: dict[str, Any] | None = None
    for took, succeeded in runs:
        document = add_duration(document, took, succeeded=succeeded)
    return expect(document)


expectations = (histories | regular).map(expected)


@st.composite
def schedules(draw: st.DrawFn) -> PollSchedule:
    floor = draw(floors)
    ceiling = draw(st.none() | st.integers(floor, 3600))
    return PollSchedule(floor, ceiling, draw(expectations))


@given(
    schedules(),
    elapsed_times,
    randoms,
    st.floats(0, 1e5),
    st.floats(-1, WEEK),
    st.integers(-1, 2000),
    st.booleans(),
)
def test_a_wait_is_whole_seconds_and_at_least_the_retry_after(
    schedule: PollSchedule,
    elapsed: float,
    random: Random,
    retry_after: float,
    left: float,
    polls: int,
    proven: bool,
) -> None:
    wait = schedule.next_wait(elapsed, random, retry_after, time_left=left, polls_left=polls, proven=proven)
    assert isinstance(wait, int)
    assert wait >= max(1, retry_after)


@given(schedules(), elapsed_times, randoms, st.floats(0, WEEK), st.integers(0, 2000))
def test_once_proven_no_wait_is_below_the_floor(
    schedule: PollSchedule, elapsed: float, random: Random, left: float, polls: int
) -> None:
    assert schedule.next_wait(elapsed, random, time_left=left, polls_left=polls) >= schedule.floor


@given(schedules(), elapsed_times, randoms, st.floats(0, WEEK), st.integers(0, 2000), st.booleans())
def test_no_wait_is_above_the_ceiling_unless_few_polls_are_left(
    schedule: PollSchedule, elapsed: float, random: Random, left: float, polls: int, proven: bool
) -> None:
    wait = schedule.next_wait(elapsed, random, time_left=left, polls_left=polls, proven=proven)
    if schedule.ceiling is not None and left <= schedule.ceiling * polls / 2:
        assert wait <= schedule.ceiling


@given(schedules(), elapsed_times, randoms, st.floats(0, WEEK), st.integers(0, 2000), st.booleans())
def test_no_wait_exceeds_the_timeout_by_more_than_the_floor(
    schedule: PollSchedule, elapsed: float, random: Random, left: float, polls: int, proven: bool
) -> None:
    wait = schedule.next_wait(elapsed, random, time_left=left, polls_left=polls, proven=proven)
    assert wait <= max(schedule.floor, ceil(left))


@settings(deadline=None)
@given(
    schedules(),
    st.floats(10, WEEK),
    st.integers(30, 1000),
    randoms,
    st.integers(0, 12),
    st.floats(0, 30),
    st.lists(st.floats(0, 900), max_size=5),
)
def test_the_polls_last_until_the_timeout_and_one_falls_on_it(
    schedule: PollSchedule,
    timeout: float,
    budget: int,
    random: Random,
    unproven: int,
    slow: float,
    retry_after: list[float],
) -> None:
    """``unproven``: polls until the proof. ``slow``: duration of a poll. ``retry_after``: by 429s."""
    at, polls = 0.0, 0
    while at < timeout:
        wait = schedule.next_wait(
            at,
            random,
            retry_after[polls] if polls < len(retry_after) else 0.0,
            time_left=timeout - at,
            polls_left=budget - polls,
            proven=polls >= unproven,
        )
        overdue = at + wait - timeout
        at, polls = at + wait + random.uniform(0, slow), polls + 1
    assert polls <= budget
    most = retry_after[polls - 1] * (1 + JITTER) + 1 if polls <= len(retry_after) else 0.0
    assert overdue <= max(1, schedule.floor, most)


@given(
    schedules(),
    elapsed_times,
    st.integers(0, 2**32),
    st.floats(1, WEEK),
    st.integers(2, 2000),
    st.integers(2, 2000),
)
def test_fewer_polls_left_never_shorten_a_wait(
    schedule: PollSchedule, elapsed: float, seed: int, left: float, one: int, other: int
) -> None:
    few, many = (
        schedule.next_wait(elapsed, chance(seed), time_left=left, polls_left=polls)
        for polls in sorted((one, other))
    )
    assert few >= many


@given(schedules(), elapsed_times, st.integers(0, 2**32), st.floats(0, 1e5), st.floats(0, 1e5))
def test_a_longer_retry_after_never_shortens_a_wait(
    schedule: PollSchedule, elapsed: float, seed: int, one: float, other: float
) -> None:
    less, more = (
        schedule.next_wait(elapsed, chance(seed), retry_after) for retry_after in sorted((one, other))
    )
    assert less <= more


@given(schedules(), st.floats(0, WEEK), st.integers(0, 2**32))
def test_no_proof_never_lengthens_a_wait(schedule: PollSchedule, elapsed: float, seed: int) -> None:
    hasty, calm = (schedule.next_wait(elapsed, chance(seed), proven=proven) for proven in (False, True))
    assert hasty <= calm


@given(expectations, st.floats(1, WEEK), st.floats(1, 1.5), st.integers(0, 2**32))
def test_a_later_poll_never_moves_the_next_poll_earlier(
    expectation: Expectation, elapsed: float, factor: float, seed: int
) -> None:
    """The time of the next poll, not the wait, grows with the elapsed time.

    Except for whole seconds, and for the steps of the sum, which start elsewhere.
    """
    schedule = PollSchedule(1, None, expectation)
    sooner, later = (
        at + schedule.next_wait(at, chance(seed), time_left=4 * WEEK - at)
        for at in (elapsed, elapsed * factor)
    )
    assert later >= 0.97 * sooner - 1


@given(st.integers(FEW_POLLS, 2000), randoms, expectations)
def test_the_first_poll_of_an_unproven_start_is_soon(
    polls: int, random: Random, expectation: Expectation
) -> None:
    wait = PollSchedule(60, None, expectation).next_wait(0.0, random, polls_left=polls, proven=False)
    assert wait <= 2


numbers = st.none() | st.floats(0, 1e6)


@given(numbers, numbers, numbers)
def test_a_pause_is_never_longer_than_the_reset(
    limit: float | None, remaining: float | None, reset: float | None
) -> None:
    assert 0 <= pause_seconds(limit, remaining, reset) <= (reset or 0.0)

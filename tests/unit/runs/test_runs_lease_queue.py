"""The rate limiter's queue of a connection: who is in it, and how long it is."""

from __future__ import annotations

from typing import Literal

import pytest

from celonis_refresh.rate_limits.limiter import EXPIRES_SECONDS, NotThrottled, RateLimitState
from celonis_refresh.runs.table import Table, rate_limit_key
from tests.fakes.clock import START, FakeClock

KEY = rate_limit_key("default")


@pytest.fixture
def state(table: Table, clock: FakeClock) -> RateLimitState:
    """The queue reaches five seconds into the future, for a minute."""
    state = RateLimitState(table, KEY, clock)
    assert state.start_throttling(START + 5.0, START + 60.0, 0.5)
    return state


def test_the_line_begins_once(state: RateLimitState, table: Table, clock: FakeClock) -> None:
    other = RateLimitState(table, KEY, clock)
    assert not other.start_throttling(START + 50.0, START + 90.0, 9.0)
    assert (other.next, other.step, other.throttled_until) == (START + 5.0, 0.5, START + 60.0)
    item = table.get(KEY)
    assert item is not None
    assert item["expires"] == int(START) + 60 + EXPIRES_SECONDS


def test_it_begins_anew_once_it_was_calm(state: RateLimitState, clock: FakeClock) -> None:
    clock.sleep(61.0)
    assert state.start_throttling(START + 70.0, START + 130.0, 0.1)
    assert state.next == START + 70.0


@pytest.mark.parametrize("line", ["next", "later"])
def test_turns_follow_each_other(state: RateLimitState, line: Literal["next", "later"]) -> None:
    taken = [state.reserve(line, 1.5, START, START + 9.0) for _ in range(4)]
    assert taken == [START + 5.0, START + 6.5, START + 8.0, None]


def test_an_empty_queue_reserves_the_requested_time(state: RateLimitState, clock: FakeClock) -> None:
    clock.sleep(20.0)
    assert state.reserve("next", 2.0, clock.now, clock.now) == START + 20.0
    assert state.next == START + 22.0


def test_no_slot_is_reserved_without_throttling(state: RateLimitState, clock: FakeClock) -> None:
    clock.sleep(60.0)
    with pytest.raises(NotThrottled):
        state.reserve("next", 1.0, clock.now, clock.now + 1.0)


def test_without_a_stored_item_no_request_is_throttled(table: Table, clock: FakeClock) -> None:
    state = RateLimitState(table, KEY, clock)
    with pytest.raises(NotThrottled):
        state.reserve("next", 1.0, clock.now, clock.now + 1.0)
    state.read()
    assert (state.throttled_until, state.read_at) == (0.0, START)


def test_no_stored_time_is_moved_earlier(state: RateLimitState, table: Table, clock: FakeClock) -> None:
    other = RateLimitState(table, KEY, clock)
    state.pause(START + 30.0, START + 80.0)
    other.pause(START + 10.0, START + 70.0)
    other.extend(START + 75.0)
    other.slow_down(0.25)
    assert (other.next, other.throttled_until, other.step) == (START + 30.0, START + 80.0, 0.5)
    other.extend(START + 95.0)
    other.slow_down(4.0)
    state.read()
    assert (state.next, state.throttled_until, state.step) == (START + 30.0, START + 95.0, 4.0)

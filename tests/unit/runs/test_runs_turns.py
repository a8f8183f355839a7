"""The line of a connection: who stands in it, and how long it is."""

from __future__ import annotations

from typing import Literal

import pytest

from celonis_refresh.rate_limits.limiter import EXPIRES_SECONDS, NotThrottled, RateLimitState
from celonis_refresh.runs.table import Table, rate_limit_key
from tests.fakes.clock import START, Clock

KEY = rate_limit_key("default")


@pytest.fixture
def turns(table: Table, clock: Clock) -> RateLimitState:
    """The line stands at five seconds from now, for a minute."""
    turns = RateLimitState(table, KEY, clock)
    assert turns.begin(START + 5.0, START + 60.0, 0.5)
    return turns


def test_the_line_begins_once(turns: RateLimitState, table: Table, clock: Clock) -> None:
    other = RateLimitState(table, KEY, clock)
    assert not other.begin(START + 50.0, START + 90.0, 9.0)
    assert (other.next, other.step, other.calm) == (START + 5.0, 0.5, START + 60.0)
    item = table.get(KEY)
    assert item is not None
    assert item["expires"] == int(START) + 60 + EXPIRES_SECONDS


def test_it_begins_anew_once_it_was_calm(turns: RateLimitState, clock: Clock) -> None:
    clock.sleep(61.0)
    assert turns.begin(START + 70.0, START + 130.0, 0.1)
    assert turns.next == START + 70.0


@pytest.mark.parametrize("line", ["next", "later"])
def test_turns_follow_each_other(turns: RateLimitState, line: Literal["next", "later"]) -> None:
    taken = [turns.take(line, 1.5, START, START + 9.0) for _ in range(4)]
    assert taken == [START + 5.0, START + 6.5, START + 8.0, None]


def test_an_empty_line_stands_where_it_is_wanted(turns: RateLimitState, clock: Clock) -> None:
    clock.sleep(20.0)
    assert turns.take("next", 2.0, clock.now, clock.now) == START + 20.0
    assert turns.next == START + 22.0


def test_nobody_stands_in_line_when_all_is_calm(turns: RateLimitState, clock: Clock) -> None:
    clock.sleep(60.0)
    with pytest.raises(NotThrottled):
        turns.take("next", 1.0, clock.now, clock.now + 1.0)


def test_where_there_is_no_line_everybody_is_free(table: Table, clock: Clock) -> None:
    turns = RateLimitState(table, KEY, clock)
    with pytest.raises(NotThrottled):
        turns.take("next", 1.0, clock.now, clock.now + 1.0)
    turns.read()
    assert (turns.calm, turns.read_at) == (0.0, START)


def test_nothing_is_ever_made_earlier(turns: RateLimitState, table: Table, clock: Clock) -> None:
    other = RateLimitState(table, KEY, clock)
    turns.pause(START + 30.0, START + 80.0)
    other.pause(START + 10.0, START + 70.0)
    other.go_on(START + 75.0)
    other.slow_down(0.25)
    assert (other.next, other.calm, other.step) == (START + 30.0, START + 80.0, 0.5)
    other.go_on(START + 95.0)
    other.slow_down(4.0)
    turns.read()
    assert (turns.next, turns.calm, turns.step) == (START + 30.0, START + 95.0, 4.0)

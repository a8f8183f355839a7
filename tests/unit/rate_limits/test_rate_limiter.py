"""One budget for a connection: who may send when, and what a response changes for all."""

from __future__ import annotations

import heapq
import json
from typing import Any

import pytest

from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.celonis.transport import RateLimit, execute_job, get_executions, get_job
from celonis_refresh.rate_limits.limiter import MIN_THROTTLED_SECONDS, STATE_SECONDS, SharedRateLimiter
from celonis_refresh.runs.table import from_item
from local.celonis import setups
from tests.fakes.clock import START, FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, client_error, table_of
from tests.fakes.fleet import Fleet

KEY = "rate-limit#default"
POLL, LIST = get_job("pool-1", "job-a"), get_executions("pool-1", "job-a")
POST = execute_job("pool-1", "job-a", "FULL")
PLENTY = RateLimit(20, 15, 1.0)
LITTLE = RateLimit(20, 5, 1.0)


class LimitedTeam:
    """One table and one clock for any number of processes."""

    def __init__(self) -> None:
        self.clock, self.dynamodb = FakeClock(), FakeDynamoDB()
        self.table = table_of(self.dynamodb, self.clock)

    def process(self) -> SharedRateLimiter:
        return SharedRateLimiter(self.table, "default", self.clock, self.clock.sleep)

    @property
    def item(self) -> dict[str, Any]:
        item = self.dynamodb.items.get(KEY)
        return from_item(item) if item else {}


def test_with_enough_requests_left_nothing_is_written_and_the_table_is_rarely_read() -> None:
    team = LimitedTeam()
    rate_limiter = team.process()
    for _ in range(20):
        rate_limiter.enter(POLL, 12.0)
        rate_limiter.answered(PLENTY, None)
        team.clock.sleep(STATE_SECONDS / 10)
    assert team.dynamodb.calls == ["GetItem", "GetItem"]
    assert team.item == {}


def throttled_seconds(capsys: pytest.CaptureFixture[str]) -> float:
    """The sum of the metric."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return sum(sum(line.get("CelonisThrottledTime", [])) for line in lines)


def test_the_wait_that_a_429_causes_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The task that gets it ends, and comes back when the wait is over."""
    team = LimitedTeam()
    team.process().answered(None, 300.0)
    assert throttled_seconds(capsys) == 300.0
    team.process().answered(PLENTY, None)
    assert throttled_seconds(capsys) == 0.0


def test_responses_without_rate_limit_headers_change_nothing() -> None:
    team = LimitedTeam()
    rate_limiter = team.process()
    rate_limiter.answered(None, None)
    rate_limiter.answered(RateLimit(None, None, None), None)
    assert team.item == {}


def test_after_a_429_no_process_sends_a_request_before_the_reset() -> None:
    team = LimitedTeam()
    team.process().answered(RateLimit(20, 0, 30.0), 30.0)
    for rate_limiter in (team.process(), team.process()):
        with pytest.raises(CelonisThrottled) as caught:
            rate_limiter.enter(POLL, 12.0)
        assert 30.0 <= caught.value.retry_after < 60.0
        assert "'default'" in str(caught.value)
    assert team.clock.now == START


def test_throttled_processes_get_different_retry_times() -> None:
    team = LimitedTeam()
    team.process().answered(RateLimit(20, 0, 30.0), 30.0)
    waits = []
    for _ in range(50):
        with pytest.raises(CelonisThrottled) as caught:
            team.process().enter(POLL, 12.0)
        waits.append(caught.value.retry_after)
    assert len(set(waits)) == 50
    assert waits == sorted(waits)
    per_second = [sum(at <= wait < at + 1 for wait in waits) for at in range(30, 40)]
    assert max(per_second) * 3 <= 20


def test_turns_stay_below_the_limit() -> None:
    team = LimitedTeam()
    team.process().answered(LITTLE, None)
    gates = [team.process() for _ in range(10)]
    moments = []
    for number in range(200):
        gates[number % 10].enter(POLL, 12.0)
        moments.append(team.clock.now)
    assert all(sum(at <= moment < at + 1.0 for moment in moments) <= 18 for at in moments)
    assert moments[-1] - moments[0] < 20.0


def test_what_follows_a_poll_belongs_to_its_turn() -> None:
    team = LimitedTeam()
    team.process().answered(LITTLE, None)
    gates = [team.process() for _ in range(10)]
    moments = []
    for number in range(60):
        for call in (POLL, LIST, POST):
            gates[number % 10].enter(call, 12.0)
            moments.append(team.clock.now)
    assert all(sum(at <= moment < at + 1.0 for moment in moments) <= 20 for at in moments)
    assert moments[-1] - moments[0] < 14.0


def test_a_pause_holds_back_what_follows_too_as_long_as_it_may_take() -> None:
    team = LimitedTeam()
    rate_limiter = team.process()
    rate_limiter.enter(POLL, 12.0)
    rate_limiter.answered(RateLimit(20, 1, 3.0), None)
    with pytest.raises(CelonisThrottled):
        rate_limiter.enter(POST, 2.0)
    rate_limiter.enter(POST, 12.0)
    assert team.clock.now == pytest.approx(START + 3.0)
    rate_limiter.answered(None, 30.0)
    with pytest.raises(CelonisThrottled) as caught:
        rate_limiter.enter(POST, 60.0)
    assert caught.value.retry_after >= 30.0


def test_requests_are_sent_freely_again_after_throttling() -> None:
    team = LimitedTeam()
    rate_limiter = team.process()
    rate_limiter.answered(LITTLE, None)
    team.clock.sleep(MIN_THROTTLED_SECONDS + 1.0)
    team.dynamodb.calls.clear()
    for one in (rate_limiter, team.process()):
        for _ in range(30):
            one.enter(POLL, 12.0)
            one.answered(PLENTY, None)
    assert set(team.dynamodb.calls) == {"GetItem"}
    assert team.clock.now == START + MIN_THROTTLED_SECONDS + 1.0


def test_a_pause_is_only_ever_made_longer() -> None:
    team = LimitedTeam()
    first, second = team.process(), team.process()
    first.answered(None, 60.0)
    second.answered(None, 5.0)
    assert team.item["next"] == START + 60.0
    second.answered(None, 90.0)
    assert team.item["next"] == START + 90.0
    assert team.item["expires"] > START + 180.0
    assert team.item["expires"] == int(team.item["expires"])


def test_a_longer_window_than_it_seemed_slows_the_turns_down() -> None:
    team = LimitedTeam()
    rate_limiter = team.process()
    rate_limiter.answered(RateLimit(100, 9, 1.0), None)
    quick = team.item["step"]
    rate_limiter.answered(RateLimit(100, 9, 55.0), None)
    assert quick < 0.02
    assert team.item["step"] == pytest.approx(0.75)


def test_connections_do_not_slow_each_other_down() -> None:
    team = LimitedTeam()
    team.process().answered(None, 60.0)
    SharedRateLimiter(team.table, "other", team.clock, team.clock.sleep).enter(POLL, 12.0)


def test_requests_are_sent_while_the_table_is_unavailable() -> None:
    team = LimitedTeam()

    def fail(operation: str, request: dict[str, Any]) -> None:
        raise client_error("ThrottlingException", operation)

    rate_limiter = team.process()
    team.dynamodb.before = fail
    rate_limiter.enter(POLL, 12.0)
    rate_limiter.answered(None, 5.0)
    rate_limiter.enter(POLL, 12.0)


@pytest.mark.parametrize(("processes", "within"), [(10, 2.0), (60, 2.0), (30, 10.0)])
def test_two_hundred_runs_share_twenty_requests_a_second(processes: int, within: float) -> None:
    fleet = Fleet(setups.RateLimitSetup(20, 1), processes)
    seconds = fleet.run(200, within)
    needed = 200 * (3 + 4 * 2)
    assert fleet.share_of_429 < 0.01
    assert len(fleet.answers) < needed * 1.02
    assert seconds < 1.5 * needed / 20


def test_fifty_runs_share_a_hundred_requests_a_minute() -> None:
    fleet = Fleet(setups.RateLimitSetup(100, 60), 10)
    fleet.run(50, 5.0, polls=2)
    assert fleet.share_of_429 < 0.01


@pytest.mark.parametrize("left", [600, 60])
def test_what_is_left_of_a_day_is_used_until_it_is_over_and_not_exceeded(left: int) -> None:
    """Twenty tasks poll, in processes of their own, and come again after the wait they are given."""
    team = LimitedTeam()
    ends, call_times = START + 36_000.0, list[float]()
    due = [(START + number, number, team.process()) for number in range(20)]
    while due and due[0][0] < ends:
        at, number, rate_limiter = heapq.heappop(due)
        team.clock.now = max(team.clock.now, at)
        try:
            rate_limiter.enter(POLL, 12.0)
        except CelonisThrottled as refused:
            heapq.heappush(due, (team.clock.now + refused.retry_after, number, rate_limiter))
            continue
        call_times.append(team.clock.now)
        assert len(call_times) <= left
        rate_limiter.answered(RateLimit(6000, left - len(call_times), ends - team.clock.now), None)
        heapq.heappush(due, (team.clock.now + 30.0, number, rate_limiter))
    assert len(call_times) >= left * 0.6
    by_hours = [sum(at <= (moment - START) / 3600 < at + 1 for moment in call_times) for at in range(10)]
    assert max(by_hours[1:]) <= left / 10 * 2
    assert min(by_hours[:8]) > 0


def test_turns_that_spread_a_day_are_over_with_its_reset() -> None:
    team = LimitedTeam()
    rate_limiter = team.process()
    rate_limiter.answered(RateLimit(6000, 10, 400.0), None)
    team.clock.sleep(401.0)
    for one in (rate_limiter, team.process()):
        for _ in range(10):
            one.enter(POLL, 12.0)
            one.answered(RateLimit(6000, 5999, 86_000.0), None)
    assert team.clock.now == START + 401.0


def test_no_process_sends_a_request_before_a_reset_that_is_hours_away() -> None:
    """A task comes back in between, and sees in the table that it is too early."""
    team = LimitedTeam()
    refused, other = team.process(), team.process()
    refused.enter(POLL, 12.0)
    refused.answered(None, 3 * 3600.0)
    rounds = 0
    while True:
        rounds += 1
        try:
            other.enter(POLL, 12.0)
            break
        except CelonisThrottled as early:
            team.clock.sleep(early.retry_after)
    assert team.clock.now >= START + 3 * 3600.0
    assert rounds <= 15

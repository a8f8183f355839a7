"""When to poll next: the shapes that the derivation promises, second by second."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from celonis_refresh.steps.polling.durations import expect
from celonis_refresh.steps.polling.schedule import UNPROVEN_WAIT, WEEK, PollSchedule
from tests.unit.steps.polling.histories import chance, history, scattered

HOUR = 3600.0


class NoJitter(Random):
    """No jitter: the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def moments(schedule: PollSchedule, until: float, **known: float) -> list[float]:
    """The times of the polls, up to the first at ``until`` or after; proven from the start."""
    at, found = known.get("start", 0.0), []
    while at < until:
        at += schedule.next_wait(at, NoJitter(), time_left=known.get("timeout", WEEK) - at)
        found.append(at)
    return found


def knowing(usual: float, deviation: float = 0.15, failures: tuple[float, ...] = ()) -> PollSchedule:
    return PollSchedule(1, None, expect(history(scattered(usual, deviation), failures)))


def test_a_simple_schedule_needs_no_more_than_bounds() -> None:
    assert isinstance(PollSchedule(5, 600).next_wait(100.0, chance(1)), int)


def test_sparse_until_it_could_end_and_dense_where_it_usually_ends() -> None:
    found = moments(knowing(HOUR), 1.3 * HOUR)
    sparse = [at for at in found if at < 0.6 * HOUR]
    dense = [after - before for before, after in pairwise(found) if 0.85 * HOUR < before < 1.2 * HOUR]
    assert len(sparse) <= 2
    assert max(dense) < 0.04 * HOUR
    assert len(found) < 25


def test_a_steadier_job_is_polled_less() -> None:
    polls = [len(moments(knowing(HOUR, deviation), HOUR)) for deviation in (0.05, 0.15, 0.5)]
    assert polls == sorted(polls)
    assert polls[0] < polls[2]


def test_the_shape_does_not_depend_on_the_duration() -> None:
    hour, day = moments(knowing(HOUR), 1.2 * HOUR), moments(knowing(24 * HOUR), 24 * 1.2 * HOUR)
    assert len(hour) == len(day)
    assert [at / HOUR for at in hour] == pytest.approx([at / HOUR / 24 for at in day], rel=0.02)


def test_with_nothing_known_waits_grow_geometrically() -> None:
    found = moments(PollSchedule(1), 72 * HOUR)
    ratios = [(after - before) / before for before, after in pairwise(found) if before > 600]
    assert min(ratios) > 0.03
    assert max(ratios) < 0.12
    assert all(before >= 0.97 * after for before, after in pairwise(ratios)), "evenly, a little denser late"


def test_running_over_the_waits_grow_geometrically_too() -> None:
    found = moments(knowing(HOUR), 72 * HOUR)
    late = [(after - before) / before for before, after in pairwise(found) if before > 2 * HOUR]
    assert min(late) > 0.03
    assert max(late) < 0.12


def test_a_job_that_often_fails_early_is_polled_early() -> None:
    def early(schedule: PollSchedule) -> int:
        return len([at for at in moments(schedule, HOUR) if at < 0.6 * HOUR])

    often = knowing(HOUR, failures=tuple(60.0 for _ in range(20)))
    assert early(knowing(HOUR)) < early(often) < 8
    assert moments(often, HOUR)[0] < 10 * 60


def test_a_poll_that_came_late_is_made_good_by_the_next() -> None:
    schedule = knowing(HOUR)
    assert schedule.next_wait(0.99 * HOUR, NoJitter()) < 0.03 * HOUR
    assert schedule.next_wait(0.99 * HOUR, NoJitter()) == schedule.next_wait(0.99 * HOUR, NoJitter())


def test_floor_and_ceiling() -> None:
    assert PollSchedule(30).next_wait(1.0, NoJitter()) == 30
    assert (
        PollSchedule(1, 300, knowing(8 * HOUR).expected).next_wait(HOUR, NoJitter(), time_left=9 * HOUR)
        == 300
    )


def test_a_retry_after_overrides_the_ceiling_and_has_jitter() -> None:
    waits = {PollSchedule(1, 60).next_wait(50.0, chance(seed), 200.0) for seed in range(30)}
    assert min(waits) >= 200
    assert max(waits) <= 220
    assert len(waits) > 10


def test_waits_have_jitter_so_that_runs_started_together_are_not_polled_together() -> None:
    waits = [PollSchedule(1).next_wait(HOUR, chance(seed)) for seed in range(50)]
    assert len(set(waits)) > 20
    assert max(waits) < 1.3 * min(waits)


def test_an_unproven_start_is_polled_often_at_first_and_then_less() -> None:
    schedule = PollSchedule(30, None, knowing(8 * HOUR).expected)
    at, found = 0.0, []
    while at < 120:
        at += schedule.next_wait(at, NoJitter(), proven=False)
        found.append(at)
    assert found[:2] == [2.0, 4.0]
    assert len(found) <= 12
    assert schedule.next_wait(2.0, NoJitter(), proven=True) > HOUR
    assert PollSchedule(1).next_wait(0.0, NoJitter(), proven=False) == UNPROVEN_WAIT


def test_a_poll_falls_on_the_timeout() -> None:
    schedule = knowing(8 * HOUR)
    assert schedule.next_wait(60.0, NoJitter(), time_left=100.4) == 101
    assert schedule.next_wait(60.0, NoJitter(), time_left=0.0) == 1
    assert schedule.next_wait(60.0, NoJitter(), time_left=-5.0) == 1
    assert PollSchedule(30).next_wait(60.0, NoJitter(), time_left=3.0) == 30, "within the floor after it"


def test_few_polls_cover_all_the_time_left_and_mostly_the_usual_end() -> None:
    schedule, timeout = knowing(HOUR), 24 * HOUR
    at, left, found = 0.0, 10, []
    while left:
        at += schedule.next_wait(at, NoJitter(), time_left=timeout - at, polls_left=left)
        left -= 1
        found.append(at)
    assert found[-1] == timeout
    assert len([moment for moment in found if moment < 1.5 * HOUR]) >= 3
    assert all(before < after for before, after in pairwise(found))


def test_the_last_poll_always_waits_for_the_timeout() -> None:
    schedule = PollSchedule(1, 60)
    assert schedule.next_wait(10.0, NoJitter(), time_left=5000.0, polls_left=1, proven=False) == 5000
    assert schedule.next_wait(10.0, NoJitter(), time_left=5000.0, polls_left=0) == 5000


def test_a_ceiling_gives_way_only_to_a_budget_that_it_would_break() -> None:
    schedule = PollSchedule(1, 600, knowing(8 * HOUR).expected)
    assert schedule.next_wait(HOUR, NoJitter(), time_left=10 * HOUR, polls_left=120) == 600
    assert schedule.next_wait(HOUR, NoJitter(), time_left=10 * HOUR, polls_left=12) > 600

"""Fewer requests while little is left of a rate limit."""

from __future__ import annotations

import pytest

from celonis_refresh.rate_limits.limiter import is_scarce, pause_seconds, slot_seconds, spread_seconds


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "expected"),
    [
        (6000, 601, 36_000, 0.0),
        (6000, 600, 36_000, 0.0),
        (6000, 1, 36_000, 0.0),
        (600, 60, 60, 10.0),
        (600, 60, 61, 0.0),
        (6000, 0, 36_000, 36_000.0),
        (20, 3, 1, 0.0),
        (20, 1, 1, 1.0),
        (None, 11, 60, 0.0),
        (None, 5, 60, 60.0),
        (100, None, 60, 0.0),
        (100, 0, None, 0.0),
        (100, 0, -1, 0.0),
        (None, None, None, 0.0),
    ],
)
def test_what_is_left_lasts_until_the_reset(
    limit: float | None, remaining: float | None, reset: float | None, expected: float
) -> None:
    assert pause_seconds(limit, remaining, reset) == expected


def test_the_less_is_left_the_longer_the_pause() -> None:
    pauses = [pause_seconds(1000, remaining, 60.0) for remaining in range(200)]
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] == 0.0


@pytest.mark.parametrize(
    ("limit", "remaining", "scarce"),
    [
        (20, 11, False),
        (20, 10, True),
        (6000, 601, False),
        (6000, 600, True),
        (4, 3, False),
        (4, 2, True),
        (None, 11, False),
        (None, 10, True),
        (20, None, False),
        (None, None, False),
    ],
)
def test_turns_are_taken_before_a_pause_is_needed(
    limit: float | None, remaining: float | None, scarce: bool
) -> None:
    assert is_scarce(limit, remaining) is scarce
    if pause_seconds(limit, remaining, 10.0) > 0:
        assert is_scarce(limit, remaining)


@pytest.mark.parametrize(
    ("limit", "reset", "seconds"),
    [
        (20, 1, 0.0625),
        (20, 0.3, 0.0625),
        (600, 30, 0.125),
        (6000, 40_000, 18.0),
        (6000, 9e9, 18.0),
        (None, 5, 0.1),
        (0, 5, 0.1),
        (20, None, 0.0625),
        (1, 80_000, 60.0),
    ],
)
def test_a_slot_is_as_long_as_the_limit_requires(
    limit: float | None, reset: float | None, seconds: float
) -> None:
    assert slot_seconds(limit, reset) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("remaining", "reset", "seconds"),
    [
        (600, 36_000, 60.0),
        (6000, 36_000, 6.0),
        (10, 36_000, 300.0),
        (0, 36_000, 0.0),
        (10, 60, 0.0),
        (10, None, 0.0),
        (None, 36_000, 0.0),
    ],
)
def test_what_is_left_is_spread_over_a_long_way_to_the_reset(
    remaining: float | None, reset: float | None, seconds: float
) -> None:
    assert spread_seconds(remaining, reset) == seconds

"""Asking less while little is left of a rate limit."""

from __future__ import annotations

import pytest

from celonis_refresh.polling.rate_limits import pause


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "expected"),
    [
        (6000, 601, 36_000, 0.0),
        (6000, 600, 36_000, 600.0),
        (6000, 100, 36_000, 3600.0),
        (6000, 10, 36_000, 36_000.0),
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
    assert pause(limit, remaining, reset) == expected


def test_the_less_is_left_the_longer_the_pause() -> None:
    pauses = [pause(1000, remaining, 60.0) for remaining in range(200)]
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] == 0.0

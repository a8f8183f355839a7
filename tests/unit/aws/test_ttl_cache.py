"""Values that are kept: how old they may be, when they are read anew, and what serves meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from celonis_refresh.aws.token_bucket import TokenBucket
from celonis_refresh.aws.ttl_cache import FAILED_SECONDS, TtlCache
from tests.fakes.clock import FakeClock

SECONDS = 60.0


class TransientFailure(Exception):
    """An error that passes."""


class PermanentFailure(Exception):
    """An error that does not."""


@dataclass
class CountingSource:
    """What is read: a number that grows with every reading, or an error."""

    clock: FakeClock = field(default_factory=FakeClock)
    readings: list[str] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.kept = TtlCache(
            self._read, SECONDS, self.clock, lambda error: isinstance(error, TransientFailure)
        )

    def _read(self, name: str) -> int:
        self.readings.append(name)
        if self.error:
            raise self.error
        return len(self.readings)


def test_a_value_is_read_once_while_it_is_young() -> None:
    shelf = CountingSource()
    assert [shelf.kept.get("a") for _ in range(3)] == [1, 1, 1]
    shelf.clock.sleep(SECONDS - 0.1)
    assert shelf.kept.get("a") == 1
    shelf.clock.sleep(0.2)
    assert shelf.kept.get("a") == 2
    assert shelf.kept.get("b") == 3


def test_what_is_kept_for_no_time_is_read_every_time() -> None:
    shelf = CountingSource()
    shelf.kept = TtlCache(shelf._read, 0, shelf.clock, lambda error: isinstance(error, TransientFailure))
    assert [shelf.kept.get("a"), shelf.kept.get("a")] == [1, 2]
    shelf.error = TransientFailure()
    assert shelf.kept.get("a") == 2


def test_a_value_that_does_not_last_is_read_every_time() -> None:
    shelf = CountingSource()
    shelf.kept = TtlCache(shelf._read, SECONDS, shelf.clock, lasts=lambda value: value > 2)
    assert [shelf.kept.get("a") for _ in range(5)] == [1, 2, 3, 3, 3]


def test_while_it_cannot_be_read_the_value_known_before_serves() -> None:
    shelf = CountingSource()
    shelf.kept.get("a")
    shelf.error = TransientFailure()
    shelf.clock.sleep(SECONDS * 10)
    assert shelf.kept.get("a") == 1
    assert shelf.kept.refresh_if_allowed("a") == 1
    shelf.error = None
    shelf.clock.sleep(FAILED_SECONDS)
    assert shelf.kept.get("a") == 4


def test_a_reading_that_failed_is_not_tried_again_at_once() -> None:
    """Every delivery would wait for it anew."""
    shelf = CountingSource()
    shelf.kept.get("a")
    shelf.clock.sleep(SECONDS)
    shelf.error = TransientFailure()
    assert [shelf.kept.get("a") for _ in range(9)] == [1] * 9
    assert len(shelf.readings) == 2
    shelf.error = None
    shelf.clock.sleep(FAILED_SECONDS - 0.1)
    assert shelf.kept.get("a") == 1
    shelf.clock.sleep(0.2)
    assert shelf.kept.get("a") == 3


def test_what_was_never_read_is_told() -> None:
    shelf = CountingSource(error=TransientFailure())
    with pytest.raises(TransientFailure):
        shelf.kept.get("a")


def test_an_error_that_lasts_is_told_whatever_was_known() -> None:
    shelf = CountingSource()
    shelf.kept.get("a")
    shelf.error = PermanentFailure()
    shelf.clock.sleep(SECONDS * 2)
    with pytest.raises(PermanentFailure):
        shelf.kept.get("a")


def test_a_value_that_is_renewed_is_the_one_of_now_or_none() -> None:
    shelf = CountingSource()
    shelf.kept.get("a")
    assert [shelf.kept.refresh("a"), shelf.kept.refresh("a"), shelf.kept.get("a")] == [2, 3, 3]
    shelf.error = TransientFailure()
    with pytest.raises(TransientFailure):
        shelf.kept.refresh("a")
    assert shelf.kept.get("a") == 3


def limited(size: int = 2) -> CountingSource:
    """A shelf from which each name is read ``size`` times at once, then once in ``SECONDS``."""
    shelf = CountingSource()
    shelf.kept.limit = TokenBucket(size, SECONDS, shelf.clock)
    return shelf


def test_a_limit_bounds_what_strangers_cause() -> None:
    shelf = limited()
    shelf.kept.get("a")
    assert [shelf.kept.refresh_if_allowed("a") for _ in range(100)] == [2] * 100
    shelf.clock.sleep(SECONDS - 0.1)
    assert shelf.kept.refresh_if_allowed("a") == 2
    shelf.clock.sleep(0.2)
    assert shelf.kept.refresh_if_allowed("a") == 3
    assert shelf.readings == ["a"] * 3


def test_one_name_does_not_use_up_the_readings_of_another() -> None:
    shelf = limited(1)
    assert [shelf.kept.refresh_if_allowed("a"), shelf.kept.refresh_if_allowed("b")] == [1, 2]


def test_a_reading_that_failed_counts_too() -> None:
    shelf = limited()
    shelf.kept.get("a")
    shelf.error = TransientFailure()
    for _ in range(10):
        assert shelf.kept.refresh_if_allowed("a") == 1
    assert len(shelf.readings) == 2


@pytest.mark.parametrize("error", [TransientFailure, PermanentFailure])
def test_without_a_known_value_the_last_error_counts_until_a_reading_is_allowed(
    error: type[Exception],
) -> None:
    shelf = limited()
    shelf.error = error()
    for _ in range(10):
        with pytest.raises(error):
            shelf.kept.get("a")
    assert len(shelf.readings) == 2
    shelf.error = None
    shelf.clock.sleep(SECONDS)
    assert shelf.kept.get("a") == 3


def test_a_value_that_is_gone_does_not_come_back_when_no_reading_is_allowed() -> None:
    shelf = limited()
    shelf.kept.get("a")
    shelf.error = PermanentFailure()
    for _ in range(3):
        with pytest.raises(PermanentFailure):
            shelf.kept.refresh_if_allowed("a")
        with pytest.raises(PermanentFailure):
            shelf.kept.get("a")


def test_a_known_value_stands_in_for_a_failed_reading_until_it_is_too_old() -> None:
    shelf = CountingSource()
    shelf.kept.serves = 10 * SECONDS
    shelf.kept.get("a")
    shelf.error = TransientFailure()
    shelf.clock.sleep(10 * SECONDS - 0.1)
    assert shelf.kept.get("a") == 1
    shelf.clock.sleep(0.1)
    with pytest.raises(TransientFailure):
        shelf.kept.get("a")

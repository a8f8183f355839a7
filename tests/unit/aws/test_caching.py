"""Cached values: how old they may be, when they are refreshed, and what is used in the meantime."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import pytest

from celonis_refresh.aws.caching import MAX_SKEW, RETRY_SECONDS, Dated, TokenBucket, TtlCache
from tests.fakes.clock import FakeClock

SECONDS = 60.0


class TransientFailure(Exception):
    """A transient error."""


class PermanentFailure(Exception):
    """A permanent error."""


@dataclass
class CountingSource:
    """The source of a cache: a number that grows with every read, or an error."""

    clock: FakeClock = field(default_factory=FakeClock)
    readings: list[str] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.cache = TtlCache(
            self._read, SECONDS, self.clock, lambda error: isinstance(error, TransientFailure)
        )

    def _read(self, name: str) -> int:
        self.readings.append(name)
        if self.error:
            raise self.error
        return len(self.readings)


def test_a_value_is_read_once_while_it_is_young() -> None:
    source = CountingSource()
    assert [source.cache.get("a") for _ in range(3)] == [1, 1, 1]
    source.clock.sleep(SECONDS - 0.1)
    assert source.cache.get("a") == 1
    source.clock.sleep(0.2)
    assert source.cache.get("a") == 2
    assert source.cache.get("b") == 3


def test_what_is_kept_for_no_time_is_read_every_time() -> None:
    source = CountingSource()
    source.cache = TtlCache(source._read, 0, source.clock, lambda error: isinstance(error, TransientFailure))
    assert [source.cache.get("a"), source.cache.get("a")] == [1, 2]
    source.error = TransientFailure()
    assert source.cache.get("a") == 2


def test_a_value_that_does_not_last_is_read_every_time() -> None:
    source = CountingSource()
    source.cache = TtlCache(source._read, SECONDS, source.clock, is_cacheable=lambda value: value > 2)
    assert [source.cache.get("a") for _ in range(5)] == [1, 2, 3, 3, 3]


def test_while_it_cannot_be_read_the_value_known_before_serves() -> None:
    source = CountingSource()
    source.cache.get("a")
    source.error = TransientFailure()
    source.clock.sleep(SECONDS * 10)
    assert source.cache.get("a") == 1
    assert source.cache.refresh_if_allowed("a") == 1
    source.error = None
    source.clock.sleep(RETRY_SECONDS)
    assert source.cache.get("a") == 4


def test_a_reading_that_failed_is_not_tried_again_at_once() -> None:
    """Every delivery would wait for it again."""
    source = CountingSource()
    source.cache.get("a")
    source.clock.sleep(SECONDS)
    source.error = TransientFailure()
    assert [source.cache.get("a") for _ in range(9)] == [1] * 9
    assert len(source.readings) == 2
    source.error = None
    source.clock.sleep(RETRY_SECONDS - 0.1)
    assert source.cache.get("a") == 1
    source.clock.sleep(0.2)
    assert source.cache.get("a") == 3


def test_what_was_never_read_is_reported() -> None:
    source = CountingSource(error=TransientFailure())
    with pytest.raises(TransientFailure):
        source.cache.get("a")


def test_a_permanent_error_is_raised_even_with_a_cached_value() -> None:
    source = CountingSource()
    source.cache.get("a")
    source.error = PermanentFailure()
    source.clock.sleep(SECONDS * 2)
    with pytest.raises(PermanentFailure):
        source.cache.get("a")


def test_a_value_that_is_renewed_is_the_one_of_now_or_none() -> None:
    source = CountingSource()
    source.cache.get("a")
    assert [source.cache.refresh("a"), source.cache.refresh("a"), source.cache.get("a")] == [2, 3, 3]
    source.error = TransientFailure()
    with pytest.raises(TransientFailure):
        source.cache.refresh("a")
    assert source.cache.get("a") == 3


def limited(size: int = 2) -> CountingSource:
    """A source from which each name is read ``size`` times at once, then once in ``SECONDS``."""
    source = CountingSource()
    source.cache.limit = TokenBucket(size, SECONDS, source.clock)
    return source


def test_a_limit_bounds_reads_caused_by_unauthenticated_requests() -> None:
    source = limited()
    source.cache.get("a")
    assert [source.cache.refresh_if_allowed("a") for _ in range(100)] == [2] * 100
    source.clock.sleep(SECONDS - 0.1)
    assert source.cache.refresh_if_allowed("a") == 2
    source.clock.sleep(0.2)
    assert source.cache.refresh_if_allowed("a") == 3
    assert source.readings == ["a"] * 3


def test_one_name_does_not_use_up_the_readings_of_another() -> None:
    source = limited(1)
    assert [source.cache.refresh_if_allowed("a"), source.cache.refresh_if_allowed("b")] == [1, 2]


def test_a_reading_that_failed_counts_too() -> None:
    source = limited()
    source.cache.get("a")
    source.error = TransientFailure()
    for _ in range(10):
        assert source.cache.refresh_if_allowed("a") == 1
    assert len(source.readings) == 2


@pytest.mark.parametrize("error", [TransientFailure, PermanentFailure])
def test_without_a_known_value_the_last_error_counts_until_a_reading_is_allowed(
    error: type[Exception],
) -> None:
    source = limited()
    source.error = error()
    for _ in range(10):
        with pytest.raises(error):
            source.cache.get("a")
    assert len(source.readings) == 2
    source.error = None
    source.clock.sleep(SECONDS)
    assert source.cache.get("a") == 3


def test_a_value_that_is_gone_does_not_come_back_when_no_reading_is_allowed() -> None:
    source = limited()
    source.cache.get("a")
    source.error = PermanentFailure()
    for _ in range(3):
        with pytest.raises(PermanentFailure):
            source.cache.refresh_if_allowed("a")
        with pytest.raises(PermanentFailure):
            source.cache.get("a")


def test_a_cached_value_replaces_a_failed_read_until_it_is_too_old() -> None:
    source = CountingSource()
    source.cache.max_stale = 10 * SECONDS
    source.cache.get("a")
    source.error = TransientFailure()
    source.clock.sleep(10 * SECONDS - 0.1)
    assert source.cache.get("a") == 1
    source.clock.sleep(0.1)
    with pytest.raises(TransientFailure):
        source.cache.get("a")


@pytest.mark.parametrize("seconds", [10.0, 3600.0, 365 * 86_400.0])
def test_a_clock_that_is_set_back_does_not_prolong_the_life_of_a_value(seconds: float) -> None:
    source = CountingSource()
    source.cache.get("a")
    source.clock.sleep(-seconds)
    assert [source.cache.get("a"), source.cache.get("a")] == [2, 2]
    source.clock.sleep(SECONDS)
    assert source.cache.get("a") == 3


def test_a_value_of_a_process_whose_clock_is_little_ahead_is_used() -> None:
    source = CountingSource()
    readings: list[str] = []

    def read(name: str) -> Dated[int]:
        readings.append(name)
        return Dated(1, source.clock.now + MAX_SKEW)

    cache: TtlCache[int] = TtlCache(read, SECONDS, source.clock)
    assert [cache.get("a"), cache.get("a")] == [1, 1]
    assert readings == ["a"]
    cache.seconds = 0
    cache.get("a")
    assert readings == ["a", "a"]


def test_after_a_clock_was_set_back_a_failed_read_is_tried_again_in_time() -> None:
    source = CountingSource()
    source.cache.get("a")
    source.clock.sleep(10 * SECONDS)
    source.error = TransientFailure()
    assert source.cache.get("a") == 1
    source.clock.sleep(-SECONDS)
    source.error = None
    assert source.cache.get("a") == 3


@pytest.mark.parametrize("max_stale", [inf, 10 * SECONDS])
def test_a_value_of_unknown_age_replaces_a_failed_read_only_if_any_age_may(max_stale: float) -> None:
    source = CountingSource()
    source.cache.max_stale = max_stale
    source.cache.get("a")
    source.clock.sleep(-3600)
    source.error = TransientFailure()
    if max_stale == inf:
        assert source.cache.get("a") == 1
    else:
        with pytest.raises(TransientFailure):
            source.cache.get("a")

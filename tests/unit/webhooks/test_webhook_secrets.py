"""Webhook secrets over weeks of virtual time: rotated, removed, unreadable, and attacked by strangers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.aws.caching import TokenBucket, TtlCache
from celonis_refresh.aws.configuration import ConfigurationUnavailable, SecretVersion, WebhookSecretUnreadable
from celonis_refresh.aws.webhook_secrets import (
    ACCEPT_SECONDS,
    CACHE_SECONDS,
    CHECK_SECONDS,
    MAX_STALE_SECONDS,
    READ_SECONDS,
    READS_AT_ONCE,
    webhook_secrets,
)
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of
from tests.fakes.interleaving import Interleaving
from tests.template import pages

OLD, NEW = ("old",), ("new",)
READS_A_MINUTE = 20
READ_TAKES = 0.05
"""Seconds of a read of the secret."""
MINUTE = 60.0
ROUNDING = 0.01
"""Seconds since 1970 leave few digits for fractions."""


@dataclass
class FakeSecretsManager:
    """Secrets Manager, one process of the trigger, and their calls."""

    clock: FakeClock = field(default_factory=FakeClock)
    value: tuple[str, ...] = OLD
    error: Exception | None = None
    readings: list[float] = field(default_factory=list)
    on_read: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.dynamodb = FakeDynamoDB()
        self.kept = self.process()

    def process(self, sleep: Callable[[float], None] | None = None) -> TtlCache[tuple[str, ...]]:
        """A process of the trigger; all share a table."""
        table = table_of(self.dynamodb, self.clock)
        return webhook_secrets(self._read, table, self.clock, sleep or self.clock.sleep)

    def _read(self, name: str) -> SecretVersion:
        self.readings.append(self.clock())
        self.on_read()
        if self.error:
            raise self.error
        return SecretVersion(self.value, f"version of {self.value}")

    def accepts(self, offered: tuple[str, ...], process: TtlCache[tuple[str, ...]] | None = None) -> bool:
        """Whether a request with this proof is accepted, as ``WebhookHandler`` decides it."""
        kept = process or self.kept
        try:
            return offered == kept.get("shop") or offered == kept.refresh_if_allowed("shop")
        except (ConfigurationUnavailable, WebhookSecretUnreadable):
            return False

    def stranger(self) -> None:
        assert not self.accepts(("guess",))

    def flood(self, seconds: float, every: float = 0.1) -> None:
        until = self.clock() + seconds
        while self.clock() < until:
            self.stranger()
            self.clock.sleep(every)

    def most_in_a_minute(self) -> int:
        return max(sum(start <= at < start + MINUTE for at in self.readings) for start in self.readings)


@pytest.fixture
def secrets_manager() -> FakeSecretsManager:
    return FakeSecretsManager()


def test_a_rotated_secret_is_accepted_at_once_after_one_unauthenticated_request(
    secrets_manager: FakeSecretsManager,
) -> None:
    """A sender such as GitHub does not send again what was refused."""
    assert secrets_manager.accepts(OLD)
    secrets_manager.stranger()
    secrets_manager.value = NEW
    assert secrets_manager.accepts(NEW)
    assert len(secrets_manager.readings) == 3


@pytest.mark.parametrize("flooded", [0.0, 1.0, 59.0, 3600.0])
def test_a_rotated_secret_is_accepted_in_time_despite_unauthenticated_requests(
    secrets_manager: FakeSecretsManager, flooded: float
) -> None:
    assert secrets_manager.accepts(OLD)
    secrets_manager.flood(flooded)
    secrets_manager.value = NEW
    secrets_manager.flood(ACCEPT_SECONDS)
    assert secrets_manager.accepts(NEW)


@pytest.mark.parametrize("flooded", [0.0, 1.0, 59.0, 600.0])
def test_many_processes_read_a_secret_as_often_as_one(flooded: float) -> None:
    """A flood of strangers reaches all processes, and a rotated secret counts in each of them in time."""
    secrets_manager = FakeSecretsManager()
    processes = [secrets_manager.process() for _ in range(25)]
    assert all(secrets_manager.accepts(OLD, process) for process in processes)
    secrets_manager.clock.sleep(MINUTE)
    secrets_manager.readings.clear()

    def flood(seconds: float) -> None:
        until, number = secrets_manager.clock() + seconds, 0
        while secrets_manager.clock() < until:
            assert not secrets_manager.accepts(("guess",), processes[number % len(processes)])
            secrets_manager.clock.sleep(0.02)
            number += 1

    flood(flooded)
    assert not secrets_manager.readings or secrets_manager.most_in_a_minute() <= READS_A_MINUTE
    secrets_manager.value = NEW
    flood(ACCEPT_SECONDS)
    before = len(secrets_manager.readings)
    assert all(secrets_manager.accepts(NEW, process) for process in processes)
    assert len(secrets_manager.readings) - before <= len(processes)  # each reads the new version once


def test_a_version_that_another_process_has_seen_is_not_read_again(
    secrets_manager: FakeSecretsManager,
) -> None:
    other = secrets_manager.process()
    assert secrets_manager.accepts(OLD)
    assert secrets_manager.accepts(OLD, other)
    for _ in range(5):
        secrets_manager.clock.sleep(CACHE_SECONDS)
        assert secrets_manager.accepts(OLD)
        assert secrets_manager.accepts(OLD, other)
    assert len(secrets_manager.readings) == 2 + 5


@pytest.mark.parametrize("processes", [2, 3, 8])
@pytest.mark.parametrize("seed", range(20))
def test_simultaneous_requests_with_a_rotated_secret_are_all_accepted(processes: int, seed: int) -> None:
    """A process without a token waits for the one that reads, also where no version was stored before."""
    secrets_manager = FakeSecretsManager()
    workers = Interleaving(secrets_manager.clock, Random(seed))  # noqa: S311 - a simulation
    caches = [secrets_manager.process(workers.sleep) for _ in range(processes)]
    assert all(secrets_manager.accepts(OLD, cache) for cache in caches)
    secrets_manager.value = NEW
    secrets_manager.clock.sleep(ACCEPT_SECONDS)
    secrets_manager.dynamodb.before = lambda *_: workers.pause()
    secrets_manager.on_read = lambda: workers.sleep(READ_TAKES)
    accepted: list[bool] = []
    for number, cache in enumerate(caches):
        workers.spawn(partial(_append_accepts, accepted, secrets_manager, cache), str(number))
    workers.run()
    assert accepted == [True] * processes


def _append_accepts(
    accepted: list[bool], secrets_manager: FakeSecretsManager, cache: TtlCache[tuple[str, ...]]
) -> None:
    accepted.append(secrets_manager.accepts(NEW, cache))


def test_the_table_has_versions_and_no_values(secrets_manager: FakeSecretsManager) -> None:
    secrets_manager.value = ("the secret itself",)
    assert secrets_manager.accepts(("the secret itself",))
    assert not list(
        secrets_manager.dynamodb.documents("configuration#secret#")
    )  # a cold start saves this write
    assert not secrets_manager.accepts(("another",))
    (item,) = secrets_manager.dynamodb.documents("configuration#secret#")
    assert set(item) == {"pk", "version", "read_at", "taken_at", "full_at", "expires"}


def test_while_the_table_cannot_be_used_each_process_reads_for_itself(
    secrets_manager: FakeSecretsManager,
) -> None:
    secrets_manager.dynamodb.before = _throttled
    assert secrets_manager.accepts(OLD)
    secrets_manager.value = NEW
    assert secrets_manager.accepts(NEW)
    secrets_manager.flood(10 * MINUTE, every=0.05)
    assert secrets_manager.most_in_a_minute() <= READS_AT_ONCE + MINUTE / CHECK_SECONDS


def _throttled(operation: str, _: object) -> None:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)


def test_a_flood_costs_few_readings(secrets_manager: FakeSecretsManager) -> None:
    secrets_manager.flood(10 * MINUTE, every=0.05)
    assert READS_AT_ONCE < secrets_manager.most_in_a_minute() < READS_A_MINUTE


@pytest.mark.parametrize(
    "error", [ConfigurationUnavailable("a secret"), WebhookSecretUnreadable("a secret", "is not JSON")]
)
@pytest.mark.parametrize("known", [True, False])
def test_a_flood_costs_as_little_where_the_secret_cannot_be_read(
    secrets_manager: FakeSecretsManager, error: Exception, known: bool
) -> None:
    if known:
        assert secrets_manager.accepts(OLD)
    secrets_manager.error = error
    secrets_manager.flood(3 * MAX_STALE_SECONDS)
    assert secrets_manager.most_in_a_minute() < READS_A_MINUTE
    secrets_manager.error = None
    secrets_manager.clock.sleep(READ_SECONDS)
    assert secrets_manager.accepts(OLD)


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from(["stranger", "rotate", "break", "repair", "old", "new"])),
        max_size=80,
    )
)
def test_no_order_of_events_costs_more_or_delays_a_rotation(events: list[tuple[float, str]]) -> None:
    secrets_manager = FakeSecretsManager()
    rotated_at, repaired_at = secrets_manager.clock(), secrets_manager.clock()
    for pause, event in events:
        secrets_manager.clock.sleep(pause)
        if event == "stranger":
            secrets_manager.stranger()
        elif event == "rotate":
            secrets_manager.value = NEW if secrets_manager.value == OLD else OLD
            rotated_at = secrets_manager.clock()
        elif event in ("break", "repair"):
            secrets_manager.error = ConfigurationUnavailable("a secret") if event == "break" else None
            repaired_at = secrets_manager.clock()
        elif (
            secrets_manager.error is None
            and secrets_manager.clock() - max(rotated_at, repaired_at) >= ACCEPT_SECONDS + ROUNDING
        ):
            assert secrets_manager.accepts(secrets_manager.value)
    if secrets_manager.readings:
        assert secrets_manager.most_in_a_minute() < READS_A_MINUTE


def test_a_removed_secret_is_refused_after_a_minute_at_the_latest(
    secrets_manager: FakeSecretsManager,
) -> None:
    assert secrets_manager.accepts(OLD)
    secrets_manager.value = NEW
    secrets_manager.clock.sleep(CACHE_SECONDS - 0.1)
    assert secrets_manager.accepts(OLD)
    secrets_manager.clock.sleep(0.1)
    assert not secrets_manager.accepts(OLD)


def test_a_removed_secret_is_refused_at_once_where_the_new_one_was_seen(
    secrets_manager: FakeSecretsManager,
) -> None:
    assert secrets_manager.accepts(OLD)
    secrets_manager.value = NEW
    assert secrets_manager.accepts(NEW)
    assert not secrets_manager.accepts(OLD)


def test_a_secret_that_is_deleted_or_broken_is_refused_after_a_minute_too(
    secrets_manager: FakeSecretsManager,
) -> None:
    assert secrets_manager.accepts(OLD)
    secrets_manager.error = WebhookSecretUnreadable("a secret", "does not exist")
    secrets_manager.clock.sleep(CACHE_SECONDS)
    for _ in range(2 * READS_AT_ONCE):
        assert not secrets_manager.accepts(OLD)


def test_while_secrets_manager_cannot_be_read_a_removed_secret_counts_for_a_quarter_of_an_hour(
    secrets_manager: FakeSecretsManager,
) -> None:
    """Refusing the sender's events in the meantime would lose those that are not repeated."""
    assert secrets_manager.accepts(OLD)
    secrets_manager.error = ConfigurationUnavailable("a secret")
    secrets_manager.clock.sleep(MAX_STALE_SECONDS - 0.1)
    assert secrets_manager.accepts(OLD)
    secrets_manager.clock.sleep(0.1)
    with pytest.raises(ConfigurationUnavailable):
        secrets_manager.kept.get("shop")
    secrets_manager.error = None
    secrets_manager.clock.sleep(READ_SECONDS)
    assert secrets_manager.accepts(OLD)


def test_one_secret_does_not_use_up_the_readings_of_another(secrets_manager: FakeSecretsManager) -> None:
    for _ in range(2 * READS_AT_ONCE):
        secrets_manager.stranger()
    before = len(secrets_manager.readings)
    secrets_manager.kept.get("another")
    assert len(secrets_manager.readings) == before + 1


def test_a_bucket_gives_what_it_has_and_then_one_at_a_time() -> None:
    clock = FakeClock()
    bucket = TokenBucket(3, 4.0, clock)
    assert [bucket.take("a") for _ in range(5)] == [True] * 3 + [False] * 2
    clock.sleep(4.0)
    assert [bucket.take("a"), bucket.take("a"), bucket.take("b")] == [True, False, True]
    clock.sleep(100.0)
    assert [bucket.take("a") for _ in range(4)] == [True] * 3 + [False]


def test_a_clock_that_is_set_back_costs_no_more_than_an_empty_bucket() -> None:
    clock = FakeClock()
    bucket = TokenBucket(3, 4.0, clock)
    assert bucket.take("a")
    clock.sleep(-3600.0)
    assert not bucket.take("a")
    clock.sleep(4.0)
    assert [bucket.take("a"), bucket.take("a")] == [True, False]


def test_the_pages_say_these_seconds() -> None:
    page = pages.page("docs/senders.md")
    assert f"at the latest {ACCEPT_SECONDS:g} s" in page
    assert f"at most {READS_AT_ONCE + MINUTE / READ_SECONDS:g} reads a minute" in page
    assert f"at the latest {CACHE_SECONDS:g} s" in page
    assert f"{MAX_STALE_SECONDS / MINUTE:g} minutes" in page
    assert all(one < other for one, other in pairwise((ACCEPT_SECONDS, CACHE_SECONDS, MAX_STALE_SECONDS)))

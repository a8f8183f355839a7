"""Webhook secrets over weeks of virtual time: rotated, removed, unreadable, and attacked by strangers."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.aws.configuration import ConfigurationUnavailable, SecretVersion, WebhookSecretUnreadable
from celonis_refresh.aws.token_bucket import TokenBucket
from celonis_refresh.aws.ttl_cache import TtlCache
from celonis_refresh.aws.webhook_secrets import (
    ACCEPT_SECONDS,
    CHECK_SECONDS,
    KEEP_SECONDS,
    READ_SECONDS,
    READS_AT_ONCE,
    SERVE_SECONDS,
    webhook_secrets,
)
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of
from tests.template import pages

OLD, NEW = ("old",), ("new",)
READS_A_MINUTE = 20
MINUTE = 60.0
ROUNDING = 0.01
"""Seconds since 1970 leave few digits for fractions."""


@dataclass
class FakeSecretsManager:
    """Secrets Manager, one process of the trigger, and what both saw."""

    clock: FakeClock = field(default_factory=FakeClock)
    value: tuple[str, ...] = OLD
    error: Exception | None = None
    readings: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dynamodb = FakeDynamoDB()
        self.kept = self.process()

    def process(self) -> TtlCache[tuple[str, ...]]:
        """A process of the trigger; all share a table."""
        table = table_of(self.dynamodb, self.clock)
        return webhook_secrets(self._read, table, self.clock, self.clock.sleep)

    def _read(self, name: str) -> SecretVersion:
        self.readings.append(self.clock())
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
def vault() -> FakeSecretsManager:
    return FakeSecretsManager()


def test_a_rotated_secret_is_accepted_at_once_after_one_stranger(vault: FakeSecretsManager) -> None:
    """A sender such as GitHub does not send again what was refused."""
    assert vault.accepts(OLD)
    vault.stranger()
    vault.value = NEW
    assert vault.accepts(NEW)
    assert len(vault.readings) == 3


@pytest.mark.parametrize("flooded", [0.0, 1.0, 59.0, 3600.0])
def test_a_rotated_secret_is_accepted_in_time_whatever_strangers_send(
    vault: FakeSecretsManager, flooded: float
) -> None:
    assert vault.accepts(OLD)
    vault.flood(flooded)
    vault.value = NEW
    vault.flood(ACCEPT_SECONDS)
    assert vault.accepts(NEW)


@pytest.mark.parametrize("flooded", [0.0, 1.0, 59.0, 600.0])
def test_many_processes_read_a_secret_as_often_as_one(flooded: float) -> None:
    """A flood of strangers reaches all processes, and a rotated secret counts in each of them in time."""
    vault = FakeSecretsManager()
    processes = [vault.process() for _ in range(25)]
    assert all(vault.accepts(OLD, process) for process in processes)
    vault.clock.sleep(MINUTE)
    vault.readings.clear()

    def flood(seconds: float) -> None:
        until, number = vault.clock() + seconds, 0
        while vault.clock() < until:
            assert not vault.accepts(("guess",), processes[number % len(processes)])
            vault.clock.sleep(0.02)
            number += 1

    flood(flooded)
    assert not vault.readings or vault.most_in_a_minute() <= READS_A_MINUTE
    vault.value = NEW
    flood(ACCEPT_SECONDS)
    before = len(vault.readings)
    assert all(vault.accepts(NEW, process) for process in processes)
    assert len(vault.readings) - before <= len(processes)  # each reads the new version once


def test_a_version_that_another_process_has_seen_is_not_read_again(vault: FakeSecretsManager) -> None:
    other = vault.process()
    assert vault.accepts(OLD)
    assert vault.accepts(OLD, other)
    for _ in range(5):
        vault.clock.sleep(KEEP_SECONDS)
        assert vault.accepts(OLD)
        assert vault.accepts(OLD, other)
    assert len(vault.readings) == 2 + 5


def test_the_table_has_versions_and_no_values(vault: FakeSecretsManager) -> None:
    vault.value = ("the secret itself",)
    assert vault.accepts(("the secret itself",))
    (item,) = vault.dynamodb.documents("configuration#secret#")
    assert set(item) == {"pk", "version", "read_at", "expires"}


def test_while_the_table_cannot_be_used_each_process_reads_for_itself(vault: FakeSecretsManager) -> None:
    vault.dynamodb.before = _throttled
    assert vault.accepts(OLD)
    vault.value = NEW
    assert vault.accepts(NEW)
    vault.flood(10 * MINUTE, every=0.05)
    assert vault.most_in_a_minute() <= READS_AT_ONCE + MINUTE / CHECK_SECONDS


def _throttled(operation: str, _: object) -> None:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)


def test_a_flood_costs_few_readings(vault: FakeSecretsManager) -> None:
    vault.flood(10 * MINUTE, every=0.05)
    assert READS_AT_ONCE < vault.most_in_a_minute() < READS_A_MINUTE


@pytest.mark.parametrize(
    "error", [ConfigurationUnavailable("a secret"), WebhookSecretUnreadable("a secret", "is not JSON")]
)
@pytest.mark.parametrize("known", [True, False])
def test_a_flood_costs_as_little_where_the_secret_cannot_be_read(
    vault: FakeSecretsManager, error: Exception, known: bool
) -> None:
    if known:
        assert vault.accepts(OLD)
    vault.error = error
    vault.flood(3 * SERVE_SECONDS)
    assert vault.most_in_a_minute() < READS_A_MINUTE
    vault.error = None
    vault.clock.sleep(READ_SECONDS)
    assert vault.accepts(OLD)


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from(["stranger", "rotate", "break", "repair", "old", "new"])),
        max_size=80,
    )
)
def test_no_order_of_events_costs_more_or_delays_a_rotation(events: list[tuple[float, str]]) -> None:
    vault = FakeSecretsManager()
    rotated_at, repaired_at = vault.clock(), vault.clock()
    for pause, event in events:
        vault.clock.sleep(pause)
        if event == "stranger":
            vault.stranger()
        elif event == "rotate":
            vault.value = NEW if vault.value == OLD else OLD
            rotated_at = vault.clock()
        elif event in ("break", "repair"):
            vault.error = ConfigurationUnavailable("a secret") if event == "break" else None
            repaired_at = vault.clock()
        elif (
            vault.error is None and vault.clock() - max(rotated_at, repaired_at) >= ACCEPT_SECONDS + ROUNDING
        ):
            assert vault.accepts(vault.value)
    if vault.readings:
        assert vault.most_in_a_minute() < READS_A_MINUTE


def test_a_removed_secret_is_refused_after_a_minute_at_the_latest(vault: FakeSecretsManager) -> None:
    assert vault.accepts(OLD)
    vault.value = NEW
    vault.clock.sleep(KEEP_SECONDS - 0.1)
    assert vault.accepts(OLD)
    vault.clock.sleep(0.1)
    assert not vault.accepts(OLD)


def test_a_removed_secret_is_refused_at_once_where_the_new_one_was_seen(vault: FakeSecretsManager) -> None:
    assert vault.accepts(OLD)
    vault.value = NEW
    assert vault.accepts(NEW)
    assert not vault.accepts(OLD)


def test_a_secret_that_is_deleted_or_broken_is_refused_after_a_minute_too(vault: FakeSecretsManager) -> None:
    assert vault.accepts(OLD)
    vault.error = WebhookSecretUnreadable("a secret", "does not exist")
    vault.clock.sleep(KEEP_SECONDS)
    for _ in range(2 * READS_AT_ONCE):
        assert not vault.accepts(OLD)


def test_while_secrets_manager_cannot_be_read_a_removed_secret_counts_for_a_quarter_of_an_hour(
    vault: FakeSecretsManager,
) -> None:
    """To refuse the sender's events meanwhile would lose those that are not sent again."""
    assert vault.accepts(OLD)
    vault.error = ConfigurationUnavailable("a secret")
    vault.clock.sleep(SERVE_SECONDS - 0.1)
    assert vault.accepts(OLD)
    vault.clock.sleep(0.1)
    with pytest.raises(ConfigurationUnavailable):
        vault.kept.get("shop")
    vault.error = None
    vault.clock.sleep(READ_SECONDS)
    assert vault.accepts(OLD)


def test_one_secret_does_not_use_up_the_readings_of_another(vault: FakeSecretsManager) -> None:
    for _ in range(2 * READS_AT_ONCE):
        vault.stranger()
    before = len(vault.readings)
    vault.kept.get("another")
    assert len(vault.readings) == before + 1


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
    assert f"at the latest {KEEP_SECONDS:g} s" in page
    assert f"{SERVE_SECONDS / MINUTE:g} minutes" in page
    assert all(one < other for one, other in pairwise((ACCEPT_SECONDS, KEEP_SECONDS, SERVE_SECONDS)))

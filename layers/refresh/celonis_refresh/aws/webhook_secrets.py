"""Webhook secrets, cached so that a rotation takes effect within seconds and unauthentic requests stay cheap.

A request that matches no cached secret makes a process read the secret again, because it may have been
rotated. Anybody can send such a request, so all processes together read a secret at most 19 times a minute.
The table has the version that was read last, and when. A process that knows this version does not read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from celonis_refresh.aws.caching import Dated, SharedItems, TokenBucket, TtlCache, take_token
from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    SecretVersion,
    WebhookSecretUnreadable,
    is_transient_error,
)
from celonis_refresh.runs.table import Table, secret_version_key
from celonis_refresh.timing import Clock

CACHE_SECONDS: Final = 60.0
"""A removed secret is refused by every process within this time."""
ACCEPT_SECONDS: Final = 5.0
"""A rotated secret is accepted within this time, whatever other requests arrive."""
READ_SECONDS: Final = 4.0
READS_AT_ONCE: Final = 4
"""Burst of reads of a secret; after it, one read every ``READ_SECONDS``, in all processes together."""
CHECK_SECONDS: Final = 1.0
"""Minimum time between two reads of the version by one process, after a burst of ``READS_AT_ONCE``."""
PAUSE_SECONDS: Final = 0.1
PAUSES: Final = 3
"""Number of pauses in which a process waits for another one that is reading the secret."""
MAX_STALE_SECONDS: Final = 900.0
"""How long cached values are used while Secrets Manager cannot be read."""

Values = tuple[str, ...]


class _Reading(NamedTuple):
    """Result of the last read in this process: values, or an error.

    ``version``: as stored in the table; "" for a secret that could not be read. ``at``: when it was read.
    """

    version: str
    at: float
    values: Values = ()
    error: Exception | None = None

    def is_last(self, item: Mapping[str, Any]) -> bool:
        """Whether no other process has stored another version."""
        return bool(self.version == item.get("version", self.version))

    def dated(self, item: Mapping[str, Any]) -> Dated[Values]:
        """Return the values as of the last read of this version, by this or another process."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        return Dated(self.values, max(self.at, float(item.get("read_at", -inf))))


class SharedSecrets(Struct):
    """Secrets whose reads are shared through the table. ``read`` reads Secrets Manager."""

    read: Callable[[str], SecretVersion]
    items: SharedItems
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    _readings: dict[str, _Reading] = field(default_factory=dict)
    _unavailable: dict[str, ConfigurationUnavailable] = field(default_factory=dict)

    def recent(self, name: str) -> Dated[Values]:
        """Return the values, at most ``CACHE_SECONDS`` old. Raises what ``read`` raises."""
        last = self._readings.get(name)
        if last is None:
            return self._read(name, {}, is_shared=False)
        item = self.items.get(secret_version_key(name))
        if not last.is_last(item):
            return self._read(name, item)
        if last.error is None and self._age(item) < CACHE_SECONDS:
            return last.dated(item)
        return self._if_allowed(name, last, item)

    def latest(self, name: str) -> Dated[Values]:
        """Return the values, at most ``READ_SECONDS`` old. Raises what ``read`` raises."""
        last, item = self._readings.get(name), self.items.get(secret_version_key(name))
        if last is None or not last.is_last(item):
            return self._read(name, item)
        return self._if_allowed(name, last, item)

    def _if_allowed(self, name: str, last: _Reading, item: Mapping[str, Any]) -> Dated[Values]:
        """Read with a token of the bucket that all processes share; without one, return the last values."""
        if self._take(name, item):
            return self._read(name, item)
        for _ in range(PAUSES):
            item = self.items.get(secret_version_key(name))
            if not last.is_last(item):
                return self._read(name, item)
            if item.get("read_at", -inf) >= item.get("taken_at", -inf):
                break
            self.sleep(PAUSE_SECONDS)  # another process reads it now
        if name in self._unavailable and self._age(item) >= CACHE_SECONDS:
            raise self._unavailable[name].with_traceback(None)
        return last.dated(item)

    def _take(self, name: str, item: Mapping[str, Any]) -> bool:
        now, stored = self.clock(), item.get("full_at")
        full_at = take_token(float(stored or now), now, READS_AT_ONCE, READ_SECONDS)
        if full_at is None:
            return False
        condition = "attribute_not_exists(#full_at)" if stored is None else "#full_at = :stored"
        values = {} if stored is None else {"stored": stored}
        facts = {"full_at": full_at, "taken_at": now}
        return self.items.set(secret_version_key(name), facts, condition, values)

    def _read(self, name: str, item: Mapping[str, Any], is_shared: bool = True) -> Dated[Values]:
        """Read the secret. ``is_shared``: store its version; a cold start saves this write."""
        read_at = self.clock()
        try:
            secret = self.read(name)
            reading = _Reading(secret.version, read_at, secret.values)
        except ConfigurationUnavailable as error:
            self._unavailable[name] = error
            self._readings.setdefault(name, _Reading(item.get("version", ""), read_at, error=error))
            raise
        except WebhookSecretUnreadable as error:
            reading = _Reading("", read_at, error=error)
        self._readings[name] = reading
        self._unavailable.pop(name, None)
        if is_shared:
            facts = {"version": reading.version, "read_at": read_at}
            is_newest = "attribute_not_exists(#read_at) OR #read_at <= :read_at"
            self.items.set(secret_version_key(name), facts, is_newest)
        return reading.dated({})

    def _age(self, item: Mapping[str, Any]) -> float:
        return abs(self.clock() - float(item.get("read_at", -inf)))


def webhook_secrets(
    read: Callable[[str], SecretVersion],
    table: Table,
    clock: Clock,
    sleep: Callable[[float], None] = time.sleep,
) -> TtlCache[Values]:
    """Return a cache of the secrets that ``read`` reads by name."""
    shared = SharedSecrets(read, SharedItems(table, clock), clock, sleep)
    limit = TokenBucket(READS_AT_ONCE, CHECK_SECONDS, clock)
    return TtlCache(
        shared.recent,
        CACHE_SECONDS,
        clock,
        is_transient_error,
        limit=limit,
        max_stale=MAX_STALE_SECONDS,
        read_latest=shared.latest,
    )

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

    ``version``: as stored in the table; "" for a secret that could not be read.
    """

    version: str
    values: Values = ()
    error: Exception | None = None

    def dated(self, at: float) -> Dated[Values]:
        if self.error is not None:
            raise self.error.with_traceback(None)
        return Dated(self.values, at)


class SharedSecrets(Struct):
    """Secrets whose reads are shared through the table. ``read`` reads Secrets Manager."""

    read: Callable[[str], SecretVersion]
    items: SharedItems
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    _known: dict[str, _Reading] = field(default_factory=dict)
    _unavailable: dict[str, ConfigurationUnavailable] = field(default_factory=dict)

    def recent(self, name: str) -> Dated[Values]:
        """Return the values, at most ``CACHE_SECONDS`` old. Raises what ``read`` raises."""
        known = self._known.get(name)
        if known is None:
            return self._read(name, {})
        item = self.items.get(secret_version_key(name))
        if known.version != item.get("version", ""):
            return self._read(name, item)
        if known.error is None and self._age(item) < CACHE_SECONDS:
            return known.dated(float(item["read_at"]))
        return self._if_allowed(name, known, item)

    def latest(self, name: str) -> Dated[Values]:
        """Return the values, at most ``READ_SECONDS`` old. Raises what ``read`` raises."""
        known, item = self._known.get(name), self.items.get(secret_version_key(name))
        if known is None or known.version != item.get("version", ""):
            return self._read(name, item)
        return self._if_allowed(name, known, item)

    def _if_allowed(self, name: str, known: _Reading, item: Mapping[str, Any]) -> Dated[Values]:
        """Read with a token of the bucket that all processes share; without one, return the last values."""
        if self._take(name, item):
            return self._read(name, item)
        for _ in range(PAUSES):
            item = self.items.get(secret_version_key(name))
            if item.get("version", "") != known.version:
                return self._read(name, item)
            if item.get("read_at", inf) >= item.get("taken_at", -inf):
                break
            self.sleep(PAUSE_SECONDS)  # another process reads it now
        if name in self._unavailable and self._age(item) >= CACHE_SECONDS:
            raise self._unavailable[name].with_traceback(None)
        return known.dated(float(item.get("read_at", self.clock())))

    def _take(self, name: str, item: Mapping[str, Any]) -> bool:
        now, seen = self.clock(), item.get("full_at")
        full_at = take_token(float(seen or now), now, READS_AT_ONCE, READ_SECONDS)
        if full_at is None:
            return False
        condition = "attribute_not_exists(#full_at)" if seen is None else "#full_at = :seen"
        values = {} if seen is None else {"seen": seen}
        facts = {"full_at": full_at, "taken_at": now}
        return self.items.set(secret_version_key(name), facts, condition, values)

    def _read(self, name: str, item: Mapping[str, Any]) -> Dated[Values]:
        read_at = self.clock()
        try:
            found = self.read(name)
            reading = _Reading(found.version, found.values)
        except ConfigurationUnavailable as error:
            self._unavailable[name] = error
            self._known.setdefault(name, _Reading(item.get("version", ""), error=error))
            raise
        except WebhookSecretUnreadable as error:
            reading = _Reading("", error=error)
        self._known[name] = reading
        self._unavailable.pop(name, None)
        facts = {"version": reading.version, "read_at": read_at}
        is_newest = "attribute_not_exists(#read_at) OR #read_at <= :read_at"
        self.items.set(secret_version_key(name), facts, is_newest)
        return reading.dated(read_at)

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

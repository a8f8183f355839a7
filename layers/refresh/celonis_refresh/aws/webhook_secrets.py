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

from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    SecretVersion,
    WebhookSecretUnreadable,
    is_transient_error,
)
from celonis_refresh.aws.ttl_cache import Dated, TokenBucket, TtlCache
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.table import ConditionFailed, Table, secret_version_key
from celonis_refresh.timing import Clock, Deadline

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
EXPIRE_SECONDS: Final = 7 * 86_400
WRITE_SECONDS: Final = 1.0

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
    table: Table
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    _known: dict[str, _Reading] = field(default_factory=dict)
    _unavailable: dict[str, ConfigurationUnavailable] = field(default_factory=dict)

    def recent(self, name: str) -> Dated[Values]:
        """Return the values, at most ``CACHE_SECONDS`` old. Raises what ``read`` raises."""
        known = self._known.get(name)
        if known is None:
            return self._read(name, {})
        item = self._item(name)
        if known.version != item.get("version", ""):
            return self._read(name, item)
        if known.error is None and self._age(item) < CACHE_SECONDS:
            return known.dated(float(item["read_at"]))
        return self._if_allowed(name, known, item)

    def latest(self, name: str) -> Dated[Values]:
        """Return the values, at most ``READ_SECONDS`` old. Raises what ``read`` raises."""
        known, item = self._known.get(name), self._item(name)
        if known is None or known.version != item.get("version", ""):
            return self._read(name, item)
        return self._if_allowed(name, known, item)

    def _if_allowed(self, name: str, known: _Reading, item: Mapping[str, Any]) -> Dated[Values]:
        """Read with a token of the bucket that all processes share; without one, return the last values."""
        if self._take(name, item):
            return self._read(name, item)
        for _ in range(PAUSES):
            item = self._item(name)
            if item.get("version", "") != known.version:
                return self._read(name, item)
            if item.get("read_at", inf) >= item.get("taken_at", -inf):
                break
            self.sleep(PAUSE_SECONDS)  # another process reads it now
        if name in self._unavailable and self._age(item) >= CACHE_SECONDS:
            raise self._unavailable[name].with_traceback(None)
        return known.dated(float(item.get("read_at", self.clock())))

    def _take(self, name: str, item: Mapping[str, Any]) -> bool:
        now, full = self.clock(), READS_AT_ONCE * READ_SECONDS
        seen = item.get("full_at")
        missing = min(max(float(seen or now) - now, 0.0), full)
        if missing + READ_SECONDS > full:
            return False
        condition = "attribute_not_exists(#full_at)" if seen is None else "#full_at = :seen"
        facts = {"full_at": now + missing + READ_SECONDS, "taken_at": now}
        return self._write(name, facts, condition, {} if seen is None else {"seen": seen})

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
        self._write(name, facts, "attribute_not_exists(#read_at) OR #read_at <= :read_at", {})
        return reading.dated(read_at)

    def _age(self, item: Mapping[str, Any]) -> float:
        return abs(self.clock() - float(item.get("read_at", -inf)))

    def _item(self, name: str) -> Mapping[str, Any]:
        try:
            return self.table.get(secret_version_key(name)) or {}
        except RefreshError as trouble:
            logger.warning("the shared version of a secret could not be read", extra={"why": str(trouble)})
            return {}

    def _write(self, name: str, facts: Mapping[str, Any], condition: str, values: Mapping[str, Any]) -> bool:
        """Return whether the write was applied; False if another process was first."""
        expires = {"expires": int(self.clock() + EXPIRE_SECONDS)}
        change = self.table.set(secret_version_key(name), {**facts, **expires}, condition, values)
        try:
            self.table.update(change, Deadline.after(WRITE_SECONDS, self.clock))
        except ConditionFailed:
            return False
        except RefreshError as trouble:
            logger.warning("the shared version of a secret could not be written", extra={"why": str(trouble)})
        return True


def webhook_secrets(
    read: Callable[[str], SecretVersion],
    table: Table,
    clock: Clock,
    sleep: Callable[[float], None] = time.sleep,
) -> TtlCache[Values]:
    """Return a cache of the secrets that ``read`` reads by name."""
    shared = SharedSecrets(read, table, clock, sleep)
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

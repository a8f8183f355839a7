"""Caches: of a process, with a time to live and a limit on reads, and items that all processes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, Generic, NamedTuple, TypeVar

from msgspec import Struct, field

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.table import ConditionFailed, Table
from celonis_refresh.timing import Clock, Deadline

EXPIRE_SECONDS: Final = 7 * 86_400
"""Shared items expire after this time without a write."""
WRITE_SECONDS: Final = 1.0


def take_token(full_at: float, now: float, size: int, seconds: float) -> float | None:
    """Return when a bucket is full again once a token is taken; None if it has none.

    ``full_at``: when it is full without that. The bucket has ``size`` tokens, and gets one every ``seconds``.
    """
    full = size * seconds
    # Bounded on both sides: a clock that is set back costs no more than an empty bucket.
    missing = min(max(full_at - now, 0.0), full)
    return now + missing + seconds if missing + seconds <= full else None


class TokenBucket(Struct):
    """A bucket of ``size`` tokens for each name, refilled with one token every ``seconds``."""

    size: int
    seconds: float
    clock: Clock
    _full_at: dict[str, float] = field(default_factory=dict)

    def take(self, name: str) -> bool:
        """Take a token of ``name``; False if there is none."""
        now = self.clock()
        stored = min(self._full_at.get(name, now), now + self.size * self.seconds)
        full_at = take_token(stored, now, self.size, self.seconds)
        self._full_at[name] = stored if full_at is None else full_at
        return full_at is not None


class SharedItems(Struct):
    """Items of the table that all processes share. If the table cannot be used, they are absent."""

    table: Table
    clock: Clock

    def get(self, key: str) -> Mapping[str, Any]:
        """Return the item; empty if it does not exist or the table cannot be read."""
        try:
            return self.table.get(key) or {}
        except RefreshError as error:
            logger.warning("a shared item could not be read", extra={"key": key, "why": str(error)})
            return {}

    def set(
        self, key: str, facts: Mapping[str, Any], condition: str = "", values: Mapping[str, Any] | None = None
    ) -> bool:
        """Set attributes of the item. Return False if the condition does not hold.

        A table that cannot be written is only logged.
        """
        expires = {"expires": int(self.clock() + EXPIRE_SECONDS)}
        change = self.table.set(key, {**facts, **expires}, condition, values)
        try:
            self.table.update(change, Deadline.after(WRITE_SECONDS, self.clock))
        except ConditionFailed:
            return False
        except RefreshError as error:
            logger.warning("a shared item could not be written", extra={"key": key, "why": str(error)})
        return True


V = TypeVar("V")

RETRY_SECONDS: Final = 5.0
"""How long a stale value is used after a failed read before the next try."""
MAX_SKEW: Final = 2.0
"""Maximum difference between the clocks of two processes. The age of a value from further in the future is
unknown: a clock was set back."""


class Dated(NamedTuple, Generic[V]):
    """A value as it was at ``at`` (epoch seconds)."""

    value: V
    at: float


class TtlCache(Struct, Generic[V]):
    """Reads values by name and caches each for ``seconds``.

    ``read``: returns the value of a name, or a ``Dated`` one that another process has read. ``read_latest``:
    the same for :meth:`refresh_if_allowed`, by default ``read``. ``is_transient``: whether an error keeps the
    cached value in use. ``is_cacheable``: False for a value that is read every time. ``limit``: how often a
    name may be read; without a token, the last value or error is used. ``max_stale``: age in seconds from
    which a cached value is not used in place of a failed read.
    """

    read: Callable[[str], V | Dated[V]]
    seconds: float
    clock: Clock
    is_transient: Callable[[Exception], bool] = lambda _: False
    is_cacheable: Callable[[V], bool] = lambda _: True
    limit: TokenBucket | None = None
    max_stale: float = inf
    read_latest: Callable[[str], V | Dated[V]] | None = None
    _values: dict[str, tuple[float, V]] = field(default_factory=dict)
    _failed: dict[str, float] = field(default_factory=dict)
    _errors: dict[str, Exception] = field(default_factory=dict)

    def get(self, name: str) -> V:
        """Return the value, at most ``seconds`` old unless it cannot be read."""
        cached = self._values.get(name)
        if cached is None:
            return self._limited(name, self.read)
        if self._age(cached[0]) < self.seconds and self.is_cacheable(cached[1]):
            return cached[1]
        if self._is_usable(cached) and self._age(self._failed.get(name, -inf)) < RETRY_SECONDS:
            return cached[1]
        return self._limited(name, self.read)

    def refresh(self, name: str) -> V:
        """Read and return the value."""
        return self._read(self.read, name)

    def _read(self, read: Callable[[str], V | Dated[V]], name: str) -> V:
        answer = read(name)
        value, at = answer if isinstance(answer, Dated) else (answer, self.clock())
        self._values[name] = (at, value)
        self._errors.pop(name, None)
        return value

    def refresh_if_allowed(self, name: str) -> V:
        """Read the value if ``limit`` allows it; otherwise return the last one or raise the last error."""
        return self._limited(name, self.read_latest or self.read)

    def _limited(self, name: str, read: Callable[[str], V | Dated[V]]) -> V:
        """Read if ``limit`` allows it; otherwise use what the last read returned or raised."""
        if self.limit is None or self.limit.take(name):
            return self._read_or_stale(name, read)
        cached, error = self._values.get(name), self._errors.get(name)
        if cached is not None and (error is None or self._is_usable(cached)):
            return cached[1]
        if error is None:
            return self._read_or_stale(name, read)
        raise error.with_traceback(None)

    def _read_or_stale(self, name: str, read: Callable[[str], V | Dated[V]]) -> V:
        try:
            return self._read(read, name)
        except Exception as error:
            if self.limit is not None:
                self._errors[name] = error
            cached = self._values.get(name)
            if cached is None or not self.is_transient(error):
                self._values.pop(name, None)  # it is gone or not valid now
                raise
            if not self._is_usable(cached):
                raise
            self._failed[name] = self.clock()
            return cached[1]

    def _is_usable(self, cached: tuple[float, V]) -> bool:
        return self.max_stale == inf or self._age(cached[0]) < self.max_stale

    def _age(self, at: float) -> float:
        """Return the seconds since ``at``, infinite if that is in the future."""
        age = self.clock() - at
        return max(age, 0.0) if age >= -MAX_SKEW else inf

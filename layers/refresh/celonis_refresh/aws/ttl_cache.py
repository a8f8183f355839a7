"""A cache of named values with a time to live, and a token bucket that limits how often they are read."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct, field

from celonis_refresh.timing import Clock


class TokenBucket(Struct):
    """A bucket of ``size`` tokens for each name, refilled with one token every ``seconds``."""

    size: int
    seconds: float
    clock: Clock
    _full_at: dict[str, float] = field(default_factory=dict)

    def take(self, name: str) -> bool:
        """Take a token of ``name``; False if there is none."""
        now, full = self.clock(), self.size * self.seconds
        # Bounded on both sides: a clock that is set back costs no more than an empty bucket.
        missing = min(max(self._full_at.get(name, now) - now, 0.0), full)
        has_token = missing + self.seconds <= full
        self._full_at[name] = now + missing + (self.seconds if has_token else 0.0)
        return has_token


V = TypeVar("V")

RETRY_SECONDS: Final = 5.0
"""How long a stale value is used after a failed read before the next try."""


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
        if self.clock() - cached[0] < self.seconds and self.is_cacheable(cached[1]):
            return cached[1]
        if self._is_usable(cached) and self.clock() - self._failed.get(name, -inf) < RETRY_SECONDS:
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
        return self.clock() - cached[0] < self.max_stale

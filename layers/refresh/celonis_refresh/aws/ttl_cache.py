"""Values that are read seldom and used often: parameters and secrets, kept in the process for a while."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct, field

from celonis_refresh.timing import Clock


class TokenBucket(Struct):
    """``size`` tokens for each name at first, and one more every ``seconds`` up to ``size``."""

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

FAILED_SECONDS: Final = 5.0
"""For so long the known value serves once it could not be read anew, without another try."""


class Dated(NamedTuple, Generic[V]):
    """A value as it was at ``at``, in epoch seconds."""

    value: V
    at: float


class TtlCache(Struct, Generic[V]):
    """Reads by name and keeps what it read for ``seconds``.

    ``read``: returns the value of a name, or a ``Dated`` one that another process has read.
    ``reread``: the same for :meth:`refresh_if_allowed`, where that has to be newer; None: ``read``.
    ``passing``: an error for which the value known before serves on, because asking again later helps.
    ``lasts``: False for a value that is to be read anew each time.
    ``limit``: how often a name may be read, whatever the reason; without a token, what the last reading gave
    counts, its error included.
    ``serves``: seconds after its reading at which a known value is too old to stand in for a failed one.
    """

    read: Callable[[str], V | Dated[V]]
    seconds: float
    clock: Clock
    passing: Callable[[Exception], bool] = lambda _: False
    lasts: Callable[[V], bool] = lambda _: True
    limit: TokenBucket | None = None
    serves: float = inf
    reread: Callable[[str], V | Dated[V]] | None = None
    _values: dict[str, tuple[float, V]] = field(default_factory=dict)
    _failed: dict[str, float] = field(default_factory=dict)
    _errors: dict[str, Exception] = field(default_factory=dict)

    def get(self, name: str) -> V:
        """Return the value, at most ``seconds`` old unless it could not be read anew."""
        known = self._values.get(name)
        if known is None:
            return self._limited(name, self.read)
        if self.clock() - known[0] < self.seconds and self.lasts(known[1]):
            return known[1]
        if self._is_servable(known) and self.clock() - self._failed.get(name, -inf) < FAILED_SECONDS:
            return known[1]
        return self._limited(name, self.read)

    def refresh(self, name: str) -> V:
        """Return the value as it is now."""
        return self._read(self.read, name)

    def _read(self, read: Callable[[str], V | Dated[V]], name: str) -> V:
        found = read(name)
        value, at = found if isinstance(found, Dated) else (found, self.clock())
        self._values[name] = (at, value)
        self._errors.pop(name, None)
        return value

    def refresh_if_allowed(self, name: str) -> V:
        """As it is now, or as it was when ``limit`` last allowed a reading: for what a stranger can cause."""
        return self._limited(name, self.reread or self.read)

    def _limited(self, name: str, read: Callable[[str], V | Dated[V]]) -> V:
        """Read anew where ``limit`` allows it; otherwise what the last reading gave."""
        if self.limit is None or self.limit.take(name):
            return self._anew_or_known(name, read)
        known, error = self._values.get(name), self._errors.get(name)
        if known is not None and (error is None or self._is_servable(known)):
            return known[1]
        if error is None:
            return self._anew_or_known(name, read)
        raise error.with_traceback(None)

    def _anew_or_known(self, name: str, read: Callable[[str], V | Dated[V]]) -> V:
        try:
            return self._read(read, name)
        except Exception as error:
            if self.limit is not None:
                self._errors[name] = error
            known = self._values.get(name)
            if known is None or not self.passing(error):
                self._values.pop(name, None)  # what is gone or broken now must not count again
                raise
            if not self._is_servable(known):
                raise
            self._failed[name] = self.clock()
            return known[1]

    def _is_servable(self, known: tuple[float, V]) -> bool:
        return self.clock() - known[0] < self.serves

"""Values that are read seldom and used often: parameters and secrets, kept in the process for a while."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Generic, TypeVar

from msgspec import Struct, field

from celonis_refresh.aws.token_bucket import TokenBucket
from celonis_refresh.timing import Clock

V = TypeVar("V")

FAILED_SECONDS: Final = 5.0
"""For so long the known value serves once it could not be read anew, without another try."""


class TtlCache(Struct, Generic[V]):
    """Reads by name and keeps what it read for ``seconds``.

    ``passing``: an error for which the value known before serves on, because asking again later helps.
    ``lasts``: False for a value that is to be read anew each time.
    ``limit``: how often a name may be read, whatever the reason; without a token, what the last reading gave
    counts, its error included.
    ``serves``: seconds after its reading at which a known value is too old to stand in for a failed one.
    """

    read: Callable[[str], V]
    seconds: float
    clock: Clock
    passing: Callable[[Exception], bool] = lambda _: False
    lasts: Callable[[V], bool] = lambda _: True
    limit: TokenBucket | None = None
    serves: float = inf
    _values: dict[str, tuple[float, V]] = field(default_factory=dict)
    _failed: dict[str, float] = field(default_factory=dict)
    _errors: dict[str, Exception] = field(default_factory=dict)

    def get(self, name: str) -> V:
        """The value, at most ``seconds`` old unless it could not be read anew."""
        known = self._values.get(name)
        if known is None:
            return self._limited(name)
        if self.clock() - known[0] < self.seconds and self.lasts(known[1]):
            return known[1]
        if self._is_servable(known) and self.clock() - self._failed.get(name, -inf) < FAILED_SECONDS:
            return known[1]
        return self._limited(name)

    def refresh(self, name: str) -> V:
        """The value as it is now."""
        value = self.read(name)
        self._values[name] = (self.clock(), value)
        self._errors.pop(name, None)
        return value

    def refresh_if_allowed(self, name: str) -> V:
        """As it is now, or as it was when ``limit`` last allowed a reading: for what a stranger can cause."""
        return self._limited(name)

    def _limited(self, name: str) -> V:
        """Read anew where ``limit`` allows it; otherwise what the last reading gave."""
        if self.limit is None or self.limit.take(name):
            return self._anew_or_known(name)
        known, error = self._values.get(name), self._errors.get(name)
        if known is not None and (error is None or self._is_servable(known)):
            return known[1]
        if error is None:
            return self._anew_or_known(name)
        raise error.with_traceback(None)

    def _anew_or_known(self, name: str) -> V:
        try:
            return self.refresh(name)
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

"""Values that are read seldom and used often: parameters and secrets, kept in the process for a while."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Generic, TypeVar

from msgspec import Struct, field

from celonis_refresh.timing import Clock, Deadline, within

V = TypeVar("V")

FRESHEN_SECONDS: Final = 0.4
"""What a reading may take where a known value can serve: the request's time is for what has to be done."""
FAILED_SECONDS: Final = 5.0
"""For so long the known value serves once it could not be read anew, without another try."""


class Kept(Struct, Generic[V]):
    """Reads by name and keeps what it read for ``seconds``.

    ``passing``: an error for which the value known before serves on, because asking again later helps.
    ``lasts``: False for a value that is to be read anew each time.
    """

    read: Callable[[str], V]
    seconds: float
    clock: Clock
    passing: Callable[[Exception], bool] = lambda _: False
    lasts: Callable[[V], bool] = lambda _: True
    _values: dict[str, tuple[float, V]] = field(default_factory=dict)
    _renewed: dict[str, float] = field(default_factory=dict)
    _failed: dict[str, float] = field(default_factory=dict)

    def get(self, name: str) -> V:
        """The value, at most ``seconds`` old unless it could not be read anew."""
        known = self._values.get(name)
        if known is None:
            return self.renew(name)
        young = self.clock() - known[0] < self.seconds and self.lasts(known[1])
        if young or self.clock() - self._failed.get(name, -inf) < FAILED_SECONDS:
            return known[1]
        with within(Deadline.after(FRESHEN_SECONDS, self.clock)):
            return self._anew_or_known(name)

    def renew(self, name: str) -> V:
        """The value as it is now."""
        value = self.read(name)
        self._values[name] = (self.clock(), value)
        return value

    def renew_seldom(self, name: str) -> V:
        """As it is now, but read once in ``seconds`` at most: for what a stranger can bring about."""
        if self.clock() - self._renewed.get(name, -self.seconds) < self.seconds:
            return self.get(name)
        self._renewed[name] = self.clock()
        return self._anew_or_known(name)

    def _anew_or_known(self, name: str) -> V:
        try:
            return self.renew(name)
        except Exception as error:
            known = self._values.get(name)
            if known is None or not self.passing(error):
                raise
            self._failed[name] = self.clock()
            return known[1]

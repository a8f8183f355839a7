"""The texts of sources, such that a flood of names that are none costs next to nothing.

Anybody can post to any name, and every name that a process does not know is a question to Parameter Store,
which answers 40 a second in all and refuses the rest, those about real sources among them.
"""

from __future__ import annotations

from math import inf
from typing import Final

from msgspec import Struct

from celonis_refresh.aws.configuration import Parameters, UnknownSource, is_name
from celonis_refresh.timing import Clock

WARY_SECONDS: Final = 10.0
MOST_MISSES: Final = 30
"""So many names that are none are asked for within ``WARY_SECONDS``; then names are looked up in the list."""
LIST_SECONDS: Final = 1.0
"""How old the list may be: a source that was made a moment ago is in the next one."""


class KnownSources(Struct):
    """Reads as ``parameters`` does, and raises what it raises."""

    parameters: Parameters
    clock: Clock
    _misses: list[float] = []
    _listed_at: float = -inf
    _listed: frozenset[str] = frozenset()

    def text(self, name: str) -> str:
        """The text of a source as it is now."""
        if not is_name(name) or (self._is_wary() and name not in self._names()):
            raise UnknownSource(self.parameters.sources_path)
        try:
            return self.parameters.source_text(name)
        except UnknownSource:
            self._misses.append(self.clock())
            raise

    def _is_wary(self) -> bool:
        since = self.clock() - WARY_SECONDS
        self._misses = [at for at in self._misses if at > since]
        return len(self._misses) >= MOST_MISSES

    def _names(self) -> frozenset[str]:
        if self.clock() - self._listed_at >= LIST_SECONDS:
            self._listed, self._listed_at = frozenset(self.parameters.sources()), self.clock()
        return self._listed

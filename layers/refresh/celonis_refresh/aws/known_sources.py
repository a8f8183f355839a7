"""The texts of sources, such that a flood of names that are none costs next to nothing.

Anybody can post to any name, and every name that this process does not know is a question to Parameter Store,
which answers 40 a second in all and refuses the rest, those of real sources among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

from celonis_refresh.aws.configuration import Parameters, UnknownSource
from celonis_refresh.timing import Clock

WARY_SECONDS: Final = 5.0
"""After a name that is none, names are looked up in a list that is at most so old."""


@dataclass
class KnownSources:
    """Reads as ``parameters`` does, and raises what it raises."""

    parameters: Parameters
    clock: Clock
    _missed_at: float = -inf
    _listed_at: float = -inf
    _listed: frozenset[str] = field(default_factory=frozenset)

    def text(self, name: str) -> str:
        """The text of a source as it is now. One that was made in the last seconds may be unknown yet."""
        if self.clock() - self._missed_at < WARY_SECONDS and name not in self._names():
            raise UnknownSource(self.parameters.sources_path)
        try:
            return self.parameters.source_text(name)
        except UnknownSource:
            self._missed_at = self.clock()
            raise

    def _names(self) -> frozenset[str]:
        if self.clock() - self._listed_at >= WARY_SECONDS:
            self._listed, self._listed_at = frozenset(self.parameters.sources()), self.clock()
        return self._listed

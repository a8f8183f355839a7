"""The texts of sources, such that a flood of names that are none costs next to nothing.

Anybody can post to any name, and every name that a process does not know is a question to Parameter Store,
which answers 40 a second in all and refuses the rest, those about real sources among them.
"""

from __future__ import annotations

from math import inf
from typing import Final

from msgspec import Struct

from celonis_refresh.aws.configuration import ConfigurationUnavailable, UnknownSource
from celonis_refresh.aws.shared_parameters import LIST_SECONDS, SharedParameters
from celonis_refresh.aws.ttl_cache import Dated
from celonis_refresh.names import is_name
from celonis_refresh.observability import logger
from celonis_refresh.timing import Clock
from celonis_refresh.webhooks.errors import InvalidSource
from celonis_refresh.webhooks.sources import Source, parse_source

WARY_SECONDS: Final = 10.0
MAX_MISSES: Final = 5
"""So many names that are none, or not told, a process asks for within ``WARY_SECONDS``; then it looks names
up in the list. Few, since all processes share the rate of Parameter Store."""
INVALID_SECONDS: Final = 3.0
"""For so long a source that is not valid is not read again: anybody can send to it."""


class SourceCache(Struct):
    """Reads as ``parameters`` does, and raises what it raises."""

    parameters: SharedParameters
    clock: Clock
    _misses: list[float] = []
    _asked_at: float = -inf
    _listed: frozenset[str] | None = None
    _invalid: dict[str, tuple[float, InvalidSource]] = {}

    def source(self, name: str) -> Dated[Source]:
        """The source as it is now. Raises ``InvalidSource`` besides."""
        known = self._invalid.get(name)
        if known is not None and 0 <= self.clock() - known[0] < INVALID_SECONDS:
            raise known[1].with_traceback(None)
        self._invalid.pop(name, None)
        text = self.text(name)
        try:
            return Dated(parse_source(name, text.value), text.at)
        except InvalidSource as error:
            self._invalid[name] = (self.clock(), error)
            raise

    def text(self, name: str) -> Dated[str]:
        """The text of a source as it is now."""
        if not is_name(name) or (self._is_wary() and name not in self._names()):
            raise self.parameters.parameters.unknown_source()
        try:
            return self.parameters.source_text(name)
        except (UnknownSource, ConfigurationUnavailable):
            self._misses.append(self.clock())
            raise

    def _is_wary(self) -> bool:
        since = self.clock() - WARY_SECONDS
        self._misses = [at for at in self._misses if at > since]
        return len(self._misses) >= MAX_MISSES

    def _names(self) -> frozenset[str]:
        """The names of the last list that was to be had; asked for at most once in ``LIST_SECONDS``."""
        if not 0 <= self.clock() - self._asked_at < LIST_SECONDS:
            self._asked_at = self.clock()
            try:
                self._listed = self.parameters.sources()
            except ConfigurationUnavailable as trouble:
                logger.warning("no list of sources", extra={"why": str(trouble)})
        if self._listed is None:
            raise ConfigurationUnavailable(self.parameters.parameters.sources_path)
        return self._listed

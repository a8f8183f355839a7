"""Sources and pipelines for all processes of the trigger, with copies in the table.

Parameter Store answers 40 requests a second in all, and many processes that read it one by one need more.
So a source and the pipelines that its events start are read together, ten with one request, and the table
has a copy of their texts. A process reads Parameter Store only where the copy is too old.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from msgspec import Struct, field

from celonis_refresh.aws.configuration import Parameters
from celonis_refresh.aws.ttl_cache import Dated
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.table import SOURCE_NAMES, Table, configuration_key
from celonis_refresh.timing import Clock, Deadline

SOURCE_SECONDS: Final = 60.0
PIPELINE_SECONDS: Final = 10.0
"""How old a text may be: a change counts after that, at the latest. A pipeline may be paused."""
MAX_NAMES: Final = 10
"""Names in one request to Parameter Store."""
READ_SECONDS: Final = 0.7
"""A process reads known sources once in that time: 25 processes make at most 36 requests a second."""
RELOAD_SECONDS: Final = 0.5
"""A copy that was loaded for the same request is not loaded again."""
MAX_COPY: Final = 300_000
"""Characters of the texts of one copy: an item of the table has 400 KB at most."""
COPY_SECONDS: Final = 3600.0
"""A text that nobody has asked for since is left out of the copy."""
EXPIRE_SECONDS: Final = 7 * 86_400
WRITE_SECONDS: Final = 1.0
LIST_SECONDS: Final = 1.0
"""How old the list of sources may be: a source that was made a moment ago is in the next one."""
MAX_SKEW: Final = 2.0
"""How far the clocks of two processes may differ: a copy from a later moment is no copy."""

Text = Dated[str | None]
"""The text of a parameter, None where there is none."""


class SharedParameters(Struct):
    """Reads as ``parameters`` does, for requests to one source at a time. Says when a text was read."""

    parameters: Parameters
    table: Table
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    _source: str = ""
    _texts: dict[str, Text] = field(default_factory=dict)
    _copied: frozenset[str] = frozenset()
    _loaded_at: float = -inf
    _next_read: float = 0.0

    def enter(self, source: str) -> None:
        """From now on a request to ``source`` is handled: its pipelines are read together."""
        if source != self._source:
            self._source, self._copied, self._loaded_at = source, frozenset(), -inf

    def source_text(self, name: str) -> Dated[str]:
        """The JSON of a source. Raises ``UnknownSource``."""
        self.enter(name)
        parameter = self.parameters.source_name(name)
        found = self._text(parameter, SOURCE_SECONDS)
        if found.value is None:
            del self._texts[parameter]  # anybody can ask for any name
            raise self.parameters.unknown_source()
        return Dated(found.value, found.at)

    def pipeline(self, name: str) -> Dated[Definition]:
        """Raises ``UnknownPipeline``, ``InvalidDefinition``, and ``InvalidTrigger`` for what is no name."""
        found = self._text(self.parameters.pipeline_name(name), PIPELINE_SECONDS)
        return Dated(self.parameters.parse_pipeline(name, found.value), found.at)

    def sources(self) -> frozenset[str]:
        """The names of all sources, as some process listed them a moment ago."""
        key = SOURCE_NAMES
        listed = self._item(key)
        if -MAX_SKEW <= self.clock() - listed.get("at", -inf) < LIST_SECONDS:
            return frozenset(listed["names"])
        at = self.clock()
        names = sorted(self.parameters.sources())
        self._write(key, {"names": names, "at": at})
        return frozenset(names)

    def _text(self, name: str, seconds: float) -> Text:
        if not self._is_fresh(name, seconds) and self.clock() - self._loaded_at >= RELOAD_SECONDS:
            self._load()
        if not self._is_fresh(name, seconds) and self._copied:
            self._wait(name, seconds)
        if not self._is_fresh(name, seconds):
            self._read(name)
        return self._texts[name]

    def _is_fresh(self, name: str, seconds: float) -> bool:
        known = self._texts.get(name)
        return known is not None and -MAX_SKEW <= self.clock() - known.at < seconds

    def _wait(self, name: str, seconds: float) -> None:
        """Wait until this process may read Parameter Store; meanwhile another process may have done so."""
        wait = self._next_read - self.clock()
        if wait > 0:
            self.sleep(wait)
            self._load()
        if not self._is_fresh(name, seconds):
            self._next_read = self.clock() + READ_SECONDS

    def _read(self, name: str) -> None:
        """Read a parameter, and with it those of the same source that were read the longest ago."""
        beside = sorted(self._copied - {name}, key=lambda each: self._texts[each].at)
        names = [name, *beside[: MAX_NAMES - 1]]
        read_at = self.clock()
        found = self.parameters.texts(names)
        self._texts |= {each: Dated(found.get(each), read_at) for each in names}
        source = self._texts.get(self.parameters.source_name(self._source))
        if source is not None and source.value is not None:  # a stranger's name gets no copy
            self._copied |= {name}
            self._save()

    def _load(self) -> None:
        """Take over what the copy has that is newer than what this process knows."""
        self._loaded_at = self.clock()
        copies: Mapping[str, Any] = self._item(configuration_key(self._source)).get("texts", {})
        self._copied = frozenset(copies)
        for name, (text, at) in copies.items():
            known = self._texts.get(name)
            if known is None or known.at < at:
                self._texts[name] = Dated(text, float(at))

    def _save(self) -> None:
        since = self.clock() - COPY_SECONDS
        lasting = {name: self._texts[name] for name in self._copied if self._texts[name].at > since}
        if sum(len(text.value or "") for text in lasting.values()) <= MAX_COPY:
            texts = {name: list(text) for name, text in lasting.items()}
            self._write(configuration_key(self._source), {"texts": texts})

    def _item(self, key: str) -> Mapping[str, Any]:
        try:
            return self.table.get(key) or {}
        except RefreshError as trouble:
            logger.warning("the copy of the configuration cannot be read", extra={"why": str(trouble)})
            return {}

    def _write(self, key: str, facts: Mapping[str, Any]) -> None:
        expires = {"expires": int(self.clock() + EXPIRE_SECONDS)}
        try:
            deadline = Deadline.after(WRITE_SECONDS, self.clock)
            self.table.update(self.table.set(key, {**facts, **expires}, ""), deadline)
        except RefreshError as trouble:
            logger.warning("the copy of the configuration cannot be written", extra={"why": str(trouble)})

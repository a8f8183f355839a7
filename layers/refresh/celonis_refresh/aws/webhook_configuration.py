"""The configuration that the trigger reads for a webhook: a source, its secret and its pipelines.

Anybody can send requests to the trigger, and all processes share the request rate of Parameter Store.
Therefore a process reads the parameters of a source together, and processes share what they read by a copy in
the table (``SharedParameters``). Names that do not exist and invalid sources are cached as well
(``SourceCache``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from threading import Thread
from typing import Any, Final, TypeVar

from msgspec import Struct, field

from celonis_refresh.aws.caching import MAX_SKEW, Dated, SharedItems, TtlCache
from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    Parameters,
    Secrets,
    UnknownSource,
    is_transient_error,
)
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.errors import RefreshError
from celonis_refresh.names import is_name
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.table import SOURCE_NAMES, Table, configuration_key
from celonis_refresh.timing import Clock
from celonis_refresh.webhooks.errors import InvalidSource
from celonis_refresh.webhooks.sources import Source, parse_source

V = TypeVar("V")

SOURCE_SECONDS: Final = 60.0
PIPELINE_SECONDS: Final = 10.0
"""Maximum age of a source and of a pipeline. Pipelines may be paused, so theirs is shorter."""
UNUSABLE_SECONDS: Final = 1.0
"""Maximum age of a parameter that does not exist or is not valid, and of a pipeline that is paused."""
MAX_NAMES: Final = 10
"""Parameters in one request to Parameter Store."""
READ_SECONDS: Final = 0.7
"""Minimum time between two reads of known sources by a process: 25 processes make at most 36 a second."""
RELOAD_SECONDS: Final = 0.5
"""Minimum time between two reads of the copy by one process."""
MAX_COPY: Final = 300_000
"""Bytes of the texts of one copy; an item of the table has at most 400 KB."""
COPY_SECONDS: Final = 3600.0
"""A text that was not read for this time is removed from the copy."""
LIST_SECONDS: Final = 1.0
"""Maximum age of the list of sources."""

Text = Dated[str | None]
"""The text of a parameter, or None if it does not exist."""


class SharedParameters(Struct):
    """Reads the parameters of one request at a time, with copies that all processes share.

    Call ``enter`` first for each request. The results are dated by the moment at which a process read them.

    The copy is written in a thread, which ``start`` starts: a request does not wait for what it leaves to
    others. If Lambda freezes the process before, the write is late or lost. Both are harmless, because each
    text of the copy has the time at which it was read.
    """

    parameters: Parameters
    items: SharedItems
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    start: Callable[[Thread], None] = Thread.start
    _source: str = ""
    _texts: dict[str, Text] = field(default_factory=dict)
    _pipelines: dict[str, frozenset[str]] = field(default_factory=dict)
    _copied: frozenset[str] = frozenset()
    _loaded_at: float = -inf
    _next_read: float = 0.0
    _reads: int = 0
    _is_unsaved: bool = False

    def enter(self, source: str) -> None:
        """Begin a request to ``source``, whose parameters are read together."""
        self._reads = 0
        if self._is_unsaved:
            self._save()
        if source != self._source:
            self._source, self._copied, self._loaded_at = source, frozenset(), -inf

    def source(self, name: str) -> Dated[Source]:
        """Return the source of this request. Raises ``UnknownSource``, ``InvalidSource``."""
        parameter = self.parameters.source_name(name)

        def parse(text: str | None) -> Source:
            if text is None:
                del self._texts[parameter]  # anybody can send any name
                raise self.parameters.unknown_source()
            return parse_source(name, text)

        source = self._parsed(parameter, SOURCE_SECONDS, parse)
        names = (self.parameters.pipeline_name(rule.pipeline) for rule in source.value.rules)
        self._pipelines[name] = frozenset(names)
        return source

    def pipeline(self, name: str) -> Dated[Definition]:
        """Raises ``UnknownPipeline``, ``InvalidDefinition``, and ``InvalidTrigger`` for an invalid name."""
        parameter = self.parameters.pipeline_name(name)

        def parse(text: str | None) -> Definition:
            return self.parameters.parse_pipeline(name, text)

        definition = self._parsed(parameter, PIPELINE_SECONDS, parse)
        if definition.value.paused and not self._is_fresh(parameter, UNUSABLE_SECONDS):
            return self._parsed(parameter, UNUSABLE_SECONDS, parse)
        return definition

    def _parsed(self, name: str, seconds: float, parse: Callable[[str | None], V]) -> Dated[V]:
        """Parse a parameter; if that fails, read it again, because it may have been corrected."""
        text = self._text(name, seconds)
        try:
            return Dated(parse(text.value), text.at)
        except RefreshError:
            if self._is_fresh(name, UNUSABLE_SECONDS) or name not in self._texts:
                raise
        text = self._text(name, UNUSABLE_SECONDS)
        return Dated(parse(text.value), text.at)

    def sources(self) -> frozenset[str]:
        """Return the names of all sources, at most ``LIST_SECONDS`` old."""
        key = SOURCE_NAMES
        listed = self.items.get(key)
        if -MAX_SKEW <= self.clock() - listed.get("at", -inf) < LIST_SECONDS:
            return frozenset(listed["names"])
        at = self.clock()
        names = sorted(self.parameters.sources())
        self.items.set(key, {"names": names, "at": at})
        return frozenset(names)

    def _text(self, name: str, seconds: float) -> Text:
        if not self._is_fresh(name, seconds) and self.clock() - self._loaded_at >= RELOAD_SECONDS:
            self._load()
        if not self._is_fresh(name, seconds) and self._copied and not self._reads:
            self._wait(name, seconds)
        if not self._is_fresh(name, seconds):
            self._read(name)
        return self._texts[name]

    def _is_fresh(self, name: str, seconds: float) -> bool:
        text = self._texts.get(name)
        return text is not None and -MAX_SKEW <= self.clock() - text.at < seconds

    def _wait(self, name: str, seconds: float) -> None:
        """Wait until this process may read Parameter Store; another process may have read by then."""
        wait = self._next_read - self.clock()
        if wait > 0:
            self.sleep(wait)
            self._load()
        if not self._is_fresh(name, seconds):
            self._next_read = self.clock() + READ_SECONDS

    def _read(self, name: str) -> None:
        """Read a parameter together with those of the same source that were read the longest ago."""
        of_source = self._copied | self._pipelines.get(self._source, frozenset())
        beside = sorted(of_source - {name}, key=lambda each: (self._read_at(each), each))
        names = [name, *beside[: MAX_NAMES - 1]]
        self._reads += 1
        read_at = self.clock()
        texts = self.parameters.texts(names)
        self._texts |= {each: Dated(texts.get(each), read_at) for each in names}
        source = self._texts.get(self.parameters.source_name(self._source))
        if source is not None and source.value is not None:  # no copy for names that do not exist
            self._copied |= set(names)
            self._is_unsaved = True
            if beside or name != self.parameters.source_name(self._source):
                self._save()  # a source alone is saved with its pipelines, which are read next

    def _read_at(self, name: str) -> float:
        return self._texts[name].at if name in self._texts else -inf

    def _load(self) -> None:
        """Load the texts of the copy that are newer than those of this process."""
        self._loaded_at = self.clock()
        copies: Mapping[str, Any] = self.items.get(configuration_key(self._source)).get("texts", {})
        self._copied = frozenset(copies)
        for name, (text, at) in copies.items():
            cached = self._texts.get(name)
            if cached is None or cached.at < at:
                self._texts[name] = Dated(text, float(at))

    def _save(self) -> None:
        self._is_unsaved = False
        since = self.clock() - COPY_SECONDS
        lasting = {name: self._texts[name] for name in self._copied if self._texts[name].at > since}
        if sum(len((text.value or "").encode()) for text in lasting.values()) <= MAX_COPY:
            texts = {name: list(text) for name, text in lasting.items()}
            write = partial(self.items.set, configuration_key(self._source), {"texts": texts})
            self.start(Thread(target=write, daemon=True))


MISS_SECONDS: Final = 10.0
MAX_MISSES: Final = 5
"""After this many unknown names within ``MISS_SECONDS``, a process looks names up in the list of sources."""
INVALID_SECONDS: Final = 3.0
"""How long an invalid source is not read again."""


class SourceCache(Struct):
    """Reads sources, and limits what requests with unknown names and invalid sources cost."""

    parameters: SharedParameters
    clock: Clock
    _misses: list[float] = []
    _asked_at: float = -inf
    _listed: frozenset[str] | None = None
    _invalid: dict[str, tuple[float, InvalidSource]] = {}

    def source(self, name: str) -> Dated[Source]:
        """Return the current source. Raises ``UnknownSource``, ``InvalidSource``."""
        cached = self._invalid.get(name)
        if cached is not None and 0 <= self.clock() - cached[0] < INVALID_SECONDS:
            raise cached[1].with_traceback(None)
        self._invalid.pop(name, None)
        if not is_name(name) or (self._checks_list() and name not in self._names()):
            raise self.parameters.parameters.unknown_source()
        try:
            return self.parameters.source(name)
        except InvalidSource as error:
            self._invalid[name] = (self.clock(), error)
            raise
        except (UnknownSource, ConfigurationUnavailable):
            self._misses.append(self.clock())
            raise

    def _checks_list(self) -> bool:
        since = self.clock() - MISS_SECONDS
        self._misses = [at for at in self._misses if at > since]
        return len(self._misses) >= MAX_MISSES

    def _names(self) -> frozenset[str]:
        """Return the names of the last list that could be read, at most once per ``LIST_SECONDS``."""
        if not 0 <= self.clock() - self._asked_at < LIST_SECONDS:
            self._asked_at = self.clock()
            try:
                self._listed = self.parameters.sources()
            except ConfigurationUnavailable as error:
                logger.warning("the list of sources could not be read", extra={"why": str(error)})
        if self._listed is None:
            raise ConfigurationUnavailable(self.parameters.parameters.sources_path)
        return self._listed


class WebhookConfiguration(Struct, frozen=True):
    """Cached configuration of one process. Cached values stay in use while reading fails."""

    shared: SharedParameters
    sources: TtlCache[Source]
    definitions: TtlCache[Definition]
    secrets: TtlCache[tuple[str, ...]]

    @staticmethod
    def of(
        parameters: Parameters,
        secrets: Secrets,
        table: Table,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
        start: Callable[[Thread], None] = Thread.start,
    ) -> WebhookConfiguration:
        shared = SharedParameters(parameters, SharedItems(table, clock), clock, sleep, start)
        sources = SourceCache(shared, clock)
        return WebhookConfiguration(
            shared,
            TtlCache(sources.source, SOURCE_SECONDS, clock, is_transient_error),
            TtlCache(
                shared.pipeline,
                PIPELINE_SECONDS,
                clock,
                is_transient_error,
                is_cacheable=lambda definition: not definition.paused,
            ),
            webhook_secrets(secrets.webhook, table, clock, sleep),
        )

    def source(self, name: str) -> Source:
        """Return the source of a request. Raises ``UnknownSource``, ``InvalidSource``."""
        self.shared.enter(name)
        return self.sources.get(name)

    def definition(self, name: str) -> Definition:
        """Return a pipeline of that source. Raises ``UnknownPipeline``, ``InvalidDefinition``."""
        return self.definitions.get(name)

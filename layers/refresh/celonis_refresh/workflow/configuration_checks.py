"""Checks the configuration of pipelines and their channels off a webhook's path, in each round of reconcile.

A secret of a channel cannot be read by the function that accepts webhooks, and a read would delay them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from celonis_refresh.errors import RefreshError, UnusableConfiguration
from celonis_refresh.notifications.channels import AMAZON_Q, ChannelUnusable
from celonis_refresh.notifications.messages import TOPIC, channels_of, own_channels
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition, Notify, parse_definition
from celonis_refresh.pipelines.errors import InvalidDefinition, InvalidInput, UnknownPipeline
from celonis_refresh.timing import Clock, Deadline
from celonis_refresh.webhooks.errors import InvalidSource
from celonis_refresh.workflow.configuration_reports import (
    REPORT_SECONDS,
    ConfigurationReports,
    Resolution,
)

QUIET_SECONDS: Final = 2 * 86_400.0
"""An error that only an event can show is resolved if it was not reported again for so long."""
DEFAULT_CHANNELS: Final = "NotificationChannels"
"""The template parameter with the channels of pipelines that name none."""


class ConfigurationChecks(Struct, frozen=True):
    """Reports what is found, and resolves reports.

    ``read_pipeline`` raises ``InvalidDefinition``, ``UnknownPipeline``; ``read_source`` raises
    ``InvalidSource`` and returns the pipelines that a source names, None if it does not exist;
    ``check_channel`` raises ``ChannelUnusable``. All may raise another ``RefreshError`` if something cannot
    be read now.
    """

    reports: ConfigurationReports
    read_pipeline: Callable[[str], Definition]
    read_source: Callable[[str], Collection[str] | None]
    check_channel: Callable[[str], object]
    clock: Clock

    def check(self, texts: Mapping[str, str], deadline: Deadline) -> list[str]:
        """Report pipelines whose definition or channels cannot be used, each once; return their names.

        Raises errors of the table.
        """
        reported: list[str] = []
        uses_default = False
        for name, text in texts.items():
            try:
                notify: Notify | None = parse_definition(name, text).notify
            except InvalidDefinition as error:
                notify = error.notify
                reported += self._report(UnusableConfiguration(error, pipeline=name), notify, deadline)
            has_own = own_channels(notify) is not None
            uses_default = uses_default or not has_own
            reported += self._check_channels(name, notify, deadline) if has_own else []
        return reported + (self._check_channels("", None, deadline) if uses_default else [])

    def _check_channels(self, pipeline: str, notify: Notify | None, deadline: Deadline) -> list[str]:
        """Report channels that cannot be used to the others, or to the topic if there is none."""
        unusable = list(self._channel_errors(notify))
        names = {error.channel for error in unusable}
        others = [name for name in channels_of(self.reports.outbox, notify) if name not in names] or [TOPIC]
        found = (UnusableConfiguration(error, pipeline=pipeline) for error in unusable)
        return [name for each in found for name in self._report(each, notify, deadline, others)]

    def recheck(self, item: Mapping[str, Any], deadline: Deadline) -> bool:
        """Resolve a report if the configuration can be used again; return whether it was."""
        found = self._resolved(item)
        if found is None:
            return False
        channels = list(dict.fromkeys(TOPIC if self._is_lost(each) else each for each in item["channels"]))
        messages = self.reports.resolve(item, found, channels, deadline)
        self.reports.outbox.send_put(messages, deadline)
        facts = item["facts"]
        extra = {
            "pipeline": facts.get("pipeline", ""),
            "source": facts.get("source", ""),
            "why": found.reason,
        }
        logger.info("configuration is usable again", extra=extra)
        return True

    def _report(
        self,
        found: UnusableConfiguration,
        notify: Notify | None,
        deadline: Deadline,
        channels: Sequence[str] | None = None,
    ) -> Iterator[str]:
        messages = self.reports.write(found, "configuration found", notify, deadline, channels=channels)
        if messages:
            extra = {"pipeline": found.pipeline, "error": found.error.name, "why": str(found.error)}
            logger.warning("configuration cannot be used", extra=extra)
            self.reports.outbox.send_put(messages, deadline)
            yield found.pipeline or DEFAULT_CHANNELS

    def _channel_errors(self, notify: Notify | None) -> Iterator[ChannelUnusable]:
        """Yield an error for each channel that cannot be used, with its field."""
        own = own_channels(notify)
        for index, name in enumerate(channels_of(self.reports.outbox, notify)):
            try:
                error = self._channel_error(name)
            except RefreshError as unreadable:
                logger.warning("a channel was not checked", extra={"channel": name, "why": str(unreadable)})
                continue
            if error is not None:
                field = f"notify.channels.{index}" if own is not None else DEFAULT_CHANNELS
                yield ChannelUnusable(error.channel, error.problem, field=field)

    def _channel_error(self, name: str) -> ChannelUnusable | None:
        if name in (TOPIC, AMAZON_Q):
            return None
        try:
            self.check_channel(name)
        except ChannelUnusable as error:
            return error
        return None

    def _is_lost(self, channel: str) -> bool:
        """Return whether a channel is known to be unusable, so that the topic takes its place."""
        try:
            return self._channel_error(channel) is not None
        except RefreshError:
            return False

    def _resolved(self, item: Mapping[str, Any]) -> Resolution | None:
        """Return why a report is resolved; None if it is not."""
        facts = item["facts"]
        error, pipeline, source = (str(facts.get(name, "")) for name in ("error", "pipeline", "source"))
        if error == "InvalidSource":
            return self._source_resolved(source)
        if error == "ChannelUnusable":
            return self._channel_resolved(pipeline, str(facts["channel"]))
        if error == "InvalidDefinition":
            return self._pipeline_resolved(pipeline, is_defined=True)
        if error == "UnknownPipeline" and (defined := self._pipeline_resolved(pipeline, is_defined=False)):
            return defined
        if source and (corrected := self._rule_resolved(source, pipeline)):
            return corrected
        quiet = self.clock() - float(item["at"]) >= QUIET_SECONDS + REPORT_SECONDS
        return Resolution("The error has not occurred again for two days.") if quiet else None

    def _source_resolved(self, source: str) -> Resolution | None:
        try:
            exists = self.read_source(source) is not None
        except InvalidSource:
            return None
        return Resolution(f"Source {source!r} can be read.", resend=True) if exists else _removed(source)

    def _rule_resolved(self, source: str, pipeline: str) -> Resolution | None:
        """Return why no rule of a source can have an error of this pipeline any more."""
        try:
            named = self.read_source(source)
        except InvalidSource:
            return None
        if named is None:
            return _removed(source)
        if not pipeline or pipeline in named:
            return None
        return Resolution(f"Source {source!r} does not name pipeline {pipeline!r} any more.", resend=True)

    def _pipeline_resolved(self, pipeline: str, *, is_defined: bool) -> Resolution | None:
        try:
            self.read_pipeline(pipeline)
        except UnknownPipeline:
            return Resolution(f"Pipeline {pipeline!r} was removed.") if is_defined else None
        except InvalidInput:
            return None
        return Resolution(f"The definition of pipeline {pipeline!r} can be read.", resend=True)

    def _channel_resolved(self, pipeline: str, channel: str) -> Resolution | None:
        if channel not in self._channels(pipeline):
            return Resolution(f"Channel {channel!r} is not named any more.")
        return None if self._channel_error(channel) else Resolution(f"Channel {channel!r} can be used.")

    def _channels(self, pipeline: str) -> tuple[str, ...]:
        """Return the channels of a pipeline, or those of the stack; none if the pipeline was removed."""
        if not pipeline:
            return self.reports.outbox.default_channels
        try:
            notify: Notify | None = self.read_pipeline(pipeline).notify
        except UnknownPipeline:
            return ()
        except InvalidDefinition as error:
            notify = error.notify
        return channels_of(self.reports.outbox, notify)


def _removed(source: str) -> Resolution:
    return Resolution(f"Source {source!r} was removed.")

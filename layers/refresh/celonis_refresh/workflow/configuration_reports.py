"""Reports configuration that cannot be used, and that it can be used again.

A report has one item for each source, pipeline and cause. The item keeps the same cause from being reported
again too soon, and reconcile removes it once the configuration can be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from celonis_refresh.errors import RefreshError, UnusableConfiguration
from celonis_refresh.notifications.messages import channels_of
from celonis_refresh.notifications.outbox import Message, MessageKind, Outbox
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition, Notify
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.runs.table import REPORTED, ConditionFailed, report_key
from celonis_refresh.timing import Clock, Deadline, iso

REPORT_SECONDS: Final = 3600.0
"""Minimum time between two reports of a cause, unless the pipeline's ``repeat_after`` says otherwise."""
PROCESS_SECONDS: Final = 60.0
"""Minimum time between two attempts of a process to report a cause."""
WRITE_SECONDS: Final = 0.5
"""Time for all reports of a request: its sender waits for the answer."""
KEPT_SECONDS: Final = 30 * 86_400
MAX_CAUSE: Final = 90
MAX_FIELDS: Final = 10
OF_PIPELINE: Final = frozenset({"InvalidDefinition", "ChannelUnusable"})
"""Errors that are corrected in the parameter of the pipeline, with one report for all sources; others are
corrected in that of the source."""

ReadDefinition = Callable[[str], Definition]


class Resolution(NamedTuple):
    """Why a report is resolved. ``resend``: events that were refused can be sent again now."""

    reason: str
    resend: bool = False


class ConfigurationReports(Struct):
    """Puts notifications into the outbox. ``stack``: its name."""

    outbox: Outbox
    stack: str
    clock: Clock
    _attempts: dict[str, float] = field(default_factory=dict)

    def report(
        self, found: Iterable[UnusableConfiguration], definition: ReadDefinition | None = None
    ) -> None:
        """Report what kept events from starting runs; reconcile sends it. A failed write is only logged.

        ``definition``: reads a pipeline, for its channels.
        """
        deadline = Deadline.after(WRITE_SECONDS, self.clock)
        for each in found:
            name, now = _name(each), self.clock()
            if now - self._attempts.get(name, 0.0) < PROCESS_SECONDS:
                continue
            self._attempts[name] = now
            try:
                notify = _notify(each, definition)
                before = now - ((notify.repeat_after if notify else 0) or REPORT_SECONDS)
                self.write(each, "configuration", notify, deadline, reported_before=before)
            except RefreshError as error:
                del self._attempts[name]
                extra = {"source": each.source, "pipeline": each.pipeline, "why": str(error)}
                logger.warning("a notification was not written", extra=extra)

    def write(
        self,
        found: UnusableConfiguration,
        what: str,
        notify: Notify | None,
        deadline: Deadline,
        *,
        reported_before: float = 0.0,
        channels: Sequence[str] | None = None,
    ) -> list[Message]:
        """Write a report and return its messages; none if it was reported after ``reported_before``.

        ``channels``: instead of those of ``notify``.
        """
        name, now = _name(found), self.clock()
        facts = _facts(found, self.stack)
        targets = channels_of(self.outbox, notify) if channels is None else channels
        messages = self._messages(facts | {"what": what}, _occasion(facts, now), targets)
        item = {
            "pk": report_key(name),
            "status": REPORTED,
            "position": f"{iso(now)} {name}",
            "at": now,
            "channels": list(targets),
            "facts": facts,
            "expires": int(now) + KEPT_SECONDS,
        }
        put = self.outbox.table.put(
            item, "attribute_not_exists(pk) OR #at <= :before", {"before": reported_before}
        )
        try:
            self.outbox.table.transact([put, *map(self.outbox.put, messages)], deadline)
        except ConditionFailed:
            return []  # it has been reported
        return messages

    def resolve(
        self, item: Mapping[str, Any], found: Resolution, channels: Sequence[str], deadline: Deadline
    ) -> list[Message]:
        """Remove a report, and return messages to ``channels``.

        No message is returned if the report was repeated or removed since it was read.
        """
        reported = item["facts"]
        facts = {name: reported[name] for name in RESOLVED_FACTS if name in reported}
        facts |= {"what": "configuration usable", "outcome": found.reason, "resend": found.resend}
        messages = self._messages(facts, f"{_occasion(facts, float(item['at']))}/usable", channels)
        remove = self.outbox.table.remove(str(item["pk"]), "#at = :at", {"at": item["at"]})
        try:
            self.outbox.table.transact([remove, *map(self.outbox.put, messages)], deadline)
        except ConditionFailed:
            return []
        return messages

    def _messages(self, facts: Mapping[str, Any], occasion: str, channels: Sequence[str]) -> list[Message]:
        prefix = f"{facts.get('pipeline') or 'service'}/{occasion}"
        return [
            self.outbox.message(f"{prefix}/{channel}", MessageKind.NOTIFICATION, channel, facts)
            for channel in channels
        ]


RESOLVED_FACTS: Final = (
    "name",
    "pipeline",
    "source",
    "parameter",
    "fields",
    "channel",
    "error",
    "incident",
)
"""Facts of a report that its end repeats."""


def _notify(found: UnusableConfiguration, definition: ReadDefinition | None) -> Notify | None:
    """Return the ``notify`` of the pipeline, if it is about one and can be read."""
    error: Exception = found.error
    if not isinstance(error, InvalidDefinition) and found.pipeline and definition is not None:
        try:
            return definition(found.pipeline).notify
        except RefreshError as unreadable:
            error = unreadable
    return error.notify if isinstance(error, InvalidDefinition) else None


def _name(found: UnusableConfiguration) -> str:
    return f"{_owner(found)}#{found.pipeline}#{_cause(found)}"


def _owner(found: UnusableConfiguration) -> str:
    """Return the source that has the mistake; "" if its pipeline has it."""
    return "" if found.error.name in OF_PIPELINE else found.source


def _cause(found: UnusableConfiguration) -> str:
    """Return the name of an error and of its fields: the same for the same mistake."""
    cause = "-".join([found.error.name, *_fields(found)])
    return re.sub(r"[^A-Za-z0-9_.]+", "-", cause)[:MAX_CAUSE].strip("-")


def _fields(found: UnusableConfiguration) -> list[str]:
    error = found.error
    problems = getattr(error, "problems", ())
    if problems:
        return [str(problem.field) for problem in problems][:MAX_FIELDS]
    place = getattr(error, "field", "") or found.field
    index = getattr(error, "rule_index", None)
    return [place if index is None else f"rules.{index}.{place}"] if place else []


def _facts(found: UnusableConfiguration, stack: str) -> dict[str, Any]:
    error, channel = found.error, str(getattr(found.error, "channel", ""))
    about_pipeline = error.name in OF_PIPELINE
    kind, owner = ("pipelines", found.pipeline) if about_pipeline else ("sources", found.source)
    incident = ("configuration", _owner(found), found.pipeline, _cause(found))
    facts = {
        "name": found.pipeline or (f"source {found.source}" if found.source else f"stack {stack}"),
        "pipeline": found.pipeline,
        "source": found.source,
        "parameter": f"/{stack}/{kind}/{owner}" if owner else "",
        "fields": _fields(found),
        "delivery_id": found.delivery_id,
        "channel": channel,
        "error": error.name,
        "outcome": error.message if channel else str(error),
        "incident": "/".join(filter(None, incident)),
    }
    return {name: value for name, value in facts.items() if value}


def _occasion(facts: Mapping[str, Any], at: float) -> str:
    return f"{facts['incident']}/{iso(at)}"

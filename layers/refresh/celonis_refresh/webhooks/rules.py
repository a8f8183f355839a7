"""From an event to the pipelines that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from celonis_refresh.webhooks.errors import RuleError
from celonis_refresh.webhooks.events import Event
from celonis_refresh.webhooks.paths import PathError, search
from celonis_refresh.webhooks.rule_fields import (
    ALL_TABLES,
    MAX_REASON,
    MAX_TABLES,
    MODES,
    AtPath,
    Tables,
    is_tables,
)
from celonis_refresh.webhooks.senders import Sender
from celonis_refresh.webhooks.sources import Rule, Source


@dataclass(frozen=True, slots=True)
class Match:
    """One pipeline that an event starts. ``mode`` and ``tables``: None leaves it to the definition."""

    rule_index: int
    pipeline: str
    mode: Literal["FULL", "DELTA"] | None
    tables: Tables | None
    reason: str


def match(source: Source, event: Event) -> list[Match]:
    """What the event starts, in the order of the rules; several rules may match, or none.

    Raises ``RuleError`` when a rule cannot be applied: that is an error of the configuration, and an event
    that it hides must not look like one that starts nothing.
    """
    return [verdict for verdict in _verdicts(source, event) if isinstance(verdict, Match)]


def why_nothing(source: Source, event: Event) -> str:
    """Why no rule matched, rule by rule, in one sentence. Raises ``RuleError``, as ``match`` does."""
    reasons = [verdict for verdict in _verdicts(source, event) if isinstance(verdict, str)]
    what = f"event {event.name!r}" if event.name else "the event"
    return f"{what} of {source.sender} starts nothing: {'; '.join(reasons)}"


def _verdicts(source: Source, event: Event) -> Iterator[Match | str]:
    sender = source.effective()
    for index, rule in enumerate(source.rules):
        why_not = _why_not(sender, index, rule, event)
        tables = None if why_not else _tables(index, rule, event)
        if tables == ():
            why_not = "the event names no tables"
        if why_not:
            yield f"rules.{index}: {why_not}"
        else:
            mode = _mode(index, rule, event)
            yield Match(index, rule.pipeline, mode, tables, _reason(sender, index, rule, event))


def _why_not(sender: Sender, index: int, rule: Rule, event: Event) -> str | None:
    """A rule's own condition takes the place of the sender's, and of the names that it is about."""
    names = rule.events if rule.events or rule.when is not None else sender.start.events
    if names and event.name not in names:
        return f"it is about {', '.join(names)}"
    condition = sender.start.when if rule.when is None else rule.when
    holds = _found(index, "when", condition, event)
    if holds is not None and not isinstance(holds, bool):
        # Truth by shape would make the text "false" start a run.
        raise RuleError(
            index,
            "when",
            "gave neither true nor false",
            hint="Write a comparison, such as status == 'success'.",
        )
    return None if holds else "its condition does not hold"


def _mode(index: int, rule: Rule, event: Event) -> Literal["FULL", "DELTA"] | None:
    mode = _constant_or_found(index, "mode", rule.mode, event)
    if mode is not None and mode not in MODES:
        raise RuleError(index, "mode", "gave neither FULL nor DELTA nor null")
    return cast('Literal["FULL", "DELTA"] | None', mode)


def _tables(index: int, rule: Rule, event: Event) -> Tables | None:
    """More tables than a partial load takes become "all": that covers every one of them."""
    tables = _constant_or_found(index, "tables", rule.tables, event)
    if tables is None:
        return None
    if tables == ALL_TABLES:
        return ALL_TABLES
    if not is_tables(tables):
        raise RuleError(index, "tables", 'gave neither a list of texts nor "all" nor null')
    unique = tuple(dict.fromkeys(tables))
    return ALL_TABLES if len(unique) > MAX_TABLES else unique


def _reason(sender: Sender, index: int, rule: Rule, event: Event) -> str:
    reason = _constant_or_found(index, "reason", rule.reason, event)
    if not isinstance(reason, str) or not reason:
        reason = " ".join(part for part in (sender.name, event.name, event.delivery_id) if part)
    return "".join(sign if sign.isprintable() else " " for sign in reason[:MAX_REASON])


def _constant_or_found(index: int, field: str, value: object, event: Event) -> Any:
    return _found(index, field, value.path, event) if isinstance(value, AtPath) else value


def _found(index: int, field: str, path: str, event: Event) -> Any:
    try:
        return search(path, event.body)
    except PathError as error:
        raise RuleError(index, field, str(error)) from None

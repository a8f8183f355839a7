"""Rules: which pipelines an event starts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from msgspec import Struct

from celonis_refresh.webhooks.errors import RuleError
from celonis_refresh.webhooks.events import Event
from celonis_refresh.webhooks.expressions import PathError, is_true, search
from celonis_refresh.webhooks.senders import Sender
from celonis_refresh.webhooks.sources import (
    ALL_TABLES,
    MAX_REASON,
    MAX_TABLES,
    MODES,
    AtPath,
    Rule,
    Source,
    Tables,
    is_tables,
)

NO_MATCH: Final = "its condition does not hold"


class RuleMatch(Struct, frozen=True):
    """One pipeline that an event starts. ``mode`` and ``tables``: None for those of the definition."""

    rule_index: int
    pipeline: str
    mode: Literal["FULL", "DELTA"] | None
    tables: Tables | None
    reason: str


class RuleResults(Struct, frozen=True):
    """Results of all rules for an event, in the order of the rules.

    ``ignored``: why the event starts nothing, otherwise empty. ``errors``: of rules that cannot be applied;
    they do not affect other rules. ``invalid``: for each of these rules, the maximum that it could start.
    """

    event: Event
    matches: tuple[RuleMatch, ...]
    ignored: str
    errors: tuple[RuleError, ...]
    invalid: tuple[RuleMatch, ...]


def apply_rules(source: Source, event: Event) -> RuleResults:
    """Return what the event starts."""
    sender = source.effective()
    matches: list[RuleMatch] = []
    why_not: list[str] = []
    errors: list[RuleError] = []
    invalid: list[RuleMatch] = []
    for index, rule in enumerate(source.rules):
        try:
            found = _judged(sender, index, rule, event)
        except RuleError as error:
            errors.append(error)
            invalid.append(_widest(index, rule, event))
            why_not.append(error.message)
        else:
            if isinstance(found, RuleMatch):
                matches.append(found)
            else:
                why_not.append(f"rules.{index}: {found}")
    ignored = "" if matches else _why_nothing(source, event, why_not)
    return RuleResults(event, tuple(matches), ignored, tuple(errors), tuple(invalid))


def _why_nothing(source: Source, event: Event, why_not: Sequence[str]) -> str:
    """Return why no rule matches."""
    what = f"event {event.name!r}" if event.name else "the event"
    return f"{what} of {source.sender} starts nothing: {'; '.join(why_not)}"


def _judged(sender: Sender, index: int, rule: Rule, event: Event) -> RuleMatch | str:
    """Return what one rule starts, or why it starts nothing."""
    why_not = _why_not(sender, index, rule, event)
    if why_not:
        return why_not
    tables = _tables(index, rule, event)
    if tables == ():
        return "the event names no tables"
    mode = _mode(index, rule, event)
    return RuleMatch(index, rule.pipeline, mode, tables, _reason(sender, index, rule, event))


def _widest(index: int, rule: Rule, event: Event) -> RuleMatch:
    """Return the maximum that a rule with an invalid field can start."""
    mode: Literal["FULL", "DELTA"] | None = "FULL"
    tables: Tables | None = ALL_TABLES
    with contextlib.suppress(RuleError):
        mode = _mode(index, rule, event)
    with contextlib.suppress(RuleError):
        tables = _tables(index, rule, event) or None
    return RuleMatch(index, rule.pipeline, mode, tables, "")


def _why_not(sender: Sender, index: int, rule: Rule, event: Event) -> str | None:
    """Return why a rule does not match, or None. Its condition replaces that of the sender and its events."""
    names = rule.events if rule.events or rule.when is not None else sender.start.events
    if names and event.name not in names:
        return f"it is about {', '.join(names)}"
    if rule.when is None:
        return _why_not_by_default(sender, event)
    found = _found(index, "when", rule.when, event)
    if found is not None and not isinstance(found, bool):
        # Python's truth value would make the text "false" start a run.
        raise RuleError(
            index,
            "when",
            "gave neither true nor false",
            hint="Write a comparison, such as status == 'success'.",
        )
    return None if found else NO_MATCH


def _why_not_by_default(sender: Sender, event: Event) -> str | None:
    """Return why the sender's own condition does not match, or None."""
    if not isinstance(event.body, dict) or not event.body:
        return "the body is not a JSON object with fields"
    return None if is_true(sender.start.when, event.body) else NO_MATCH


def _mode(index: int, rule: Rule, event: Event) -> Literal["FULL", "DELTA"] | None:
    mode = _constant_or_found(index, "mode", rule.mode, event)
    if mode is not None and mode not in MODES:
        raise RuleError(index, "mode", "gave neither FULL nor DELTA nor null")
    return cast('Literal["FULL", "DELTA"] | None', mode)


def _tables(index: int, rule: Rule, event: Event) -> Tables | None:
    """Return the tables of a rule; "all" if there are more than a partial load can have."""
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
    return "".join(char if char.isprintable() else " " for char in reason[:MAX_REASON])


def _constant_or_found(index: int, field: str, value: object, event: Event) -> Any:
    return _found(index, field, value.path, event) if isinstance(value, AtPath) else value


def _found(index: int, field: str, path: str, event: Event) -> Any:
    try:
        return search(path, event.body)
    except PathError as error:
        raise RuleError(index, field, str(error)) from None

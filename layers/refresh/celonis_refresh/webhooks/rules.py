"""Rules: which pipelines an event starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

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

if TYPE_CHECKING:
    from celonis_refresh.webhooks.callbacks import CallbackAddress

NO_MATCH: Final = "its condition does not hold"


class RuleMatch(Struct, frozen=True):
    """One pipeline that an event starts. ``mode`` and ``tables``: None for those of the definition.

    ``callback``: where the result of the run is to be posted, if the event has an allowed address.
    """

    rule_index: int
    pipeline: str
    mode: Literal["FULL", "DELTA"] | None
    tables: Tables | None
    reason: str
    callback: CallbackAddress | None = None


class RuleResults(Struct, frozen=True):
    """Results of all rules for an event, in the order of the rules.

    ``ignored``: why the event starts nothing, otherwise empty. ``errors``: of rules that cannot be applied;
    they do not affect other rules. ``invalid``: for each of these rules, the maximum that it could start.
    ``callback_errors``: why callback addresses are refused; the rules start their pipelines all the same.
    ``why_not``: why rules start nothing, by their index.
    """

    event: Event
    matches: tuple[RuleMatch, ...]
    ignored: str
    errors: tuple[RuleError, ...]
    invalid: tuple[RuleMatch, ...]
    callback_errors: tuple[RuleError, ...] = ()
    why_not: Mapping[int, str] = {}


def apply_rules(source: Source, event: Event, *, allow_http: bool = False) -> RuleResults:
    """Return what the event starts. ``allow_http``: as for ``callbacks.address_problem``."""
    sender = source.effective()
    matches: list[RuleMatch] = []
    why_not: dict[int, str] = {}
    errors: list[RuleError] = []
    invalid: list[RuleMatch] = []
    callback_errors: list[RuleError] = []

    def with_callback(rule: Rule, match: RuleMatch) -> RuleMatch:
        return _with_callback(sender, rule, event, match, callback_errors, allow_http=allow_http)

    for index, rule in enumerate(source.rules):
        try:
            result = _apply_rule(sender, index, rule, event)
        except RuleError as error:
            errors.append(error)
            invalid.append(with_callback(rule, _widest(index, rule, event)))
            why_not[index] = error.message
        else:
            if isinstance(result, RuleMatch):
                matches.append(with_callback(rule, result))
            else:
                why_not[index] = result
    ignored = "" if matches else _why_nothing(source, event, why_not, errors)
    return RuleResults(
        event, tuple(matches), ignored, tuple(errors), tuple(invalid), tuple(callback_errors), why_not
    )


def _why_nothing(
    source: Source, event: Event, why_not: Mapping[int, str], errors: Iterable[RuleError]
) -> str:
    """Return why no rule matches. Rules are numbered from 1, as the tool shows them; errors have theirs."""
    what = f"event {event.name!r}" if event.name else "the event"
    failed = {error.rule_index for error in errors}
    reasons = [
        why if index in failed else f"rule {index + 1} ({source.rules[index].pipeline}): {why}"
        for index, why in why_not.items()
    ]
    return f"{what} of {source.sender} starts nothing: {'; '.join(reasons)}"


def _apply_rule(sender: Sender, index: int, rule: Rule, event: Event) -> RuleMatch | str:
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


def _with_callback(
    sender: Sender,
    rule: Rule,
    event: Event,
    match: RuleMatch,
    errors: list[RuleError],
    *,
    allow_http: bool,
) -> RuleMatch:
    """Return the match with the callback address of the event; add to ``errors`` why it is refused."""
    path = rule.callback.path if rule.callback is not None else sender.callback
    if not path:
        return match
    from celonis_refresh.webhooks.callbacks import CallbackAddress, address_problem  # for few sources only

    try:
        found = _search(match.rule_index, "callback", path, event)
        problem = (
            "" if found is None else address_problem(found, sender.callback_hosts, allow_http=allow_http)
        )
    except RuleError as error:
        errors.append(error)
        return match
    if problem:
        hint = "The run is not affected, and its result is not posted."
        errors.append(RuleError(match.rule_index, "callback", problem, hint=hint))
    if problem or found is None:
        return match
    return replace(match, callback=CallbackAddress(found, sender.callback_format))


def _why_not(sender: Sender, index: int, rule: Rule, event: Event) -> str | None:
    """Return why a rule does not match, or None. Its condition replaces that of the sender and its events."""
    names = rule.events if rule.events or rule.when is not None else sender.start.events
    if names and event.name not in names:
        return f"the rule is for {', '.join(names)}, the event is not"
    if rule.when is None:
        return _why_not_by_default(sender, event)
    result = _search(index, "when", rule.when, event)
    if result is not None and not isinstance(result, bool):
        # Python's truth value would make the text "false" start a run.
        raise RuleError(
            index,
            "when",
            "gave neither true nor false",
            hint="Write a comparison, such as status == 'success'.",
        )
    return None if result else NO_MATCH


def _why_not_by_default(sender: Sender, event: Event) -> str | None:
    """Return why the sender's own condition does not match, or None."""
    if not isinstance(event.body, dict) or not event.body:
        return "the body is not a JSON object with fields"
    return None if is_true(sender.start.when, event.body) else NO_MATCH


def _mode(index: int, rule: Rule, event: Event) -> Literal["FULL", "DELTA"] | None:
    mode = _value_of(index, "mode", rule.mode, event)
    if mode is not None and mode not in MODES:
        raise RuleError(index, "mode", "gave neither FULL nor DELTA nor null")
    return cast('Literal["FULL", "DELTA"] | None', mode)


def _tables(index: int, rule: Rule, event: Event) -> Tables | None:
    """Return the tables of a rule; "all" if there are more than a partial load can have."""
    tables = _value_of(index, "tables", rule.tables, event)
    if tables is None:
        return None
    if tables == ALL_TABLES:
        return ALL_TABLES
    if not is_tables(tables):
        raise RuleError(index, "tables", 'gave neither a list of texts nor "all" nor null')
    unique = tuple(dict.fromkeys(tables))
    return ALL_TABLES if len(unique) > MAX_TABLES else unique


def _reason(sender: Sender, index: int, rule: Rule, event: Event) -> str:
    reason = _value_of(index, "reason", rule.reason, event)
    if not isinstance(reason, str) or not reason:
        reason = " ".join(part for part in (sender.name, event.name, event.delivery_id) if part)
    return "".join(char if char.isprintable() else " " for char in reason[:MAX_REASON])


def _value_of(index: int, field: str, value: object, event: Event) -> Any:
    return _search(index, field, value.path, event) if isinstance(value, AtPath) else value


def _search(index: int, field: str, path: str, event: Event) -> Any:
    try:
        return search(path, event.body)
    except PathError as error:
        raise RuleError(index, field, str(error)) from None

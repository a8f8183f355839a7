"""Tries an event against the rules of a source: what it would start, and why not. Starts nothing.

The event is read, matched and checked by the code that handles webhooks; only its verification is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from celonis_refresh.runs.claims import Claim, expected_result
from celonis_refresh.runs.table import Table, slot_key
from celonis_refresh.webhooks.errors import InvalidSource, WebhookError
from celonis_refresh.webhooks.request import BodyKind, WebhookRequest
from celonis_refresh.webhooks.rules import RuleMatch, RuleResults
from celonis_refresh.webhooks.sources import Rule, Source, parse_source
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.webhook import read_verified, trigger_of

CONTENT_TYPES: Final[Mapping[BodyKind, str]] = {
    "json": "application/json",
    "list": "application/json",
    "sns": "text/plain",
    "soap": "text/xml",
}
"""Content types of requests that name none, by the body of their sender."""


class SourceTestRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /sources/{name}/test``: an event as its sender sends it.

    ``body``: JSON, or the body as text. ``source``: a definition to try instead of the stored one.
    """

    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    source: dict[str, Any] | None = None


class SourceTester(Struct, frozen=True):
    """Tries events. ``source``: reads a source by name."""

    source: Callable[[str], Source]
    acceptor: TriggerAcceptor
    table: Table

    def test(self, name: str, request: SourceTestRequest) -> dict[str, Any]:
        """Return ``{"source", "events", "reason", "errors"}``: what each rule would start, and why not.

        ``reason``: why the request starts nothing at all. ``errors``: of the definition, or of an event that
        cannot be read. Raises ``SourceNotFound``.
        """
        answer: dict[str, Any] = {"source": name, "events": [], "reason": None, "errors": []}
        try:
            source = self.source(name) if request.source is None else parse_source(name, request.source)
            received = read_verified(source, _webhook_request(source, request))
        except InvalidSource as error:
            problems = [f"{problem.field}: {problem.expected}" for problem in error.problems]
            return answer | {"errors": problems or [str(error)]}
        except WebhookError as error:
            return answer | {"errors": [str(error)]}
        if received.answer is not None:
            reason = (
                received.answer.ignored or "This is a handshake of the sender, which is answered at once."
            )
            return answer | {"reason": reason}
        return answer | {"events": [self._event(name, source, outcome) for outcome in received.outcomes]}

    def _event(self, name: str, source: Source, outcome: RuleResults) -> dict[str, Any]:
        matches = {match.rule_index: match for match in outcome.matches}
        rules = []
        for index, rule in enumerate(source.rules):
            if index in matches:
                result = self._match(name, matches[index])
            else:
                failed = any(error.rule_index == index for error in outcome.errors)
                result = _nothing("error" if failed else "nothing", outcome.why_not[index])
            rules.append(_shown_rule(index, rule) | result)
        for error in outcome.callback_errors:
            rules[error.rule_index]["reason"] += f" {error}"
        event = outcome.event
        return {"event_id": event.delivery_id, "event_name": event.name, "rules": rules}

    def _match(self, source: str, match: RuleMatch) -> dict[str, Any]:
        """Return what a rule that matches would do now."""
        claims, errors = self.acceptor.valid_claims([trigger_of(source, match)], [])
        if errors:
            return _nothing("error", str(errors[0]))
        (claim,) = claims
        slot = self.table.get(slot_key(claim.pipeline)) or {}
        action, reason = _action(claim, slot)
        options = {"mode": match.mode, "tables": _tables(match)}
        return {"starts": action != "skip", "action": action, "options": options, "reason": reason}


def _action(claim: Claim, slot: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the claim would do now, and why."""
    active = slot.get("run_id")
    match expected_result(claim, slot).status:
        case "skipped":
            return "skip", f"Skipped, because run {active} is running and the pipeline skips triggers."
        case "started":
            return "start", "It starts a run."
    if active is not None:
        return "join", f"It joins the run that follows run {active}."
    return "wait", "The pipeline is paused: the run starts when it is resumed."


def _tables(match: RuleMatch) -> Any:
    return list(match.tables) if isinstance(match.tables, tuple) else match.tables


def _nothing(action: str, reason: str) -> dict[str, Any]:
    return {"starts": False, "action": action, "options": None, "reason": reason}


def _shown_rule(index: int, rule: Rule) -> dict[str, Any]:
    when = None if rule.when is None else str(rule.when)
    return {"rule": index, "events": list(rule.events), "when": when, "pipeline": str(rule.pipeline)}


def _webhook_request(source: Source, request: SourceTestRequest) -> WebhookRequest:
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("content-type", CONTENT_TYPES[source.effective().body])
    text = request.body if isinstance(request.body, str) else json.dumps(request.body)
    return WebhookRequest(headers, request.query, text.encode(errors="surrogatepass"))

"""One request from arrival to the pipelines that it starts, in the order that keeps it safe."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from celonis_refresh.webhooks.errors import RuleError
from celonis_refresh.webhooks.events import Event, check_expected, read_events
from celonis_refresh.webhooks.handshakes import Answer, handshake, preflight
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.rules import Match, judge, why_nothing
from celonis_refresh.webhooks.schemes import Fetch, Proof, verify
from celonis_refresh.webhooks.sources import Source


class Outcome(Struct, frozen=True):
    """An event and what it starts; ``ignored`` says why when that is nothing, and is empty otherwise.

    ``errors``: of rules that cannot be applied to it.
    """

    event: Event
    matches: tuple[Match, ...]
    ignored: str = ""
    errors: tuple[RuleError, ...] = ()


class Received(Struct, frozen=True):
    """Either ``answer``, to give at once, or ``outcomes``. ``proof`` is None for a preflight only."""

    proof: Proof | None
    answer: Answer | None
    outcomes: tuple[Outcome, ...] = ()


def receive(
    source: Source,
    request: WebhookRequest,
    secrets: Sequence[str],
    now: float,
    *,
    fetch: Fetch | None = None,
) -> Received:
    """Parameters as for ``schemes.verify``.

    Raises ``NotAuthentic``, ``Malformed``, and for SNS whatever ``fetch`` raises.
    """
    sender = source.effective()
    answer = preflight(sender, request)
    if answer:
        return Received(None, answer)
    proof = verify(sender.scheme, request, secrets, now, fetch=fetch)
    events = read_events(sender, request)
    answer = handshake(sender, request, events)
    if answer:
        return Received(proof, answer)
    check_expected(events, source.expect)
    return Received(proof, None, tuple(_outcome(source, event) for event in events))


def _outcome(source: Source, event: Event) -> Outcome:
    verdict = judge(source, event)
    ignored = "" if verdict.matches else why_nothing(source, event, verdict)
    return Outcome(event, verdict.matches, ignored, verdict.errors)

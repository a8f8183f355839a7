"""One request from arrival to the pipelines that it starts, in the order that keeps it safe."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, RuleError
from celonis_refresh.webhooks.events import Answer, Event, check_expected, handshake, preflight, read_events
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.rules import Match, judge, why_nothing
from celonis_refresh.webhooks.sources import Source
from celonis_refresh.webhooks.verification import Fetch, Proof, Scheme, UrlToken, verify


class Outcome(Struct, frozen=True):
    """An event and what it starts; ``ignored`` says why when that is nothing, and is empty otherwise.

    ``errors``: of rules that cannot be applied to it; ``invalid``: for each the most that it can start.
    """

    event: Event
    matches: tuple[Match, ...]
    ignored: str = ""
    errors: tuple[RuleError, ...] = ()
    invalid: tuple[Match, ...] = ()


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
    """Parameters as for ``schemes.verify``. A preflight is proven where its address holds the token.

    Raises ``NotAuthentic``, ``Malformed`` for a preflight and for a body that is proven, and for SNS whatever
    ``fetch`` raises.
    """
    sender = source.effective()
    if not isinstance(sender.scheme, UrlToken):
        answer = preflight(sender, request)
        if answer:
            return Received(None, answer)
    proof = _proven(sender.scheme, request, secrets, now, fetch)
    answer = preflight(sender, request)
    if answer:
        return Received(proof, answer)
    events = read_events(sender, request)
    answer = handshake(sender, request, events)
    if answer:
        return Received(proof, answer)
    check_expected(events, source.expect)
    return Received(proof, None, tuple(_outcome(source, event) for event in events))


def _proven(
    scheme: Scheme, request: WebhookRequest, secrets: Sequence[str], now: float, fetch: Fetch | None
) -> Proof:
    """A proof that cannot be read proves nothing: another answer would say how a source is set up."""
    try:
        return verify(scheme, request, secrets, now, fetch=fetch)
    except Malformed as error:
        raise NotAuthentic(error.message, hint=error.hint) from None


def _outcome(source: Source, event: Event) -> Outcome:
    verdict = judge(source, event)
    ignored = "" if verdict.matches else why_nothing(source, event, verdict)
    return Outcome(event, verdict.matches, ignored, verdict.errors, verdict.invalid)

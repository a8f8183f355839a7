"""What senders ask when a subscription is made, and what they want to hear afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from celonis_refresh.webhooks.documents import Json
from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.events import Event, read_events
from celonis_refresh.webhooks.paths import holds
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.senders import Sender
from celonis_refresh.webhooks.sns_message import (
    NOTIFICATION,
    SUBSCRIPTION_CONFIRMATION,
    read_envelope,
    subscribe_url,
)

_VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"
_ORIGIN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"


class Answer(Struct, frozen=True):
    """An HTTP answer to give at once. ``confirm``: an address to GET first; only when that is answered with
    2xx may this answer be given. It holds a token, so it is not shown.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    confirm: str | None = None

    def __repr__(self) -> str:
        return f"Answer(status={self.status!r}, headers={self.headers!r}, body={self.body!r})"


def preflight(sender: Sender, request: WebhookRequest) -> Answer | None:
    """The CloudEvents question (``OPTIONS``) whether events may be sent here; None for any other request.

    The only thing answered before the request is proven: the question carries no proof where the token stands
    in a header, it starts nothing, and the answer says no more than that this sender may try.
    Raises ``Malformed`` when the origin is no host name, which must not get into our headers.
    """
    if sender.handshake != "event_grid" or request.method != "OPTIONS":
        return None
    origin = request.headers.get("webhook-request-origin", "")
    if not re.fullmatch(_ORIGIN, origin):
        raise Malformed("Header 'webhook-request-origin' holds no host name.")
    headers = {"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
    return Answer(200, headers)


def handshake(
    sender: Sender, request: WebhookRequest, events: Sequence[Event] | None = None
) -> Answer | None:
    """The answer to a request that is no event but a question; None when it is to be read as events.

    To be called after ``verify``. ``events``: those of the request, where they have been read already.
    Raises ``Malformed``, and ``NotAuthentic`` for a SubscribeURL that is not of SNS.
    """
    if sender.handshake == "sns" and (answer := _sns(request)):
        return answer
    if sender.handshake == "none" and not (sender.probes or sender.test or sender.test_header):
        return None
    found = read_events(sender, request) if events is None else events
    if len(found) != 1:
        return None  # a question comes alone; beside other events it must not hide them
    event = found[0]
    if event.name is not None and event.name in sender.probes:
        return ignored(f"{event.name} of {sender.name} only checks this address")
    body = event.body if isinstance(event.body, dict) else {}
    if _is_test(sender, request, body):
        return ignored(f"{sender.name} sent this to test or set up the connection")
    if sender.handshake == "slack" and body.get("type") == "url_verification":
        return _json(200, {"challenge": _text(body, "challenge")})
    if sender.handshake == "event_grid" and body.get("eventType") == _VALIDATION:
        return _json(200, {"validationResponse": _text(body.get("data"), "validationCode")})
    return None


def acknowledgement(sender: Sender) -> Answer | None:
    """The answer that this sender wants once its events are accepted; None where any 2xx will do."""
    if sender.body != "soap":
        return None
    from celonis_refresh.webhooks.soap import ACK  # XML, for one sender only

    return Answer(200, {"Content-Type": "text/xml; charset=utf-8"}, ACK)


def ignored(reason: str) -> Answer:
    """200 with the reason: senders switch an endpoint off that answers badly to what it should ignore."""
    return _json(200, {"status": "ignored", "reason": reason})


def _is_test(sender: Sender, request: WebhookRequest, body: Json) -> bool:
    by_header = sender.test_header and request.headers.get(sender.test_header, "").lower() == "true"
    return bool(by_header or (sender.test and holds(sender.test, body)))


def _sns(request: WebhookRequest) -> Answer | None:
    envelope = read_envelope(request.body)
    if envelope["Type"] == NOTIFICATION:
        return None
    if envelope["Type"] == SUBSCRIPTION_CONFIRMATION:
        return Answer(200, confirm=subscribe_url(envelope))
    # Its SubscribeURL would subscribe again what somebody has just ended.
    return ignored("the SNS topic was unsubscribed")


def _text(value: Json, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise Malformed(f"The handshake has no {name}.")
    return found


def _json(status: int, body: Mapping[str, str]) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body))

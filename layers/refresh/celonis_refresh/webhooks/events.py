"""The events in a verified request, and the responses to handshakes of senders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, TooLarge
from celonis_refresh.webhooks.expressions import PathError, is_true, search
from celonis_refresh.webhooks.request import Json, WebhookRequest, check_media_type, parse_json, read_form
from celonis_refresh.webhooks.senders import Location, Sender
from celonis_refresh.webhooks.sns_message import (
    NOTIFICATION,
    SIGNED_KEYS,
    SUBSCRIPTION_CONFIRMATION,
    read_envelope,
    subscribe_url,
)
from celonis_refresh.webhooks.verification import to_bytes

MAX_EVENTS: Final = 200
"""Events in one request that can be accepted while a sender waits. Salesforce sends 100."""
MAX_ID: Final = 256


class Event(Struct, frozen=True):
    """One event of a webhook.

    ``delivery_id``: stays the same if the sender repeats the event; None if the sender has none. ``name``:
    the type of the event as the sender names it. ``body`` is not part of the ``repr``, because it may contain
    a token. ``digest``: of the body, if only the body distinguishes deliveries and it identifies the sender's
    run.
    """

    delivery_id: str | None
    name: str | None
    body: Json
    digest: str | None = None

    def __repr__(self) -> str:
        return f"Event(delivery_id={self.delivery_id!r}, name={self.name!r}, digest={self.digest!r})"


def read_events(sender: Sender, request: WebhookRequest) -> list[Event]:
    """Return the events of a verified request. Raises ``Malformed``."""
    return [_event(sender, request, body) for body in _bodies(sender, request)]


def check_expected(events: Iterable[Event], expect: Mapping[str, str | int]) -> None:
    """Check that every event has these values in its top-level fields, as ``{"OrganizationId": "00D…"}``.

    Raises ``NotAuthentic``: this completes the verification of a sender that signs nothing.
    """
    for event in events:
        fields = event.body if isinstance(event.body, dict) else {}
        for name, value in expect.items():
            if fields.get(name) != value or isinstance(fields.get(name), bool):
                raise NotAuthentic(
                    f"The field {name!r} of the event does not have the value that is expected."
                )


def _bodies(sender: Sender, request: WebhookRequest) -> list[Json]:
    check_media_type(sender.body, request)
    if sender.body == "soap":
        from celonis_refresh.webhooks.soap import read_notifications  # XML, for one sender only

        return _bounded(read_notifications(request.body))
    if sender.body == "sns":
        return [_sns_body(request)]
    form = read_form(request)
    if form is not None:
        # GitHub, and Slack's interactive messages, send their JSON in one field of a form.
        return [parse_json(form["payload"]) if "payload" in form else dict(form)]
    document = parse_json(request.body)
    if sender.body == "list" and isinstance(document, list):
        return _bounded(document)
    return [document]


def _sns_body(request: WebhookRequest) -> Json:
    """Return the signed keys without the token; ``Message`` is parsed if it is valid JSON, else text."""
    envelope = read_envelope(request.body)
    body: dict[str, Json] = {key: envelope[key] for key in SIGNED_KEYS[envelope["Type"]] if key in envelope}
    body.pop("Token", None)
    body.pop("SubscribeURL", None)
    try:
        body["Message"] = parse_json(envelope["Message"])
    except Malformed:
        body["Message"] = envelope["Message"]
    return body


def _bounded(bodies: list[Json]) -> list[Json]:
    if len(bodies) > MAX_EVENTS:
        raise TooLarge(
            f"The request holds more than {MAX_EVENTS} events.",
            hint="Configure the sender to send fewer at a time.",
        )
    return bodies


def _event(sender: Sender, request: WebhookRequest, body: Json) -> Event:
    identity = _all_of(sender.delivery_id, request, body)
    name = _value(sender.event_name, request, body) if sender.event_name else None
    return Event(
        delivery_id=_short(":".join(identity)) if identity else None,
        name=name[:MAX_ID] if name else None,
        body=body,
        digest=sha256(request.body).hexdigest() if _all_of(sender.run, request, body) else None,
    )


def _all_of(places: Sequence[Location], request: WebhookRequest, body: Json) -> list[str]:
    """Return the values at all locations; empty if one is missing."""
    values = [value for place in places if (value := _value(place, request, body)) is not None]
    return values if len(values) == len(places) else []


def _value(place: Location, request: WebhookRequest, body: Json) -> str | None:
    value = _at_path(place.path, body) if place.path else None
    if value is None and place.header:
        return request.headers.get(place.header) or None
    return value


def _at_path(path: str, body: Json) -> str | None:
    try:
        value = search(path, body)
    except PathError:
        return None  # the body has another shape, as if the field were missing
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _short(text: str) -> str:
    """Return the text, or its hash if it is too long for a key of the table."""
    return text if len(text) <= MAX_ID else f"sha256:{sha256(to_bytes(text)).hexdigest()}"


_VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"
_ORIGIN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"


class HandshakeResponse(Struct, frozen=True):
    """An HTTP response to be returned at once.

    ``confirm``: an address that must answer a GET with 2xx before this response may be returned. It has a
    token and is not part of the ``repr``. ``ignored``: why the request starts nothing, if it is a test of the
    sender; otherwise empty.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    confirm: str | None = None
    ignored: str = ""

    def __repr__(self) -> str:
        return f"Answer(status={self.status!r}, headers={self.headers!r}, body={self.body!r})"


def preflight(sender: Sender, request: WebhookRequest) -> HandshakeResponse | None:
    """Return the response to the OPTIONS request of CloudEvents; None for any other request.

    It is the only response before the request is verified: the request has no signature or token, starts
    nothing, and the response only says that this sender may send events. Raises ``Malformed`` if the origin
    is not a host name, because it becomes a response header.
    """
    if sender.handshake != "event_grid" or request.method != "OPTIONS":
        return None
    origin = request.headers.get("webhook-request-origin", "")
    if not re.fullmatch(_ORIGIN, origin):
        raise Malformed("Header 'webhook-request-origin' holds no host name.")
    headers = {"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
    return HandshakeResponse(200, headers)


def handshake(
    sender: Sender, request: WebhookRequest, events: Sequence[Event] | None = None
) -> HandshakeResponse | None:
    """Return the response to a request that tests or sets up the endpoint; None if it has events.

    Call it after ``verify``. ``events``: of the request, if they have been read. Raises ``Malformed``, and
    ``NotAuthentic`` for a SubscribeURL outside of SNS.
    """
    if sender.handshake == "sns" and (answer := _sns(request)):
        return answer
    if sender.handshake == "none" and not (sender.probes or sender.test or sender.test_header):
        return None
    parsed = read_events(sender, request) if events is None else events
    if len(parsed) != 1:
        return None  # a handshake is a single event; it must not hide others
    event = parsed[0]
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


def acknowledgement(sender: Sender) -> HandshakeResponse | None:
    """Return the response that this sender requires for accepted events; None if any 2xx will do."""
    if sender.body != "soap":
        return None
    from celonis_refresh.webhooks.soap import ACK  # XML, for one sender only

    return HandshakeResponse(200, {"Content-Type": "text/xml; charset=utf-8"}, ACK)


def ignored(reason: str) -> HandshakeResponse:
    """Return 200 with the reason, because senders disable endpoints that answer with errors."""
    return replace(_json(200, {"status": "ignored", "reason": reason}), ignored=reason)


def _is_test(sender: Sender, request: WebhookRequest, body: Json) -> bool:
    by_header = sender.test_header and request.headers.get(sender.test_header, "").lower() == "true"
    return bool(by_header or (sender.test and is_true(sender.test, body)))


def _sns(request: WebhookRequest) -> HandshakeResponse | None:
    envelope = read_envelope(request.body)
    if envelope["Type"] == NOTIFICATION:
        return None
    if envelope["Type"] == SUBSCRIPTION_CONFIRMATION:
        return HandshakeResponse(200, confirm=subscribe_url(envelope))
    # Its SubscribeURL would undo the unsubscription.
    return ignored("the SNS topic was unsubscribed")


def _text(value: Json, name: str) -> str:
    text = value.get(name) if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise Malformed(f"The handshake has no {name}.")
    return text


def _json(status: int, body: Mapping[str, str]) -> HandshakeResponse:
    return HandshakeResponse(status, {"Content-Type": "application/json"}, json.dumps(body))

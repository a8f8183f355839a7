"""The events in a request that has been verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct

from celonis_refresh.webhooks.documents import Json, parse_json, read_form
from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, TooLarge
from celonis_refresh.webhooks.media_types import check_media_type
from celonis_refresh.webhooks.paths import PathError, search
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.schemes.proofs import octets
from celonis_refresh.webhooks.senders import Place, Sender
from celonis_refresh.webhooks.sns_message import SIGNED_KEYS, read_envelope

MAX_EVENTS: Final = 200
"""Events in one request: what is accepted at once in the time that a sender waits. Salesforce sends 100."""
MAX_ID: Final = 256


class Event(Struct, frozen=True):
    """``delivery_id``: the same when the sender sends it again; None where the sender has none.
    ``name``: what happened, in the sender's words. ``body`` is not shown: it may carry a sender's token.
    ``digest``: of the bytes that came, where those name the sender's own run and nothing else under the
    signature tells one delivery from another.
    """

    delivery_id: str | None
    name: str | None
    body: Json
    digest: str | None = None

    def __repr__(self) -> str:
        return f"Event(delivery_id={self.delivery_id!r}, name={self.name!r}, digest={self.digest!r})"


def read_events(sender: Sender, request: WebhookRequest) -> list[Event]:
    """All events of a request; most senders send one. To be called after ``verify``, never before.

    Raises ``Malformed``.
    """
    return [_event(sender, request, body) for body in _bodies(sender, request)]


def read_event(sender: Sender, request: WebhookRequest) -> Event:
    """The event of a request that holds exactly one. Raises ``Malformed``."""
    events = read_events(sender, request)
    if len(events) != 1:
        raise Malformed(f"The request holds {len(events)} events; expected one.")
    return events[0]


def check_expected(events: Iterable[Event], expect: Mapping[str, str | int]) -> None:
    """Fields at the top of every body must have these values: ``{"OrganizationId": "00D…"}``.

    Raises ``NotAuthentic``: for a sender that signs nothing, this is the second half of the proof.
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
        # GitHub, and Slack's interactive messages, wrap their JSON in one field of a form.
        return [parse_json(form["payload"]) if "payload" in form else dict(form)]
    document = parse_json(request.body)
    if sender.body == "list" and isinstance(document, list):
        return _bounded(document)
    return [document]


def _sns_body(request: WebhookRequest) -> Json:
    """The keys under the signature (without the token that confirms), ``Message`` read where it is JSON.

    A message is free text for SNS: what is no JSON, or none within the bounds, stays text.
    """
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


def _all_of(places: Sequence[Place], request: WebhookRequest, body: Json) -> list[str]:
    """The values of all places; empty if one of them is missing."""
    found = [value for place in places if (value := _value(place, request, body)) is not None]
    return found if len(found) == len(places) else []


def _value(place: Place, request: WebhookRequest, body: Json) -> str | None:
    found = _at_path(place.path, body) if place.path else None
    if found is None and place.header:
        return request.headers.get(place.header) or None
    return found


def _at_path(path: str, body: Json) -> str | None:
    try:
        found = search(path, body)
    except PathError:
        return None  # the body is of another shape; the same as a field that is not there
    if isinstance(found, str):
        return found or None
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else None


def _short(text: str) -> str:
    """A delivery id becomes a key of the table, whose length is limited: a long one becomes its hash."""
    return text if len(text) <= MAX_ID else f"sha256:{sha256(octets(text)).hexdigest()}"

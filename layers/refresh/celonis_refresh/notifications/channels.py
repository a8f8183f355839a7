"""Channels: where notifications are sent, and their secrets.

``topic`` and ``amazon-q`` are the SNS topic of the stack. Every other channel is a secret
``{stack}/channels/{name}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.errors import Problem, RefreshError
from celonis_refresh.notifications import payloads
from celonis_refresh.notifications.http import HttpPost, is_success
from celonis_refresh.notifications.incidents import Incidents
from celonis_refresh.notifications.messages import TOPIC, Notification, Place, open_again, render
from celonis_refresh.notifications.outbox import Message, NotSent, Undeliverable
from celonis_refresh.timing import Clock, Deadline, epoch
from celonis_refresh.validation.convert import InvalidField, convert
from celonis_refresh.webhooks.verification import WHSEC, key_of

AMAZON_Q: Final = "amazon-q"
"""The channel that publishes to the topic what Amazon Q Developer in chat applications displays."""
MAX_URL: Final = 2048
LATE_SECONDS: Final = 10.0
"""Age from which a notification may no longer be true: it is compared with the state of its pipeline."""
MAX_POSTS: Final = 3
"""Posts to a channel with state, until the last one agrees with the state of the pipeline."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ChannelUnusable(RefreshError):
    """A channel does not exist, or its secret cannot be used.

    ``channel``, ``problem``, ``field``: the field of a definition that names it, if known.
    """

    def __init__(self, channel: str, problem: str, *, field: str = "") -> None:
        self.channel, self.problem, self.field = channel, problem, field
        super().__init__(
            f"Channel {channel!r} cannot be used: {problem}.",
            hint=f"Enter its secret (refresh secret channel {channel}), or correct the name of the channel.",
        )


class _Address(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every secret of a channel may have.

    ``allow_http``: for a receiver on the same machine, such as that of the local stack. ``has_state``: the
    receiver opens and resolves incidents.
    """

    has_state: ClassVar[bool] = False
    url: str
    allow_http: bool = False

    def __post_init__(self) -> None:
        if not _is_usable(self.url, allow_http=self.allow_http):
            raise InvalidField("expected an https:// address without user name and password", "url")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # the address is a secret

    def headers(self, message: Message, body: bytes, now: float) -> dict[str, str]:  # noqa: ARG002
        """Return further headers of a request."""
        return {}


class SlackChannel(_Address, frozen=True, kw_only=True):
    """An incoming webhook of Slack."""

    type: Literal["slack"]

    def body(self, notification: Notification) -> bytes:
        return payloads.to_body(payloads.slack(notification))


class TeamsChannel(_Address, frozen=True, kw_only=True):
    """A workflow of Microsoft Teams that a webhook starts."""

    type: Literal["teams"]

    def body(self, notification: Notification) -> bytes:
        return payloads.to_body(payloads.teams(notification))


class PagerDutyChannel(_Address, frozen=True, kw_only=True):
    """A service of PagerDuty: its integration of the type Events API v2."""

    has_state: ClassVar[bool] = True
    type: Literal["pagerduty"]
    routing_key: str
    url: str = "https://events.pagerduty.com/v2/enqueue"

    def __post_init__(self) -> None:
        if not (self.routing_key.isascii() and self.routing_key.isalnum()):
            raise InvalidField("expected the integration key", "routing_key")
        super().__post_init__()

    def body(self, notification: Notification) -> bytes:
        return payloads.to_body(payloads.pagerduty(notification, self.routing_key))


class WebhookChannel(_Address, frozen=True, kw_only=True):
    """Any receiver that verifies Standard Webhooks."""

    type: Literal["webhook"]
    secret: str

    def __post_init__(self) -> None:
        if not self.secret.strip().startswith(WHSEC) or not key_of(payloads.SIGNATURE, self.secret):
            raise InvalidField(f"expected {WHSEC} and then base64", "secret")
        super().__post_init__()

    def body(self, notification: Notification) -> bytes:
        return payloads.to_body(payloads.webhook(notification))

    def headers(self, message: Message, body: bytes, now: float) -> dict[str, str]:
        return payloads.signed_headers(self.secret, message.message_id, int(now), body)


Channel = SlackChannel | TeamsChannel | PagerDutyChannel | WebhookChannel
"""``body`` returns what is posted to ``url``."""

TYPES: Final[Mapping[str, type[Any]]] = {
    "slack": SlackChannel,
    "teams": TeamsChannel,
    "pagerduty": PagerDutyChannel,
    "webhook": WebhookChannel,
}


def parse_channel(name: str, document: Mapping[str, Any]) -> Channel:
    """Return the channel in a secret. Raises ``ChannelUnusable`` with all problems, without values."""
    kind = document.get("type")
    model = TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ChannelUnusable(name, f"type: expected one of {', '.join(TYPES)}")
    channel: Channel = convert(model, document, partial(_unusable, name))
    return channel


def _unusable(name: str, problems: Sequence[Problem]) -> ChannelUnusable:
    return ChannelUnusable(name, "; ".join(f"{field}: {expected}" for field, expected in problems))


def _is_usable(url: str, *, allow_http: bool) -> bool:
    """Return whether notifications may be sent to an address."""
    try:
        parts = urlsplit(url)
        host, has_port = parts.hostname, parts.port != 0
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL
    if not (host and has_port and is_plain) or "@" in parts.netloc or "#" in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and allow_http and host in LOOPBACK)


PublishText = Callable[[Message, str, str, Mapping[str, str]], None]
"""Publishes a message to the topic: title, text and attributes. Raises ``NotSent``."""


class NotificationSender(Struct, frozen=True):
    """Sends a notification to the channel that its message names.

    ``channel``: reads a channel by name; raises ``ChannelUnusable``, or another ``RefreshError`` if it cannot
    be read now.

    A message may be sent after a later one of the same incident. A channel with state therefore receives what
    is true when the message is sent; in other channels, the notification says that it is late.
    """

    publish: PublishText
    channel: Callable[[str], Channel]
    post: HttpPost
    place: Place
    clock: Clock
    incidents: Incidents

    def __call__(self, message: Message, deadline: Deadline) -> None:
        """Raises ``NotSent``, ``Undeliverable``."""
        notification = render(message, self.place, is_late=self._is_late(message))
        if message.target == TOPIC:
            self.publish(message, notification.title, notification.text, _attributes(notification))
        elif message.target == AMAZON_Q:
            text = payloads.to_body(payloads.amazon_q(notification)).decode()
            attributes = {**_attributes(notification), "format": "amazon_q"}
            self.publish(message, notification.title, text, attributes)
        else:
            self._send(message, notification, deadline)

    def _is_late(self, message: Message) -> bool:
        """Return whether the state of the pipeline has changed since the message was put."""
        if self.clock() - epoch(message.created_at) < LATE_SECONDS:
            return False
        is_open = self._is_open(message)
        return is_open is not None and is_open != render(message, self.place).opens

    def _is_open(self, message: Message) -> bool | None:
        try:
            return self.incidents.is_open(message.facts)
        except RefreshError as error:
            raise NotSent(message, str(error)) from None

    def _send(self, message: Message, notification: Notification, deadline: Deadline) -> None:
        try:
            channel = self.channel(message.target)
        except ChannelUnusable as error:
            self._publish_instead(message, notification, error)
            raise Undeliverable(message, str(error)) from None
        except RefreshError as error:
            raise NotSent(message, str(error)) from None
        if channel.has_state:
            self._send_state(channel, message, notification, deadline)
        else:
            self._post(channel, message, notification, deadline)

    def _send_state(
        self, channel: Channel, message: Message, notification: Notification, deadline: Deadline
    ) -> None:
        """Open or resolve the incident, as the state of the pipeline is now.

        The state is read before and after each post: another function may send a later message. A
        resolution is not sent while the incident is open again, because a later message opens it.
        """
        posted: bool | None = None
        for _ in range(MAX_POSTS):
            is_open = self._is_open(message)
            opens = notification.opens if is_open is None else is_open
            if posted is opens or (posted is None and opens and not notification.opens):
                return
            shown = open_again(notification) if opens and not notification.opens else notification
            self._post(channel, message, replace(shown, opens=opens), deadline)
            posted = opens
        if self._is_open(message) not in (None, posted):
            raise NotSent(message, "the state of the pipeline kept changing")

    def _post(
        self, channel: Channel, message: Message, notification: Notification, deadline: Deadline
    ) -> None:
        body = channel.body(notification)
        headers = channel.headers(message, body, self.clock())
        status = self.post(message, channel.url, body, headers, deadline)
        if not is_success(status):
            raise NotSent(message, f"the answer has status {status}")

    def _publish_instead(self, message: Message, notification: Notification, error: ChannelUnusable) -> None:
        """Publish a notification to the topic, because its channel cannot be used."""
        title = f"{notification.title} (channel {error.channel} cannot be used)"
        text = f"{error}\n\nThe notification was:\n\n{notification.text}"
        self.publish(message, title, text, _attributes(notification))


def _attributes(notification: Notification) -> dict[str, str]:
    """Return the attributes by which subscriptions of the topic can filter."""
    facts = notification.facts
    found = {
        "notification_id": notification.message_id,
        "what": str(facts.get("what", "")),
        "severity": notification.severity,
        "pipeline": str(facts.get("pipeline") or ""),
    }
    return {name: value for name, value in found.items() if value}

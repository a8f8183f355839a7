"""Channels: their secrets, one request for each notification, and no secret in any error."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from celonis_refresh.celonis.transport import make_session
from celonis_refresh.notifications.channels import (
    Channel,
    ChannelUnusable,
    NotificationSender,
    parse_channel,
)
from celonis_refresh.notifications.http import HttpPost
from celonis_refresh.notifications.incidents import Incidents
from celonis_refresh.notifications.outbox import Message, MessageKind, NotSent, Undeliverable
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import Table, slot_key
from celonis_refresh.timing import Deadline, iso
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.verification import Hmac
from local.receiver import Behaviour, Receiver, receiver
from tests.fakes.clock import START, FakeClock
from tests.fakes.signing import sign
from tests.unit.notifications.test_messages import FACTS, PLACE

pytestmark = pytest.mark.enable_socket
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET_PATH = "hidden-path"


@pytest.fixture(scope="module")
def target() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def message_to(name: str) -> Message:
    return Message(f"otc-1/ended/{name}", MessageKind.NOTIFICATION, name, FACTS, iso(START))


RECOVERED = {**FACTS, "what": "recovered", "status": "SUCCEEDED"}
Published = list[tuple[str, str, Mapping[str, str]]]


@pytest.fixture
def published() -> Published:
    return []


@pytest.fixture
def documents(target: Receiver) -> dict[str, Any]:
    local = {"url": f"{target.url}/{SECRET_PATH}", "allow_http": True}
    return {
        "chat": {"type": "slack", **local},
        "team": {"type": "teams", **local},
        "pager": {"type": "pagerduty", "routing_key": "R0123", **local},
        "hook": {"type": "webhook", "secret": SECRET, **local},
        "gone": {"type": "slack", "url": f"http://127.0.0.1:9/{SECRET_PATH}", "allow_http": True},
    }


@pytest.fixture
def sender(published: Published, documents: dict[str, Any], table: Table) -> NotificationSender:
    def publish(message: Message, title: str, text: str, attributes: Mapping[str, str]) -> None:
        published.append((title, text, attributes))

    def channel(name: str) -> Channel:
        if name == "busy":
            raise TableBusy("throttled")
        if name not in documents:
            raise ChannelUnusable(name, "the secret does not exist")
        return parse_channel(name, documents[name])

    write_incident(table, "failed")
    post, clock = HttpPost(make_session()), FakeClock()
    return NotificationSender(publish, channel, post, PLACE, clock, Incidents(table))


def write_incident(table: Table, what: str = "") -> None:
    """The pipeline of ``FACTS`` fails, or is healthy again."""
    slot = {"pk": slot_key("otc"), "incident": {"what": what} if what else {}}
    table.transact([table.put(slot)], wall())


def wall(seconds: float = 30.0) -> Deadline:
    return Deadline.after(seconds, time.time)


@pytest.mark.parametrize("name", ["chat", "team", "pager", "hook"])
def test_a_notification_is_one_request(sender: NotificationSender, target: Receiver, name: str) -> None:
    before = len(target.requests(SECRET_PATH))
    sender(message_to(name), wall())
    (request,) = target.requests(SECRET_PATH)[before:]
    assert request.headers["content-type"] == "application/json"
    assert "no space left" in request.body.decode()


def test_the_receiver_verifies_the_signature(sender: NotificationSender, target: Receiver) -> None:
    sender(message_to("hook"), wall())
    request = target.requests(SECRET_PATH)[-1]
    scheme = SENDERS["standard_webhooks"].scheme
    assert isinstance(scheme, Hmac)
    expected = sign(scheme, SECRET, request.body, message_id="otc-1/ended/hook", timestamp=int(START))
    assert {name: request.headers[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("500", "status 500"),
        ("429", "status 429"),
        ("404", "status 404"),
        ("redirect", "status 302"),
        ("close", "no answer"),
        ("close after", "no answer"),
        ("slow", "no answer within 1 s"),
        ("drip", "no answer within 1 s"),
    ],
)
def test_anything_but_success_is_sent_again_later(
    sender: NotificationSender,
    target: Receiver,
    behaviour: Behaviour,
    reason: str,
) -> None:
    sender = replace(sender, post=HttpPost(make_session(), seconds=1.0))
    target.behave(SECRET_PATH, behaviour)
    began = time.monotonic()
    with pytest.raises(NotSent, match=reason) as caught:
        sender(message_to("chat"), wall())
    assert not isinstance(caught.value, Undeliverable)
    assert time.monotonic() - began < 5.0
    assert SECRET_PATH not in str(caught.value)
    assert caught.value.__cause__ is None
    assert target.requests("redirected") == []


def test_a_server_that_is_not_there_is_tried_again_later(sender: NotificationSender) -> None:
    with pytest.raises(NotSent, match="no answer") as caught:
        sender(message_to("gone"), wall())
    assert SECRET_PATH not in str(caught.value)


def test_without_time_nothing_is_sent(sender: NotificationSender, target: Receiver) -> None:
    before = len(target.requests(SECRET_PATH))
    with pytest.raises(NotSent, match="no time"):
        sender(message_to("chat"), wall(0.5))
    assert len(target.requests(SECRET_PATH)) == before


def test_a_channel_that_does_not_exist_is_reported_on_the_topic(
    sender: NotificationSender, published: Published
) -> None:
    with pytest.raises(Undeliverable):
        sender(message_to("typo"), wall())
    ((title, text, _),) = published
    assert title == "otc: FAILED (celonis-refresh) (channel typo cannot be used)"
    assert "the secret does not exist" in text
    assert "no space left" in text


def test_a_channel_that_cannot_be_read_now_is_tried_again_later(
    sender: NotificationSender, published: Published
) -> None:
    with pytest.raises(NotSent) as caught:
        sender(message_to("busy"), wall())
    assert not isinstance(caught.value, Undeliverable)
    assert published == []


def test_the_topic_takes_plain_text_and_what_amazon_q_displays(
    sender: NotificationSender, published: Published
) -> None:
    sender(message_to("topic"), wall())
    sender(message_to("amazon-q"), wall())
    (_, text, attributes), (_, for_q, attributes_for_q) = published
    assert text.startswith("Run otc-1 of pipeline otc failed.")
    assert attributes == {
        "notification_id": "otc-1/ended/topic",
        "what": "failed",
        "severity": "error",
        "pipeline": "otc",
    }
    assert '"source":"custom"' in for_q
    assert attributes_for_q["format"] == "amazon_q"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "type"),
        ({"type": "fax"}, "type"),
        ({"type": ["slack"]}, "type"),
        ({"type": "slack"}, "url: is required"),
        ({"type": "slack", "url": 3}, "url: expected a text"),
        ({"type": "slack", "url": "http://hooks.slack.com/hidden"}, "url: expected an https"),
        ({"type": "slack", "url": "http://hooks.slack.com/hidden", "allow_http": True}, "url"),
        ({"type": "slack", "url": "https://user:hidden@hooks.slack.com/"}, "url"),
        ({"type": "slack", "url": "https://hooks.slack.com/hidden", "channel": "#x"}, "channel"),
        ({"type": "slack", "url": "ftp://hooks.slack.com/hidden"}, "url"),
        ({"type": "slack", "url": "https:///hidden"}, "url"),
        ({"type": "slack", "url": "https://[hidden"}, "url"),
        ({"type": "slack", "url": "https://a.example/hid den"}, "url"),
        ({"type": "pagerduty", "routing_key": "hid den"}, "routing_key"),
        ({"type": "webhook", "url": "https://a.example/hidden"}, "secret: is required"),
        ({"type": "webhook", "url": "https://a.example/", "secret": "whsec_"}, "secret: expected whsec_"),
    ],
)
def test_a_secret_that_is_not_valid_names_the_field_and_no_value(
    document: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ChannelUnusable, match=problem) as caught:
        parse_channel("chat", document)
    assert "hidden" not in str(caught.value)


def test_a_channel_shows_no_address() -> None:
    channel = parse_channel("chat", {"type": "slack", "url": "https://hooks.slack.com/hidden"})
    assert "hidden" not in repr(channel)
    assert "hidden" not in str(channel)


def late(message: Message) -> Message:
    """The message, put a minute ago."""
    return replace(message, created_at=iso(START - 60))


@pytest.mark.parametrize("name", ["topic", "chat", "team", "hook"])
def test_a_failure_that_is_sent_after_the_recovery_says_so(
    sender: NotificationSender, target: Receiver, table: Table, published: Published, name: str
) -> None:
    write_incident(table)
    sender(late(message_to(name)), wall())
    text = published[-1][1] if name == "topic" else target.requests(SECRET_PATH)[-1].body.decode()
    assert "Sent late: the pipeline has recovered since." in text
    assert "retry otc-1" not in text
    assert "Nothing." in text
    if name == "hook":
        assert json.loads(text)["data"]["late"] is True


def test_a_late_notification_that_is_still_true_reads_as_ever(
    sender: NotificationSender, published: Published
) -> None:
    sender(late(message_to("topic")), wall())
    assert "late" not in published[-1][0] + published[-1][1]


def test_a_recovery_that_is_sent_after_the_next_failure_says_so(
    sender: NotificationSender, published: Published
) -> None:
    recovered = Message("otc-0/ended/topic", MessageKind.NOTIFICATION, "topic", RECOVERED, iso(START - 60))
    sender(recovered, wall())
    assert "Sent late: the pipeline has failed again since." in published[-1][1]
    assert "show otc\n" in published[-1][1]


def test_what_cannot_be_compared_with_the_state_is_sent_again_later(
    sender: NotificationSender, table: Table, target: Receiver
) -> None:
    class BusyTable:
        def get(self, pk: str) -> None:
            raise TableBusy("throttled")

    sender = replace(sender, incidents=Incidents(BusyTable()))  # type: ignore[arg-type]
    before = len(target.requests(SECRET_PATH))
    with pytest.raises(NotSent, match="throttled"):
        sender(message_to("pager"), wall())
    assert len(target.requests(SECRET_PATH)) == before


def test_pagerduty_gets_a_resolution_for_a_failure_that_is_over(
    sender: NotificationSender, table: Table, target: Receiver
) -> None:
    write_incident(table)
    sender(message_to("pager"), wall())
    assert json.loads(target.requests(SECRET_PATH)[-1].body)["event_action"] == "resolve"


def test_pagerduty_gets_no_resolution_while_the_pipeline_fails(
    sender: NotificationSender, target: Receiver
) -> None:
    before = len(target.requests(SECRET_PATH))
    recovered = Message("otc-0/ended/pager", MessageKind.NOTIFICATION, "pager", RECOVERED, iso(START))
    sender(recovered, wall())
    assert len(target.requests(SECRET_PATH)) == before

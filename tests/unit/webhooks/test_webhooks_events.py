from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, TooLarge
from celonis_refresh.webhooks.events import MAX_EVENTS, MAX_ID, Event, check_expected, read_events
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.senders import SENDERS, Location, Sender
from celonis_refresh.webhooks.soap import MAX_ELEMENTS, read_notifications
from tests.unit.webhooks.sns_messages import body as sns_body

FORM = {"content-type": "application/x-www-form-urlencoded"}


def request(body: Any, headers: dict[str, str] | None = None) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest(headers or {}, {}, raw)


def read_event(sender: Sender, request: WebhookRequest) -> Event:
    (event,) = read_events(sender, request)
    return event


def test_a_header_and_the_body_name_the_event() -> None:
    headers = {"x-github-delivery": "d-1", "x-github-event": "push"}
    assert read_events(SENDERS["github"], request({"ref": "x"}, headers)) == [
        Event("d-1", "push", {"ref": "x"})
    ]


def test_github_wraps_its_json_in_a_form() -> None:
    form = urlencode({"payload": json.dumps({"action": "completed"})}).encode()
    assert read_event(SENDERS["github"], request(form, FORM)).body == {"action": "completed"}


def test_a_form_without_payload_is_its_fields() -> None:
    form = urlencode({"command": "/refresh", "text": ""}).encode()
    assert read_event(SENDERS["slack"], request(form, FORM)).body == {"command": "/refresh", "text": ""}


def test_a_form_whose_payload_is_no_json_is_malformed() -> None:
    with pytest.raises(Malformed):
        read_events(SENDERS["github"], request(b"payload=no", FORM))


@pytest.mark.parametrize(
    "body",
    [{}, {"connector_id": "c", "sync_id": None, "event": "e"}, {"connector_id": "c"}, [], "x", 7, None],
)
def test_an_id_of_which_a_part_is_missing_is_none(body: Any) -> None:
    assert read_event(SENDERS["fivetran"], request(body)).delivery_id is None


@pytest.mark.parametrize(
    ("value", "expected"), [(7, "7"), ("7", "7"), (True, None), (7.5, None), ("", None), ([7], None)]
)
def test_an_id_is_text_or_a_whole_number(value: Any, expected: str | None) -> None:
    assert read_event(SENDERS["stripe"], request({"id": value})).delivery_id == expected


def test_a_long_id_becomes_its_hash_and_stays_the_same() -> None:
    long = "x" * (MAX_ID + 1)
    one, again, other = (
        read_event(SENDERS["stripe"], request({"id": text})) for text in (long, long, long + "y")
    )
    assert one.delivery_id == again.delivery_id != other.delivery_id
    assert one.delivery_id is not None
    assert one.delivery_id.startswith("sha256:")
    assert len(one.delivery_id) < MAX_ID


def test_a_place_that_cannot_be_applied_finds_nothing() -> None:
    sender = replace(SENDERS["custom"], event_name=Location(path="join(',', names)"))
    assert read_event(sender, request({"names": 1})).name is None


def test_event_grid_sends_many_events_in_one_request() -> None:
    events = read_events(SENDERS["azure_event_grid"], request([{"id": "1", "eventType": "a"}, {"id": "2"}]))
    assert [(event.delivery_id, event.name) for event in events] == [("1", "a"), ("2", None)]


def test_event_grid_sends_one_cloud_event_without_a_list() -> None:
    (event,) = read_events(SENDERS["azure_event_grid"], request({"id": "1", "type": "com.acme.done"}))
    assert (event.delivery_id, event.name) == ("1", "com.acme.done")


def test_a_list_is_one_event_for_who_sends_no_lists() -> None:
    assert read_event(SENDERS["custom"], request([1, 2])).body == [1, 2]


def test_refuses_more_events_than_any_sender_sends() -> None:
    assert len(read_events(SENDERS["azure_event_grid"], request([0] * MAX_EVENTS))) == MAX_EVENTS
    with pytest.raises(TooLarge, match="more than"):
        read_events(SENDERS["azure_event_grid"], request([0] * (MAX_EVENTS + 1)))


@pytest.mark.parametrize("name", SENDERS)
@pytest.mark.parametrize("raw", [b"", b"\xff", b"[" * 10**5, b"<a>"])
def test_every_sender_refuses_what_cannot_be_read(name: str, raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_events(SENDERS[name], request(raw))


def test_the_json_in_an_sns_message_is_read() -> None:
    event = read_event(SENDERS["snowflake"], request(sns_body(Subject="done")))
    assert event.delivery_id == "m-1"
    assert isinstance(event.body, dict)
    assert event.body["Message"] == {"rootTaskName": "DB.S.LOAD"}
    assert set(event.body) == {"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}


@pytest.mark.parametrize("text", ["hello", '{"a": 1, "a": 2}', "[" * 1000])
def test_an_sns_message_that_is_no_json_stays_text(text: str) -> None:
    event = read_event(SENDERS["aws_sns"], request(sns_body(Message=text)))
    assert isinstance(event.body, dict)
    assert event.body["Message"] == text


def test_the_token_that_confirms_a_subscription_gets_into_no_event() -> None:
    event = read_event(SENDERS["aws_sns"], request(sns_body(Type="SubscriptionConfirmation")))
    assert "2336412f37" not in json.dumps(event.body)


def test_an_event_does_not_show_its_body() -> None:
    assert "t0ken" not in repr(read_event(SENDERS["slack"], request({"token": "t0ken", "event_id": "e"})))


@pytest.mark.parametrize(
    "body", [{}, {"accountId": 2}, {"accountId": "1"}, {"accountId": True}, [{"accountId": 1}], None]
)
def test_a_body_without_the_expected_value_is_not_authentic(body: Any) -> None:
    with pytest.raises(NotAuthentic, match="accountId"):
        check_expected([Event(None, None, {"accountId": 1}), Event(None, None, body)], {"accountId": 1})


# -- Salesforce

OUTBOUND = "http://soap.sforce.com/2005/09/outbound"


def soap(notifications: str, *, before: str = "", common: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}'
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>'
        f'<notifications xmlns="{OUTBOUND}"><OrganizationId>00D1</OrganizationId>{common}{notifications}'
        "</notifications></e:Body></e:Envelope>"
    ).encode()


def notification(number: int, fields: str = "") -> str:
    return (
        f'<Notification><Id>04l{number}</Id><sObject xmlns:sf="urn:sobject" xsi:type="sf:Opportunity">'
        f"<sf:Id>006{number}</sf:Id>{fields}</sObject></Notification>"
    )


def test_an_outbound_message_holds_many_events() -> None:
    body = soap(notification(1, "<sf:StageName>Won &amp; paid</sf:StageName>") + notification(2))
    one, two = read_events(SENDERS["salesforce_outbound_message"], request(body))
    assert (one.delivery_id, one.name, two.delivery_id) == ("04l1", "Opportunity", "04l2")
    assert one.body == {
        "OrganizationId": "00D1",
        "Notification": {
            "Id": "04l1",
            "sObject": {"Id": "0061", "StageName": "Won & paid", "type": "Opportunity"},
        },
    }


def test_the_session_of_salesforce_gets_into_no_event() -> None:
    body = soap(notification(1), common="<SessionId>00D!s3cret</SessionId>")
    assert "s3cret" not in json.dumps(read_notifications(body))


def test_an_outbound_message_without_object_or_notification() -> None:
    assert read_notifications(soap("")) == []
    assert read_notifications(soap("<Notification/>")) == [
        {"OrganizationId": "00D1", "Notification": {"Id": "", "sObject": {}}}
    ]


BILLION = '<!DOCTYPE e [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE e [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "raw",
    [
        soap(notification(1, "<sf:x>&b;</sf:x>"), before=BILLION),
        soap(notification(1, "<sf:x>&a;</sf:x>"), before=EXTERNAL),
        soap("", before="<!DOCTYPE e>"),
        soap("&undefined;"),
        soap("<a>" * 100 + "</a>" * 100),
        soap("<a/>" * MAX_ELEMENTS),
        soap("")[:-5],
        soap("") + b"<more/>",
        soap("").replace(b"00D1", b"\xff"),
        soap("").decode().encode("utf-16"),
        b"<a/>",
        b'<e:Envelope xmlns:e="x"><e:Body/><e:Body/></e:Envelope>',
    ],
    ids=range(12),
)
def test_refuses_xml_that_is_no_outbound_message(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_notifications(raw)


@pytest.mark.parametrize("sender", ["gitlab", "gitlab_standard"])
@pytest.mark.parametrize("name", ["object_kind", "event_name"])
def test_one_pipeline_of_gitlab_is_one_event_under_two_keys_for_any_id_field(sender: str, name: str) -> None:
    body = {name: "pipeline", "project": {"id": 1}, "object_attributes": {"id": 7, "status": "success"}}
    header = SENDERS[sender].delivery_id[0].header
    one, other = (read_event(SENDERS[sender], request(body, {header: key})) for key in ("k1", "k2"))
    assert one == other
    assert (one.delivery_id, one.name) == ("pipeline:1:7:success:null", "pipeline")

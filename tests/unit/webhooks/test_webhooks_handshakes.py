from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.events import HandshakeResponse, acknowledgement, handshake, preflight
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.senders import SENDERS
from tests.unit.webhooks.sns_messages import SUBSCRIBE_URL
from tests.unit.webhooks.sns_messages import body as sns_body


def request(body: Any, headers: dict[str, str] | None = None) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest(headers or {}, {}, raw)


def options(origin: str, method: str = "OPTIONS") -> WebhookRequest:
    return WebhookRequest({"webhook-request-origin": origin}, {}, b"", method)


def validation(data: Any) -> list[dict[str, Any]]:
    return [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "id": "1", "data": data}]


@pytest.mark.parametrize("name", ["aws_sns", "snowflake"])
def test_sns_names_the_address_to_confirm(name: str) -> None:
    answer = handshake(SENDERS[name], request(sns_body(Type="SubscriptionConfirmation")))
    assert answer == HandshakeResponse(200, confirm=SUBSCRIBE_URL)
    assert "2336412f37" not in repr(answer)


def test_sns_does_not_confirm_at_another_address() -> None:
    raw = sns_body(Type="SubscriptionConfirmation", SubscribeURL="https://evil.example/")
    with pytest.raises(NotAuthentic):
        handshake(SENDERS["aws_sns"], request(raw))


def test_sns_does_not_subscribe_again_what_was_ended() -> None:
    answer = handshake(SENDERS["aws_sns"], request(sns_body(Type="UnsubscribeConfirmation")))
    assert answer is not None
    assert (answer.status, answer.confirm) == (200, None)
    assert "unsubscribed" in answer.body


def test_an_sns_notification_is_no_handshake() -> None:
    assert handshake(SENDERS["aws_sns"], request(sns_body())) is None


@pytest.mark.parametrize("name", ["azure_event_grid", "azure_event_grid_header"])
def test_event_grid_gets_its_code_with_exactly_200(name: str) -> None:
    answer = handshake(SENDERS[name], request(validation({"validationCode": "c-1"})))
    assert answer == HandshakeResponse(
        200, {"Content-Type": "application/json"}, '{"validationResponse": "c-1"}'
    )


@pytest.mark.parametrize("data", [None, {}, {"validationCode": 7}, "c"])
def test_event_grid_without_a_code_is_malformed(data: Any) -> None:
    with pytest.raises(Malformed, match="validationCode"):
        handshake(SENDERS["azure_event_grid"], request(validation(data)))


def test_an_event_of_event_grid_is_no_handshake() -> None:
    events = [{"eventType": "Acme.Done", "id": "1", "data": {"validationCode": "c"}}]
    assert handshake(SENDERS["azure_event_grid"], request(events)) is None


def test_a_question_beside_events_hides_none_of_them() -> None:
    events = [*validation({"validationCode": "c"}), {"eventType": "Acme.Done", "id": "2"}]
    assert handshake(SENDERS["azure_event_grid"], request(events)) is None


def test_slack_gets_its_challenge() -> None:
    answer = handshake(SENDERS["slack"], request({"type": "url_verification", "challenge": "c-1"}))
    assert answer == HandshakeResponse(200, {"Content-Type": "application/json"}, '{"challenge": "c-1"}')


def test_only_slack_gets_a_challenge() -> None:
    for name in ("stripe", "custom", "azure_event_grid"):
        assert handshake(SENDERS[name], request({"type": "url_verification", "challenge": "c"})) is None


@pytest.mark.parametrize(
    ("name", "body", "headers"),
    [("github", {"zen": "x"}, {"x-github-event": "ping"}), ("fivetran", {"event": "test_event"}, {})],
)
def test_a_probe_is_answered_and_starts_nothing(name: str, body: Any, headers: dict[str, str]) -> None:
    answer = handshake(SENDERS[name], request(body, headers))
    assert answer is not None
    assert answer.status == 200
    assert json.loads(answer.body)["status"] == "ignored"


@pytest.mark.parametrize("name", ["github", "gitlab", "fivetran", "standard_webhooks", "dbt_cloud"])
def test_an_event_is_no_handshake(name: str) -> None:
    assert handshake(SENDERS[name], request({"event": "sync_end"}, {"x-github-event": "push"})) is None


@pytest.mark.parametrize("name", ["azure_event_grid", "azure_event_grid_header"])
def test_cloud_events_ask_before_they_send(name: str) -> None:
    answer = preflight(SENDERS[name], options("eventgrid.azure.net"))
    assert answer is not None
    assert answer.status == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.headers["WebHook-Allowed-Rate"] == "*"


@pytest.mark.parametrize(
    "origin", ["", "a b", "a\r\nSet-Cookie: x", "<script>", "é.example", "-a", "a" * 254, "a,b"]
)
def test_an_origin_that_is_no_host_name_gets_into_no_header(origin: str) -> None:
    with pytest.raises(Malformed):
        preflight(SENDERS["azure_event_grid"], options(origin))


def test_nothing_else_is_answered_before_the_proof() -> None:
    for name, sender in SENDERS.items():
        assert preflight(sender, options("a.example", "POST")) is None
        if not name.startswith("azure"):
            assert preflight(sender, options("a.example")) is None


def test_salesforce_requires_its_acknowledgement_in_soap() -> None:
    answer = acknowledgement(SENDERS["salesforce_outbound_message"])
    assert answer is not None
    assert answer.headers["Content-Type"].startswith("text/xml")
    ack = ElementTree.fromstring(answer.body).find(".//{http://soap.sforce.com/2005/09/outbound}Ack")  # noqa: S314
    assert ack is not None
    assert ack.text == "true"


def test_the_others_take_any_answer_for_yes() -> None:
    assert [name for name, sender in SENDERS.items() if acknowledgement(sender)] == [
        "salesforce_outbound_message"
    ]

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sources import Source, parse_source
from celonis_refresh.webhooks.verification import Hmac
from celonis_refresh.workflow.webhook import Received, receive
from tests.fakes.signing import sign
from tests.unit.webhooks.sns_messages import CERTIFICATE_URL, NOW, SUBSCRIBE_URL, TOPIC, certificate
from tests.unit.webhooks.sns_messages import body as sns_body

FINISHED = {"action": "completed", "workflow_run": {"conclusion": "success"}}


def source(sender: str, **fields: Any) -> Source:
    secret = {} if sender == "aws_sns" else {"secret": "name"}
    return parse_source("erp", {"sender": sender, **secret, "rules": [{"pipeline": "p"}], **fields})


def from_github(body: bytes, event: str = "workflow_run", key: str = "s") -> Received:
    given = source("github")
    scheme = given.effective().scheme
    assert isinstance(scheme, Hmac)
    headers = {**sign(scheme, key, body), "x-github-event": event, "x-github-delivery": "d-1"}
    return receive(given, WebhookRequest(headers, {}, body), ["s"], NOW)


def test_an_authentic_event_starts_its_pipeline() -> None:
    received = from_github(json.dumps(FINISHED).encode())
    (outcome,) = received.outcomes
    assert received.answer is None
    assert [found.pipeline for found in outcome.matches] == ["p"]
    assert (outcome.event.delivery_id, outcome.ignored) == ("d-1", "")


def test_an_authentic_event_that_starts_nothing_says_why() -> None:
    (outcome,) = from_github(b'{"action": "completed"}').outcomes
    assert outcome.matches == ()
    assert "condition does not hold" in outcome.ignored
    (empty,) = from_github(b"{}").outcomes
    assert empty.matches == ()
    assert "not a JSON object with fields" in empty.ignored


def test_a_probe_is_answered_only_when_it_is_authentic() -> None:
    assert from_github(b"{}", "ping").answer is not None
    with pytest.raises(NotAuthentic):
        from_github(b"{}", "ping", key="other")


def test_nothing_is_read_before_the_proof() -> None:
    with pytest.raises(NotAuthentic):
        from_github(b"[" * 10**6, key="other")
    with pytest.raises(Malformed):
        from_github(b"[" * 10**6)


def test_a_preflight_needs_no_proof_and_an_event_does() -> None:
    given = source("azure_event_grid_header")
    headers = {"webhook-request-origin": "eventgrid.azure.net"}
    received = receive(given, WebhookRequest(headers, {}, b"", "OPTIONS"), ["s"], NOW)
    assert (received.proof, received.outcomes) == (None, ())
    assert received.answer is not None
    with pytest.raises(NotAuthentic):
        receive(given, WebhookRequest(headers, {}, b"[]"), ["s"], NOW)


def test_each_event_of_a_list_has_its_outcome() -> None:
    given = source("azure_event_grid", rules=[{"pipeline": "p", "events": ["a"]}])
    body = json.dumps([{"id": "1", "eventType": "a"}, {"id": "2", "eventType": "b"}]).encode()
    received = receive(given, WebhookRequest({}, {"token": "s"}, body), ["s"], NOW)
    assert [(outcome.event.delivery_id, bool(outcome.matches)) for outcome in received.outcomes] == [
        ("1", True),
        ("2", False),
    ]


def test_an_expected_field_is_part_of_the_proof() -> None:
    given = source("airbyte", expect={"workspace": "w"})
    query = {"token": "s"}
    assert receive(given, WebhookRequest({}, query, b'{"workspace": "w"}'), ["s"], NOW).outcomes
    with pytest.raises(NotAuthentic):
        receive(given, WebhookRequest({}, query, b'{"workspace": "v"}'), ["s"], NOW)


def test_sns_is_subscribed_and_then_heard() -> None:
    given = source("aws_sns", topics=[TOPIC])
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return certificate()

    handshake = receive(
        given, WebhookRequest({}, {}, sns_body(Type="SubscriptionConfirmation")), [], NOW, fetch=fetch
    )
    assert handshake.answer is not None
    assert handshake.answer.confirm == SUBSCRIBE_URL
    heard = receive(given, WebhookRequest({}, {}, sns_body()), [], NOW, fetch=fetch)
    assert [found.pipeline for outcome in heard.outcomes for found in outcome.matches] == ["p"]
    assert fetched == [CERTIFICATE_URL] * 2


def test_loads_nothing_heavy_for_senders_that_do_not_need_it() -> None:
    code = (
        "import sys, celonis_refresh.webhooks.events, celonis_refresh.webhooks.rules\n"
        "heavy = {'cryptography', 'xml.parsers.expat', 'boto3', 'requests', 'celonis_refresh.celonis'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    path = [entry for entry in sys.path if entry]
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout.strip() == "[]"

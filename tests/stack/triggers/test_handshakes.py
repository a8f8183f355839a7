"""Handshakes before a sender's first event, and the responses that senders expect."""

from __future__ import annotations

import json

import pytest

from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService
from tests.stack.triggers.sender_requests import CALLS, SECRET, SenderRequest, source_of
from tests.stack.triggers.signing import signed

CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"


@pytest.fixture
def pipeline(service: DeployedService, celonis: CelonisControls) -> str:
    return service.pipeline(jobs=[celonis.job()])


def _source(service: DeployedService, sender: str, pipeline: str) -> tuple[SenderRequest, str]:
    call = CALLS[sender](1)
    return call, source_of(service, call, {"pipeline": pipeline})


@pytest.mark.parametrize("sender", ["azure_event_grid", "azure_event_grid_header"])
def test_event_grid_is_given_its_validation_code_back(
    service: DeployedService, pipeline: str, sender: str
) -> None:
    call, source = _source(service, sender, pipeline)
    event = {
        "id": "1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6", "validationUrl": "https://example.com/unused"},
    }
    path = f"/webhooks/{source}{call.query}"
    answer = service.send("POST", path, json.dumps([event]).encode(), call.headers)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    unproven = service.send("POST", f"/webhooks/{source}", json.dumps([event]).encode())
    assert unproven.status_code == 401
    assert service.is_free(pipeline)


@pytest.mark.parametrize("sender", ["azure_event_grid", "azure_event_grid_header"])
def test_cloud_events_may_be_sent_here(service: DeployedService, pipeline: str, sender: str) -> None:
    call, source = _source(service, sender, pipeline)
    headers = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}
    answer = service.send("OPTIONS", f"/webhooks/{source}{call.query}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == "*"
    tricky = service.send(
        "OPTIONS", f"/webhooks/{source}{call.query}", headers={"webhook-request-origin": "a.example; x=y"}
    )
    assert (tricky.status_code, tricky.json()["error"]) == (400, "Malformed")


def test_options_is_answered_only_to_azure_event_grid(service: DeployedService, pipeline: str) -> None:
    _, source = _source(service, "github", pipeline)
    headers = {"webhook-request-origin": "eventgrid.azure.net"}
    assert service.send("OPTIONS", f"/webhooks/{source}", headers=headers).status_code == 401
    assert service.send("OPTIONS", "/webhooks/no-such-source", headers=headers).status_code == 401
    _, without_token = _source(service, "azure_event_grid", pipeline)
    assert service.send("OPTIONS", f"/webhooks/{without_token}", headers=headers).status_code == 401


def test_slack_is_given_its_challenge_back(service: DeployedService, pipeline: str) -> None:
    _, source = _source(service, "slack", pipeline)
    question = {"type": "url_verification", "challenge": CHALLENGE, "token": "old"}
    call = signed("slack", question, SECRET)
    answer = call.send(service, source)
    assert (answer.status_code, answer.json()) == (200, {"challenge": CHALLENGE})
    forged = signed("slack", question, "not-the-secret").send(service, source)
    assert forged.status_code == 401
    assert CHALLENGE not in forged.text


@pytest.mark.parametrize(
    ("sender", "event", "headers"),
    [
        ("github", {"zen": "Keep it logically awesome.", "hook_id": 1}, {"x-github-event": "ping"}),
        ("fivetran", {"event": "test_event", "connector_id": "none"}, {}),
    ],
)
def test_a_test_event_is_answered_and_starts_nothing(
    service: DeployedService, pipeline: str, sender: str, event: dict[str, object], headers: dict[str, str]
) -> None:
    _, source = _source(service, sender, pipeline)
    answer = signed(sender, event, SECRET, headers).send(service, source)
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
    assert service.is_free(pipeline)


def test_salesforce_gets_an_acknowledgement_only_of_accepted_messages(
    service: DeployedService, pipeline: str
) -> None:
    call = CALLS["salesforce_outbound_message"](7)
    source = source_of(service, call, {"pipeline": "no-such-pipeline"})
    refused = call.send(service, source)
    assert refused.status_code == 404
    assert "Ack" not in refused.text
    stranger = call.body.replace(b"00D000000000001", b"00D00000000000X")
    answer = service.send("POST", f"/webhooks/{source}{call.query}", stranger, call.headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")

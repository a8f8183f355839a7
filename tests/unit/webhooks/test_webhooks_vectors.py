"""Signed requests, published by the senders or made with their own libraries."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.events import check_expected, handshake, read_events
from celonis_refresh.webhooks.request import WebhookRequest, from_api_gateway
from celonis_refresh.webhooks.senders import Sender
from celonis_refresh.webhooks.sources import parse_source
from celonis_refresh.webhooks.verification import verify

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))
VALID = [vector for vector in VECTORS if vector["valid"]]
PRESETS = {"gitlab_token": "gitlab"}
WITHOUT_PRESET = {"Standard Webhooks": "standard_webhooks", "Svix": "svix", "GitLab": "gitlab_standard"}
EVENTS = {
    "sw-ok": ("msg_sync_1", "sync.completed"),
    "github-form": ("72d3162e-cc78-11e3-81ab-4c9367dc0958", "workflow_run"),
    "gitlab-token-ok": ("pipeline:acme/elt:31:success:2026-01-01 00:00:00 UTC", "pipeline"),
    "gitlab-signing": ("pipeline:acme/elt:31:success:2026-01-01 00:00:00 UTC", "pipeline"),
    "dbt-ok": ("wev_example1", "job.run.completed"),
    "fivetran-upper": ("quiet_river:b4703f73-6315-4e22-8d7a-3bfb18b2fed2:sync_end", "sync_end"),
    "fivetran-test-event": (None, "test_event"),
    "airbyte-url-ok": ("64d901a1-2520-4d91-93c8-9df438668ff0:9988", None),
    "databricks-basic-ok": ("455644833:jobs.on_success", "jobs.on_success"),
    "stripe-ok": ("evt_1", "reporting.report_run.succeeded"),
    "shopify-ok": ("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "bulk_operations/finish"),
    "qlik-ok": ("evt-1", "com.qlik.v1.reload.finished"),
    "sns-v2": ("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "Notification"),
    "eventgrid-header-token": ("e1", "Acme.PipelineRunSucceeded"),
    "servicenow-basic": (None, "import.finished"),
    "celonis-token": ("s:t:1234:e", "t"),
    "salesforce-url": ("04l5e00000Gx7QzAAJ", None),
}


def sender_of(vector: dict[str, Any]) -> Sender:
    """The vector's fields as the configuration of a source."""
    preset = vector.get("preset") or WITHOUT_PRESET[vector["sender"]]
    source: dict[str, Any] = {"sender": PRESETS.get(preset, preset), "rules": [{"pipeline": "p"}]}
    if vector["secret"] is None:
        source["topics"] = vector["allowed_topic_arns"]
    else:
        source["secret"] = "celonis-refresh/sender"
    if "tolerance_s" in vector:
        source["tolerance"] = vector["tolerance_s"]
    if "header" in vector:
        source["header"] = vector["header"]
    return parse_source("under-test", source).effective()


def request_of(vector: dict[str, Any]) -> WebhookRequest:
    if "apigw_v2_event" in vector:
        return from_api_gateway(vector["apigw_v2_event"])
    body = base64.b64decode(vector["body_base64"])
    return WebhookRequest(headers=vector["headers"], query=vector.get("query", {}), body=body)


def check(vector: dict[str, Any]) -> None:
    def fetch(url: str) -> bytes:
        assert url.startswith("https://sns.eu-central-1.amazonaws.com/")
        return bytes(vector["signing_cert_pem"], "ascii")

    secrets = [] if vector["secret"] is None else [vector["secret"]]
    verify(sender_of(vector).scheme, request_of(vector), secrets, vector.get("now", 0), fetch=fetch)


def ids(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["id"] for vector in vectors]


@pytest.mark.parametrize("vector", VALID, ids=ids(VALID))
def test_accepts_what_the_sender_signed(vector: dict[str, Any]) -> None:
    check(vector)


INVALID = [vector for vector in VECTORS if not vector["valid"]]


@pytest.mark.parametrize("vector", INVALID, ids=ids(INVALID))
def test_refuses_what_the_sender_did_not_sign(vector: dict[str, Any]) -> None:
    with pytest.raises((NotAuthentic, Malformed)):
        check(vector)


WITH_SECRET = [vector for vector in VALID if vector["secret"]]


@pytest.mark.parametrize("vector", WITH_SECRET, ids=ids(WITH_SECRET))
def test_refuses_another_secret(vector: dict[str, Any]) -> None:
    other = "whsec_AAAA" if vector["scheme"] == "standard_webhooks" else vector["secret"] + "x"
    with pytest.raises(NotAuthentic):
        check({**vector, "secret": other})


@pytest.mark.parametrize("vector", WITH_SECRET, ids=ids(WITH_SECRET))
def test_accepts_the_previous_secret_beside_the_current(vector: dict[str, Any]) -> None:
    other = "whsec_AAAA" if vector["scheme"] == "standard_webhooks" else "other:secret"
    scheme, now = sender_of(vector).scheme, vector.get("now", 0)
    assert verify(scheme, request_of(vector), [other, vector["secret"]], now).secret_index == 1


HANDSHAKES = [vector for vector in VALID if "handshake" in vector]


@pytest.mark.parametrize("vector", HANDSHAKES, ids=ids(HANDSHAKES))
def test_answers_the_handshake(vector: dict[str, Any]) -> None:
    answer = handshake(sender_of(vector), request_of(vector))
    assert answer is not None
    assert answer.status == 200
    assert answer.confirm == vector["handshake"].get("get")
    if "expect_json" in vector["handshake"]:
        assert json.loads(answer.body) == vector["handshake"]["expect_json"]
        assert answer.headers["Content-Type"] == "application/json"


WITH_EVENT = [vector for vector in VALID if vector["id"] in EVENTS]


@pytest.mark.parametrize("vector", WITH_EVENT, ids=ids(WITH_EVENT))
def test_finds_delivery_id_and_event_name(vector: dict[str, Any]) -> None:
    events = read_events(sender_of(vector), request_of(vector))
    check_expected(events, vector.get("expect_field", {}))
    (event,) = events
    assert (event.delivery_id, event.name) == EVENTS[vector["id"]]


def test_every_vector_was_seen() -> None:
    assert len(VECTORS) == len(VALID) + len(INVALID) == 37
    assert len(WITH_EVENT) == len(EVENTS)

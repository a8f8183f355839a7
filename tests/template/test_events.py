"""The events in files: each is what it says it is, fits the template, and is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celonis_refresh.pipelines.definition import parse_inline
from celonis_refresh.validation.convert import convert
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.sources import parse_source
from celonis_refresh.webhooks.verification import Hmac
from celonis_refresh.workflow import open as opening
from celonis_refresh.workflow.webhook import receive
from tests.fakes.signing import sign
from tests.template import documents

EVENTS = documents.ROOT / "events"
FILES = sorted(EVENTS.glob("*.json"))
SECRET = "of this test alone"


def read(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_event_is_json_and_a_test_or_document_uses_it(path: Path) -> None:
    assert path.suffix == ".json"
    json.loads(path.read_text(encoding="utf-8"))
    users = [each for folder in ("local", "tests") for each in documents.sources(documents.ROOT / folder)]
    pages = [documents.ROOT / "README.md", *(documents.ROOT / "docs").glob("*.md")]
    assert any(path.stem in each.read_text(encoding="utf-8") for each in [*users, *pages])


def started(document: object) -> opening._NewRun:
    return convert(opening._NewRun, document, opening._refused)


@pytest.mark.parametrize("name", ["execution-by-hand", "execution-inline"])
def test_the_input_of_an_execution_is_one_that_is_taken(name: str) -> None:
    start = started(read(name))
    assert start.reason
    if isinstance(start.pipeline, dict):
        assert parse_inline(start.pipeline).name == "deliveries-only"


def sample_source() -> str:
    return str(documents.template()["Resources"]["SampleSource"]["Properties"]["Value"])


def test_the_webhook_starts_the_sample_pipeline_through_the_sample_source() -> None:
    event = read("webhook-github")
    assert event["path"] == "/webhooks/github"
    body = json.dumps(event["body"]).encode()
    scheme = SENDERS["github"].scheme
    assert isinstance(scheme, Hmac)
    request = WebhookRequest(headers={**event["headers"], **sign(scheme, SECRET, body)}, query={}, body=body)
    (outcome,) = receive(parse_source("github", sample_source()), request, [SECRET], now=0.0).outcomes
    assert outcome.event.delivery_id == event["headers"]["x-github-delivery"]
    assert [match.pipeline for match in outcome.matches] == ["order-to-cash"]


def test_the_status_change_is_one_that_the_rule_lets_through() -> None:
    event = read("execution-status-change")
    (rule,) = documents.translated_resources("AWS::Events::Rule").values()
    pattern = rule["EventPattern"]
    assert event["source"] in pattern["source"]
    assert event["detail-type"] in pattern["detail-type"]
    assert event["detail"]["status"] in pattern["detail"]["status"]
    assert event["detail"]["executionArn"].endswith(f":{event['detail']['name']}")


def test_the_schedule_sends_an_input_that_is_taken() -> None:
    schedules = documents.translated_resources("AWS::Scheduler::Schedule").values()
    (text,) = [each["Target"]["Input"] for each in schedules if each["Target"]["Arn"] == {"Ref": "Refresh"}]
    start = started(json.loads(text))
    assert (start.pipeline, start.mode, start.tables) == ("order-to-cash", "FULL", "all")
    assert "<aws.scheduler.scheduled-time>" in start.delivery

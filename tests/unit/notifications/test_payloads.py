"""What each kind of channel receives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from celonis_refresh.notifications import payloads
from celonis_refresh.notifications.messages import KINDS, Notification, render
from celonis_refresh.notifications.outbox import Message, MessageKind
from celonis_refresh.timing import iso
from tests.fakes.clock import START
from tests.template import documents
from tests.unit.notifications.test_messages import ARN, FACTS, PLACE

KEY = "R0123456789abcdef"
COMMAND = "refresh --stack celonis-refresh --region eu-central-1 retry otc-1"
LONG = "<!channel> *bold* [link](https://example.com) _x_ " * 400


def notification(**facts: Any) -> Notification:
    message = Message("otc-1/ended/c", MessageKind.NOTIFICATION, "c", {**FACTS, **facts}, iso(START))
    return render(message, PLACE)


MAKERS = {
    "slack": payloads.slack,
    "teams": payloads.teams,
    "pagerduty": lambda made: payloads.pagerduty(made, KEY),
    "webhook": payloads.webhook,
    "amazon_q": payloads.amazon_q,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_channel_shows_what_a_person_needs(kind: str) -> None:
    text = json.dumps(MAKERS[kind](notification()), ensure_ascii=False)
    for needed in (
        "otc",
        "no space left",
        "Extract SAP",
        "source shop",
        "123456789012",
        "eu-central-1",
        "2026-11-27T02:10:00.000Z" if kind == "webhook" else "2026-11-27 02:10 UTC",
        "executions/details/arn",
        "https://team.eu-1.celonis.cloud/job",
        json.dumps(COMMAND)[1:-1],
        "otc-1/ended/c",
    ):
        assert needed in text, needed


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("what", [*KINDS, "something new"])
def test_every_kind_of_notification_can_be_sent_to_every_channel(kind: str, what: str) -> None:
    assert json.loads(payloads.to_body(MAKERS[kind](notification(what=what))))


def texts_of_slack(message: dict[str, Any]) -> list[str]:
    """The texts of the rich text, in order."""
    rich = [block for block in message["blocks"] if block["type"] == "rich_text"]
    sections = [section for block in rich for section in block["elements"]]
    return [run["text"] for section in sections for run in section["elements"]]


def test_slack_takes_the_longest_notification_and_no_markup_of_celonis() -> None:
    fields = {f"field_{number}": LONG for number in range(15)}
    message = payloads.slack(notification(outcome=LONG, pipeline="p" * 200, **fields))
    assert len(message["blocks"]) <= 50
    assert len(message["blocks"][0]["text"]["text"]) <= 150
    assert all(0 < len(text) <= 3000 for text in texts_of_slack(message))
    assert "<!channel>" not in message["text"]


def test_slack_shows_the_texts_of_others_as_they_are() -> None:
    foreign = "A_b *c* `d` ~e~ ```f``` <!channel> & <b>"
    message = payloads.slack(notification(outcome=foreign, pipeline="ar_items_p"))
    assert any(foreign in text for text in texts_of_slack(message))
    assert "mrkdwn" not in json.dumps(message["blocks"])
    assert message["mrkdwn"] is False


def test_a_command_can_be_copied_from_teams() -> None:
    card = payloads.teams(notification(run_id="ar_items_p-1"))["attachments"][0]["content"]
    (command,) = [block for block in card["body"] if block["type"] == "RichTextBlock"]
    assert command["inlines"][0]["text"].endswith(" retry ar_items_p-1")


def test_pagerduty_names_the_run_and_the_region() -> None:
    payload = payloads.pagerduty(notification(), KEY)["payload"]
    assert payload["custom_details"]["Run"] == "otc-1"
    assert payload["source"] == "celonis-refresh in 123456789012, eu-central-1"


def test_teams_shows_a_text_as_it_is_and_stays_within_28_kb() -> None:
    card = payloads.teams(notification(outcome=LONG))["attachments"][0]["content"]
    assert card["body"][0]["color"] == "Attention"
    assert "\\[link\\]" in card["body"][2]["text"]
    assert len(payloads.to_body(payloads.teams(notification(outcome=LONG)))) < 28 * 1024


def test_pagerduty_triggers_and_resolves_one_incident_for_the_runs_of_a_pipeline() -> None:
    trigger = payloads.pagerduty(notification(outcome=LONG), KEY)
    resolve = payloads.pagerduty(notification(what="recovered", status="SUCCEEDED"), KEY)
    assert (trigger["event_action"], trigger["payload"]["severity"]) == ("trigger", "error")
    assert len(trigger["payload"]["summary"]) <= 1024
    assert resolve == {
        "routing_key": KEY,
        "event_action": "resolve",
        "dedup_key": "celonis-refresh/otc",
    }
    assert trigger["dedup_key"] == resolve["dedup_key"]


def test_a_webhook_is_signed_as_standard_webhooks_says() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    headers = payloads.signed_headers(secret, "otc-1/ended/c", 1_674_087_231, b"{}")
    signed = b"otc-1/ended/c.1674087231.{}"
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers == {
        "webhook-id": "otc-1/ended/c",
        "webhook-timestamp": "1674087231",
        "webhook-signature": f"v1,{expected}",
    }


def test_the_published_vector_of_standard_webhooks_is_signed_the_same() -> None:
    headers = payloads.signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_amazon_q_displays_the_custom_schema() -> None:
    made = payloads.amazon_q(notification())
    assert (made["version"], made["source"], made["content"]["textType"]) == (
        "1.0",
        "custom",
        "client-markdown",
    )
    assert made["metadata"] == {
        "threadId": "celonis-refresh/otc",
        "summary": "otc: FAILED (celonis-refresh)",
        "eventType": "failed",
        "relatedResources": [ARN],
    }
    assert set(made) == {"version", "source", "id", "content", "metadata"}
    assert set(made["content"]) == {"textType", "title", "description", "nextSteps", "keywords"}


SCHEMA = json.loads((documents.ROOT / "events/schemas/notification.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("what", KINDS)
def test_the_body_of_a_webhook_fits_its_schema(what: str) -> None:
    body = json.loads(payloads.to_body(payloads.webhook(notification(what=what))))
    Draft202012Validator(SCHEMA).validate(body)
    assert body["type"] in SCHEMA["properties"]["type"]["examples"]
    assert set(SCHEMA["properties"]["data"]["required"]) <= set(body["data"])


def test_a_webhook_has_what_a_program_needs_to_act() -> None:
    data = payloads.webhook(notification())["data"]
    facts = {"stack": "celonis-refresh", "account": "123456789012", "region": "eu-central-1"}
    assert facts.items() <= data.items()
    assert (data["command"], data["late"]) == (COMMAND, False)
    assert data["advice"].startswith("Fix the cause")


def test_pagerduty_shows_the_stack_and_the_name_first() -> None:
    summary = payloads.pagerduty(notification(), KEY)["payload"]["summary"]
    assert summary.startswith("otc: FAILED (celonis-refresh). Data job")

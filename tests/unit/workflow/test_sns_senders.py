"""Messages that only Amazon can sign: SNS, and Snowflake through it, up to the run."""

from __future__ import annotations

import json

import pytest

from celonis_refresh.webhooks.errors import NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sources import parse_source
from tests.unit.webhooks.sns_messages import TOPIC, body
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of

HEADERS = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}


@pytest.fixture
def harness() -> WebhookHarness:
    made = WebhookHarness()
    made.service.job().add_past_start(600.0)
    return made


def request(**changes: str) -> WebhookRequest:
    return WebhookRequest(HEADERS, {}, body(**changes))


def test_a_message_of_our_topic_starts_a_run_once(harness: WebhookHarness) -> None:
    source = source_of(sender="aws_sns", topics=[TOPIC])
    first, again = harness.receive(request(), source), harness.receive(request(), source)
    assert (first.status, again.status) == (202, 200)
    assert first.body["delivery"] == "m-1"
    assert again.body["runs"] == [{**first.body["runs"][0], "status": "duplicate"}]


def test_a_message_of_another_topic_or_of_another_hour_is_refused(harness: WebhookHarness) -> None:
    source = source_of(sender="aws_sns", topics=[TOPIC])
    for changes in ({"TopicArn": f"{TOPIC}-2"}, {"Timestamp": "2025-12-31T22:54:00.000Z"}):
        with pytest.raises(NotAuthentic):
            harness.receive(request(**changes), source)
    assert harness.executions.start_requests == []


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"messageType": "GRAPH_SUCCEEDED", "rootTaskName": "DB.S.LOAD", "messages": [{"runId": "r"}]}, 202),
        ({"rootTaskName": "DB.S.LOAD", "messages": [{"runId": "r"}]}, 200),
        ({"rootTaskName": "DB.S.LOAD", "errorMessage": "no warehouse"}, 200),
        ({"rootTaskName": "DB.S.LOAD", "messages": [{"errorMessage": "no warehouse"}]}, 200),
        ({"rootTaskName": "DB.S.LOAD", "messageType": "USER_TASK_FAILED"}, 200),
        ({"pipeName": "DB.S.PIPE"}, 200),
        ("free text", 200),
    ],
)
def test_a_task_graph_of_snowflake_that_succeeded_starts_a_run(
    harness: WebhookHarness, message: object, status: int
) -> None:
    text = message if isinstance(message, str) else json.dumps(message)
    source = parse_source("shop", {"sender": "snowflake", "topics": [TOPIC], "rules": [{"pipeline": "otc"}]})
    reply = harness.receive(request(Message=text), source)
    assert reply.status == status
    assert bool(harness.executions.start_requests) == (status == 202)


def test_the_end_of_a_subscription_is_not_undone(harness: WebhookHarness) -> None:
    source = source_of(sender="aws_sns", topics=[TOPIC])
    reply = harness.receive(request(Type="UnsubscribeConfirmation"), source)
    assert reply.status == 200
    assert harness.sns.confirmed == []

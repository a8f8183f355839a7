"""An event is tried against the rules by the code that handles webhooks, and starts nothing."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.webhooks.sources import Source
from celonis_refresh.workflow.source_test import SourceTester, SourceTestRequest
from tests.fakes.service import job_definition
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of

GITHUB = {"sender": "github", "secret": "shop", "rules": [{"pipeline": "otc"}]}
SUCCESS = {"action": "completed", "workflow_run": {"conclusion": "success"}}


def try_event(
    harness: WebhookHarness, source: Source | None = None, body: object = None, **fields: Any
) -> dict[str, Any]:
    known = source or source_of()
    tester = SourceTester(lambda _: known, harness.acceptor, harness.service.table)
    event = {"type": "orders.loaded"} if body is None else body
    return tester.test("shop", SourceTestRequest(body=event, **fields))


def try_definition(document: dict[str, Any], body: object, **fields: Any) -> dict[str, Any]:
    harness = WebhookHarness()
    tester = SourceTester(lambda _: source_of(), harness.acceptor, harness.service.table)
    return tester.test("shop", SourceTestRequest(body=body, source=document, **fields))


def test_rule_by_rule_it_says_what_would_start_and_why_not() -> None:
    harness = WebhookHarness()
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}], paused=True)
    source = source_of(
        {"pipeline": "otc", "mode": "DELTA"},
        {"pipeline": "p2p", "when": "type == 'orders.loaded'"},
        {"pipeline": "otc", "events": ["other"]},
        {"pipeline": "otc", "when": "type == 'else'"},
        {"pipeline": "nowhere"},
        {"pipeline": "otc", "mode": {"path": "type"}},
    )
    answer = try_event(harness, source, headers={"Webhook-Id": "d-1"})
    (event,) = answer["events"]
    assert (event["event_id"], event["event_name"]) == ("d-1", "orders.loaded")
    found = [(rule["rule"], rule["pipeline"], rule["action"], rule["starts"]) for rule in event["rules"]]
    assert found == [
        (0, "otc", "start", True),
        (1, "p2p", "wait", True),
        (2, "otc", "nothing", False),
        (3, "otc", "nothing", False),
        (4, "nowhere", "error", False),
        (5, "otc", "error", False),
    ]
    assert event["rules"][0]["options"] == {"mode": "DELTA", "tables": None}
    assert event["rules"][1]["when"] == "type == 'orders.loaded'"
    assert "the rule is for other, the event is not" in event["rules"][2]["reason"]
    assert "There is no pipeline named 'nowhere'" in event["rules"][4]["reason"]
    assert "rule 6: mode gave" in event["rules"][5]["reason"]
    assert (harness.service.dynamodb.items, harness.executions.start_requests) == ({}, [])


@pytest.mark.parametrize(("when_running", "action"), [("join", "join"), ("skip", "skip")])
def test_it_says_what_happens_during_a_run(when_running: str, action: str) -> None:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(when_running=when_running)
    (run,) = harness.deliver("d-1").body["runs"]
    (rule,) = try_event(harness)["events"][0]["rules"]
    assert (rule["action"], run["run_id"] in rule["reason"]) == (action, True)


def test_what_it_says_is_what_a_webhook_does() -> None:
    """The same events, tried and then sent."""
    rules: list[dict[str, Any]] = [
        {"pipeline": "otc", "when": "type == 'orders.loaded'"},
        {"pipeline": "otc", "events": ["x"]},
    ]
    for body in ({"type": "orders.loaded"}, {"type": "x"}, {"type": "y"}, {}, {"type": 3}):
        harness = WebhookHarness()
        source = source_of(*rules)
        rule_results = try_event(harness, source, body)["events"][0]["rules"]
        reply = harness.receive(harness.signed("d-1", body), source)
        assert any(rule["starts"] for rule in rule_results) == ("runs" in reply.body)


def test_a_test_of_the_sender_says_so() -> None:
    answer = try_event(
        WebhookHarness(), source_of(sender="github"), {"zen": "x"}, headers={"X-GitHub-Event": "ping"}
    )
    assert answer["events"] == []
    assert "only checks this address" in answer["reason"]


@pytest.mark.parametrize(
    ("source", "body", "error"),
    [
        ({**GITHUB, "rules": []}, SUCCESS, "rules"),
        ({**GITHUB, "sender": "nobody"}, SUCCESS, "sender: expected one of"),
        (GITHUB, "no JSON", "JSON"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_the_test(
    source: dict[str, Any], body: object, error: str
) -> None:
    answer = try_definition(source, body)
    assert answer["events"] == []
    assert error in answer["errors"][0]


def test_a_definition_is_tried_instead_of_the_stored_one() -> None:
    answer = try_definition(GITHUB, SUCCESS, headers={"X-GitHub-Event": "workflow_run"})
    assert [rule["action"] for rule in answer["events"][0]["rules"]] == ["start"]


def test_several_events_of_one_request_are_tried_one_by_one() -> None:
    source = source_of({"pipeline": "otc", "when": "`true`"}, sender="azure_event_grid")
    events = [{"id": f"e-{number}", "eventType": "Done"} for number in range(3)]
    answer = try_event(WebhookHarness(), source, events)
    assert [event["event_id"] for event in answer["events"]] == ["e-0", "e-1", "e-2"]

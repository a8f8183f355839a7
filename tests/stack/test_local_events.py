"""Events: status changes of executions, rules, targets, permissions, late and repeated events."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from local.aws.delivery.background import DelayedTasks
from local.aws.delivery.status_events import StatusEvents
from local.aws.delivery.target_input import target_input
from local.aws.moto_adjustments.event_patterns import event_matches
from local.aws.settings import EventSettings
from local.aws.stack import LocalStack
from local.wait import until
from tests.stack.local_fixtures import LONG, aws, ended, messages, shop, start

__all__ = ["shop"]


def heard(stack: LocalStack, **wanted: str) -> list[dict[str, Any]]:
    """The details of the events that the listener got, of those that hold what is wanted."""
    texts = [line.text for line in stack.logs("ListenerFunction") if line.text.startswith('{"heard"')]
    details: list[dict[str, Any]] = [json.loads(text)["heard"] for text in texts]
    return [detail for detail in details if wanted.items() <= detail.items()]


def publish(stack: LocalStack, source: str, **detail: str) -> None:
    """An event of the API function's own; returns when it was delivered."""
    entry = {"Source": source, "DetailType": "Order", "Detail": json.dumps(detail)}
    assert aws(stack, "events", "put_events", Entries=[entry])["FailedEntryCount"] == 0
    assert stack.settle()


def test_a_succeeded_execution_is_reported_with_everything_about_it(shop: LocalStack) -> None:
    arn = start(shop, ["a"], "good")
    ended(shop, arn)
    assert shop.settle()
    (detail,) = heard(shop, name="good")
    assert detail["executionArn"] == arn
    assert detail["stateMachineArn"] == shop.outputs["Machine"]
    assert (detail["name"], detail["status"]) == ("good", "SUCCEEDED")
    assert json.loads(detail["input"]) == {"steps": ["a"]}
    assert detail["inputDetails"] == {"included": True}
    assert json.loads(detail["output"])[0]["order"] == "good"
    assert detail["startDate"] <= detail["stopDate"]
    assert detail["startDate"] > 1_600_000_000_000
    assert (detail["error"], detail["cause"], detail["redriveCount"]) == (None, None, 0)


def test_a_failed_and_an_aborted_execution_are_reported(shop: LocalStack) -> None:
    ended(shop, start(shop, [{"do": "exit", "status": 1}], "bad"))
    slow = start(shop, LONG, "slow")
    shop.client("stepfunctions").stop_execution(executionArn=slow, error="Cancelled", cause="by hand")
    assert shop.settle()
    details = {detail["name"]: detail for detail in heard(shop)}
    assert (details["bad"]["status"], details["bad"]["error"]) == ("FAILED", "Runtime.ExitError")
    assert details["bad"]["output"] is None
    assert (details["slow"]["status"], details["slow"]["error"]) == ("ABORTED", "Cancelled")


def test_an_event_of_a_function_reaches_every_rule_that_matches(shop: LocalStack) -> None:
    publish(shop, "shop", kind="order-new")
    bodies = [json.loads(message["Body"]) for message in messages(shop, shop.outputs["InboxUrl"])]
    assert {"kind": "order-new"} in bodies
    assert heard(shop, kind="order-new") == [{"kind": "order-new"}]


def test_an_event_that_matches_no_rule_is_dropped(shop: LocalStack) -> None:
    publish(shop, "other", kind="order-other")
    assert messages(shop, shop.outputs["InboxUrl"]) == []
    assert heard(shop, kind="order-other") == []


def test_a_target_without_a_permission_goes_to_the_rules_dead_letter_queue(shop: LocalStack) -> None:
    publish(shop, "shop", kind="order-x")
    found = messages(shop, shop.outputs["InboxUrl"])
    (message,) = [each for each in found if "ERROR_CODE" in each.get("MessageAttributes", {})]
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
    assert json.loads(message["Body"])["detail"] == {"kind": "order-x"}
    assert messages(shop, shop.outputs["FailuresUrl"]) == []


def test_a_rule_without_the_functions_permission_does_not_reach_it(shop: LocalStack) -> None:
    permissions = shop._running().stack_context.functions.permissions(
        shop.physical_ids["ListenerFunctionAliaslive"]
    )
    kept = list(permissions)
    permissions.clear()
    ended(shop, start(shop, ["a"], "unheard"))
    assert shop.settle()
    permissions.extend(kept)
    assert heard(shop, name="unheard") == []
    queue = shop.client("sqs").list_queues(QueueNamePrefix="shop-ListenerFunctionEnded")["QueueUrls"][0]
    (message,) = messages(shop, queue)
    assert json.loads(message["Body"])["detail"]["status"] == "SUCCEEDED"


def test_a_message_to_the_topic_reaches_its_queue(shop: LocalStack) -> None:
    aws(shop, "sns", "publish", TopicArn=shop.physical_ids["Notices"], Message="hello")
    (message,) = until(lambda: messages(shop, shop.outputs["InboxUrl"]), "a message")
    assert message["Body"] == "hello"


def test_events_come_twice_and_late_when_set_so(shop: LocalStack) -> None:
    events = shop.settings.events
    events.twice_ratio, events.late_ratio, events.late_seconds = 1.0, 1.0, 0.3
    try:
        ended(shop, start(shop, ["a"], "twice"))
        assert shop.settle()
    finally:
        events.twice_ratio, events.late_ratio = 0.0, 0.0
    assert len(heard(shop, name="twice")) == 2


def test_a_seed_makes_what_is_random_the_same_again() -> None:
    delayed_tasks = DelayedTasks("test")
    settings = EventSettings()

    def delays(seed: int) -> list[list[float]]:
        events = StatusEvents(lambda _: None, delayed_tasks, settings, random.Random(seed))  # noqa: S311 - repeatable on purpose
        return [events._delays() for _ in range(40)]

    first = delays(7)
    assert first == delays(7)
    assert first != delays(8)
    assert {len(each) for each in first} == {1, 2}
    assert max(max(each) for each in first) > settings.prompt_seconds
    delayed_tasks.close()


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"source": ["shop"]}, True),
        ({"source": ["other"]}, False),
        ({"detail": {"kind": [{"prefix": "ord"}]}}, True),
        ({"detail": {"kind": [{"anything-but": "order"}]}}, False),
        ({"detail": {"n": [{"numeric": [">", 2]}]}}, True),
        ({"detail": {"gone": [{"exists": False}]}}, True),
        ({"detail": {"status": ["A", "B"]}}, True),
        ({"detail": {"status": ["A"]}}, False),
    ],
)
def test_patterns_match_as_in_eventbridge(pattern: dict[str, Any], matches: bool) -> None:
    event = {"source": "shop", "detail": {"kind": "order", "n": 3, "status": "B"}}
    assert event_matches(json.dumps(pattern), event) is matches


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({}, '{"detail": {"a": [1, 2], "t": "x\\"y"}}'),
        ({"Input": '{"fixed": 1}'}, '{"fixed": 1}'),
        ({"InputPath": "$.detail.a[1]"}, "2"),
        (
            {"InputTransformer": {"InputPathsMap": {"t": "$.detail.t"}, "InputTemplate": '{"t": "<t>"}'}},
            '{"t": "x\\"y"}',
        ),
        (
            {"InputTransformer": {"InputPathsMap": {"a": "$.detail.a"}, "InputTemplate": '{"a": <a>}'}},
            '{"a": [1, 2]}',
        ),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"t": "$.detail.t"},
                    "InputTemplate": "is <t> by <aws.events.rule-arn>",
                }
            },
            'is x"y by rule',
        ),
    ],
)
def test_a_target_gets_the_part_of_the_event_at_its_input_path(target: dict[str, Any], text: str) -> None:
    event = {"detail": {"a": [1, 2], "t": 'x"y'}}
    assert target_input(target, event, "rule") == text


def test_what_is_to_be_done_later_is_dropped_when_closed(tmp_path: Path) -> None:
    delayed_tasks, done = DelayedTasks("test"), tmp_path / "done"
    delayed_tasks.after(60, done.touch)
    delayed_tasks.after(0, (tmp_path / "now").touch)
    until((tmp_path / "now").exists, "the file")
    assert not delayed_tasks.wait_idle(0.05)
    delayed_tasks.close()
    assert not done.exists()

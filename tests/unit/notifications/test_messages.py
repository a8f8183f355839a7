"""What a notification says: from it alone, a person can act."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from celonis_refresh.aws.environment import is_local_stack
from celonis_refresh.notifications.messages import (
    KINDS,
    Notification,
    Place,
    dashboard_page,
    execution_page,
    notification_messages,
    render,
)
from celonis_refresh.notifications.outbox import Message, MessageKind, Outbox
from celonis_refresh.runs.table import Table
from celonis_refresh.timing import iso
from local.serve import LOCAL_ENVIRONMENT
from tests.fakes.clock import START, FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of
from tests.fakes.service import job_definition

PLACE = Place("celonis-refresh", "123456789012", "eu-central-1")
ARN = "arn:aws:states:eu-central-1:123456789012:execution:refresh:otc-1"
FACTS: dict[str, Any] = {
    "what": "failed",
    "run_id": "otc-1",
    "pipeline": "otc",
    "status": "FAILED",
    "error": "JobFailed",
    "outcome": "Data job job-a failed in Celonis: Extract: no space left.",
    "step": 'data job "Extract SAP" (job-a)',
    "triggered_by": ["source shop: order import done"],
    "started_at": "2026-11-28T02:00:00.000Z",
    "ended_at": "2026-11-28T02:10:00.000Z",
    "last_success_at": "2026-11-27T02:10:00.000Z",
    "failing_since": None,
    "execution_arn": ARN,
    "links": {"Data job in Celonis": "https://team.eu-1.celonis.cloud/job"},
    "can_retry": True,
}


@pytest.fixture
def table(clock: FakeClock) -> Table:
    return table_of(FakeDynamoDB(), clock)


def rendered(**facts: Any) -> Notification:
    message = Message("otc-1/ended/topic", MessageKind.NOTIFICATION, "topic", facts, iso(START))
    return render(message, PLACE)


def test_a_failure_says_all_that_is_needed_to_act_on_it() -> None:
    notification = rendered(**FACTS)
    assert notification.title == "otc: FAILED (celonis-refresh)"
    assert (
        notification.text
        == """\
Run otc-1 of pipeline otc failed.

Data job job-a failed in Celonis: Extract: no space left.

Pipeline: otc
Step: data job "Extract SAP" (job-a)
Error: JobFailed
Triggered by: source shop: order import done
Started: 2026-11-28 02:00 UTC
Ended: 2026-11-28 02:10 UTC
Last success: 2026-11-27 02:10 UTC
Stack: celonis-refresh in account 123456789012, region eu-central-1

Execution in the AWS console: https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1\
#/v2/executions/details/arn:aws:states:eu-central-1:123456789012:execution:refresh:otc-1
Data job in Celonis: https://team.eu-1.celonis.cloud/job

What to do: Fix the cause, then retry the run.

refresh --stack celonis-refresh --region eu-central-1 retry otc-1

Notification: otc-1/ended/topic"""
    )


def test_a_pipeline_that_has_never_succeeded_says_so() -> None:
    assert ("Last success", "none is recorded") in rendered(**{**FACTS, "last_success_at": None}).fields


def test_a_command_of_the_local_stack_has_no_options() -> None:
    """With ``--stack`` or ``--region`` the tool uses a stack in AWS."""
    assert is_local_stack(LOCAL_ENVIRONMENT)
    place = replace(PLACE, is_local=True)
    message = Message("otc-1/ended/topic", MessageKind.NOTIFICATION, "topic", FACTS, iso(START))
    assert render(message, place).command == "refresh retry otc-1"
    assert not is_local_stack({})


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        ({"what": "warning", "run_id": "otc-1"}, "show otc-1"),
        ({"what": "configuration", "source": "shop", "error": "UnknownPipeline"}, "deliveries shop"),
        ({"what": "configuration", "pipeline": "otc"}, "doctor"),
        ({"what": "configuration usable", "pipeline": "otc"}, ""),
        ({"what": "stale", "cause": "paused", "pipeline": "otc"}, "resume otc"),
        (
            {
                "what": "stale",
                "cause": "failed_run",
                "pipeline": "otc",
                "last_run_id": "otc-1",
                "can_retry": False,
            },
            "start otc",
        ),
        ({"what": "stale", "cause": "paused_in_definition", "pipeline": "otc"}, "show otc"),
    ],
)
def test_a_notification_names_the_command_that_helps(facts: dict[str, Any], command: str) -> None:
    prefix = "refresh --stack celonis-refresh --region eu-central-1 "
    assert rendered(**facts).command == (f"{prefix}{command}" if command else "")


def test_a_run_that_cannot_be_retried_is_started_again_with_the_same_input() -> None:
    notification = rendered(**{**FACTS, "can_retry": False})
    assert notification.advice == "Fix the cause, then start a new execution with the same input."
    start, describe = notification.command.split(' --input "$(')
    machine = "arn:aws:states:eu-central-1:123456789012:stateMachine:refresh"
    assert start == f"aws stepfunctions start-execution --region eu-central-1 --state-machine-arn {machine}"
    assert f"--execution-arn {ARN} --query input" in describe


STALE: dict[str, Any] = {
    "what": "stale",
    "pipeline": "otc",
    "fresh_within": 86_400,
    "last_success_at": "2026-11-27T02:10:00.000Z",
    "due_at": "2026-11-28T02:00:00.000Z",
    "stale_since": "2026-11-28T02:00:00.000Z",
}


@pytest.mark.parametrize(
    ("facts", "lead"),
    [
        ({}, "is older than its limit of 24 h."),
        ({"fresh_within": 300}, "is older than its limit of 5 min."),
        ({"fresh_within": 5400}, "is older than its limit of 1 h 30 min."),
        ({"fresh_within": 7 * 86_400}, "is older than its limit of 7 days."),
        ({"fresh_within": "06:30 Europe/Berlin"}, "has missed its deadline, 06:30 Europe/Berlin."),
        ({"last_success_at": None}, "has never been refreshed."),
    ],
)
def test_stale_data_says_how_old_it_may_be(facts: dict[str, Any], lead: str) -> None:
    assert rendered(**{**STALE, **facts}).lead == f"The data of pipeline otc {lead}"


def test_times_have_the_zone_of_the_deadline_too_and_one_time_is_shown_once() -> None:
    notification = rendered(
        **{**STALE, "fresh_within": "06:30 Europe/Berlin, Monday to Friday"},
        outcome="Stale since 2026-11-27T23:30:00.000Z.",
    )
    assert notification.body == "Stale since 2026-11-27 23:30 UTC (2026-11-28 00:30 Europe/Berlin)."
    fields = dict(notification.fields)
    assert fields["Stale since"] == "2026-11-28 02:00 UTC (03:00 Europe/Berlin)"
    assert "Due" not in fields
    assert notification.facts["stale_since"] == "2026-11-28T02:00:00.000Z"


def test_a_recovery_speaks_of_the_failures_in_the_past() -> None:
    facts = {**FACTS, "what": "recovered", "status": "SUCCEEDED", "last_success_at": None}
    notification = rendered(**facts | {"failing_since": "2026-11-28T01:00:00.000Z"})
    fields = dict(notification.fields)
    assert notification.lead == "Run otc-1 of pipeline otc succeeded: the pipeline has recovered."
    assert fields["Was failing since"] == "2026-11-28 01:00 UTC"
    assert not {"Last success", "Failing since"} & set(fields)


@pytest.mark.parametrize("what", [*KINDS, "something new"])
def test_every_notification_has_a_title_and_a_severity_with_any_facts(what: str) -> None:
    for facts in ({}, {"pipeline": "otc"}, FACTS):
        notification = rendered(**{**facts, "what": what})
        assert notification.title
        assert "{" not in notification.title + notification.lead
        assert notification.severity in ("error", "warning", "ok")


def test_an_unknown_kind_shows_its_facts() -> None:
    notification = rendered(what="paused for long", pipeline="otc", paused_for=7200, limits=["a", "b"])
    assert notification.title == "otc: paused for long (celonis-refresh)"
    assert ("Paused for", "7200") in notification.fields
    assert ("Limits", "a; b") in notification.fields


@pytest.mark.parametrize(
    ("kinds", "key"),
    [
        (("failed", "warning", "recovered", "stuck"), "celonis-refresh/otc"),
        (("stale", "will be late", "fresh again"), "celonis-refresh/otc/freshness"),
    ],
)
def test_runs_and_freshness_of_a_pipeline_have_one_key_each(kinds: tuple[str, ...], key: str) -> None:
    assert {rendered(**{**FACTS, "what": what}).key for what in kinds} == {key}


@pytest.mark.parametrize(
    ("region", "host"),
    [("cn-north-1", "console.amazonaws.cn"), ("us-gov-west-1", "console.amazonaws-us-gov.com")],
)
def test_the_console_is_that_of_the_region(region: str, host: str) -> None:
    assert execution_page(ARN.replace("eu-central-1", region)).startswith(f"https://{region}.{host}/")
    place = Place("shop", "123456789012", region)
    assert dashboard_page(place).startswith(f"https://{region}.{host}/cloudwatch/")


def test_a_pipeline_has_one_message_for_each_of_its_channels(table: Table, clock: FakeClock) -> None:
    outbox = Outbox(table, {}, clock, default_channels=("topic", "slack-team"))
    notify = job_definition(notify={"channels": ["pager"]}).notify
    (message,) = notification_messages(outbox, notify, "stale", {"pipeline": "otc"}, occasion="stale-1")
    assert (message.message_id, message.target) == ("otc/stale-1/pager", "pager")
    assert message.facts == {"pipeline": "otc", "what": "stale"}
    targets = [each.target for each in notification_messages(outbox, None, "stale", {"pipeline": "otc"})]
    assert targets == ["topic", "slack-team"]


def test_a_late_failure_of_freshness_orders_nothing() -> None:
    message = Message("otc/STALE/topic", MessageKind.NOTIFICATION, "topic", STALE, iso(START))
    late = render(message, PLACE, is_late=True)
    assert (late.advice, late.command) == ("Nothing.", "")

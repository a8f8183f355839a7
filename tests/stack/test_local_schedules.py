"""Schedules, fired on request, under their own roles; and the Step Functions API around them."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from local.aws.delivery.schedules import FireError
from local.aws.errors import NotFoundError, ScheduleDisabledError
from local.aws.stack import LocalStack
from tests.stack.local_fixtures import LONG, ended, messages, shop, start

__all__ = ["shop"]


def test_a_schedule_starts_its_machine_with_its_placeholders_filled_in(shop: LocalStack) -> None:
    fired = shop.fire_schedule("shop-nightly")
    given = json.loads(ended(shop, fired["executionArn"])["input"])
    assert given["steps"] == ["a"]
    assert given["by"].endswith(":schedule/default/shop-nightly")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", given["at"])


def test_a_schedule_is_found_by_its_logical_id(shop: LocalStack) -> None:
    assert ended(shop, shop.fire_schedule("OrdersNightly")["executionArn"])["status"] == "SUCCEEDED"


def test_a_disabled_schedule_is_fired_only_on_request(shop: LocalStack) -> None:
    with pytest.raises(ScheduleDisabledError):
        shop.fire_schedule("OrdersPaused")
    fired = shop.fire_schedule("OrdersPaused", even_if_disabled=True)
    assert json.loads(ended(shop, fired["executionArn"])["output"]) == []


def test_a_schedule_of_a_group_invokes_its_function(shop: LocalStack) -> None:
    shop.fire_schedule("Sweep")
    assert shop.settle()
    assert "step sweep" in [line.text for line in shop.logs("StepFunction")]


def test_schedules_that_are_due_are_those_that_are_enabled(shop: LocalStack) -> None:
    nightly = datetime(2030, 1, 1, 2, 0, tzinfo=UTC)
    assert ("default", "shop-nightly") in shop.due_schedules(nightly)
    assert ("default", "shop-nightly") not in shop.due_schedules(nightly + timedelta(minutes=1))
    fired = shop.fire_schedule("shop-nightly", group="default", at=nightly)
    assert json.loads(ended(shop, fired["executionArn"])["input"])["at"] == "2030-01-01T02:00:00Z"
    paused = {schedule["Name"] for schedule in shop.schedules() if schedule["State"] == "DISABLED"}
    created = datetime.now(UTC).replace(second=0, microsecond=0)
    a_day_later = {name for _, name in shop.due_schedules(created + timedelta(days=1))}
    assert paused
    assert not paused & a_day_later


def test_a_schedule_that_cannot_be_read_is_named_in_the_log(
    shop: LocalStack, caplog: pytest.LogCaptureFixture
) -> None:
    client = shop.client("scheduler")
    target = client.get_schedule(Name="shop-nightly")["Target"]
    off = {"Mode": "OFF"}
    client.create_schedule(
        Name="last-day", ScheduleExpression="cron(0 2 L * ? *)", FlexibleTimeWindow=off, Target=target
    )
    assert shop.due_schedules(datetime(2030, 1, 31, 2, 0, tzinfo=UTC))
    assert "last-day does not fire by the clock" in caplog.text
    client.delete_schedule(Name="last-day")


def test_an_unknown_schedule_is_not_found(shop: LocalStack) -> None:
    with pytest.raises(NotFoundError):
        shop.fire_schedule("nobody")
    with pytest.raises(NotFoundError):
        shop.fire_schedule("shop-nightly", group="shop-group")


def test_a_schedule_whose_role_may_not_start_the_machine_goes_to_the_dead_letter_queue(
    shop: LocalStack,
) -> None:
    role = shop.physical_ids["OrdersNightlyRole"]
    iam = shop.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        if "StartExecution" in name:
            iam.delete_role_policy(RoleName=role, PolicyName=name)
    with pytest.raises(FireError, match="not authorized to perform: states:StartExecution"):
        shop.fire_schedule("shop-nightly")
    queue = shop.client("sqs").list_queues(QueueNamePrefix="shop-OrdersNightly")["QueueUrls"][0]
    (message,) = messages(shop, queue)
    assert json.loads(message["Body"])["steps"] == ["a"]
    assert "StartExecution" in message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    shop.reset()


def test_the_machine_runs_its_function_and_its_table(shop: LocalStack) -> None:
    arn = start(shop, ["a", "b", {"do": "fail"}], "whole")
    found = ended(shop, arn)
    results = json.loads(found["output"])
    assert sorted(result["did"]["count"] for result in results[:2]) == [1, 2]
    assert results[2]["did"]["Error"] == "OutOfStockError"
    assert json.loads(results[2]["did"]["Cause"])["errorMessage"] == "none left of it"
    item = shop.client("dynamodb").get_item(
        TableName=shop.outputs["TableName"], Key={"pk": {"S": "order#whole"}, "sk": {"S": "-"}}
    )["Item"]
    assert item["state"] == {"S": "done"}


def test_a_function_timeout_fails_the_execution_with_its_error_name(shop: LocalStack) -> None:
    assert ended(shop, start(shop, [{"do": "sleep", "seconds": 9}]))["error"] == "Sandbox.Timedout"


def test_the_same_name_is_the_same_execution_only_while_it_runs_with_the_same_input(shop: LocalStack) -> None:
    client = shop.client("stepfunctions")
    first = start(shop, LONG, "once")
    assert start(shop, LONG, "once") == first
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        start(shop, ["else"], "once")
    client.stop_execution(executionArn=first)
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        start(shop, LONG, "once")


def test_executions_without_a_name_get_one_each(shop: LocalStack) -> None:
    assert start(shop, []) != start(shop, [])


def test_a_stop_is_seen_at_once(shop: LocalStack) -> None:
    client = shop.client("stepfunctions")
    arn = start(shop, LONG)
    client.stop_execution(executionArn=arn, error="Cancelled", cause="enough")
    found = client.describe_execution(executionArn=arn)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Cancelled", "enough")
    assert found["redriveStatus"] == "REDRIVABLE"


def test_a_failed_execution_is_redriven(shop: LocalStack) -> None:
    client = shop.client("stepfunctions")
    arn = start(shop, ["x", {"do": "exit", "status": 1}])
    assert ended(shop, arn)["status"] == "FAILED"
    client.redrive_execution(executionArn=arn)
    found = ended(shop, arn)
    assert (found["status"], found["redriveCount"]) == ("FAILED", 1)
    types = [event["type"] for event in client.get_execution_history(executionArn=arn)["events"]]
    assert types.count("ExecutionRedriven") == 1
    good = start(shop, [])
    ended(shop, good)
    with pytest.raises(client.exceptions.ExecutionNotRedrivable):
        client.redrive_execution(executionArn=good)


def test_executions_are_listed_newest_first_by_status_and_by_page(shop: LocalStack) -> None:
    shop.reset()
    client, machine = shop.client("stepfunctions"), shop.outputs["Machine"]
    arns = [start(shop, [], f"e{number}") for number in range(3)]
    for arn in arns:
        ended(shop, arn)
    page = client.list_executions(stateMachineArn=machine, maxResults=2)
    assert [execution["name"] for execution in page["executions"]] == ["e2", "e1"]
    rest = client.list_executions(stateMachineArn=machine, nextToken=page["nextToken"])
    assert [execution["name"] for execution in rest["executions"]] == ["e0"]
    assert client.list_executions(stateMachineArn=machine, statusFilter="FAILED")["executions"] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"name": "not a name"}, "InvalidName"),
        ({"input": "{"}, "InvalidExecutionInput"),
        (
            {"stateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:none"},
            "StateMachineDoesNotExist",
        ),
    ],
)
def test_a_start_that_is_wrong_is_refused(shop: LocalStack, arguments: dict[str, str], code: str) -> None:
    given = {"stateMachineArn": shop.outputs["Machine"], **arguments}
    with pytest.raises(ClientError, match=code):
        shop.client("stepfunctions").start_execution(**given)


def test_an_unknown_execution_does_not_exist(shop: LocalStack) -> None:
    client = shop.client("stepfunctions")
    with pytest.raises(client.exceptions.ExecutionDoesNotExist):
        client.describe_execution(executionArn="arn:aws:states:eu-central-1:123456789012:execution:m:none")

"""The control API for people, and faults that a test arms in a function's process."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from local.aws.runtime.fault_injector import CrashFault
from local.aws.runtime.outcomes import InvocationResult
from local.aws.stack import LocalStack
from tests.stack.local_fixtures import call, ended, shop, start

__all__ = ["shop"]


def control(stack: LocalStack, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(stack.control_url + path, data=data, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_functions_logs_and_outputs_are_shown(shop: LocalStack) -> None:
    call(shop, do="context")
    status, functions = control(shop, "GET", "/functions")
    assert status == 200
    assert [each["logical_id"] for each in functions] == [
        "ApiFunction",
        "InlineFunction",
        "ListenerFunction",
        "StepFunction",
    ]
    _, lines = control(shop, "GET", "/logs/ApiFunction")
    assert any(line["text"].startswith("REPORT") for line in lines)
    assert control(shop, "GET", "/outputs")[1] == shop.outputs


def test_metrics_and_alarms_are_shown(shop: LocalStack) -> None:
    call(shop, do="context")
    _, metrics = control(shop, "GET", "/metrics")
    names = {(each["namespace"], each["metric"]) for each in metrics if each["sum"] > 0}
    assert ("AWS/Lambda", "Invocations") in names
    assert control(shop, "GET", "/alarms") == (200, sorted(shop.alarming()))


def test_the_quota_of_concurrent_executions_is_that_of_an_account(shop: LocalStack) -> None:
    settings = shop.client("lambda").get_account_settings()
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 1000


def test_a_schedule_is_fired_and_its_execution_shown(shop: LocalStack) -> None:
    _, schedules = control(shop, "GET", "/schedules")
    assert {"Name": "shop-nightly", "State": "ENABLED"}.items() <= schedules[0].items() | schedules[1].items()
    status, fired = control(shop, "POST", "/schedules/shop-nightly/fire")
    assert status == 200
    ended(shop, fired["executionArn"])
    _, executions = control(shop, "GET", "/executions")
    assert executions[0]["executionArn"] == fired["executionArn"]


def test_an_impossible_command_is_refused_with_the_reason(shop: LocalStack) -> None:
    assert control(shop, "POST", "/schedules/nobody/fire")[0] == 404
    status, answer = control(shop, "POST", "/schedules/OrdersPaused/fire")
    assert status == 409
    assert "even_if_disabled" in answer["message"]
    assert control(shop, "POST", "/schedules/OrdersPaused/fire?even_if_disabled=true")[0] == 200
    status, answer = control(shop, "GET", "/logs/ApiFunctoin")
    assert status == 404
    assert "ApiFunction, InlineFunction" in answer["message"]
    status, answer = control(shop, "GET", "/elsewhere")
    assert status == 404
    assert "GET /functions" in answer["paths"]


def test_settings_are_changed_while_the_stack_runs(shop: LocalStack) -> None:
    changes = {"events": {"twice_ratio": 0.5, "retry_delays": [0, 1]}, "transactions": {"conflict_ratio": 1}}
    status, settings = control(shop, "PATCH", "/settings", changes)
    assert status == 200
    assert settings["events"]["twice_ratio"] == 0.5
    assert list(shop.settings.events.retry_delays) == [0, 1]
    assert shop.settings.transactions.conflict_ratio == 1
    assert control(shop, "PATCH", "/settings", {"events": {"speed": 1}})[0] == 400
    assert control(shop, "PATCH", "/settings", {"colours": {}})[0] == 400
    control(shop, "PATCH", "/settings", {"events": {"twice_ratio": 0}, "transactions": {"conflict_ratio": 0}})


def test_a_reset_over_the_control_api_starts_afresh(shop: LocalStack) -> None:
    ended(shop, start(shop, []))
    assert control(shop, "POST", "/reset")[0] == 200
    assert control(shop, "GET", "/executions")[1] == []


def count(stack: LocalStack) -> InvocationResult:
    return stack.invoke("StepFunction", b'{"do": "count", "key": "faults"}')


def counted(stack: LocalStack) -> int:
    key = {"pk": {"S": "count#faults"}, "sk": {"S": "-"}}
    item = stack.client("dynamodb").get_item(TableName=stack.outputs["TableName"], Key=key).get("Item")
    return int(item["n"]["N"]) if item else 0


@pytest.mark.parametrize(("moment", "written"), [("before", 0), ("after", 1)])
def test_a_process_dies_at_the_chosen_call(shop: LocalStack, moment: str, written: int) -> None:
    before = counted(shop)
    shop.arm("StepFunction", CrashFault(moment=moment, call=1, pattern=r"^POST http://127\.0\.0\.1"))
    outcome = count(shop)
    assert json.loads(outcome.payload)["errorType"] == "Runtime.ExitError"
    assert "signal: killed" in json.loads(outcome.payload)["errorMessage"]
    assert counted(shop) - before == written
    assert not count(shop).failed


def test_a_process_that_dies_with_its_request_sent_has_been_heard(shop: LocalStack) -> None:
    before = counted(shop)
    shop.arm("StepFunction", CrashFault(moment="sent"))
    assert count(shop).failed
    assert counted(shop) - before in (0, 1)


def test_a_fault_for_one_event_leaves_the_others_alone(shop: LocalStack) -> None:
    assert not count(shop).failed
    before = counted(shop)
    shop.arm("StepFunction", CrashFault(pattern="UpdateItem", event='"key": "chosen"'))
    assert not count(shop).failed
    chosen = b'{"do": "count", "key": "chosen"}'
    assert shop.invoke("StepFunction", chosen).failed
    assert not shop.invoke("StepFunction", chosen).failed
    assert counted(shop) - before == 1
    ended = [line.text for line in shop.logs("StepFunction") if line.text.startswith("fault: ended before")]
    assert ended[-1].endswith('UpdateItem for "key": "chosen"')


def test_a_process_that_hangs_is_ended_by_its_timeout(shop: LocalStack) -> None:
    before = counted(shop)
    shop.arm("StepFunction", CrashFault(moment="after", hangs=60, event="faults"))
    outcome = count(shop)
    assert json.loads(outcome.payload)["errorType"] == "Sandbox.Timedout"
    assert counted(shop) - before == 1


def test_a_process_that_hangs_briefly_continues(shop: LocalStack) -> None:
    before = counted(shop)
    shop.arm("StepFunction", CrashFault(hangs=0.2))
    assert not count(shop).failed
    assert counted(shop) - before == 1


def test_a_fault_that_never_strikes_names_the_calls(shop: LocalStack) -> None:
    shop.reset()
    shop.arm("StepFunction", CrashFault(call=0))
    assert not count(shop).failed
    named = [line.text for line in shop.logs("StepFunction") if line.text.startswith("fault: call")]
    assert len(named) == 1
    assert named[0].startswith("fault: call 1 POST http://127.0.0.1:")


def test_a_fault_that_stays_waits_for_an_event_that_meets_it(shop: LocalStack) -> None:
    shop.arm("StepFunction", CrashFault(pattern="UpdateItem", stays=True))
    assert not shop.invoke("StepFunction", b'{"do": "sleep", "seconds": 0}').failed
    assert count(shop).failed
    assert not count(shop).failed


def test_a_fault_that_stays_waits_on_if_an_event_fails_for_another_reason(shop: LocalStack) -> None:
    shop.arm("StepFunction", CrashFault(pattern="UpdateItem", stays=True))
    assert shop.invoke("StepFunction", b'{"do": "fail"}').failed
    assert count(shop).failed
    assert not count(shop).failed


def test_a_fault_that_stays_hangs_one_event(shop: LocalStack) -> None:
    shop.arm("StepFunction", CrashFault(pattern="UpdateItem", hangs=0.2, stays=True))
    assert not count(shop).failed
    before = len(shop.logs("StepFunction"))
    assert not count(shop).failed
    assert not [line for line in shop.logs("StepFunction")[before:] if line.text.startswith("fault:")]


def test_an_unused_fault_is_disarmed(shop: LocalStack) -> None:
    shop.arm("StepFunction", CrashFault())
    shop.disarm()
    assert not count(shop).failed


def test_a_moment_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="later"):
        CrashFault(moment="later")

"""An event of Azure Data Factory, from its request to the callbacks of the run that covers it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from celonis_refresh.notifications.callbacks import callback_facts
from celonis_refresh.runs.callbacks import Callback, callbacks_of
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sources import Source
from celonis_refresh.workflow.delivery_list import DeliveryList
from celonis_refresh.workflow.webhook import Reply
from tests.fakes.service import JOB, job_definition
from tests.unit.steps.outgoing import logged
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of
from tests.unit.workflow.workflow_harness import WorkflowHarness

USER = "factory:pass-word"
TOKEN = "AAEAFF7a-secret-token"
ADF = source_of(sender="azure_data_factory")


def address(number: int) -> str:
    return f"https://dpeastus.svc.datafactory.azure.com/callback/{number}?callbackUrl={TOKEN}{number}"


def callback(number: int) -> Callback:
    return Callback(address(number), "azure_data_factory")


def activity(
    harness: WebhookHarness, number: int, source: Source = ADF, given: object = None, **body: Any
) -> Reply:
    """The request of the Webhook activity. ``given``: another address."""
    harness.secrets = harness.refreshed_secrets = [USER]
    document = {"run": "r-1", **body, "callBackUri": address(number) if given is None else given}
    credentials = base64.b64encode(USER.encode()).decode()
    headers = {"content-type": "application/json", "authorization": f"Basic {credentials}"}
    return harness.receive(WebhookRequest(headers, {}, json.dumps(document).encode()), source)


def callbacks(harness: WebhookHarness, run_id: str) -> set[Callback]:
    service = harness.service
    return {each.callback for each in callbacks_of(service.table, run_id, service.deadline())}


def run_of(reply: Reply) -> tuple[str, str]:
    (run,) = reply.body["runs"]
    return run["run_id"], run["status"]


def harness_of(**definition: Any) -> WebhookHarness:
    harness = WebhookHarness()
    harness.definitions["otc"] = job_definition(**definition)
    harness.service.job(JOB).add_past_start(600.0)
    return harness


@pytest.fixture
def harness() -> WebhookHarness:
    return harness_of()


def test_the_callback_is_stored_with_the_run_and_costs_no_further_write(harness: WebhookHarness) -> None:
    reply = activity(harness, 1)
    assert reply.status == 202
    run_id, status = run_of(reply)
    assert (status, callbacks(harness, run_id)) == ("started", {callback(1)})
    writes = [call for call in harness.service.dynamodb.calls if call.startswith("TransactWrite")]
    assert len(writes) == 2


def test_merged_triggers_have_their_callbacks_at_the_run_that_covers_them(harness: WebhookHarness) -> None:
    first = run_of(activity(harness, 1))
    joined = {run_of(activity(harness, number)) for number in (2, 3, 4)}
    ((follow_up, status),) = joined
    assert status == "joined"
    assert callbacks(harness, first[0]) == {callback(1)}
    assert callbacks(harness, follow_up) == {callback(2), callback(3), callback(4)}


def test_joining_costs_as_many_requests_as_without_a_callback(harness: WebhookHarness) -> None:
    activity(harness, 1)
    harness.service.dynamodb.calls.clear()
    activity(harness, 2)
    assert harness.service.dynamodb.calls == ["TransactWriteItems", "TransactWriteItems"]


def test_the_same_request_sent_again_is_a_duplicate(harness: WebhookHarness) -> None:
    first, again = activity(harness, 1), activity(harness, 1)
    assert run_of(again) == (run_of(first)[0], "duplicate")
    assert again.status == 200


def test_another_attempt_of_the_activity_has_an_address_of_its_own(harness: WebhookHarness) -> None:
    first, again = activity(harness, 1), activity(harness, 2)
    assert run_of(again) != run_of(first)
    assert callbacks(harness, run_of(again)[0]) == {callback(2)}


def test_each_pipeline_that_an_event_starts_has_the_callback(harness: WebhookHarness) -> None:
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    reply = activity(
        harness, 1, source_of({"pipeline": "otc"}, {"pipeline": "p2p"}, sender="azure_data_factory")
    )
    for run in reply.body["runs"]:
        assert callbacks(harness, run["run_id"]) == {callback(1)}


def test_an_activity_for_a_paused_pipeline_waits_for_the_pending_run() -> None:
    harness = harness_of(paused=True)
    run_id, status = run_of(activity(harness, 1))
    assert (status, callbacks(harness, run_id)) == ("joined", {callback(1)})


def test_a_rule_that_another_one_covers_keeps_its_callback(harness: WebhookHarness) -> None:
    rules = ({"pipeline": "otc"}, {"pipeline": "otc", "mode": {"path": "mode"}})
    reply = activity(harness, 1, source_of(*rules, sender="azure_data_factory"), mode="SOMETIMES")
    assert callbacks(harness, run_of(reply)[0]) == {callback(1)}


@pytest.mark.parametrize(
    "given",
    [
        f"https://evil.test/?callbackUrl={TOKEN}",
        f"http://x.svc.datafactory.azure.com/?{TOKEN}",
        f"https://{TOKEN}@x.svc.datafactory.azure.com/",
        f"https://{TOKEN}/",
        {"url": TOKEN},
    ],
)
def test_an_address_that_is_not_allowed_is_logged_and_counted_and_the_run_continues(
    harness: WebhookHarness, given: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with logged() as lines:
        reply = activity(harness, 1, given=given)
    assert reply.status == 202
    run_id, status = run_of(reply)
    assert (status, callbacks(harness, run_id)) == ("started", set())
    assert [line.getMessage() for line in lines] == ["a callback address is refused"]
    shown = "".join(str(vars(line)) for line in lines) + str(reply) + capsys.readouterr().out
    assert "ConfigurationErrors" in shown
    assert "rule 1: callback" in shown
    assert TOKEN not in shown
    assert ("evil.test" in shown) is ("evil.test" in str(given))
    (line,) = lines
    assert (vars(line)["pipeline"], vars(line)["source"]) == ("otc", "shop")


def test_a_refused_address_is_in_the_answer_and_in_the_delivery_without_another_request(
    harness: WebhookHarness,
) -> None:
    activity(harness, 1)
    harness.service.clock.sleep(1)
    harness.service.dynamodb.calls.clear()
    reply = activity(harness, 2, given="https://evil.example.org/callback")
    assert harness.service.dynamodb.calls == ["TransactWriteItems", "TransactWriteItems"]
    sentence = (
        "rule 1: callback gave an address whose host evil.example.org is not in callback_hosts. "
        "The run is not affected, and its result is not posted."
    )
    assert reply.body["errors"] == [sentence]
    listed = DeliveryList(harness.service.table, harness.service.clock).page("shop", 10, None)
    newest, first = listed["deliveries"]
    assert (newest["result"], newest["errors"]) == ("merged", [sentence])
    assert (first["result"], first["errors"]) == ("started", [])


def test_the_address_is_in_no_answer_record_input_or_log(capsys: pytest.CaptureFixture[str]) -> None:
    harness = WorkflowHarness()
    harness.service.job(JOB).add_past_start(6000.0)
    with logged() as lines:
        replies = [activity(harness, number) for number in (1, 2, 1)]
        harness.run_executions()
    assert set(harness.runs().values()) == {"SUCCEEDED"}
    shown = [str(vars(line)) for line in lines] + [str(reply) for reply in replies]
    shown += [str(harness.executions.known), str(harness.executions.answers), capsys.readouterr().out]
    shown += [str(harness.show(run_id)) for run_id in harness.runs()]
    shown += [str(callback_facts(harness.service.records.get(run_id))) for run_id in harness.runs()]
    assert TOKEN not in "".join(shown)
    stored = [item for item in harness.service.dynamodb.items.values() if TOKEN in str(item)]
    assert stored == [], "posted and removed"


@pytest.mark.parametrize("fails", [False, True])
def test_the_result_is_posted_to_each_activity_once_its_run_has_ended(*, fails: bool) -> None:
    """The second activity joins the next run."""
    harness = WorkflowHarness()
    harness.service.job(JOB).add_past_start(6000.0)
    harness.service.job(JOB).outcome = "FAIL" if fails else "SUCCESS"
    runs = [run_of(activity(harness, number))[0] for number in (1, 2)]
    assert harness.service.receiver.sent == []
    harness.run_executions()
    bodies = harness.service.receiver.bodies
    assert [body["Output"]["run_id"] for body in bodies] == runs
    assert ["Error" in body for body in bodies] == [fails, fails]
    assert [callbacks(harness, run_id) for run_id in runs] == [set(), set()]


def test_a_callback_that_is_not_taken_is_posted_again_by_reconcile() -> None:
    harness = WorkflowHarness()
    harness.service.job(JOB).add_past_start(6000.0)
    run_id, _ = run_of(activity(harness, 1))
    harness.service.receiver.status = 503
    harness.run_executions()
    assert len(harness.service.receiver.sent) == 1
    harness.service.receiver.status = 200
    harness.service.clock.sleep(300.0)
    harness.reconcile()
    harness.reconcile()
    assert len(harness.service.receiver.sent) == 2
    assert callbacks(harness, run_id) == set()


def test_a_callback_that_nobody_takes_is_not_a_failure_of_reconcile() -> None:
    """The receiver belongs to others; the alarm of reconcile is about this stack."""
    harness = WorkflowHarness()
    harness.service.job(JOB).add_past_start(6000.0)
    run_of(activity(harness, 1))
    harness.service.receiver.status = 503
    harness.run_executions()
    harness.service.clock.sleep(300.0)
    findings = harness.reconcile()
    assert len(harness.service.receiver.sent) == 2
    assert findings.failed == []

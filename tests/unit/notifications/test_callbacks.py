"""Callbacks of ended runs are promised once each, and posted without their addresses in any record of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from requests import ConnectionError as NoConnection
from requests import ReadTimeout

from celonis_refresh.notifications.callbacks import (
    CALLBACK_SECONDS,
    CallbackSender,
    callback_facts,
    callback_facts_of,
    callback_payload,
    dropped_facts,
    promise_callbacks,
    promise_results,
)
from celonis_refresh.notifications.http import HttpPost
from celonis_refresh.notifications.outbox import (
    Message,
    MessageKind,
    NotSent,
    Outbox,
    SendResult,
    Undeliverable,
    outbox_key,
)
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.callbacks import Callback, callback_item, callbacks_of
from celonis_refresh.runs.queued import QueuedRun, RunLookup
from celonis_refresh.runs.records import MAX_OUTCOME, Records, Run, new_record
from celonis_refresh.runs.table import Table, callback_key, slot_key
from celonis_refresh.timing import Deadline
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB
from tests.fakes.receiver import FakeReceiver
from tests.template import pages
from tests.unit.steps.outgoing import logged

TOKEN = "AAEAFF7a-secret-token"
ADF = Callback(f"https://dpeastus.svc.datafactory.azure.com/callback/1?token={TOKEN}", "azure_data_factory")
OTHER = Callback("https://hooks.example.com/1")
RUN_ID = "otc-20260101T000000Z-0c0ffee0"


@pytest.fixture
def receiver() -> FakeReceiver:
    return FakeReceiver()


@pytest.fixture
def sender(table: Table, receiver: FakeReceiver) -> CallbackSender:
    return CallbackSender(table, HttpPost(receiver.session(), CALLBACK_SECONDS))


@pytest.fixture
def outbox(table: Table, sender: CallbackSender, clock: FakeClock) -> Outbox:
    return Outbox(table, {MessageKind.CALLBACK: sender}, clock)


def run(status: str = "SUCCEEDED", **facts: Any) -> Run:
    record = new_record(RUN_ID, "otc", RunOptions(), "2026-01-01T00:00:00.000Z")
    return Run({**record, "status": status, **facts})


SUCCEEDED = run(outcome="Succeeded: executed FULL job-a.")
FAILED = run("FAILED", error="JobFailed", outcome="The job failed. Open it in Celonis.")


@pytest.fixture
def promise(
    outbox: Outbox, table: Table, clock: FakeClock, deadline: Deadline
) -> Callable[..., list[Message]]:
    """Store callbacks of a run that has ended, and promise its result."""

    def store(*callbacks: Callback, ended: Run = SUCCEEDED) -> list[Message]:
        items = [callback_item(RUN_ID, each, clock.now) for each in callbacks]
        table.transact([table.put(item) for item in items], deadline)
        return promise_callbacks(
            outbox, callbacks_of(table, RUN_ID, deadline), callback_facts(ended), deadline
        )

    return store


def test_the_facts_of_a_run_say_how_it_ended() -> None:
    assert callback_facts(FAILED) == {
        "run_id": RUN_ID,
        "pipeline": "otc",
        "status": "FAILED",
        "error": "JobFailed",
        "outcome": "The job failed. Open it in Celonis.",
    }
    assert callback_facts(SUCCEEDED)["error"] is None


def test_a_long_outcome_is_cut() -> None:
    facts = callback_facts(run("FAILED", error="JobFailed", outcome="ä" * MAX_OUTCOME))
    assert len(json.dumps(facts, ensure_ascii=False).encode()) < 2500


def test_the_payload_of_a_callback_is_the_result_itself() -> None:
    facts = callback_facts(FAILED)
    assert callback_payload(facts, "run") == facts


def test_data_factory_gets_the_result_as_output_and_a_good_status() -> None:
    facts = callback_facts(SUCCEEDED)
    assert callback_payload(facts, "azure_data_factory") == {"Output": facts, "StatusCode": "200"}


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_an_activity_of_data_factory_fails_where_the_run_did(status: str) -> None:
    facts = callback_facts(run(status, error="JobFailed", outcome="What to do."))
    payload = callback_payload(facts, "azure_data_factory")
    assert payload["Error"] == {"ErrorCode": "JobFailed", "Message": "What to do."}
    assert int(payload["StatusCode"]) >= 400
    assert payload["Output"] == facts


def documented_bodies() -> list[dict[str, Any]]:
    """The bodies on the page of callbacks, in their order."""
    text = pages.page("docs/senders.md").split("### Callbacks")[1].split("\n### ")[0]
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.M | re.S)]


def test_the_documented_bodies_are_what_is_posted() -> None:
    plain, succeeded, failed = documented_bodies()
    for facts in (plain, succeeded["Output"], failed["Output"]):
        optional = {} if facts["error"] is None else {"error": facts["error"]}
        ended = run(facts["status"], outcome=facts["outcome"], **optional)
        assert callback_facts(ended) | {"run_id": facts["run_id"], "pipeline": facts["pipeline"]} == facts
    assert (succeeded["Output"]["status"], failed["Output"]["status"]) == ("SUCCEEDED", "FAILED")
    for body in (succeeded, failed):
        posted = callback_payload(body["Output"], "azure_data_factory")
        assert json.dumps(posted) == json.dumps(body)


def test_a_run_that_was_dropped_fails_the_activity() -> None:
    payload = callback_payload(dropped_facts(RUN_ID), "azure_data_factory")
    assert (payload["Output"]["status"], payload["Output"]["pipeline"]) == ("DROPPED", "otc")
    assert int(payload["StatusCode"]) >= 400


def test_an_open_or_pending_run_has_no_result_yet() -> None:
    pending = QueuedRun(RUN_ID, "otc", {"pending": {"run_id": RUN_ID, "options": {}}})
    for found in (run("OPENING"), run("RUNNING"), pending):
        assert callback_facts_of(RUN_ID, found) is None
    assert callback_facts_of(RUN_ID, FAILED) == callback_facts(FAILED)
    assert callback_facts_of(RUN_ID, None) == dropped_facts(RUN_ID)


def test_every_callback_of_a_run_is_claimed_once(
    outbox: Outbox, table: Table, promise: Callable[..., list[Message]], deadline: Deadline
) -> None:
    messages = promise(ADF, OTHER)
    assert {message.message_id for message in messages} == {
        f"{RUN_ID}/callback/{each.digest}" for each in (ADF, OTHER)
    }
    assert outbox.unsent([message.message_id for message in messages], deadline) == messages
    again = promise_callbacks(outbox, callbacks_of(table, RUN_ID, deadline), {}, deadline)
    assert again == []


def test_a_callback_that_another_function_claimed_is_not_sent(
    outbox: Outbox, table: Table, promise: Callable[..., list[Message]], clock: FakeClock, deadline: Deadline
) -> None:
    table.transact([table.put(callback_item(RUN_ID, ADF, clock.now))], deadline)
    read_by_both = callbacks_of(table, RUN_ID, deadline)
    assert len(promise_callbacks(outbox, read_by_both, {}, deadline)) == 1
    assert promise_callbacks(outbox, read_by_both, {}, deadline) == []


@pytest.fixture
def lookup(table: Table, clock: FakeClock) -> RunLookup:
    return RunLookup(table, Records(table, clock))


def test_the_result_of_a_run_is_claimed_after_its_end(
    outbox: Outbox, table: Table, lookup: RunLookup, clock: FakeClock, deadline: Deadline
) -> None:
    stored = callback_item(RUN_ID, ADF, clock.now)
    table.transact([table.put(stored), table.put(run("RUNNING").item)], deadline)
    assert promise_results(outbox, lookup, RUN_ID, deadline) == []
    table.transact([table.put(FAILED.item)], deadline)
    (message,) = promise_results(outbox, lookup, RUN_ID, deadline)
    assert (message.target, message.facts) == (stored["pk"], callback_facts(FAILED))
    assert promise_results(outbox, lookup, RUN_ID, deadline) == []


def test_a_callback_that_is_stored_after_the_end_of_its_run_is_claimed_later(
    outbox: Outbox, table: Table, lookup: RunLookup, clock: FakeClock, deadline: Deadline
) -> None:
    table.transact([table.put(callback_item(RUN_ID, ADF, clock.now)), table.put(FAILED.item)], deadline)
    assert len(promise_results(outbox, lookup, RUN_ID, deadline)) == 1
    table.transact([table.put(callback_item(RUN_ID, OTHER, clock.now))], deadline)
    (message,) = promise_results(outbox, lookup, RUN_ID, deadline)
    assert message.target == callback_key(RUN_ID, OTHER.digest)


def test_a_pending_run_that_is_dropped_is_claimed_as_dropped(
    outbox: Outbox, table: Table, lookup: RunLookup, clock: FakeClock, deadline: Deadline
) -> None:
    slot = {"pk": slot_key("otc"), "rev": 1, "pending": {"run_id": RUN_ID, "options": {}}}
    table.transact([table.put(callback_item(RUN_ID, ADF, clock.now)), table.put(slot)], deadline)
    assert promise_results(outbox, lookup, RUN_ID, deadline) == []
    table.transact([table.remove(slot_key("otc"), "")], deadline)
    (message,) = promise_results(outbox, lookup, RUN_ID, deadline)
    assert message.facts == dropped_facts(RUN_ID)


def test_the_result_is_posted_and_the_callback_removed(
    outbox: Outbox, table: Table, receiver: FakeReceiver, promise: Callable[..., list[Message]],
    deadline: Deadline,
) -> None:  # fmt: skip
    (message,) = promise(ADF, ended=FAILED)
    assert outbox.send(message, deadline) is SendResult.SENT
    (request,) = receiver.sent
    assert (request.method, request.url) == ("POST", ADF.address)
    assert request.headers["Content-Type"] == "application/json"
    assert receiver.bodies == [callback_payload(callback_facts(FAILED), "azure_data_factory")]
    assert table.get(callback_key(RUN_ID, ADF.digest)) is None
    assert table.get(outbox_key(message.message_id)) is None


def test_what_was_posted_and_not_recorded_is_posted_no_second_time(
    outbox: Outbox, receiver: FakeReceiver, promise: Callable[..., list[Message]], deadline: Deadline
) -> None:
    (message,) = promise(ADF)
    for _ in range(2):
        assert outbox.send(message, deadline) is SendResult.SENT
    assert len(receiver.sent) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_sent(
    sender: CallbackSender, receiver: FakeReceiver, promise: Callable[..., list[Message]], status: int,
    deadline: Deadline,
) -> None:  # fmt: skip
    (message,) = promise(OTHER)
    receiver.status = status
    sender(message, deadline)
    assert receiver.bodies == [callback_facts(SUCCEEDED)]


@pytest.mark.parametrize("status", [404, 410])
def test_a_callback_to_an_expired_task_token_is_abandoned(
    outbox: Outbox, sender: CallbackSender, receiver: FakeReceiver, table: Table,
    promise: Callable[..., list[Message]], status: int, deadline: Deadline,
) -> None:  # fmt: skip
    message, other = promise(ADF, OTHER)
    receiver.status = status
    with pytest.raises(Undeliverable, match=str(status)):
        sender(message, deadline)
    assert table.get(message.target) is None
    assert outbox.send(other, deadline) is SendResult.GIVEN_UP


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 403, 405, 408, 429, 500, 502, 503])
def test_any_other_status_is_tried_again(
    outbox: Outbox, receiver: FakeReceiver, table: Table, promise: Callable[..., list[Message]], status: int,
    deadline: Deadline,
) -> None:  # fmt: skip
    (message,) = promise(ADF)
    receiver.status, receiver.headers = status, {"location": "https://dpeastus.svc.datafactory.azure.com/2"}
    assert outbox.send(message, deadline) is SendResult.FAILED
    assert len(receiver.sent) == 1, "a redirect is not followed"
    assert table.get(message.target) is not None
    receiver.status = 200
    assert outbox.send(message, deadline) is SendResult.SENT


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeout(f"no answer from {ADF.address}"),
        NoConnection(f"cannot connect to {ADF.address}"),
        OSError(ADF.address),
        UnicodeError(ADF.address),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_receiver_that_does_not_answer_is_tried_again_and_the_address_is_never_logged(
    outbox: Outbox, receiver: FakeReceiver, promise: Callable[..., list[Message]], error: Exception,
    deadline: Deadline,
) -> None:  # fmt: skip
    (message,) = promise(ADF)
    receiver.error = error
    with logged() as lines:
        assert outbox.send(message, deadline) is SendResult.FAILED
    (line,) = lines
    assert "no answer" in str(vars(line))
    assert TOKEN not in str(vars(line))


def test_no_error_and_no_message_has_the_address(
    outbox: Outbox, sender: CallbackSender, receiver: FakeReceiver, promise: Callable[..., list[Message]],
    dynamodb: FakeDynamoDB, deadline: Deadline,
) -> None:  # fmt: skip
    (message,) = promise(ADF)
    receiver.error = NoConnection(ADF.address)
    with pytest.raises(NotSent) as caught:
        sender(message, deadline)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert TOKEN not in f"{caught.value}{vars(caught.value)}{message}"
    assert TOKEN not in str(dynamodb.document(outbox_key(message.message_id)))


@pytest.mark.parametrize(("left", "timeout"), [(5.0, 5.0), (60.0, 10.0), (2.0, 2.0)])
def test_a_post_has_a_timeout_within_the_deadline(
    sender: CallbackSender, receiver: FakeReceiver, promise: Callable[..., list[Message]], clock: FakeClock,
    left: float, timeout: float,
) -> None:  # fmt: skip
    (message,) = promise(ADF)
    sender(message, Deadline.after(left, clock))
    assert receiver.how[0]["timeout"] == timeout
    assert receiver.how[0]["verify"] is True
    assert receiver.how[0]["proxies"] == {}


def test_nothing_is_sent_without_time_for_the_answer(
    sender: CallbackSender, receiver: FakeReceiver, promise: Callable[..., list[Message]], clock: FakeClock
) -> None:
    (message,) = promise(ADF)
    with pytest.raises(NotSent):
        sender(message, Deadline.after(0.5, clock))
    assert receiver.sent == []

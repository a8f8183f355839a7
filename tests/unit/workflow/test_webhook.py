"""From a webhook to its runs: calls, requests and responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from celonis_refresh.aws.configuration import ConfigurationUnavailable
from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import InvalidDefinition, InvalidTrigger, UnknownPipeline
from celonis_refresh.responses import error_answer
from celonis_refresh.runs.earlier import Earlier
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.slots import release
from celonis_refresh.runs.table import earlier_key, run_key
from celonis_refresh.steps.check import TRIGGER_SECONDS
from celonis_refresh.timing import iso
from celonis_refresh.webhooks.errors import NotAuthentic, RuleError
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.workflow.webhook import RESUME_SECONDS, Reply
from tests.fakes.celonis import Lost, denied, unavailable
from tests.fakes.dynamodb import canceled
from tests.fakes.leases import take
from tests.fakes.service import JOB, MODEL, ServiceHarness, job_definition, load_definition
from tests.unit.steps.outgoing import JOB_LEASE, SLOT, Outgoing, SentWrite, claims, holder, logged, starts
from tests.unit.webhooks.sns_messages import SUBSCRIBE_URL, TOPIC, body
from tests.unit.workflow.webhook_harness import NEW_SECRET, SECRET, WebhookHarness, source_of

RUN_ID = "otc-1"
CLAIM = ("delivery#source:shop#d-1", SLOT, run_key(RUN_ID), JOB_LEASE)


def webhook_harness(**definitions: Any) -> WebhookHarness:
    """A WebhookHarness with one job that ran before."""
    made = WebhookHarness()
    made.definitions |= definitions
    made.service.job().add_past_start(600.0)
    made.service.model()
    return made


def runs(reply: Reply) -> list[tuple[str, str]]:
    return [(reported["run_id"], reported["status"]) for reported in reply.body["runs"]]


def end(service: ServiceHarness, run_id: str, **facts: object) -> None:
    service.records.set_facts(service.records.get(run_id), facts, service.deadline())


def test_a_start_costs_two_writes_three_calls_to_celonis_and_one_execution() -> None:
    harness = webhook_harness()
    out = Outgoing(harness.service)
    reply = harness.deliver()
    written = SentWrite("TransactWriteItems", (run_key(RUN_ID), earlier_key(JOB_LEASE)))
    assert out.log == [SentWrite("TransactWriteItems", CLAIM), "job", "executions", written, "execute_job"]
    assert harness.service.dynamodb.calls == ["TransactWriteItems", "TransactWriteItems"]
    assert harness.executions.start_requests == [RUN_ID]
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    assert reply.body["delivery"] == "d-1"


def test_a_started_run_has_its_loads_and_the_start_of_its_job_in_the_record() -> None:
    harness = webhook_harness()
    harness.deliver()
    run = harness.service.records.get(RUN_ID)
    assert (run.status, run.loads) == (RunStatus.OPENING, {})
    assert harness.service.state("job-0", RUN_ID)["posts"] == 1
    assert run.options.reasons[0].by == "shop"


def test_what_celonis_answered_to_the_start_goes_into_the_input_of_the_execution() -> None:
    harness = webhook_harness()
    harness.service.celonis.answers_id = True
    harness.deliver()
    answer = harness.executions.answers[RUN_ID]
    state = harness.service.state("job-0", RUN_ID)
    assert (answer["step"], answer["posts"], answer["answered_id"]) == ("job-0", state["posts"], "exec-1")
    assert "answered" not in state


def started_by_another_request(harness: WebhookHarness, when: str) -> None:
    """A delivery sent again starts the execution while the first one starts the job."""

    def hook(name: str, moment: str) -> None:
        if (name, moment) == ("execute_job", when):
            harness.executions.start(RUN_ID)
            assert harness.service.check("job-0", RUN_ID)["status"] == "RUNNING"

    harness.service.celonis.hook = hook


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_the_execution_did_not_get_is_recorded(when: str) -> None:
    harness = webhook_harness()
    harness.service.celonis.answers_id = True
    started_by_another_request(harness, when)
    assert harness.deliver().status == 202
    assert harness.executions.answers == {}
    state = harness.service.state("job-0", RUN_ID)
    assert (state["answered"], state["answered_id"]) == (True, "exec-1")
    assert "evidence" not in state


@pytest.mark.parametrize("fault", ["refused", "throttled"])
def test_a_refusal_counts_although_the_execution_has_begun(fault: Lost) -> None:
    harness = webhook_harness()
    harness.service.celonis.faults["execute_job"] = [fault]
    started_by_another_request(harness, "before")
    assert harness.deliver().status == 202
    state = harness.service.state("job-0", RUN_ID)
    assert (state["refused"], state["posts"]) == (True, 0)
    assert "evidence" not in state


def test_a_start_by_a_webhook_is_polled_only_once_its_answer_cannot_come_any_more() -> None:
    harness = webhook_harness()
    service = harness.service
    service.celonis.faults["execute_job"] = ["after"]
    assert harness.deliver().status == 202
    polls = len(service.celonis.names())
    progress = service.check("job-0", RUN_ID)
    assert (progress["status"], len(service.celonis.names())) == ("RUNNING", polls)
    assert 0 < progress["wait"] <= TRIGGER_SECONDS
    service.clock.sleep(progress["wait"])
    service.check("job-0", RUN_ID)
    assert len(service.celonis.names()) > polls


@pytest.mark.parametrize("fault", ["after", "throttled", "refused", "unsent"])
def test_a_start_without_an_answer_has_none_in_the_input_of_the_execution(fault: Lost) -> None:
    harness = webhook_harness()
    harness.service.celonis.faults["execute_job"] = [fault]
    harness.deliver()
    assert (harness.executions.start_requests, harness.executions.answers) == ([RUN_ID], {})


def test_a_job_whose_execution_before_is_not_shown_yet_is_left_to_the_state_machine() -> None:
    harness = webhook_harness()
    service = harness.service
    service.open(job_definition(), "other-1", "other")
    take(service.leases, "other-1", JOB_LEASE, service.deadline())
    earlier = Earlier().followed_by(["exec-x"], None, service.clock.now + 60.0, shows_running=True)
    service.leases.free("other-1", JOB_LEASE, service.deadline(), earlier)
    reply = harness.deliver()
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    assert (starts(service), set(service.state("job-0", RUN_ID))) == ([], {"rev", "shown"})
    assert holder(service) is None
    assert (harness.executions.start_requests, harness.executions.answers) == ([RUN_ID], {})


def test_joining_costs_two_transactions_and_nothing_else() -> None:
    harness = webhook_harness()
    harness.deliver()
    harness.service.dynamodb.calls.clear()
    out = Outgoing(harness.service)
    reply = harness.deliver("d-2")
    assert harness.service.dynamodb.calls == ["TransactWriteItems", "TransactWriteItems"]
    assert out.calls == []
    assert (reply.status, [status for _, status in runs(reply)]) == (202, ["joined"])
    assert harness.executions.start_requests == [RUN_ID]


def test_all_that_join_get_the_same_run_that_follows() -> None:
    harness = webhook_harness()
    replies = [harness.deliver(f"d-{number}") for number in range(4)]
    followers = {run_id for reply in replies[1:] for run_id, _ in runs(reply)}
    assert len(followers) == 1
    assert followers != {RUN_ID}


def test_a_delivery_sent_again_gets_the_run_that_it_led_to() -> None:
    harness = webhook_harness()
    harness.deliver()
    end(harness.service, RUN_ID, status=RunStatus.RUNNING)
    harness.forget()
    harness.service.dynamodb.calls.clear()
    out = Outgoing(harness.service)
    reply = harness.deliver()
    assert harness.service.dynamodb.calls == ["TransactWriteItems", "GetItem", "UpdateItem"]
    assert out.calls == []
    assert (reply.status, runs(reply)) == (200, [(RUN_ID, "duplicate")])
    assert reply.body["duplicate"] is True
    assert harness.executions.start_requests == [RUN_ID]


def test_a_delivery_sent_again_finishes_a_handover_that_was_left_undone() -> None:
    harness = webhook_harness()
    harness.deliver()
    harness.executions.start_requests.clear()
    assert harness.deliver().status == 200
    assert harness.executions.start_requests == [RUN_ID]


def test_a_delivery_sent_again_much_later_leaves_what_is_undone_to_reconcile() -> None:
    harness = webhook_harness()
    harness.deliver()
    harness.executions.start_requests.clear()
    harness.service.clock.sleep(RESUME_SECONDS + 10)
    harness.service.dynamodb.calls.clear()
    assert harness.deliver().status == 200
    assert harness.service.dynamodb.calls == ["UpdateItem"]
    assert harness.executions.start_requests == []


def test_a_delivery_that_joined_is_answered_again_without_a_handover() -> None:
    harness = webhook_harness()
    harness.deliver()
    joined = runs(harness.deliver("d-2"))
    harness.executions.start_requests.clear()
    assert runs(harness.deliver("d-2")) == [(joined[0][0], "duplicate")]
    assert harness.executions.start_requests == []


def test_a_poll_that_is_refused_once_is_left_to_the_state_machine() -> None:
    harness = webhook_harness()
    harness.service.celonis.faults["job"] = [denied()]
    assert harness.deliver().status == 202
    assert harness.executions.start_requests == [RUN_ID]
    state = harness.service.state("job-0", RUN_ID)
    assert (state["last_error"], "error" in state) == ("Denied.", False)


def test_an_error_of_celonis_after_the_claim_is_still_accepted() -> None:
    harness = webhook_harness()
    harness.service.celonis.faults["execute_job"] = [denied()]
    with logged() as lines:
        reply = harness.deliver()
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    assert harness.executions.start_requests == [RUN_ID]
    assert harness.service.state("job-0", RUN_ID)["error"] == "PermissionDenied"
    assert [(line.levelname, vars(line)["run_id"]) for line in lines] == [("WARNING", RUN_ID)]


def test_an_unexpected_error_after_the_claim_is_still_accepted() -> None:
    harness = webhook_harness()
    harness.service.celonis.faults["job"] = [ZeroDivisionError("oops")]
    with logged() as lines:
        assert harness.deliver().status == 202
    assert harness.executions.start_requests == [RUN_ID]
    assert lines[0].exc_info is not None


def test_a_lost_answer_of_celonis_is_left_to_the_state_machine() -> None:
    harness = webhook_harness()
    harness.service.celonis.faults["execute_job"] = ["after"]
    assert harness.deliver().status == 202
    assert len(starts(harness.service)) == 1
    assert harness.service.state("job-0", RUN_ID)["last_error"] == "No usable answer."


def test_an_execution_that_cannot_be_started_is_logged_and_the_delivery_accepted() -> None:
    harness = webhook_harness()

    def fails(name: str, when: str) -> None:
        raise ConnectionError("no states")

    harness.executions.hook = fails
    with logged() as lines:
        reply = harness.deliver()
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    assert [(line.levelname, vars(line)["run_id"]) for line in lines] == [("ERROR", RUN_ID)]
    assert harness.service.records.get(RUN_ID).status is RunStatus.OPENING


def test_a_secret_that_was_rotated_is_read_anew_once() -> None:
    harness = webhook_harness()
    harness.refreshed_secrets = [NEW_SECRET]
    assert harness.deliver(secret=NEW_SECRET).status == 202
    assert harness.secret_refreshes == 1


def test_a_secret_that_fits_is_not_read_anew() -> None:
    harness = webhook_harness()
    harness.deliver()
    assert harness.secret_refreshes == 0


@pytest.mark.parametrize("refreshed_secrets", [SECRET, NEW_SECRET])
def test_what_proves_nothing_is_refused_and_nothing_is_written(refreshed_secrets: str) -> None:
    harness = webhook_harness()
    harness.refreshed_secrets = [refreshed_secrets]
    with pytest.raises(NotAuthentic):
        harness.deliver(secret="whsec_" + "eHh4" * 11)
    assert harness.service.dynamodb.calls == []
    assert (harness.service.celonis.sent, harness.executions.start_requests) == ([], [])


@pytest.mark.parametrize("seconds", [1.3, 0.5, -3.0])
def test_a_delivery_without_time_for_celonis_is_still_accepted(seconds: float) -> None:
    harness = webhook_harness()
    reply = harness.deliver(seconds=seconds)
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    assert harness.service.celonis.sent == []
    assert harness.executions.start_requests == [RUN_ID]


def test_a_claim_that_meets_others_is_tried_again_however_late_it_is() -> None:
    harness = webhook_harness()
    refusals = [canceled("TransactionConflict")] * 3

    def conflict(operation: str, request: dict[str, Any]) -> None:
        if refusals:
            raise refusals.pop()

    harness.service.dynamodb.before = conflict
    assert harness.deliver(seconds=-1.0).status == 202


def test_a_table_that_takes_nothing_is_an_error_after_a_bounded_time() -> None:
    harness = webhook_harness()

    def conflict(operation: str, request: dict[str, Any]) -> None:
        raise canceled("TransactionConflict")

    harness.service.dynamodb.before = conflict
    began = harness.service.clock.now
    with pytest.raises(TableBusy):
        harness.deliver()
    assert harness.service.clock.now - began <= 1.9
    assert harness.executions.start_requests == []


@pytest.mark.parametrize("claim_seconds", [0.0, 0.5])
@pytest.mark.parametrize("ran_before", [True, False])
def test_every_call_to_celonis_ends_in_time_for_the_answer(claim_seconds: float, ran_before: bool) -> None:
    harness = webhook_harness()
    if not ran_before:
        harness.service.job()
    service, arrived = harness.service, harness.service.clock.now
    call_times: list[float] = []

    def note(name: str, when: str) -> None:
        if when == "before":
            call_times.append(service.clock.now)

    service.celonis.hook = note
    service.dynamodb.before = lambda operation, request: service.clock.sleep(claim_seconds)
    harness.deliver()
    ends = [at + timeout for at, timeout in zip(call_times, service.celonis.timeouts, strict=True)]
    assert len(ends) == (3 if ran_before else 5)
    assert max(ends) <= arrived + 2.5 - 0.6 + 1e-6


def test_each_further_handover_of_a_delivery_has_its_time_kept_back() -> None:
    harness = webhook_harness(
        p2p=job_definition(jobs=[{"job": "job-b"}]), r2r=job_definition(jobs=[{"job": "job-c"}])
    )
    for job in ("job-b", "job-c"):
        harness.service.job(job)
    harness.deliver(source=source_of({"pipeline": "otc"}, {"pipeline": "p2p"}, {"pipeline": "r2r"}))
    assert harness.service.celonis.timeouts[0] == pytest.approx(2.5 - 0.6 - 0.2)


def test_one_event_starts_every_pipeline_that_its_rules_name() -> None:
    harness = webhook_harness(p2p=job_definition(jobs=[{"job": "job-b"}]))
    harness.service.job("job-b")
    claimed = claims(harness.service)
    reply = harness.deliver(source=source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))
    assert [reported["pipeline"] for reported in reply.body["runs"]] == ["otc", "p2p"]
    assert harness.executions.start_requests == [run_id for run_id, _ in runs(reply)]
    assert [target for _, target, _ in starts(harness.service)] == [JOB, "job-b"]
    assert len(claimed) == 1


def test_two_rules_for_one_pipeline_make_one_run_that_covers_both() -> None:
    harness = webhook_harness()
    rules = [{"pipeline": "otc", "mode": "DELTA"}, {"pipeline": "otc", "mode": "FULL"}]
    reply = harness.deliver(source=source_of(*rules))
    assert len(runs(reply)) == 1
    assert starts(harness.service) == [("execute_job", JOB, "FULL")]


def test_of_two_pipelines_with_the_same_job_one_starts_it_and_both_are_handed_over() -> None:
    harness = webhook_harness(p2p=job_definition())
    reply = harness.deliver(source=source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))
    first, second = (run_id for run_id, _ in runs(reply))
    assert len(starts(harness.service)) == 1
    assert harness.executions.start_requests == [first, second]
    assert holder(harness.service) == first


def test_a_job_that_another_run_uses_is_left_to_the_state_machine() -> None:
    harness = webhook_harness(p2p=job_definition())
    harness.deliver("d-0", source_of({"pipeline": "p2p"}))
    harness.service.celonis.sent.clear()
    reply = harness.deliver()
    assert [status for _, status in runs(reply)] == ["started"]
    assert harness.service.celonis.sent == []
    assert len(harness.executions.start_requests) == 2


def test_a_pipeline_without_jobs_is_handed_over_without_asking_celonis() -> None:
    harness = webhook_harness(otc=load_definition())
    assert harness.deliver().status == 202
    assert (harness.service.celonis.sent, harness.executions.start_requests) == ([], [RUN_ID])


def test_tables_that_a_load_names_are_resolved_before_the_job_starts() -> None:
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
    harness = webhook_harness(otc=job_definition(loads=loads))
    harness.service.celonis.model_tables[MODEL] = [ModelTable("t-1", "ORDERS")]
    out = Outgoing(harness.service)
    harness.deliver()
    assert out.calls == ["tables", "job", "executions", "execute_job"]
    loads_noted = harness.service.records.get(RUN_ID).loads
    assert loads_noted == {"load-0": {"kind": "partial", "tables": {"t-1": "ORDERS"}}}


@pytest.mark.parametrize("error", [None, unavailable()], ids=["unknown table", "no answer"])
def test_a_job_is_not_started_while_its_tables_are_not_resolved(error: Exception | None) -> None:
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["ORDERS"]}]
    harness = webhook_harness(otc=job_definition(loads=loads))
    harness.service.celonis.faults["tables"] = [error]
    assert harness.deliver().status == 202
    assert (starts(harness.service), harness.executions.start_requests) == ([], [RUN_ID])


def test_a_trigger_during_a_run_is_ignored_where_the_pipeline_skips_it() -> None:
    harness = webhook_harness(otc=job_definition(when_running="skip"))
    harness.deliver()
    reply = harness.deliver("d-2")
    assert (reply.status, reply.body["status"]) == (200, "ignored")
    assert f"otc with {RUN_ID}" in reply.body["reason"]
    assert "pending" not in (harness.service.table.get(SLOT) or {})


def test_a_paused_pipeline_starts_nothing_and_keeps_the_options() -> None:
    harness = webhook_harness(otc=job_definition(paused=True))
    reply = harness.deliver()
    assert [status for _, status in runs(reply)] == ["joined"]
    assert (harness.service.celonis.sent, harness.executions.start_requests) == ([], [])
    assert (harness.service.table.get(SLOT) or {})["pending"]["run_id"] == runs(reply)[0][0]


def test_an_event_that_no_rule_is_about_is_ignored_and_only_that_is_written() -> None:
    harness = webhook_harness()
    reply = harness.deliver(source=source_of({"pipeline": "otc", "events": ["something.else"]}))
    assert (reply.status, reply.body["status"]) == (200, "ignored")
    assert reply.body["reason"]
    (item,) = harness.service.dynamodb.documents("")
    assert (item["result"], item["reason"]) == ("ignored", reply.body["reason"])
    assert harness.service.dynamodb.calls == ["UpdateItem"]


def test_a_pipeline_that_is_not_defined_is_an_error_and_only_that_is_written() -> None:
    harness = webhook_harness()
    with pytest.raises(UnknownPipeline):
        harness.deliver(source=source_of({"pipeline": "nowhere"}))
    assert [item["result"] for item in harness.service.dynamodb.documents("")] == ["failed"]


@pytest.mark.parametrize("broken", [UnknownPipeline("p2p", where="/stack"), InvalidDefinition("p2p", [])])
def test_a_pipeline_that_cannot_be_run_keeps_no_other_from_its_event(
    broken: RefreshError, capsys: pytest.CaptureFixture[str]
) -> None:
    harness = webhook_harness()
    sound = harness.acceptor.definition

    def definition(name: str) -> Definition:
        if name == "p2p":
            raise broken
        return sound(name)

    harness.acceptor = replace(harness.acceptor, definition=definition)
    with logged() as lines:
        reply = harness.deliver(source=source_of({"pipeline": "p2p"}, {"pipeline": "otc"}))
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    assert reply.body["errors"] == [str(broken)]
    assert [vars(line)["error"] for line in lines] == [broken.name]
    (counted,) = metric_lines(capsys.readouterr().out, "ConfigurationErrors")
    assert (counted["ConfigurationErrors"], counted["source"]) == ([1.0], "shop")


def metric_lines(output: str, name: str) -> list[dict[str, Any]]:
    """The lines with this metric, in the embedded metric format."""
    return [json.loads(line) for line in output.splitlines() if f'"{name}":' in line]


BOTH = source_of({"pipeline": "otc"}, {"pipeline": "p2p"})
P2P = job_definition(jobs=[{"job": "job-b"}])


def test_a_delivery_sent_again_starts_the_pipeline_that_could_not_be_run_before() -> None:
    harness = webhook_harness()
    harness.service.job("job-b").add_past_start(600.0)
    first = harness.deliver(source=BOTH)
    assert (first.status, runs(first), len(first.body["errors"])) == (202, [(RUN_ID, "started")], 1)
    unchanged = harness.deliver(source=BOTH)
    assert (unchanged.status, runs(unchanged)) == (200, [(RUN_ID, "duplicate")])
    assert len(unchanged.body["errors"]) == 1
    harness.definitions["p2p"] = P2P
    harness.service.clock.sleep(24 * 3600.0)
    harness.executions.start_requests.clear()
    claimed = claims(harness.service)
    again = harness.deliver(source=BOTH)
    (known, started) = runs(again)
    assert (again.status, known, started[1]) == (202, (RUN_ID, "duplicate"), "started")
    assert "duplicate" not in again.body
    assert "errors" not in again.body
    assert [target for _, target, _ in starts(harness.service)] == [JOB, "job-b"]
    assert harness.executions.start_requests == [started[0]]
    assert len(claimed) == 2
    third = harness.deliver(source=BOTH)
    assert (third.status, runs(third)) == (200, [(RUN_ID, "duplicate"), (started[0], "duplicate")])
    assert len(claimed) == 2
    harness.forget()
    fourth = harness.deliver(source=BOTH)
    assert (fourth.status, runs(fourth)) == (200, runs(third))
    assert len(claimed) == 3


def test_a_delivery_sent_again_starts_what_a_broken_rule_hid() -> None:
    harness = webhook_harness(p2p=P2P)
    harness.service.job("job-b").add_past_start(600.0)
    broken = source_of({"pipeline": "otc"}, {"pipeline": "p2p", "mode": {"path": "type"}})
    assert runs(harness.deliver(source=broken)) == [(RUN_ID, "started")]
    again = harness.deliver(source=BOTH)
    assert [status for _, status in runs(again)] == ["duplicate", "started"]


def test_a_delivery_sent_again_starts_the_pipeline_that_was_skipped_beside_another() -> None:
    harness = webhook_harness(otc=job_definition(when_running="skip"), p2p=P2P)
    harness.service.job("job-b").add_past_start(600.0)
    harness.deliver("d-0")
    first = harness.deliver(source=BOTH)
    assert [status for _, status in runs(first)] == ["skipped", "started"]
    slot = harness.service.table.get(SLOT) or {}
    gone = release(harness.service.table, "otc", slot, RUN_ID, iso(harness.service.clock.now), paused=False)
    harness.service.table.transact(gone, harness.service.deadline())
    again = harness.deliver(source=BOTH)
    assert (again.status, [status for _, status in runs(again)]) == (202, ["started", "duplicate"])


def test_what_cannot_be_read_now_is_not_taken_for_broken() -> None:
    harness = webhook_harness()

    def definition(name: str) -> Definition:
        raise ConfigurationUnavailable(name)

    harness.acceptor = replace(harness.acceptor, definition=definition)
    with pytest.raises(ConfigurationUnavailable):
        harness.deliver()
    assert [item["result"] for item in harness.service.dynamodb.documents("")] == ["failed"]


def test_a_rule_that_cannot_be_applied_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    harness = webhook_harness()
    with pytest.raises((RuleError, InvalidTrigger)) as caught:
        harness.deliver(source=source_of({"pipeline": "otc", "mode": {"path": "type"}}))
    assert caught.value.name == "RuleError"
    (counted,) = metric_lines(capsys.readouterr().out, "ConfigurationErrors")
    assert (counted["ConfigurationErrors"], counted["source"]) == ([1.0], "shop")
    assert [item["result"] for item in harness.service.dynamodb.documents("")] == ["failed"]


def test_a_rule_that_cannot_be_applied_keeps_no_sound_one_from_its_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    harness = webhook_harness()
    broken = {"pipeline": "p2p", "mode": {"path": "type"}}
    with logged() as lines:
        reply = harness.deliver(source=source_of(broken, {"pipeline": "otc"}))
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    (reported,) = reply.body["errors"]
    assert reported.startswith("rule 1: mode")
    assert [(vars(line)["error"], vars(line)["why"]) for line in lines] == [("RuleError", reported)]
    (counted,) = metric_lines(capsys.readouterr().out, "ConfigurationErrors")
    assert (counted["ConfigurationErrors"], counted["source"]) == ([1.0], "shop")


def test_an_event_that_only_invalid_rules_match_is_refused_with_all_their_errors() -> None:
    harness = webhook_harness()
    broken = {"pipeline": "otc", "mode": {"path": "type"}}
    gone = {"pipeline": "gone"}
    with pytest.raises(RuleError) as caught:
        harness.deliver(source=source_of(broken, {"pipeline": "otc", "tables": {"path": "type"}}, gone))
    refused = error_answer(caught.value)
    body = json.loads(refused["body"])
    assert (refused["statusCode"], body["error"]) == (422, "RuleError")
    assert [error.split(" gave")[0] for error in body["errors"]][:2] == ["rule 1: mode", "rule 2: tables"]
    assert "gone" in body["errors"][2]
    assert body["message"] == body["errors"][0]


ALL_OF_IT = ("FULL", True)


@pytest.mark.parametrize(
    ("invalid", "wider"),
    [
        ({"mode": {"path": "type"}}, ("FULL", False)),
        ({"mode": {"path": "lower"}}, ("FULL", False)),
        ({"tables": {"path": "type"}}, (None, True)),
        ({"mode": {"path": "lower"}, "tables": {"path": "number"}}, ALL_OF_IT),
        ({"mode": "FULL", "tables": {"path": "type"}}, ALL_OF_IT),
        ({"mode": "DELTA", "tables": ["VBAK"], "when": "type"}, (None, False)),
        ({"mode": "FULL", "reason": {"path": "abs(type)"}}, ("FULL", False)),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_run_covers_what_an_invalid_rule_of_its_pipeline_may_have_requested(
    invalid: dict[str, Any], wider: tuple[str | None, bool], order: int
) -> None:
    harness = webhook_harness(otc=job_definition(loads=[{"data_model": MODEL}]))
    harness.service.model()
    rules = [{"pipeline": "otc"}, {"pipeline": "otc", **invalid}][::order]
    body = {"type": "orders.loaded", "lower": "full", "number": 3}
    reply = harness.receive(harness.signed(body=body), source_of(*rules))
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    run = harness.service.records.get(RUN_ID)
    assert (run.options.mode, run.options.complete, run.options.merged) == (*wider, True)
    (warning,) = run.options.warnings
    assert warning.startswith(reply.body["errors"][0].split(". ")[0])
    assert "covers everything that" in warning


def test_a_follow_up_covers_an_invalid_rule_and_records_it() -> None:
    harness = webhook_harness()
    harness.deliver("d-0")
    rules = ({"pipeline": "otc"}, {"pipeline": "otc", "mode": {"path": "type"}})
    assert runs(harness.deliver("d-1", source_of(*rules)))[0][1] == "joined"
    pending = (harness.service.table.get(SLOT) or {})["pending"]["options"]
    assert (pending["mode"], len(pending["warnings"])) == ("FULL", 1)


def test_a_warning_about_a_rule_is_in_the_record_and_the_first_job_is_started_later() -> None:
    harness = webhook_harness()
    rules = ({"pipeline": "otc"}, {"pipeline": "otc", "mode": {"path": "type"}})
    harness.deliver(source=source_of(*rules))
    assert (starts(harness.service), harness.executions.start_requests) == ([], [RUN_ID])
    run = harness.service.records.get(RUN_ID)
    facts = harness.tables.resolved(run, harness.service.deadline())
    assert facts["warnings"] == list(run.options.warnings)


@pytest.mark.parametrize(
    ("definition", "options"),
    [
        (load_definition(), {"mode": "FULL"}),
        (job_definition(), {"tables": "all"}),
        (job_definition(), {"tables": ["VBAK"]}),
    ],
)
def test_options_that_a_pipeline_has_no_use_for_are_a_warning_beside_a_sound_rule(
    definition: Definition, options: dict[str, Any]
) -> None:
    harness = webhook_harness(otc=definition)
    harness.service.model()
    reply = harness.deliver(source=source_of({"pipeline": "otc"}, {"pipeline": "otc", **options}))
    assert (reply.status, runs(reply)) == (202, [(RUN_ID, "started")])
    wanted = harness.service.records.get(RUN_ID).options
    assert (wanted.mode, wanted.complete, wanted.tables) == (None, False, frozenset())
    assert "'otc' has no data" in wanted.warnings[0]
    with pytest.raises(InvalidTrigger):
        harness.deliver("d-2", source_of({"pipeline": "otc", **options}))


def test_where_a_broken_rule_hides_nothing_but_other_events_start_theirs_it_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    harness = webhook_harness()
    source = source_of({"pipeline": "otc", "when": "data.ready"}, sender="azure_event_grid")
    events = [{"id": f"e-{n}", "eventType": "x", "data": {"ready": n == 1 or "?"}} for n in range(3)]
    with logged() as lines:
        reply = harness.receive(grid(*events), source)
    first, second, third = reply.body["events"]
    assert (reply.status, second["runs"][0]["status"]) == (202, "started")
    assert "errors" not in second
    for reported in (first, third):
        assert reported["status"] == "ignored"
        assert reported["errors"][0].startswith("rule 1: when gave neither")
    assert len(lines) == 1
    assert capsys.readouterr().out.count('"ConfigurationErrors"') <= 2


def grid(*events: dict[str, Any]) -> WebhookRequest:
    return WebhookRequest(
        {"content-type": "application/json"}, {"token": SECRET}, json.dumps(events).encode()
    )


GRID = source_of(sender="azure_event_grid")


def test_events_that_come_together_are_answered_one_by_one() -> None:
    harness = webhook_harness()
    first, second = ({"id": name, "eventType": "Loaded"} for name in ("e-1", "e-2"))
    harness.receive(grid(first), GRID)
    reply = harness.receive(grid(first, second), GRID)
    assert reply.status == 202
    reported = reply.body["events"]
    assert [each["delivery"] for each in reported] == ["e-1", "e-2"]
    assert [each["runs"][0]["status"] for each in reported] == ["duplicate", "joined"]


def test_events_that_were_all_seen_before_are_answered_with_200() -> None:
    harness = webhook_harness()
    request = grid({"id": "e-1", "eventType": "Loaded"}, {"id": "e-2", "eventType": "Loaded"})
    assert harness.receive(request, GRID).status == 202
    assert harness.receive(request, GRID).status == 200


def test_a_handshake_is_answered_at_once_and_starts_nothing() -> None:
    harness = webhook_harness()
    kind = "Microsoft.EventGrid.SubscriptionValidationEvent"
    event = {"id": "e-1", "eventType": kind, "data": {"validationCode": "code"}}
    reply = harness.receive(grid(event), GRID)
    assert (reply.status, json.loads(reply.body)) == (200, {"validationResponse": "code"})
    assert (harness.service.dynamodb.calls, harness.executions.start_requests) == ([], [])


def test_a_subscription_of_sns_is_confirmed_before_it_is_answered() -> None:
    harness = webhook_harness()
    request = WebhookRequest({"content-type": "text/plain"}, {}, body(Type="SubscriptionConfirmation"))
    source = source_of(sender="aws_sns", topics=[TOPIC])
    assert harness.receive(request, source).status == 200
    assert harness.sns.confirmed == [SUBSCRIBE_URL]
    assert harness.service.dynamodb.calls == []


def test_a_confirmation_that_fails_is_not_answered_as_done() -> None:
    harness = webhook_harness()

    def fails(url: str) -> None:
        raise ConnectionError("no SNS")

    harness.sns.confirm = fails  # type: ignore[method-assign]
    request = WebhookRequest({"content-type": "text/plain"}, {}, body(Type="SubscriptionConfirmation"))
    with pytest.raises(ConnectionError):
        harness.receive(request, source_of(sender="aws_sns", topics=[TOPIC]))


def test_an_event_of_sns_starts_a_run_without_a_secret() -> None:
    harness = webhook_harness()
    request = WebhookRequest({"content-type": "text/plain"}, {}, body())
    reply = harness.receive(request, source_of(sender="aws_sns", topics=[TOPIC]))
    assert (reply.status, reply.body["delivery"]) == (202, "m-1")

"""An execution's end becomes its run's end: once, with one notification; the pending run starts."""

from __future__ import annotations

from threading import Thread
from typing import Literal

import pytest
from msgspec.structs import replace

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.notifications.outbox import (
    CLAIM_SECONDS,
    UNSENT,
    Message,
    MessageKind,
    NotSent,
    Outbox,
    outbox_key,
)
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.timing import Deadline
from tests.fakes.service import JOB, MODEL, RUN, Crashed, job_definition
from tests.fakes.wiring import make_outbox
from tests.unit.steps.outgoing import (
    JOB_LEASE,
    RECORD,
    SLOT,
    Outgoing,
    SentWrite,
    cancels,
    holder,
    logged,
)
from tests.unit.workflow.close_harness import CloseHarness

DAY = 86_400
MESSAGE = outbox_key(f"{RUN}/ended/topic")


def succeeded(harness: CloseHarness | None = None) -> CloseHarness:
    """A run whose only job succeeded, its execution not ended yet."""
    harness = harness or CloseHarness()
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    return harness


def slot(harness: CloseHarness) -> dict[str, object]:
    return harness.service.table.get(SLOT) or {}


def test_a_success_closes_its_run_in_one_transaction_without_a_notification() -> None:
    harness = succeeded()
    harness.executions.end(RUN, "SUCCEEDED")
    out = Outgoing(harness.service)
    run = harness.close()
    events = f"outbox#{RUN}/events"
    assert out.log == [
        SentWrite("TransactWriteItems", (RECORD, SLOT, "pipeline#otc", events)),
        SentWrite("DeleteItem", (events,)),
    ]
    assert harness.service.events.ids[-1] == f"{RUN}/ended"
    assert run is not None
    assert run.status is RunStatus.SUCCEEDED
    assert harness.outcome() == "Executed data job job-a (FULL)."
    assert harness.notices == []
    assert "run_id" not in slot(harness)


def test_a_success_with_a_warning_is_notified_once_and_in_the_outcome() -> None:
    harness = succeeded()
    warning = "No table NO_SUCH in the data model: left out."
    harness.service.records.set_facts(
        harness.service.records.get(RUN), {"warnings": [warning]}, harness.service.deadline()
    )
    harness.end("SUCCEEDED")
    harness.close()
    assert harness.outcome() == f"Executed data job job-a (FULL). {warning}"
    ((subject, text, facts),) = harness.notices
    assert subject == "otc: SUCCEEDED with a warning (shop)"
    assert warning in text
    assert facts["status"] == "SUCCEEDED"
    assert harness.service.table.get(MESSAGE) is None


def test_the_record_has_its_end_and_its_expiry() -> None:
    harness = succeeded()
    item = harness.end("SUCCEEDED").item
    assert item["expires"] == int(harness.service.clock.now) + 90 * DAY
    assert item["ended_at"] > item["created_at"]


def test_what_was_loaded_is_reported_with_its_kind() -> None:
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}]))
    assert harness.service.run_step("job-0") == harness.service.run_step("load-0") == "SUCCEEDED"
    harness.end("SUCCEEDED")
    assert harness.outcome() == "Executed data job job-a (FULL) and loaded data model model-a (all tables)."


def test_what_a_run_did_is_reported_with_the_names_that_are_known() -> None:
    jobs = [{"job": JOB, "name": "Extract orders"}]
    loads = [{"data_model": MODEL, "name": "Order to cash"}]
    harness = CloseHarness(job_definition(jobs=jobs, loads=loads))
    assert harness.service.run_step("job-0") == harness.service.run_step("load-0") == "SUCCEEDED"
    harness.end("SUCCEEDED")
    done = 'Executed data job "Extract orders" (FULL) and loaded data model "Order to cash" (all tables).'
    assert harness.outcome() == done


@pytest.mark.parametrize(
    ("status", "error", "cause", "name", "sentence"),
    [
        ("FAILED", "JobFailed", "The job failed.", "JobFailed", "The job failed."),
        ("FAILED", "", "", "Unknown", "The execution failed without a cause."),
        ("TIMED_OUT", "", "", "States.Timeout", "The execution reached the timeout of the state machine."),
        ("ABORTED", "", "", "Aborted", "The execution was stopped."),
        ("ABORTED", "Canceled", "Cancelled by Ann.", "Canceled", "Cancelled by Ann."),
    ],
)
def test_each_end_of_an_execution_is_the_end_of_its_run(
    status: str, error: str, cause: str, name: str, sentence: str
) -> None:
    harness = CloseHarness()
    run = harness.end(status, error, cause)
    assert (run.status, run.item["error"], run.item["outcome"]) == (status, name, sentence)
    if status == "ABORTED":  # on purpose
        assert harness.notices == []
        return
    ((subject, text, facts),) = harness.notices
    assert subject == f"otc: {status} (shop)"
    assert sentence in text
    assert facts["error"] == name


def test_a_successful_execution_with_an_unproven_step_is_a_failed_run() -> None:
    harness = succeeded(CloseHarness(job_definition(loads=[{"data_model": MODEL}])))
    run = harness.end("SUCCEEDED")
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, "OutcomeUnproven")
    assert len(harness.notices) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [("SUCCEEDED", ""), ("FAILED", "States.DataLimitExceeded"), ("FAILED", "Lambda.Unknown"), ("FAILED", "")],
)
def test_the_error_of_a_step_is_the_error_of_its_run_for_any_execution_error(status: str, error: str) -> None:
    """The output of the Map was lost."""
    harness = CloseHarness(job_definition(jobs=[[{"job": JOB}, {"job": "job-b"}]]))
    harness.service.job("job-b", outcome="FAIL").add_past_start(6000.0)
    assert (harness.service.run_step("job-0"), harness.service.run_step("job-1")) == (
        "SUCCEEDED",
        "JobFailed",
    )
    run = harness.end(status, error, "Something of AWS.")
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, "JobFailed")
    assert "Data job job-b failed in Celonis: Extract: no space left." in harness.outcome()


def running_job(definition: Definition | None = None) -> CloseHarness:
    """A run whose job is proven to be ours and runs."""
    harness = CloseHarness(definition or job_definition())
    harness.service.celonis.jobs[JOB].seconds = 20_000.0
    harness.service.start("job-0")
    harness.service.clock.sleep(5.0)
    harness.service.check("job-0")
    return harness


AWS_ERRORS = [
    "States.Timeout",
    "States.Runtime",
    "States.DataLimitExceeded",
    "Lambda.TooManyRequestsException",
    "Sandbox.Timedout",
    "Runtime.OutOfMemory",
    "TableBusy",
    "ConfigurationUnavailable",
    "KeyError",
    "",
]


@pytest.mark.parametrize("error", AWS_ERRORS)
def test_a_failed_run_reports_that_its_job_keeps_running_and_holds_its_lease(error: str) -> None:
    harness = running_job()
    run = harness.end("FAILED", error, "Something of AWS.")
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, error or "Unknown")
    sentence = "Data job job-a keeps running: its run failed, but was not stopped. A retry waits for it."
    assert harness.outcome() == f"Something of AWS. {sentence}"
    assert cancels(harness.service) == []
    assert holder(harness.service) == RUN
    assert harness.service.celonis.jobs[JOB].running(harness.service.clock.now) is not None


def test_a_successful_execution_without_a_proven_end_cancels_nothing() -> None:
    harness = running_job()
    assert harness.end("SUCCEEDED").item["error"] == "OutcomeUnproven"
    assert cancels(harness.service) == []


@pytest.mark.parametrize(
    ("status", "error"), [("ABORTED", ""), ("ABORTED", "Canceled"), ("TIMED_OUT", "States.Timeout")]
)
def test_a_run_that_was_stopped_or_timed_out_cancels_its_job(status: str, error: str) -> None:
    harness = running_job()
    harness.end(status, error)
    assert cancels(harness.service) == [JOB]


@pytest.mark.parametrize(
    ("message", "said"),
    [("2 rows were\nskipped.", ": 2 rows were skipped"), (None, ""), ("", "")],
    ids=["a message", "none", "an empty one"],
)
def test_a_warning_of_a_load_is_in_the_outcome(message: str | None, said: str) -> None:
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}]))
    harness.service.celonis.models[MODEL].outcome = "WARNING"
    harness.service.celonis.models[MODEL].message = message
    assert harness.service.run_step("job-0") == harness.service.run_step("load-0") == "SUCCEEDED"
    run = harness.end("SUCCEEDED")
    assert run.status is RunStatus.SUCCEEDED
    assert harness.outcome() == (
        "Executed data job job-a (FULL) and loaded data model model-a (all tables). "
        f"The load of data model model-a ended with a warning{said}."
    )


def test_a_warning_of_a_load_is_in_the_outcome_of_a_run_that_failed_elsewhere() -> None:
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}, {"data_model": "model-b"}]))
    harness.service.model("model-b", outcome="ERROR").add_past_start(6000.0)
    harness.service.celonis.models[MODEL].outcome = "WARNING"
    assert harness.service.run_step("job-0") == harness.service.run_step("load-0") == "SUCCEEDED"
    assert harness.service.run_step("load-1") == "LoadFailed"
    harness.end("FAILED", "LoadFailed", "It failed.")
    assert harness.outcome().startswith(str(harness.service.state("load-1")["message"]))
    assert "The load of data model model-a ended with a warning" in harness.outcome()


def test_a_load_that_failed_by_its_warning_reports_it_once() -> None:
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL, "on_warning": "fail"}]))
    harness.service.celonis.models[MODEL].outcome = "WARNING"
    assert (harness.service.run_step("job-0"), harness.service.run_step("load-0")) == (
        "SUCCEEDED",
        "LoadWarned",
    )
    harness.end("FAILED", "LoadWarned", "It failed.")
    assert harness.outcome().count("ended with a warning") == 1


def test_an_execution_that_still_runs_closes_nothing() -> None:
    harness = CloseHarness()
    out = Outgoing(harness.service)
    assert harness.close() is None
    assert (out.log, harness.notices) == ([], [])


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
def test_an_end_delivered_twice_is_recorded_and_notified_once(status: str) -> None:
    harness = succeeded()
    harness.join()
    first = harness.end(status, "JobFailed" if status == "FAILED" else "").item
    out = Outgoing(harness.service)
    harness.service.clock.sleep(60.0)
    harness.close()
    assert out.log == []
    assert harness.service.records.get(RUN).item["ended_at"] == first["ended_at"]
    assert len(harness.notices) == (1 if status == "FAILED" else 0)


def test_an_execution_that_failed_before_it_became_a_run_is_reported() -> None:
    harness = CloseHarness()
    harness.ended("nightly-7", "FAILED", "The input of the execution is not valid.")
    assert harness.close("nightly-7") is None
    ((subject, text, facts),) = harness.notices
    assert "FAILED" in subject
    assert "nightly-7" in text
    assert "not valid" in text
    assert facts["execution"] == "nightly-7"


def test_an_execution_that_joined_sends_no_notification() -> None:
    harness = CloseHarness()
    harness.ended("nightly-7", "SUCCEEDED")
    out = Outgoing(harness.service)
    assert harness.close("nightly-7") is None
    assert (out.log, harness.notices) == ([], [])


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_what_waited_is_claimed_with_the_end_and_then_started(status: str) -> None:
    harness = succeeded()
    harness.join("otc-2")
    harness.end(status)
    assert slot(harness)["run_id"] == "otc-2"
    assert "pending" not in slot(harness)
    assert harness.service.records.get("otc-2").status is RunStatus.OPENING
    assert harness.executions.start_requests == ["otc-2"]


def test_what_waited_is_started_again_when_it_was_not() -> None:
    harness = succeeded()
    harness.join("otc-2")
    harness.executions.end(RUN, "SUCCEEDED")

    def fails(name: str, when: str) -> None:
        if name == "StartExecution":
            raise ConnectionError

    quiet, harness.executions.hook = harness.executions.hook, fails
    with pytest.raises(ConnectionError):
        harness.close()
    harness.executions.hook = quiet
    harness.close()
    assert harness.executions.start_requests == ["otc-2"]


def test_what_waited_and_runs_by_now_is_not_started_again() -> None:
    harness = succeeded()
    harness.join("otc-2")
    harness.end("SUCCEEDED")
    service = harness.service
    service.records.set_facts(service.records.get("otc-2"), {"status": RunStatus.RUNNING}, service.deadline())
    harness.close()
    assert harness.executions.start_requests == ["otc-2"]


def test_a_pause_keeps_what_waits_where_it_can_be_listed() -> None:
    harness = succeeded()
    harness.join("otc-2")
    harness.paused = True
    assert "follow_up" not in harness.end("SUCCEEDED").item
    assert "run_id" not in slot(harness)
    assert slot(harness)["status"] == "WAITING"
    assert slot(harness)["pending"]["run_id"] == "otc-2"  # type: ignore[index]
    assert harness.executions.start_requests == []
    assert harness.service.records.find("otc-2") is None


def test_a_trigger_that_joins_while_the_run_is_closed_is_not_lost() -> None:
    harness = succeeded()
    harness.service.dynamodb.interleave("TransactWriteItems", lambda: harness.join("otc-2"))
    harness.end("SUCCEEDED")
    assert slot(harness)["run_id"] == "otc-2"
    assert harness.executions.start_requests == ["otc-2"]


def test_a_run_that_another_function_closes_is_closed_once() -> None:
    harness = succeeded()
    harness.executions.end(RUN, "FAILED", "JobFailed", "It failed.")
    harness.service.dynamodb.interleave("TransactWriteItems", harness.close)
    harness.close()
    assert harness.service.records.get(RUN).status is RunStatus.FAILED
    assert len(harness.notices) == 1
    assert "run_id" not in slot(harness)


def test_a_slot_that_another_run_holds_is_left_alone() -> None:
    harness = succeeded()
    service = harness.service
    taken = service.table.change(SLOT, "SET #run_id = :other", "", {"other": "otc-9"})
    service.table.update(taken, service.deadline())
    harness.end("SUCCEEDED")
    assert slot(harness)["run_id"] == "otc-9"


def test_a_notification_that_was_not_sent_is_listed_and_sent_when_the_event_arrives_again() -> None:
    harness = CloseHarness()
    harness.executions.end(RUN, "FAILED", "JobFailed", "It failed.")

    def fails(subject: str, text: str, facts: object) -> None:
        raise ConnectionError

    closer = replace(harness.closer, outbox=make_outbox(harness.service, fails))
    closer.close(f"arn:{RUN}", harness.service.deadline())
    assert (harness.service.table.get(MESSAGE) or {})["status"] == UNSENT
    harness.service.clock.sleep(CLAIM_SECONDS)
    harness.close()
    assert len(harness.notices) == 1
    assert harness.service.table.get(MESSAGE) is None
    harness.close()
    assert len(harness.notices) == 1


def test_a_channel_that_fails_keeps_no_other_from_being_sent_to() -> None:
    harness = CloseHarness(job_definition(notify={"channels": ["first", "topic", "last"]}))
    harness.join("otc-2")
    sent: list[str] = []

    def send(message: Message, deadline: Deadline) -> None:
        assert harness.executions.start_requests == ["otc-2"]
        if message.target == "first":
            raise NotSent(message, "status 500")
        if message.target == "topic":
            raise ZeroDivisionError
        sent.append(message.target)

    senders = {MessageKind.NOTIFICATION: send, MessageKind.EVENT: harness.service.bus.send}
    outbox = Outbox(harness.service.table, senders, harness.service.clock, start=Thread.run)
    harness.executions.end(RUN, "FAILED", "JobFailed", "It failed.")
    with logged() as lines:
        replace(harness.closer, outbox=outbox).close(f"arn:{RUN}", harness.service.deadline())
    assert sent == ["last"]
    assert [line.levelname for line in lines] == ["INFO", "WARNING", "ERROR"]
    left = [item["target"] for item in harness.service.dynamodb.documents("outbox#")]
    assert sorted(left) == ["first", "topic"]


def test_a_pipeline_without_channels_sends_nothing() -> None:
    harness = CloseHarness(job_definition(notify={"channels": []}))
    run = harness.end("FAILED", "JobFailed", "It failed.")
    assert harness.notices == []
    assert run.item["messages"] == [f"{RUN}/events"]


def test_a_refusal_whose_event_arrives_twice_is_notified_once() -> None:
    harness = CloseHarness()
    harness.ended("nightly-7", "FAILED", "The input of the execution is not valid.")
    harness.close("nightly-7")
    harness.close("nightly-7")
    assert len(harness.notices) == 1


def test_a_refusal_that_was_not_sent_is_sent_when_its_event_arrives_again() -> None:
    harness = CloseHarness()
    harness.ended("nightly-7", "FAILED", "The input of the execution is not valid.")

    def fails(subject: str, text: str, facts: object) -> None:
        raise ConnectionError

    closer = replace(harness.closer, outbox=make_outbox(harness.service, fails))
    closer.close("arn:nightly-7", harness.service.deadline())
    harness.service.clock.sleep(CLAIM_SECONDS)
    harness.close("nightly-7")
    assert len(harness.notices) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_closing_that_dies_at_any_call_is_finished_by_the_next(moment: Literal["before", "after"]) -> None:
    for calls in range(12):
        harness = CloseHarness()
        harness.join("otc-2")
        harness.service.start("job-0")
        harness.service.clock.sleep(5.0)
        harness.executions.end(RUN, "TIMED_OUT")
        harness.service.crash([(calls, moment)])
        try:
            harness.close()
        except Crashed:
            harness.service.clock.sleep(CLAIM_SECONDS)
            harness.close()
        assert harness.service.records.get(RUN).status is RunStatus.TIMED_OUT
        assert slot(harness)["run_id"] == "otc-2"
        assert harness.executions.start_requests[:1] == ["otc-2"]
        assert 1 <= len(harness.notices) <= 2


def test_a_job_that_cannot_be_polled_is_recorded_and_keeps_its_lease() -> None:
    harness = CloseHarness()
    harness.service.start("job-0")
    errors: list[Exception | None] = [refused() for _ in range(60)]
    harness.service.celonis.faults["job"] = errors  # type: ignore[assignment]
    harness.end("ABORTED")
    assert "The end of job-0 could not be determined: Denied. Permission needed." in harness.outcome()
    assert holder(harness.service) == RUN


def refused() -> CelonisError:
    return CelonisError("Denied.", hint="Permission needed.", method="GET", path="/", status=403)


def test_a_run_that_is_stopped_while_it_is_queued_leaves_the_queue() -> None:
    harness = CloseHarness()
    service = harness.service
    service.open(job_definition(), "other-1", "other")
    service.start("job-0", "other-1")
    service.start("job-0")
    harness.end("ABORTED", "Canceled", "Stopped.")
    lease = service.dynamodb.document(JOB_LEASE)
    assert (lease["run_id"], "queue" in lease) == ("other-1", False)

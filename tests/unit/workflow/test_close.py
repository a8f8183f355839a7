"""The end of an execution becomes the end of its run: once, with one notice, and what waited goes on."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace

from celonis_refresh.celonis.errors import CelonisError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import notice_key
from tests.fakes.service import JOB, MODEL, RUN, Crashed, job_definition
from tests.unit.steps.outgoing import (
    JOB_LEASE,
    RECORD,
    SLOT,
    Outgoing,
    Write,
    cancels,
    holder,
)
from tests.unit.workflow.close_harness import Exit

DAY = 86_400
NOTICE = notice_key(RUN)


def succeeded(leave: Exit | None = None) -> Exit:
    """A run whose only job succeeded, its execution not ended yet."""
    leave = leave or Exit()
    assert leave.bench.go("job-0") == "SUCCEEDED"
    return leave


def slot(leave: Exit) -> dict[str, object]:
    return leave.bench.table.get(SLOT) or {}


def test_a_green_execution_closes_its_run_in_one_transaction_and_tells_nobody() -> None:
    leave = succeeded()
    leave.executions.end(RUN, "SUCCEEDED")
    out = Outgoing(leave.bench)
    run = leave.close()
    assert out.log == [Write("TransactWriteItems", (RECORD, SLOT))]
    assert run is not None
    assert run.status is RunStatus.SUCCEEDED
    assert leave.outcome() == "Succeeded: executed FULL job-a."
    assert leave.notices == []
    assert "run_id" not in slot(leave)


def test_a_success_with_a_warning_is_told_once_and_says_it_in_the_outcome() -> None:
    leave = succeeded()
    warning = "No table NO_SUCH in the data model: left out."
    leave.bench.records.note(leave.bench.records.get(RUN), {"warnings": [warning]}, leave.bench.deadline())
    leave.end("SUCCEEDED")
    leave.close()
    assert leave.outcome() == f"Succeeded: executed FULL job-a. {warning}"
    ((subject, text, facts),) = leave.notices
    assert subject == "otc: SUCCEEDED"
    assert warning in text
    assert facts["status"] == "SUCCEEDED"
    assert leave.bench.table.get(NOTICE) is None


def test_the_record_says_when_it_ended_and_how_long_it_is_kept() -> None:
    leave = succeeded()
    item = leave.end("SUCCEEDED").item
    assert item["expires"] == int(leave.bench.clock.now) + 90 * DAY
    assert item["ended_at"] > item["created_at"]


def test_what_was_loaded_is_told_with_its_kind() -> None:
    leave = Exit(job_definition(loads=[{"data_model": MODEL}]))
    assert leave.bench.go("job-0") == leave.bench.go("load-0") == "SUCCEEDED"
    leave.end("SUCCEEDED")
    assert leave.outcome() == "Succeeded: executed FULL job-a and loaded complete model-a."


@pytest.mark.parametrize(
    ("status", "error", "cause", "name", "sentence"),
    [
        ("FAILED", "JobFailed", "The job failed.", "JobFailed", "The job failed."),
        ("FAILED", "", "", "Unknown", "The execution failed without a cause."),
        ("TIMED_OUT", "", "", "States.Timeout", "The execution reached the time-out of the state machine."),
        ("ABORTED", "", "", "Aborted", "The execution was stopped."),
        ("ABORTED", "Canceled", "Cancelled by Ann.", "Canceled", "Cancelled by Ann."),
    ],
)
def test_each_end_of_an_execution_is_the_end_of_its_run(
    status: str, error: str, cause: str, name: str, sentence: str
) -> None:
    leave = Exit()
    run = leave.end(status, error, cause)
    assert (run.status, run.item["error"], run.item["outcome"]) == (status, name, sentence)
    ((subject, text, facts),) = leave.notices
    assert subject == f"otc: {status}"
    assert sentence in text
    assert facts["error"] == name


def test_a_green_execution_with_a_step_that_is_not_proven_is_red() -> None:
    leave = succeeded(Exit(job_definition(loads=[{"data_model": MODEL}])))
    run = leave.end("SUCCEEDED")
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, "OutcomeUnproven")
    assert len(leave.notices) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [("SUCCEEDED", ""), ("FAILED", "States.DataLimitExceeded"), ("FAILED", "Lambda.Unknown"), ("FAILED", "")],
)
def test_the_error_of_a_step_is_the_error_of_its_run_whatever_the_execution_says(
    status: str, error: str
) -> None:
    """The output of the Map was lost."""
    leave = Exit(job_definition(jobs=[[{"job": JOB}, {"job": "job-b"}]]))
    leave.bench.job("job-b", outcome="FAIL").before(6000.0)
    assert (leave.bench.go("job-0"), leave.bench.go("job-1")) == ("SUCCEEDED", "JobFailed")
    run = leave.end(status, error, "Something of AWS.")
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, "JobFailed")
    assert "Data job job-b failed in Celonis: Extract: no space left." in leave.outcome()


def running_job(definition: Definition | None = None) -> Exit:
    """A run whose job is proven to be ours and runs."""
    leave = Exit(definition or job_definition())
    leave.bench.celonis.jobs[JOB].seconds = 20_000.0
    leave.bench.start("job-0")
    leave.bench.clock.sleep(5.0)
    leave.bench.check("job-0")
    return leave


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
def test_a_run_that_failed_leaves_its_job_running_says_so_and_holds_its_lease(error: str) -> None:
    leave = running_job()
    run = leave.end("FAILED", error, "Something of AWS.")
    assert (run.status, run.item["error"]) == (RunStatus.FAILED, error or "Unknown")
    sentence = "Data job job-a keeps running: its run failed, but was not stopped. A retry waits for it."
    assert leave.outcome() == f"Something of AWS. {sentence}"
    assert cancels(leave.bench) == []
    assert holder(leave.bench) == RUN
    assert leave.bench.celonis.jobs[JOB].running(leave.bench.clock.now) is not None


def test_a_green_execution_without_a_proven_end_cancels_nothing() -> None:
    leave = running_job()
    assert leave.end("SUCCEEDED").item["error"] == "OutcomeUnproven"
    assert cancels(leave.bench) == []


@pytest.mark.parametrize(
    ("status", "error"), [("ABORTED", ""), ("ABORTED", "Canceled"), ("TIMED_OUT", "States.Timeout")]
)
def test_a_run_that_was_stopped_or_timed_out_cancels_its_job(status: str, error: str) -> None:
    leave = running_job()
    leave.end(status, error)
    assert cancels(leave.bench) == [JOB]


@pytest.mark.parametrize(
    ("message", "said"),
    [("2 rows were\nskipped.", ": 2 rows were skipped"), (None, ""), ("", "")],
    ids=["a message", "none", "an empty one"],
)
def test_a_warning_of_a_load_is_in_the_outcome(message: str | None, said: str) -> None:
    leave = Exit(job_definition(loads=[{"data_model": MODEL}]))
    leave.bench.celonis.models[MODEL].outcome = "WARNING"
    leave.bench.celonis.models[MODEL].message = message
    assert leave.bench.go("job-0") == leave.bench.go("load-0") == "SUCCEEDED"
    run = leave.end("SUCCEEDED")
    assert run.status is RunStatus.SUCCEEDED
    assert leave.outcome() == (
        "Succeeded: executed FULL job-a and loaded complete model-a. "
        f"The load of data model model-a ended with a warning{said}."
    )


def test_an_execution_that_still_runs_closes_nothing() -> None:
    leave = Exit()
    out = Outgoing(leave.bench)
    assert leave.close() is None
    assert (out.log, leave.notices) == ([], [])


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
def test_the_same_end_told_twice_is_written_and_told_once(status: str) -> None:
    leave = succeeded()
    leave.join()
    first = leave.end(status, "JobFailed" if status == "FAILED" else "").item
    out = Outgoing(leave.bench)
    leave.bench.clock.sleep(60.0)
    leave.close()
    assert out.log == []
    assert leave.bench.records.get(RUN).item["ended_at"] == first["ended_at"]
    assert len(leave.notices) == (1 if status == "FAILED" else 0)


def test_an_execution_that_failed_before_it_became_a_run_is_told_of() -> None:
    leave = Exit()
    leave.ended("nightly-7", "FAILED", "The input of the execution is not valid.")
    assert leave.close("nightly-7") is None
    ((subject, text, facts),) = leave.notices
    assert "FAILED" in subject
    assert "nightly-7" in text
    assert "not valid" in text
    assert facts["execution"] == "nightly-7"


def test_an_execution_that_joined_is_nothing_to_tell_of() -> None:
    leave = Exit()
    leave.ended("nightly-7", "SUCCEEDED")
    out = Outgoing(leave.bench)
    assert leave.close("nightly-7") is None
    assert (out.log, leave.notices) == ([], [])


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_what_waited_is_claimed_with_the_end_and_then_started(status: str) -> None:
    leave = succeeded()
    leave.join("otc-2")
    leave.end(status)
    assert slot(leave)["run_id"] == "otc-2"
    assert "pending" not in slot(leave)
    assert leave.bench.records.get("otc-2").status is RunStatus.OPENING
    assert leave.executions.asked == ["otc-2"]


def test_what_waited_is_started_again_when_it_was_not() -> None:
    leave = succeeded()
    leave.join("otc-2")
    leave.executions.end(RUN, "SUCCEEDED")

    def fails(name: str, when: str) -> None:
        if name == "StartExecution":
            raise ConnectionError

    quiet, leave.executions.hook = leave.executions.hook, fails
    with pytest.raises(ConnectionError):
        leave.close()
    leave.executions.hook = quiet
    leave.close()
    assert leave.executions.asked == ["otc-2"]


def test_what_waited_and_runs_by_now_is_not_started_again() -> None:
    leave = succeeded()
    leave.join("otc-2")
    leave.end("SUCCEEDED")
    bench = leave.bench
    bench.records.note(bench.records.get("otc-2"), {"status": RunStatus.RUNNING}, bench.deadline())
    leave.close()
    assert leave.executions.asked == ["otc-2"]


def test_a_pause_keeps_what_waits_where_it_can_be_listed() -> None:
    leave = succeeded()
    leave.join("otc-2")
    leave.paused = True
    assert "follow_up" not in leave.end("SUCCEEDED").item
    assert "run_id" not in slot(leave)
    assert slot(leave)["status"] == "WAITING"
    assert slot(leave)["pending"]["run_id"] == "otc-2"  # type: ignore[index]
    assert leave.executions.asked == []
    assert leave.bench.records.find("otc-2") is None


def test_a_trigger_that_joins_while_the_run_is_closed_is_not_lost() -> None:
    leave = succeeded()
    leave.bench.dynamodb.meanwhile("TransactWriteItems", lambda: leave.join("otc-2"))
    leave.end("SUCCEEDED")
    assert slot(leave)["run_id"] == "otc-2"
    assert leave.executions.asked == ["otc-2"]


def test_a_run_that_somebody_else_closes_meanwhile_is_closed_once() -> None:
    leave = succeeded()
    leave.executions.end(RUN, "FAILED", "JobFailed", "It failed.")
    leave.bench.dynamodb.meanwhile("TransactWriteItems", leave.close)
    leave.close()
    assert leave.bench.records.get(RUN).status is RunStatus.FAILED
    assert len(leave.notices) == 1
    assert "run_id" not in slot(leave)


def test_a_slot_that_another_run_holds_is_left_alone() -> None:
    leave = succeeded()
    bench = leave.bench
    taken = bench.table.change(SLOT, "SET #run_id = :other", "", {"other": "otc-9"})
    bench.table.update(taken, bench.deadline())
    leave.end("SUCCEEDED")
    assert slot(leave)["run_id"] == "otc-9"


def test_an_end_that_nobody_could_be_told_of_stands_listed_and_is_told_the_next_time() -> None:
    leave = Exit()
    leave.executions.end(RUN, "FAILED", "JobFailed", "It failed.")

    def fails(subject: str, text: str, facts: object) -> None:
        raise ConnectionError

    closing = replace(leave.closing, publish=fails)
    with pytest.raises(ConnectionError):
        closing.close(f"arn:{RUN}", leave.bench.deadline())
    assert (leave.bench.table.get(NOTICE) or {})["status"] == "NOT_NOTIFIED"
    leave.close()
    assert len(leave.notices) == 1
    assert leave.bench.table.get(NOTICE) is None
    assert "notified_at" in leave.bench.records.get(RUN).item
    leave.close()
    assert len(leave.notices) == 1


def test_a_run_closed_by_somebody_who_died_is_told_of_by_its_id() -> None:
    leave = Exit()
    leave.end("FAILED", "JobFailed", "It failed.")
    leave.closing.notify_late(RUN, leave.bench.deadline())
    assert len(leave.notices) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_closing_that_dies_at_any_call_is_finished_by_the_next(moment: Literal["before", "after"]) -> None:
    for calls in range(12):
        leave = Exit()
        leave.join("otc-2")
        leave.bench.start("job-0")
        leave.bench.clock.sleep(5.0)
        leave.executions.end(RUN, "ABORTED")
        leave.bench.crash([(calls, moment)])
        try:
            leave.close()
        except Crashed:
            leave.close()
        assert leave.bench.records.get(RUN).status is RunStatus.ABORTED
        assert slot(leave)["run_id"] == "otc-2"
        assert leave.executions.asked[:1] == ["otc-2"]
        assert 1 <= len(leave.notices) <= 2


def test_what_cannot_be_looked_at_is_in_the_record_and_its_lease_held() -> None:
    leave = Exit()
    leave.bench.start("job-0")
    errors: list[Exception | None] = [refused() for _ in range(60)]
    leave.bench.celonis.faults["job"] = errors  # type: ignore[assignment]
    leave.end("ABORTED")
    assert "What became of job-0 could not be determined: Denied. Permission needed." in leave.outcome()
    assert holder(leave.bench) == RUN


def refused() -> CelonisError:
    return CelonisError("Denied.", hint="Permission needed.", method="GET", path="/", status=403)


def test_a_run_that_is_stopped_while_it_is_queued_leaves_the_queue() -> None:
    leave = Exit()
    bench = leave.bench
    bench.open(job_definition(), "other-1", "other")
    bench.start("job-0", "other-1")
    bench.start("job-0")
    leave.end("ABORTED", "Canceled", "Stopped.")
    lease = bench.dynamodb.document(JOB_LEASE)
    assert (lease["run_id"], "queue" in lease) == ("other-1", False)

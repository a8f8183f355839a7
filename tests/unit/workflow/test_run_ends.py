"""What the record, the log and the notification say when a run has ended."""

from __future__ import annotations

import json

import pytest

from celonis_refresh.workflow.listing import SHOWN, shown
from tests.fakes.service import JOB, MODEL, RUN, ServiceHarness, job_definition
from tests.unit.steps.outgoing import cancels
from tests.unit.workflow.close_harness import CloseHarness

COMMAND = f'signed -X POST "$(output ApiUrl)/runs/{RUN}/retry"'
FOREVER = 1e9


def running_job(**target: float) -> CloseHarness:
    """A run whose job is proven to be ours and runs."""
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}]))
    for name, value in {"seconds": FOREVER, **target}.items():
        setattr(harness.service.celonis.jobs[JOB], name, value)
    harness.service.start("job-0")
    harness.service.clock.sleep(5.0)
    harness.service.check("job-0")
    return harness


def half_done() -> CloseHarness:
    """A run whose job succeeded and whose load failed."""
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}]))
    harness.service.celonis.models[MODEL].outcome = "ERROR"
    assert (harness.service.run_step("job-0"), harness.service.run_step("load-0")) == (
        "SUCCEEDED",
        "LoadFailed",
    )
    return harness


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record) for record in caplog.records if record.getMessage() == "run ended"]


def state(service: ServiceHarness, step: str = "job-0") -> dict[str, object]:
    return dict(service.records.get(RUN).steps[step])


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_each_end_of_a_run_is_one_line_of_the_log(status: str, caplog: pytest.LogCaptureFixture) -> None:
    harness = CloseHarness()
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    run = harness.end(status)
    harness.close()  # the event arrives twice
    (line,) = lines(caplog)
    assert line["levelname"] == "INFO"
    facts = {name: line[name] for name in ("run_id", "pipeline", "status", "outcome")}
    assert facts == {"run_id": RUN, "pipeline": "otc", "status": status, "outcome": run.item["outcome"]}
    assert line.get("error") == run.item.get("error")
    assert isinstance(line["seconds"], float)
    assert line["seconds"] > 0


def test_two_calls_that_close_a_run_write_one_line(caplog: pytest.LogCaptureFixture) -> None:
    harness = CloseHarness()
    harness.executions.end(RUN, "FAILED", "JobFailed", "It failed.")
    harness.service.dynamodb.interleave("TransactWriteItems", harness.close)
    harness.close()
    assert len(lines(caplog)) == 1


def test_a_job_that_was_cancelled_does_not_stay_running_in_the_record() -> None:
    harness = running_job()
    assert state(harness.service)["status"] == "RUNNING"
    run = harness.end("ABORTED", "Canceled", "Cancelled by Ann.")
    found = state(harness.service)
    assert (found["status"], found["outcome"]) == ("CANCEL", "CANCELLED")
    assert found["ended_at"] == run.item["ended_at"]


def test_a_job_that_was_cancelled_before_its_first_check_is_recorded_with_its_proof() -> None:
    harness = CloseHarness()
    harness.service.celonis.jobs[JOB].seconds = FOREVER
    harness.service.start("job-0")
    harness.service.clock.sleep(1.0)
    harness.end("ABORTED", "Canceled", "Cancelled by Ann.")
    step = shown(harness.service.records.get(RUN))["steps"]["job-0"]
    assert (step["outcome"], step["id"]) == ("CANCELLED", harness.service.celonis.jobs[JOB].mine[0].id)
    assert step["proven_by"]
    assert step["polls"] >= 2


def test_a_job_that_is_still_being_cancelled_says_so() -> None:
    harness = running_job(cancel_seconds=FOREVER)
    harness.end("ABORTED", "Canceled", "Cancelled by Ann.")
    found = state(harness.service)
    assert (found["status"], found["cancel_requested"], "ended_at" in found) == ("CANCELLING", True, False)
    assert cancels(harness.service) == [JOB]


def test_a_job_that_ended_by_itself_has_its_last_status() -> None:
    harness = running_job(seconds=30.0)
    harness.service.clock.sleep(60.0)
    harness.end("ABORTED")
    found = state(harness.service)
    assert (found["status"], "outcome" in found) == ("SUCCESS", False)


def test_a_job_that_runs_on_stays_as_it_was_recorded() -> None:
    harness = running_job()
    before = state(harness.service)
    harness.end("FAILED", "States.Timeout", "Something of AWS.")
    assert state(harness.service) == before


OF_THE_TABLE = {"pk", "position", "expires", "closing", "steps", "definition"}


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_a_record_has_no_attribute_that_the_api_does_not_know(status: str) -> None:
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}]))
    assert (harness.service.run_step("job-0"), harness.service.run_step("load-0")) == (
        "SUCCEEDED",
        "SUCCEEDED",
    )
    harness.join()
    harness.end(status, "Some" if status == "FAILED" else "")
    item = harness.service.records.get(RUN).item
    assert {"follow_up", "ended_at", "outcome"} <= set(item)
    assert set(item) - OF_THE_TABLE <= set(SHOWN)


def test_a_failure_after_finished_work_advises_to_retry_the_run_with_the_command() -> None:
    harness = half_done()
    harness.end("FAILED", "LoadFailed")
    advice = f"To retry, send POST /runs/{RUN}/retry: it skips job-a, which succeeded."
    assert advice in harness.outcome()
    ((_, text, _),) = harness.notices
    assert advice in text
    assert text.endswith(COMMAND)


def test_a_failure_whose_job_still_runs_gives_the_command_for_the_retry_that_waits_for_it() -> None:
    harness = running_job()
    harness.end("FAILED", "States.Timeout", "Something of AWS.")
    assert "A retry waits for it." in harness.outcome()
    ((_, text, _),) = harness.notices
    assert text.endswith(COMMAND)


def test_a_failure_before_anything_was_done_gives_no_command() -> None:
    harness = CloseHarness()
    harness.service.celonis.jobs[JOB].outcome = "FAIL"
    assert harness.service.run_step("job-0") == "JobFailed"
    harness.end("FAILED", "JobFailed")
    ((_, text, _),) = harness.notices
    assert "/retry" not in harness.outcome() + text


def test_a_run_of_an_inline_definition_gives_no_command() -> None:
    harness = half_done()
    service = harness.service
    document = {**json.loads(service.records.get(RUN).item["definition"]), "name": "otc"}
    service.records.set_facts(
        service.records.get(RUN), {"definition": json.dumps(document)}, service.deadline()
    )
    harness.end("FAILED", "LoadFailed")
    ((_, text, _),) = harness.notices
    assert "/retry" not in harness.outcome() + text

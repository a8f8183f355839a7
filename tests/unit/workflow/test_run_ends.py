"""What the record, the log and the notification say when a run has ended."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from celonis_refresh.pipelines.options import Reason, RunOptions
from celonis_refresh.runs.table import run_key
from celonis_refresh.steps.target import FAIL_HINT
from celonis_refresh.workflow.listing import SHOWN, shown
from tests.fakes.service import JOB, MODEL, RUN, ServiceHarness, job_definition
from tests.unit.steps.outgoing import cancels
from tests.unit.workflow.close_harness import CloseHarness
from tests.unit.workflow.commands_harness import CommandsHarness

COMMAND = f"refresh --stack shop --region eu-central-1 retry {RUN}"
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


OF_THE_TABLE = {"pk", "position", "expires", "closing", "steps", "definition", "messages"}


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
    assert "Fix the cause, then retry the run; it skips job-a, which succeeded." in text
    assert text.count("which succeeded") == 1
    assert COMMAND in text


def test_a_failure_whose_job_still_runs_gives_the_command_for_the_retry_that_waits_for_it() -> None:
    harness = running_job()
    harness.end("FAILED", "States.Timeout", "Something of AWS.")
    assert "A retry waits for it." in harness.outcome()
    ((_, text, _),) = harness.notices
    assert COMMAND in text


def test_a_failure_before_anything_was_done_gives_the_command_and_no_advice() -> None:
    harness = CloseHarness()
    harness.service.celonis.jobs[JOB].outcome = "FAIL"
    assert harness.service.run_step("job-0") == "JobFailed"
    harness.end("FAILED", "JobFailed")
    ((_, text, _),) = harness.notices
    assert "/retry" not in harness.outcome()
    assert COMMAND in text


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


def test_a_failed_load_is_named_as_the_definition_names_its_data_model() -> None:
    loads = [{"data_model": MODEL, "name": "Sales order items"}]
    harness = CloseHarness(job_definition(loads=loads))
    harness.service.celonis.models[MODEL].outcome = "ERROR"
    assert harness.service.run_step("job-0") == "SUCCEEDED"
    assert harness.service.run_step("load-0") == "LoadFailed"
    harness.end("FAILED", "LoadFailed")
    ((_, text, _),) = harness.notices
    assert f'The load of data model "Sales order items" ({MODEL}) failed' in harness.outcome()
    assert f'Step: load of data model "Sales order items" ({MODEL})' in text


def test_a_failed_job_is_named_as_the_definition_names_it() -> None:
    harness = CloseHarness(job_definition(jobs=[{"job": JOB, "name": "Extract SAP"}]))
    harness.service.celonis.jobs[JOB].outcome = "FAIL"
    assert harness.service.run_step("job-0") == "JobFailed"
    harness.end("FAILED", "JobFailed")
    ((_, text, _),) = harness.notices
    assert f'Data job "Extract SAP" ({JOB}) failed' in harness.outcome()
    assert f'Step: data job "Extract SAP" ({JOB})' in text


def failed_load_harness(name: str = "") -> CloseHarness:
    """A run whose load fails; Celonis knows the model by this name."""
    harness = half_done()
    harness.service.celonis_names["load-0"] = name
    harness.end("FAILED", "LoadFailed")
    return harness


def test_a_failed_load_is_named_as_celonis_names_its_data_model() -> None:
    ((_, text, facts),) = failed_load_harness("Order to Cash").notices
    assert facts["step"] == f'load of data model "Order to Cash" ({MODEL})'
    assert f'The load of data model "Order to Cash" ({MODEL}) failed' in text
    assert text.count("Order to Cash") == 2


def test_a_failed_load_whose_name_cannot_be_read_has_its_id() -> None:
    ((_, text, facts),) = failed_load_harness().notices
    assert facts["step"] == f"load of data model {MODEL}"
    assert f"The load of data model {MODEL} failed" in text


def test_a_table_that_does_not_exist_names_the_step_of_its_data_model() -> None:
    harness = CloseHarness(
        job_definition(loads=[{"data_model": MODEL, "kind": "partial", "tables": ["NO_SUCH"]}])
    )
    harness.service.celonis_names["load-0"] = "Order to Cash"
    harness.end("FAILED", "UnknownTable", f"No table NO_SUCH in data model {MODEL}.")
    ((_, text, facts),) = harness.notices
    assert facts["step"] == f'load of data model "Order to Cash" ({MODEL})'
    assert f'No table NO_SUCH in data model "Order to Cash" ({MODEL}).' in text
    assert "Data model in Celonis: https://" in text


@pytest.mark.parametrize(("tables", "can_retry"), [(("NO_SUCH",), False), ((), True)])
def test_a_retry_is_not_advised_if_it_requests_the_unknown_table_again(
    tables: tuple[str, ...], can_retry: bool
) -> None:
    load = {"data_model": MODEL, "kind": "partial", "tables": ["VBAK"]}
    harness = CloseHarness(job_definition(loads=[load]))
    table, key = harness.service.table, run_key(RUN)
    options = RunOptions(tables=frozenset(tables)).to_json()
    table.update(
        table.change(key, "SET #options = :o", "attribute_exists(#pk)", {"o": options}),
        harness.service.deadline(),
    )
    harness.end("FAILED", "UnknownTable", f"No table NO_SUCH in data model {MODEL}.")
    ((_, text, facts),) = harness.notices
    assert facts["can_retry"] is can_retry
    assert ("retry the run" in text) is can_retry
    assert ("Start a new run with tables that exist" in text) is not can_retry


def test_a_warning_names_its_data_model() -> None:
    harness = CloseHarness(job_definition(loads=[{"data_model": MODEL}]))
    harness.service.celonis.models[MODEL].outcome = "WARNING"
    assert harness.service.run_step("job-0") == harness.service.run_step("load-0") == "SUCCEEDED"
    harness.service.celonis_names["load-0"] = "Order to Cash"
    harness.end("SUCCEEDED")
    ((_, text, _),) = harness.notices
    assert f'The load of data model "Order to Cash" ({MODEL}) ended with a warning' in text


def test_a_recovery_names_the_data_model_that_celonis_names() -> None:
    harness = CommandsHarness(job_definition(loads=[{"data_model": MODEL}]))
    harness.fail(RUN)
    run_id = str(harness.start()["runs"][0]["run_id"])
    service = harness.service
    service.celonis_names |= {"job-0": "ERP extraction", "load-0": "Order to Cash"}
    assert service.run_step("job-0", run_id) == service.run_step("load-0", run_id) == "SUCCEEDED"
    harness.executions.start(run_id)
    harness.end("SUCCEEDED", run_id=run_id)
    _, text, facts = harness.notices[-1]
    done = 'Executed data job "ERP extraction" (FULL) and loaded data model "Order to Cash" (all tables).'
    assert (facts["what"], facts["outcome"]) == ("recovered", done)
    assert f"Run {run_id} of pipeline otc succeeded: the pipeline has recovered." in text


def test_the_reason_of_celonis_has_names_in_the_record_and_its_advice_once_in_the_notification() -> None:
    harness = CloseHarness(job_definition(jobs=[{"job": JOB, "name": "Extract orders"}]))
    cause = f"Data job {JOB} failed in Celonis: no space left. {FAIL_HINT}"
    harness.end("FAILED", "JobFailed", cause)
    assert harness.outcome() == cause.replace(JOB, f'"Extract orders" ({JOB})')
    ((_, text, _),) = harness.notices
    assert FAIL_HINT not in text
    assert text.count("retry") == 2  # the advice and its command


@pytest.mark.parametrize(
    ("reasons", "shown"),
    [
        (
            [("adf", "a"), ("adf", "b"), ("dbt", "done"), ("execution", "nightly")],
            ["execution: nightly", "adf: a", "dbt: done", "1 more"],
        ),
        (
            [("adf", "done"), ("adf", "done"), ("arn:aws:iam::1:user/ann", "month end")],
            ["arn:aws:iam::1:user/ann: month end", "2 × adf: done"],
        ),
    ],
)
def test_triggers_of_people_and_schedules_come_first_and_equal_ones_once(
    reasons: list[tuple[str, str]], shown: list[str]
) -> None:
    harness = CloseHarness()
    service, run = harness.service, harness.service.records.get(RUN)
    made = tuple(Reason(f"2026-01-01T00:00:0{n}.000Z", f"d-{n}", *each) for n, each in enumerate(reasons))
    options = replace(run.options, reasons=made).to_json()
    service.records.set_facts(run, {"options": options}, service.deadline())
    harness.end("FAILED", "JobFailed", "It failed.")
    ((_, _, facts),) = harness.notices
    assert facts["triggered_by"] == shown


def test_a_refused_execution_is_reported_with_its_start_and_the_known_part_of_its_input() -> None:
    harness = CloseHarness()
    harness.ended("by-hand", "FAILED", "The input is not valid.")
    given = {"pipeline": "otc", "mod": "FULL", "token": "hidden", "tables": ["EKKO"]}
    harness.executions.known["by-hand"] = replace(
        harness.executions.known["by-hand"], started_at="2026-01-01T02:00:00.000Z", input=json.dumps(given)
    )
    assert harness.close("by-hand") is None
    ((_, text, _),) = harness.notices
    assert "Execution by-hand failed before it became a run." in text
    assert "Started: 2026-01-01 02:00 UTC" in text
    assert 'Input: {"pipeline": "otc", "mod": "…", "token": "…", "tables": ["EKKO"]}' in text
    assert "hidden" not in text

"""Stopped runs: each ends in one record, and nothing is left running unnoticed."""

from __future__ import annotations

import json

from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService, is_sentence


def test_stopping_the_execution_in_the_console_cancels_the_job_and_frees_the_pipeline(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600, cancel_seconds=0.3)
    pipeline = service.pipeline(jobs=[job])
    name = service.execute({"pipeline": pipeline})
    service.running(name)
    service.stop(name, cause="Maintenance of the ERP.")
    run = service.closed(name)
    assert service.execution(name)["status"] == "ABORTED"
    assert run["status"] == "ABORTED"
    assert "Maintenance of the ERP." in run["outcome"]
    assert "was cancelled" in run["outcome"]
    step = run["steps"]["job-0"]
    assert (step["status"], step["outcome"], step["ended_at"]) == ("CANCEL", "CANCELLED", run["ended_at"])
    assert [one["outcome"] for one in celonis.executions(job)] == ["CANCEL"]
    assert service.notices_about(name) == []
    assert service.is_free(pipeline)
    until(lambda: service.item(f"lease#job#{job}") == {}, "the lease to be freed, after the end of the run")
    celonis.set_job(job, seconds=0.3)
    assert service.run_by_hand({"pipeline": pipeline})["status"] == "SUCCEEDED"


def test_a_pipeline_may_leave_its_job_running_when_it_is_stopped(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    name = service.execute({"pipeline": service.pipeline(jobs=[job], cancel_on_stop=False)})
    service.running(name)
    service.stop(name)
    run = service.closed(name)
    assert run["status"] == "ABORTED"
    assert "keeps running: the pipeline has cancel_on_stop: false" in run["outcome"]
    assert celonis.requests("cancel", job) == []
    assert [one["phase"] for one in celonis.executions(job)] == ["running"]


def test_a_load_cannot_be_cancelled_and_holds_its_model_until_it_ended(
    service: DeployedService, celonis: CelonisControls
) -> None:
    model = celonis.model("VBAK", seconds=600)
    pipeline = service.pipeline(loads=[model.id])
    name = service.execute({"pipeline": pipeline})
    service.running(name, "load-0")
    service.stop(name)
    run = service.closed(name)
    assert run["status"] == "ABORTED"
    assert is_sentence(run["outcome"])
    assert "no call is known that cancels a load" in run["outcome"]
    (left,) = celonis.loads(model)
    assert left["phase"] == "running"

    celonis.set_model(model.id, seconds=0.4)
    after = service.execute({"pipeline": pipeline})
    service.waiting(after, "load-0")
    assert len(celonis.loads(model)) == 1
    celonis.finish_load(model)
    assert service.closed(after)["status"] == "SUCCEEDED"
    assert len(celonis.loads(model)) == 2


def test_an_execution_that_is_redriven_after_its_run_was_closed_is_refused(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    name = service.execute({"pipeline": service.pipeline(jobs=[job])})
    service.running(name)
    service.stop(name)
    assert service.closed(name)["status"] == "ABORTED"
    service.stack.client("stepfunctions").redrive_execution(executionArn=service.arn(name))
    redriven = service.ended(name)
    assert (redriven["status"], redriven["error"]) == ("FAILED", "RunClosed")
    assert "/retry repeats what" in redriven["cause"]
    assert is_sentence(redriven["cause"])
    assert len(celonis.executions(job)) == 1
    assert service.show(name)["status"] == "ABORTED"


def test_a_run_that_was_closed_cannot_be_opened_by_another_execution(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    run = service.run_by_hand({"pipeline": service.pipeline(jobs=[job])})
    other = service.ended(service.execute({"run_id": run["run_id"]}))
    assert (other["status"], other["error"]) == ("FAILED", "InvalidTrigger")
    assert is_sentence(other["cause"])
    event = {
        "input": {"run_id": run["run_id"]},
        "execution": {"id": run["execution_arn"], "name": run["run_id"]},
    }
    refused = json.loads(service.stack.invoke("OpenRun", json.dumps(event).encode()).payload)
    assert refused["errorType"] == "RunClosed"
    assert len(celonis.executions(job)) == 1

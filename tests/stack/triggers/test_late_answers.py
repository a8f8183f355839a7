"""AWS responses that come too late: retried in the same request, and nothing happens twice."""

from __future__ import annotations

import pytest

from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService

LATE = 1.6
"""Seconds: longer than the trigger waits for one answer, and less than a request has in all."""
CALLS = ["GetParameters", "TransactWriteItems", "StartExecution"]


@pytest.fixture
def pipeline(service: DeployedService, celonis: CelonisControls) -> tuple[str, str]:
    """The pipeline, and its job. A process that serves it has answered a request before."""
    other = service.source({"pipeline": service.pipeline(jobs=[celonis.job()])})
    assert service.webhook(other).status_code == 202
    job = celonis.job()
    return service.pipeline(jobs=[job]), job


@pytest.mark.parametrize("operation", CALLS)
def test_a_delivery_is_accepted_in_its_first_try(
    operation: str, service: DeployedService, celonis: CelonisControls, pipeline: tuple[str, str]
) -> None:
    name, job = pipeline
    source = service.source({"pipeline": name})
    service.stack.delay(operation, LATE, mentions=name)
    answer = service.webhook(source, delivery="late")
    assert service.stack.delays == []
    assert answer.status_code == 202, answer.text
    reported = answer.json()
    assert "duplicate" not in reported
    (run,) = reported["runs"]
    assert run["status"] == "started"
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    assert _runs(service, name) == [run["run_id"]]
    assert [execution["outcome"] for execution in celonis.executions(job)] == ["SUCCESS"]
    assert service.is_free(name)


def test_a_run_that_a_user_starts_is_accepted_as_well(
    service: DeployedService, celonis: CelonisControls, pipeline: tuple[str, str]
) -> None:
    name, job = pipeline
    service.stack.delay("TransactWriteItems", LATE, mentions=name)
    answer = service.call("POST", "/runs", {"pipeline": name})
    assert service.stack.delays == []
    assert answer.status_code == 202, answer.text
    (run,) = answer.json()["runs"]
    assert run["status"] == "started"
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    assert _runs(service, name) == [run["run_id"]]
    assert len(celonis.executions(job)) == 1


def _runs(service: DeployedService, pipeline: str) -> list[str]:
    answer = service.call("GET", f"/runs?pipeline={pipeline}")
    assert answer.ok, answer.text
    return [run["run_id"] for run in answer.json()["runs"]]

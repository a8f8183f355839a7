"""Callbacks: the result of a run arrives at the system that waits for it, as Azure Data Factory does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local.receiver import Receiver, receiver
from local.wait import until
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import DeployedService

TOKEN = "AAEAFF-token-of-a-callback"
KEY = "key-of-the-factory"


@pytest.fixture
def factory() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def source(service: DeployedService) -> str:
    """The name of the secret of the sources of a test."""
    return service.secret("webhooks", {"current": KEY})


def activity(service: DeployedService, source: str, address: str) -> Json:
    """The run that answers to a Webhook activity of Azure Data Factory."""
    body = json.dumps({"pipeline": "load", "callBackUri": f"{address}?token={TOKEN}"}).encode()
    headers = {"content-type": "application/json", "x-api-key": KEY}
    answer = service.send("POST", f"/webhooks/{source}", body, headers)
    assert answer.status_code == 202, answer.text
    (run,) = answer.json()["runs"]
    result: Json = run
    return result


def adf_source(service: DeployedService, pipeline: str, secret: str) -> str:
    return service.source({"pipeline": pipeline}, sender="azure_data_factory", secret=secret)


def arrived(service: DeployedService, factory: Receiver, name: str) -> Json:
    """The one callback of an activity. What the index did not show at the end of a run is reconcile's."""

    def is_there() -> bool:
        if not factory.requests(name):
            service.stack.invoke("Reconcile", b"{}")
        return bool(factory.requests(name))

    until(is_there, f"the callback {name}", 60.0, 0.5)
    (request,) = {request.body: request for request in factory.requests(name)}.values()
    return request.document


def gone(service: DeployedService, run_id: str) -> bool:
    return not any(item["pk"]["S"].startswith(f"callback#{run_id}#") for item in service.items())


def test_the_result_arrives_at_the_activity_that_started_the_run(
    service: DeployedService, celonis: CelonisControls, factory: Receiver, source: str
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()])
    run = activity(service, adf_source(service, pipeline, source), f"{factory.url}/started")
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    result = arrived(service, factory, "started")
    assert (result["StatusCode"], result["Output"]["run_id"]) == ("200", run["run_id"])
    assert (result["Output"]["pipeline"], result["Output"]["status"]) == (pipeline, "SUCCEEDED")
    assert "Error" not in result
    until(lambda: gone(service, run["run_id"]), "the removal of the callback")
    assert TOKEN not in "".join(line.text for line in service.stack.logs())
    assert TOKEN not in json.dumps(service.items())


def test_a_failure_arrives_as_the_error_of_the_activity(
    service: DeployedService, celonis: CelonisControls, factory: Receiver, source: str
) -> None:
    job = celonis.job(outcome="FAIL", error_messages=["Column VBELN is missing in VBAK."])
    pipeline = service.pipeline(jobs=[job])
    run = activity(service, adf_source(service, pipeline, source), f"{factory.url}/failed")
    assert service.closed(run["run_id"])["status"] == "FAILED"
    result = arrived(service, factory, "failed")
    assert (result["StatusCode"], result["Error"]["ErrorCode"]) == ("500", "JobFailed")
    assert "VBELN is missing" in result["Error"]["Message"]
    assert result["Output"]["status"] == "FAILED"


def test_activities_whose_triggers_were_merged_get_the_result_of_the_follow_up_run(
    service: DeployedService, celonis: CelonisControls, factory: Receiver, source: str
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    name = adf_source(service, pipeline, source)
    first = activity(service, name, f"{factory.url}/first")
    service.running(first["run_id"])
    merged = [activity(service, name, f"{factory.url}/{each}") for each in ("second", "third")]
    assert [run["status"] for run in merged] == ["joined", "joined"]
    (follow_up,) = {run["run_id"] for run in merged}
    repeated = service.send(
        "POST",
        f"/webhooks/{name}",
        json.dumps({"pipeline": "load", "callBackUri": f"{factory.url}/third?token={TOKEN}"}).encode(),
        {"content-type": "application/json", "x-api-key": KEY},
    )
    assert (repeated.status_code, repeated.json()["duplicate"]) == (200, True)
    assert factory.requests("first") == []

    celonis.set_job(job, seconds=0.3, outcome="FAIL")
    celonis.finish(job)
    assert service.closed(first["run_id"])["status"] == "SUCCEEDED"
    assert service.closed(follow_up)["status"] == "FAILED"
    assert arrived(service, factory, "first")["Output"]["run_id"] == first["run_id"]
    for each in ("second", "third"):
        result = arrived(service, factory, each)
        assert (result["Output"]["run_id"], result["Error"]["ErrorCode"]) == (follow_up, "JobFailed")


def test_an_activity_that_joins_a_run_of_another_trigger_gets_its_result(
    service: DeployedService, celonis: CelonisControls, factory: Receiver, source: str
) -> None:
    """The pending run covers a manual trigger already when the activity joins it."""
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    first, pending = service.followed(pipeline)
    run = activity(service, adf_source(service, pipeline, source), f"{factory.url}/joined")
    assert (run["run_id"], run["status"]) == (pending, "joined")
    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    for run_id in (first, pending):
        assert service.closed(run_id)["status"] == "SUCCEEDED"
    assert arrived(service, factory, "joined")["Output"]["run_id"] == pending

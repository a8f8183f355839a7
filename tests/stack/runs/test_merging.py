"""Triggers of a busy pipeline: nothing is lost, nothing runs twice, and one run follows for all of them."""

from __future__ import annotations

from typing import Any

from local.celonis import world
from local.serve import STACK_NAME
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import SAMPLE, WORKFLOW_SUCCEEDED, DeployedService, definition, is_sentence


def test_every_way_in_joins_the_one_run_that_follows_and_the_greater_options_wins(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = world.ERP_JOB_ID, world.MODEL_ID
    celonis.set_job(job, seconds=600)
    celonis.set_model(model, seconds=1)
    first = service.execute({"pipeline": SAMPLE, "mode": "DELTA", "tables": ["VBEP"]})
    service.running(first)

    by_hand = service.ended(service.execute({"pipeline": SAMPLE, "tables": ["VBAK"], "reason": "by hand"}))
    scheduled = service.ended(
        service.stack.fire_schedule(f"{STACK_NAME}-full-refresh")["executionArn"].rsplit(":", 1)[1]
    )
    source = service.source({"pipeline": SAMPLE, "mode": "DELTA", "reason": "webhook"})
    by_webhook = service.webhook(source, WORKFLOW_SUCCEEDED)
    by_api = service.call("POST", "/runs", {"pipeline": SAMPLE, "mode": "DELTA", "reason": "api"})

    follow_up = by_hand["output"]["run_id"]
    assert follow_up != first
    for execution in (by_hand, scheduled):
        assert (execution["status"], service.states(execution["name"])[-1]) == ("SUCCEEDED", "Joined")
        assert execution["output"] == {"status": "joined", "run_id": follow_up}
    for answer in (by_webhook, by_api):
        assert answer.status_code == 202
        assert answer.json()["runs"] == [{"pipeline": SAMPLE, "run_id": follow_up, "status": "joined"}]
    assert service.status(follow_up) == "NONE"
    assert len(celonis.executions(job)) == 1

    celonis.set_job(job, seconds=1)
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"
    run = service.closed(follow_up)
    assert run["status"] == "SUCCEEDED"
    reasons = {reason["text"] for reason in run["options"]["reasons"]}
    assert reasons == {"by hand", "schedule", "webhook", "api"}
    assert [one["mode"] for one in celonis.executions(job)] == ["DELTA", "FULL"]
    assert [one["type"] for one in celonis.loads(model)] == ["PARTIAL", "COMPLETE"]
    assert service.is_free(SAMPLE)


def test_the_run_that_follows_unites_the_tables_and_starts_also_when_the_first_failed(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    model = celonis.model("VBAK", "VBAP=Items", "LIKP", "KNA1")
    load = {"data_model": model.id, "kind": "partial", "tables": ["KNA1"]}
    pipeline = service.pipeline(jobs=[job], loads=[load])
    first = service.execute({"pipeline": pipeline})
    service.running(first)
    run_options: list[dict[str, Any]] = [
        {"mode": "DELTA", "tables": ["VBAK"]},
        {"mode": "DELTA", "tables": ["Items"]},
        {"mode": "DELTA", "tables": [model.tables["VBAK"].id]},
    ]
    names = [service.execute({"pipeline": pipeline, **options}) for options in run_options]
    joined = {service.ended(name)["output"]["run_id"] for name in names}
    assert len(joined) == 1

    celonis.set_job(job, seconds=0.5)
    celonis.finish(job, "FAIL")
    assert service.closed(first)["status"] == "FAILED"
    run = service.closed(joined.pop())
    assert run["status"] == "SUCCEEDED"
    assert [one["mode"] for one in celonis.executions(job)] == ["FULL", "DELTA"]
    (loaded,) = celonis.loads(model)
    assert (loaded["type"], loaded["tables"]) == ("PARTIAL", model.ids("VBAK", "VBAP"))
    assert service.is_free(pipeline)


def test_many_at_once_become_one_run_and_one_that_follows(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    names = [service.execute({"pipeline": pipeline, "reason": str(number)}) for number in range(8)]
    until(lambda: sum(service.is_over(name) for name in names) == 7, "seven of them to join")
    celonis.set_job(job, seconds=0.5)
    celonis.finish(job)
    outputs = [service.ended(name)["output"] for name in names]
    (first,) = [output["run_id"] for output in outputs if output["status"] == "SUCCEEDED"]
    (follow_up,) = {output["run_id"] for output in outputs if output["status"] == "joined"}
    records = [service.closed(first), service.closed(follow_up)]
    assert [record["status"] for record in records] == ["SUCCEEDED", "SUCCEEDED"]
    reported = [reason["text"] for record in records for reason in record["options"]["reasons"]]
    assert sorted(reported) == [str(number) for number in range(8)]
    one, other = celonis.executions(job)
    assert other["requested_at"] >= one["ended_at"]


def test_a_definition_that_came_with_its_execution_cannot_join(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, other = celonis.job(seconds=600), celonis.job()
    name = service.name("inline")
    first = service.execute({"pipeline": {"name": name, **definition(jobs=[job])}})
    service.running(first)
    refused = service.ended(service.execute({"pipeline": {"name": name, **definition(jobs=[other])}}))
    assert (refused["status"], refused["error"]) == ("FAILED", "PipelineBusy")
    assert is_sentence(refused["cause"])
    assert first in refused["cause"]
    assert celonis.executions(other) == []
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"


def test_a_run_follows_with_the_definition_as_it_is_then(
    service: DeployedService, celonis: CelonisControls
) -> None:
    old, new = celonis.job(seconds=600), celonis.job()
    pipeline = service.pipeline(jobs=[old])
    first = service.execute({"pipeline": pipeline})
    service.running(first)
    follow_up = service.ended(service.execute({"pipeline": pipeline}))["output"]["run_id"]
    service.define(pipeline, jobs=[new])
    celonis.finish(old)
    assert service.closed(first)["status"] == "SUCCEEDED"
    assert service.closed(follow_up)["status"] == "SUCCEEDED"
    assert [len(celonis.executions(old)), len(celonis.executions(new))] == [1, 1]


def test_two_pipelines_that_share_a_job_and_a_model_get_an_execution_and_a_load_each(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(seconds=0.8), celonis.model("VBAK", seconds=0.8)
    pipelines = [service.pipeline(jobs=[job], loads=[model.id]) for _ in range(2)]
    names = [service.execute({"pipeline": pipeline}) for pipeline in pipelines]
    runs = [service.closed(name) for name in names]
    assert [run["status"] for run in runs] == ["SUCCEEDED", "SUCCEEDED"]
    one, other = celonis.executions(job)
    assert other["requested_at"] >= one["ended_at"]
    assert {run["steps"]["job-0"]["id"] for run in runs} == {one["id"], other["id"]}
    first, second = celonis.loads(model)
    assert second["requested_at"] >= first["ended_at"]
    assert {run["steps"]["load-0"]["id"] for run in runs} == {first["id"], second["id"]}

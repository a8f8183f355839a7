"""An execution started by hand, from the console, the CLI or another state machine."""

from __future__ import annotations

import json
from typing import Any

from tests.stack.runs.celonis import POOL, CelonisControls
from tests.stack.runs.service import DeployedService, definition


def test_an_execution_runs_the_pipeline_as_defined_or_as_its_input_overrides_it(
    service: DeployedService, celonis: CelonisControls
) -> None:
    models = [celonis.model("VBAK", "VBAP=Items", "LIKP=Deliveries") for _ in range(6)]
    jobs = [celonis.job() for _ in models]
    overrides: list[tuple[dict[str, Any], str, str, list[str]]] = [
        ({}, "DELTA", "PARTIAL", ["VBAK"]),
        ({"mode": "FULL", "reason": "After a release"}, "FULL", "PARTIAL", ["VBAK"]),
        ({"tables": [models[2].tables["LIKP"].id]}, "DELTA", "PARTIAL", ["LIKP"]),
        ({"tables": ["LIKP"]}, "DELTA", "PARTIAL", ["LIKP"]),
        ({"tables": ["Items", "Deliveries"], "mode": "DELTA"}, "DELTA", "PARTIAL", ["VBAP", "LIKP"]),
        ({"tables": "all"}, "DELTA", "COMPLETE", []),
    ]
    names = []
    for job, model, (given, *_) in zip(jobs, models, overrides, strict=True):
        load = {"data_model": model.id, "kind": "partial", "tables": ["VBAK"]}
        pipeline = service.pipeline(jobs=[{"job": job, "mode": "DELTA"}], loads=[load])
        names.append(service.execute({"pipeline": pipeline, **given}))
    for name, job, model, (given, mode, kind, tables) in zip(names, jobs, models, overrides, strict=True):
        run = service.closed(name)
        assert run["status"] == "SUCCEEDED", run
        assert [one["mode"] for one in celonis.executions(job)] == [mode], given
        (load,) = celonis.loads(model)
        assert (load["type"], load["tables"]) == (kind, model.ids(*tables)), given
        assert service.ended(name)["output"] == {"status": "SUCCEEDED", "run_id": name}
        assert [reason["text"] for reason in run["options"]["reasons"]] == [given.get("reason", "")]


def test_a_definition_may_come_with_its_execution(service: DeployedService, celonis: CelonisControls) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    name = service.name("inline")
    inline = {"name": name, **definition(jobs=[job], loads=[model.id])}
    run = service.run_by_hand({"pipeline": inline, "mode": "DELTA", "reason": "Once"})
    assert (run["status"], run["pipeline"], run["definition"]["name"]) == ("SUCCEEDED", name, name)
    assert [one["mode"] for one in celonis.executions(job)] == ["DELTA"]
    assert [one["type"] for one in celonis.loads(model)] == ["COMPLETE"]


def test_ids_may_be_the_page_addresses_that_people_copy(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    host = service.celonis_url.removeprefix("http://")
    pool = f"https://{host}/integration/ui/pools/{POOL}"
    configuration = f"{pool}/data-configuration"
    run = service.run_by_hand(
        {
            "pipeline": service.pipeline(
                data_pool=f"{pool}/",
                jobs=[f"{configuration}/data-jobs?jobId={job}"],
                loads=[f"{configuration}/process-data-models/{model.id}?tab=data-model"],
            )
        }
    )
    assert run["status"] == "SUCCEEDED"
    assert [len(celonis.executions(job)), len(celonis.loads(model))] == [1, 1]


def test_open_run_called_again_by_the_same_execution_gives_the_same_answer(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job, celonis.job()], loads=[celonis.model("VBAK").id])
    name = service.execute({"pipeline": pipeline, "mode": "DELTA"})
    service.running(name)
    (event, first) = _open_run(service, name)
    joined = service.execute({"pipeline": pipeline, "mode": "FULL"})
    service.ended(joined)
    (joining_event, joining) = _open_run(service, joined)

    again = json.loads(service.stack.invoke("OpenRun", json.dumps(event).encode()).payload)
    assert again == first
    assert [(job["step"], job["stage"]) for job in first["jobs"]] == [("job-0", 0), ("job-1", 1)]
    assert [load["step"] for load in first["loads"]] == ["load-0"]
    joining_again = service.stack.invoke("OpenRun", json.dumps(joining_event).encode()).payload
    assert json.loads(joining_again) == joining
    assert len(celonis.executions(job)) == 1

    celonis.set_job(job, seconds=0.1)
    celonis.finish(job)
    assert service.closed(name)["follow_up"] == joining["run_id"]
    assert service.closed(joining["run_id"])["status"] == "SUCCEEDED"
    refused = json.loads(service.stack.invoke("OpenRun", json.dumps(event).encode()).payload)
    assert refused["errorType"] == "RunClosed"


def _open_run(service: DeployedService, name: str) -> tuple[Any, Any]:
    """The event and the answer of the execution's OpenRun."""
    history = service.history(name)
    scheduled = next(event for event in history if event["type"] == "LambdaFunctionScheduled")
    succeeded = next(event for event in history if event["type"] == "LambdaFunctionSucceeded")
    return (
        json.loads(scheduled["lambdaFunctionScheduledEventDetails"]["input"]),
        json.loads(succeeded["lambdaFunctionSucceededEventDetails"]["output"]),
    )

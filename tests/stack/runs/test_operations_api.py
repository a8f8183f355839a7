"""Pauses, checks, tests of sources and the list of deliveries, over the HTTP API of a stack."""

from __future__ import annotations

from urllib.parse import quote

from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import WORKFLOW_SUCCEEDED, DeployedService


def test_a_pause_keeps_a_webhook_waiting_until_the_resume(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=0.2)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    paused: Json = service.call("POST", f"/pipelines/{pipeline}/pause", {"reason": "month end"}).json()
    assert (paused["paused"], paused["pause"]["reason"]) == (True, "month end")
    assert "administrator" in paused["pause"]["by"]
    (joined,) = service.webhook(source).json()["runs"]
    assert joined["status"] == "joined"
    shown: Json = service.call("GET", f"/pipelines/{pipeline}").json()
    assert (shown["pause"], shown["waiting"]["run_id"]) == (paused["pause"], joined["run_id"])
    resumed: Json = service.call("POST", f"/pipelines/{pipeline}/resume").json()
    assert resumed["started"]["run_id"] == joined["run_id"]
    assert service.closed(joined["run_id"])["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1
    again = service.call("POST", f"/pipelines/{pipeline}/resume").json()
    assert again == {"pipeline": pipeline, "paused": False, "pause": None}


def test_what_became_of_the_events_of_a_source_is_listed(
    service: DeployedService, celonis: CelonisControls
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job(seconds=0.2)])
    source = service.source({"pipeline": pipeline})
    (run,) = service.webhook(source).json()["runs"]
    service.closed(run["run_id"])
    service.webhook(source, {**WORKFLOW_SUCCEEDED, "action": "requested"})
    page: Json = service.call("GET", f"/deliveries?limit=10&source={source}").json()
    results = [each["result"] for each in page["deliveries"]]
    assert (results, page["before"]) == (["ignored", "started"], None)
    assert page["deliveries"][1]["runs"] == [run]
    assert page["deliveries"][0]["reason"]
    first: Json = service.call("GET", f"/deliveries?limit=1&source={source}").json()
    rest = service.call("GET", f"/deliveries?before={quote(first['before'])}&limit=1&source={source}").json()
    assert first["deliveries"] + rest["deliveries"] == page["deliveries"]
    assert service.call("GET", "/deliveries").status_code == 400
    assert source in service.call("GET", "/sources").json()["sources"]


def test_an_event_is_tried_and_starts_nothing(service: DeployedService, celonis: CelonisControls) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    headers = {"X-GitHub-Event": "workflow_run", "X-GitHub-Delivery": "d-1"}
    body = {"body": WORKFLOW_SUCCEEDED, "headers": headers}
    answer: Json = service.call("POST", f"/sources/{source}/test", body).json()
    (event,) = answer["events"]
    assert (event["event_id"], [rule["action"] for rule in event["rules"]]) == ("d-1", ["start"])
    assert celonis.executions(job) == []
    assert service.is_free(pipeline)
    unknown = service.call("POST", "/sources/no-such-source/test", body)
    assert (unknown.status_code, unknown.json()["error"]) == (404, "SourceNotFound")


def test_a_check_reports_what_exists_in_celonis(service: DeployedService, celonis: CelonisControls) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    pipeline = service.pipeline(
        jobs=[job], loads=[{"data_model": model.id, "kind": "partial", "tables": ["VBAK"]}]
    )
    good: Json = service.call("POST", f"/pipelines/{pipeline}/check").json()
    assert good["ok"], good
    assert celonis.executions(job) == []
    broken = service.pipeline(jobs=["no-such-job"], loads=[model.id])
    bad: Json = service.call("POST", f"/pipelines/{broken}/check").json()
    (error,) = [each for each in bad["findings"] if each["level"] == "error"]
    assert (bad["ok"], error["field"]) == (False, "jobs.0.job")


def test_all_pipelines_are_shown_with_their_runs(service: DeployedService, celonis: CelonisControls) -> None:
    pipeline = service.pipeline(jobs=[celonis.job(seconds=0.2)])
    run_id = service.execute({"pipeline": pipeline})
    service.closed(run_id)
    details = [each for page in service.pages("/pipelines?runs=3") for each in page["details"]]
    (found,) = [each for each in details if each["pipeline"] == pipeline]
    assert [run["run_id"] for run in found["runs"]] == [run_id]
    assert found["last_success"]["run_id"] == run_id
    run = service.show(run_id)
    since, until = run["created_at"], run["ended_at"]
    spans: Json = service.call("GET", f"/runs?limit=500&since={since}&until={until}").json()
    assert run_id in [each["run_id"] for each in spans["runs"]]
    assert run["steps"]["job-0"]["poll_times"]

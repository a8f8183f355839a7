"""The runs API: starting, showing, cancelling and retrying runs."""

from __future__ import annotations

from urllib.parse import quote

from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import DeployedService, is_sentence


def test_a_run_is_started_once_for_an_idempotency_key_and_shown(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(), celonis.model("VBAK", "VBAP")
    pipeline = service.pipeline(jobs=[job], loads=[model.id])
    body = {"pipeline": pipeline, "mode": "DELTA", "tables": ["VBAP"], "reason": "From a notebook"}
    first = service.call("POST", "/runs", body, {"Idempotency-Key": "once"})
    again = service.call("POST", "/runs", body, {"idempotency-key": "once"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert all(answer.text.endswith("}\n") for answer in (first, again, service.call("GET", "/runs")))
    (run,) = first.json()["runs"]
    assert run == {"pipeline": pipeline, "run_id": run["run_id"], "status": "started"}
    assert again.json() == {"runs": [{**run, "status": "duplicate"}], "duplicate": True}

    record = service.closed(run["run_id"])
    assert record["status"] == "SUCCEEDED"
    assert [one["mode"] for one in celonis.executions(job)] == ["DELTA"]
    assert [one["tables"] for one in celonis.loads(model)] == [model.ids("VBAP")]
    (reason,) = record["options"]["reasons"]
    assert reason["text"] == "From a notebook"
    assert "administrator" in reason["by"]
    assert not {"pk", "rev", "expires"} & set(record)
    later = service.call("POST", "/runs", body, {"Idempotency-Key": "once"})
    assert (later.status_code, later.json()["runs"]) == (200, [{**run, "status": "duplicate"}])
    other = service.call("POST", "/runs", body, {"Idempotency-Key": "another"})
    assert other.json()["runs"][0]["run_id"] != run["run_id"]
    service.closed(other.json()["runs"][0]["run_id"])


def test_runs_are_listed_newest_first_by_pipeline_and_status_a_page_at_a_time(
    service: DeployedService, celonis: CelonisControls
) -> None:
    quick, failing = service.pipeline(loads=[celonis.model().id]), service.pipeline(jobs=[celonis.job()])
    started = [service.execute({"pipeline": quick})]
    for _ in range(4):
        service.closed(started[-1])
        started.append(service.execute({"pipeline": quick}))
    service.define(failing, jobs=["no-such-job"])
    failed = service.execute({"pipeline": failing})
    service.closed(started[-1])
    service.closed(failed)

    query, before = f"/runs?pipeline={quick}&limit=2", None
    pages: list[list[str]] = []
    while not pages or before is not None:
        page = service.call("GET", query + (f"&before={quote(before)}" if before else "")).json()
        pages.append([run["run_id"] for run in page["runs"]])
        before = page["before"]
    assert [run for page in pages for run in page] == started[::-1]
    assert [len(page) for page in pages[:3]] == [2, 2, 1]

    newest = service.call("GET", "/runs?limit=6").json()["runs"]
    assert {run["run_id"] for run in newest} == {*started, failed}
    assert [run["created_at"] for run in newest] == sorted(
        (run["created_at"] for run in newest), reverse=True
    )
    of_status: Json = service.call("GET", f"/runs?pipeline={failing}&status=FAILED").json()
    (found,) = of_status["runs"]
    assert (found["run_id"], found["error"]) == (failed, "NotFound")
    assert is_sentence(found["outcome"])
    assert service.call("GET", f"/runs?pipeline={failing}&status=SUCCEEDED").json()["runs"] == []
    recent = service.call("GET", "/runs?status=FAILED&limit=1").json()["runs"]
    assert [run["run_id"] for run in recent] == [failed]


def test_what_is_not_there_is_not_found(service: DeployedService) -> None:
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        answer = service.call(method, f"/runs/no-such-run{path}")
        assert (answer.status_code, answer.json()["error"]) == (404, "RunNotFound")
        assert is_sentence(answer.json()["message"])
    answer = service.call("GET", "/pipelines/no-such-pipeline")
    assert (answer.status_code, answer.json()["error"]) == (404, "UnknownPipeline")


def test_an_unknown_pipeline_is_answered_with_the_known_ones_to_callers_of_iam_only(
    service: DeployedService, celonis: CelonisControls
) -> None:
    known = service.pipeline(jobs=[celonis.job()])
    typo = f"{known}x"
    execution = service.execute({"pipeline": typo})
    for message in (
        service.call("GET", f"/pipelines/{typo}").json()["message"],
        service.call("POST", "/runs", {"pipeline": typo}).json()["message"],
        service.ended(execution)["cause"],
    ):
        assert f"There is no pipeline named '{typo}'." in message
        assert f"Known pipelines: {known}" in message
    reported = service.webhook(service.source({"pipeline": typo}))
    assert (reported.status_code, reported.json()["error"]) == (404, "UnknownPipeline")
    assert "Known pipelines" not in reported.text


def test_a_run_is_cancelled_and_its_pending_run_starts_unless_it_is_dropped(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    first, second = service.followed(pipeline)
    answer = service.call("POST", f"/runs/{first}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    run = service.closed(first)
    assert (run["status"], run["error"]) == ("ABORTED", "Canceled")
    assert "was cancelled" in run["outcome"]

    service.running(second)
    third = service.ended(service.execute({"pipeline": pipeline}))["output"]["run_id"]
    waiting = service.call("GET", f"/runs/{third}").json()
    assert (waiting["status"], waiting["waiting_for_run"]) == ("WAITING", second)
    dropping = service.call("POST", f"/runs/{second}/cancel", {"drop_pending": True})
    assert dropping.json()["dropped"]["run_id"] == third
    assert service.closed(second)["status"] == "ABORTED"
    assert [one["outcome"] for one in celonis.executions(job)] == ["CANCEL", "CANCEL"]
    assert service.is_free(pipeline)
    assert service.status(third) == "NONE"
    refused = service.call("POST", f"/runs/{second}/cancel")
    assert (refused.status_code, refused.json()["error"]) == (409, "RunClosed")


def test_a_run_that_waits_for_the_end_of_a_pause_is_shown_and_dropped_by_its_id(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job], paused=True)
    (joined,) = service.call("POST", "/runs", {"pipeline": pipeline, "mode": "FULL"}).json()["runs"]
    assert joined["status"] == "joined"
    path = f"/runs/{joined['run_id']}"
    waiting = service.call("GET", path).json()
    assert (waiting["status"], waiting["waiting_for_run"], waiting["options"]["mode"]) == (
        "WAITING",
        None,
        "FULL",
    )
    dropped = service.call("POST", f"{path}/cancel")
    assert (dropped.status_code, dropped.json()["status"]) == (200, "dropped")
    assert dropped.json()["options"] == waiting["options"]
    assert service.call("GET", path).status_code == 404
    service.define(pipeline, jobs=[job])
    (started,) = service.call("POST", "/runs", {"pipeline": pipeline}).json()["runs"]
    assert started["status"] == "started"
    run = service.closed(started["run_id"])
    assert (run["status"], run["options"]["mode"], len(celonis.executions(job))) == ("SUCCEEDED", None, 1)


def test_a_failed_run_is_taken_up_where_it_stopped(
    service: DeployedService, celonis: CelonisControls
) -> None:
    done, fails, model = celonis.job(), celonis.job(outcome="FAIL"), celonis.model("VBAK")
    pipeline = service.pipeline(jobs=[done, fails], loads=[model.id])
    first = service.execute({"pipeline": pipeline, "mode": "DELTA"})
    assert service.closed(first)["error"] == "JobFailed"
    celonis.set_job(fails, outcome="SUCCESS")
    answer = service.call("POST", f"/runs/{first}/retry")
    assert answer.status_code == 202
    (reported,) = answer.json()["runs"]
    assert service.closed(reported["run_id"])["status"] == "SUCCEEDED"
    assert [len(celonis.executions(job)) for job in (done, fails)] == [1, 2]
    assert [one["mode"] for one in celonis.executions(fails)] == ["DELTA", "DELTA"]
    assert len(celonis.loads(model)) == 1
    again = service.call("POST", f"/runs/{first}/retry")
    assert (again.status_code, again.json()["runs"][0]["run_id"]) == (200, reported["run_id"])
    of_a_success = service.call("POST", f"/runs/{reported['run_id']}/retry")
    assert (of_a_success.status_code, of_a_success.json()["error"]) == (409, "RunClosed")


def test_pipelines_show_their_state(service: DeployedService, celonis: CelonisControls) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job])
    assert pipeline in [name for page in service.pages("/pipelines?runs=0") for name in page["pipelines"]]
    succeeded = service.run_by_hand({"pipeline": pipeline})
    celonis.set_job(job, seconds=600)
    active = service.execute({"pipeline": pipeline})
    service.running(active)
    waiting = service.ended(service.execute({"pipeline": pipeline}))["output"]["run_id"]
    stands: Json = service.call("GET", f"/pipelines/{pipeline}").json()
    assert (stands["active_run"], stands["waiting"]["run_id"]) == (active, waiting)
    assert stands["last_success"]["run_id"] == succeeded["run_id"]
    assert 0 <= stands["seconds_since_last_success"] < 600
    celonis.set_job(job, seconds=0.2)
    celonis.finish(job)
    assert service.closed(active)["status"] == "SUCCEEDED"
    assert service.closed(waiting)["status"] == "SUCCEEDED"

"""Tables by id, name or alias: resolved before the first job starts, refused with the names that exist."""

from __future__ import annotations

from tests.stack.runs.celonis import POOL, CelonisControls
from tests.stack.runs.service import DeployedService, is_sentence


def test_an_unknown_table_fails_the_run_before_anything_starts_and_shows_the_names_there_are(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(), celonis.model("VBAK", "VBAP=Items")
    other = celonis.model("EKKO")
    load = {"data_model": model.id, "kind": "partial", "tables": ["VBAK"]}
    defined = service.pipeline(jobs=[job], loads=[{**load, "tables": ["VBAK", "LIPS"]}])
    requested = service.pipeline(jobs=[job], loads=[load, {"data_model": other.id}])
    names = [
        service.execute({"pipeline": defined}),
        service.execute({"pipeline": requested, "tables": ["VBAK", "LIPS"]}),
    ]
    by_webhook = service.pipeline(jobs=[job], loads=[{**load, "tables": ["LIPS"]}])
    webhook = service.webhook(service.source({"pipeline": by_webhook}))
    for name in names:
        described, run = service.ended(name), service.closed(name)
        assert (described["status"], described["error"]) == ("FAILED", "UnknownTable")
        assert is_sentence(described["cause"])
        assert all(word in described["cause"] for word in ("LIPS", "VBAK", "VBAP", "Items"))
        assert (run["status"], run["error"]) == ("FAILED", "UnknownTable")
        assert "LIPS" in service.notice_about(name)
    assert "EKKO" in service.ended(names[1])["cause"]

    assert webhook.status_code == 202
    assert service.closed(webhook.json()["runs"][0]["run_id"])["error"] == "UnknownTable"
    assert celonis.starts() == []
    assert all(service.is_free(pipeline) for pipeline in (defined, requested, by_webhook))


def test_an_unknown_table_of_one_trigger_is_left_out_of_the_run_that_follows(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(seconds=600), celonis.model("VBAK", "VBAP=Items", "LIKP")
    load = {"data_model": model.id, "kind": "partial", "tables": ["LIKP"]}
    pipeline = service.pipeline(jobs=[job], loads=[load])
    first = service.execute({"pipeline": pipeline})
    service.running(first)
    names = [service.execute({"pipeline": pipeline, "tables": [name]}) for name in ("LIPS", "Items", "VBAK")]
    (follow_up,) = {service.ended(name)["output"]["run_id"] for name in names}
    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"
    run = service.closed(follow_up)
    assert run["status"] == "SUCCEEDED"
    assert [one["tables"] for one in celonis.loads(model)][-1] == model.ids("VBAK", "VBAP")
    (warning,) = run["warnings"]
    assert "LIPS" in warning
    assert warning in run["outcome"]
    assert warning in service.notice_about(follow_up)
    assert service.is_free(pipeline)


def test_while_tables_cannot_be_read_the_run_waits_until_its_first_step_times_out(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    load = {"data_model": model.id, "kind": "partial", "tables": ["VBAK"]}
    celonis.fault("tables", status=503, count=None)
    fails = service.execute({"pipeline": service.pipeline(jobs=[{"job": job, "timeout": 10}], loads=[load])})
    later = service.execute({"pipeline": service.pipeline(loads=[load])})
    described, run = service.ended(fails), service.closed(fails)
    assert (described["status"], described["error"], run["error"]) == ("FAILED", "JobTimedOut", "JobTimedOut")
    assert "503" in described["cause"]
    assert is_sentence(described["cause"])
    assert "503" in service.show(later)["steps"]["load-0"]["last_error"]
    assert celonis.starts() == []
    celonis.clear_faults()
    assert service.closed(later)["status"] == "SUCCEEDED"
    assert len(celonis.loads(model)) == 1


def test_a_name_that_two_tables_share_means_both(service: DeployedService, celonis: CelonisControls) -> None:
    model = celonis.model("KNA1", "CUST=KNA1", "VBAK")
    load = {"data_model": model.id, "kind": "partial", "tables": ["KNA1"]}
    assert service.run_by_hand({"pipeline": service.pipeline(loads=[load])})["status"] == "SUCCEEDED"
    assert [one["tables"] for one in celonis.loads(model)] == [model.ids("KNA1", "CUST")]


def test_a_page_address_of_another_host_is_refused(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    elsewhere = f"https://other.eu-1.celonis.cloud/integration/ui/pools/{POOL}/"
    name = service.execute({"pipeline": service.pipeline(data_pool=elsewhere, jobs=[job])})
    described = service.ended(name)
    assert (described["status"], described["error"]) == ("FAILED", "InvalidDefinition")
    assert "data_pool" in described["cause"]
    assert is_sentence(described["cause"])
    assert service.closed(name)["error"] == "InvalidDefinition"
    assert celonis.starts() == []


def test_jobs_and_models_that_celonis_does_not_know_are_reported(
    service: DeployedService, celonis: CelonisControls
) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    names = [
        service.execute({"pipeline": service.pipeline(jobs=[unknown])}),
        service.execute({"pipeline": service.pipeline(loads=[unknown])}),
    ]
    for name in names:
        described = service.ended(name)
        assert (described["status"], described["error"]) == ("FAILED", "NotFound"), described["cause"]
        assert unknown in described["cause"]
        assert is_sentence(described["cause"])
        assert service.closed(name)["error"] == "NotFound"
    assert celonis.starts() == []

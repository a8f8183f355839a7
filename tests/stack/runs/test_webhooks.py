"""A webhook's run: verified, claimed, its first job started before the response, then its execution."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from celonis_refresh.runs.table import MAX_ACTIONS
from local.serve import ROOT
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import WORKFLOW_SUCCEEDED, DeployedService, is_sentence
from tests.stack.triggers.sender_requests import CALLS, source_of


def test_a_signed_webhook_starts_the_job_before_it_is_answered_and_ends_in_a_loaded_model(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(seconds=0.6), celonis.model("VBAK", "VBAP=Items", "LIKP")
    load = {"data_model": model.id, "kind": "partial", "tables": ["VBAK", "Items"]}
    pipeline = service.pipeline(jobs=[{"job": job, "mode": "DELTA"}], loads=[load])
    source = service.source({"pipeline": pipeline})
    answer = service.webhook(source, delivery="72d3162e-cc78-11f0-81ab-4c9367dc0958")
    answered_at = time.time()
    assert answer.status_code == 202
    reported = answer.json()
    run_id = reported["runs"][0]["run_id"]
    assert reported == {
        "delivery": "72d3162e-cc78-11f0-81ab-4c9367dc0958",
        "runs": [{"pipeline": pipeline, "run_id": run_id, "status": "started"}],
    }
    (started,) = celonis.executions(job)
    assert started["requested_at"] < answered_at

    run = service.closed(run_id)
    (execution,) = celonis.executions(job)
    assert (execution["id"], execution["mode"], execution["outcome"]) == (started["id"], "DELTA", "SUCCESS")
    assert len(celonis.requests("execute", job)) == 1
    (loaded,) = celonis.loads(model)
    assert (loaded["type"], loaded["tables"]) == ("PARTIAL", model.ids("VBAK", "VBAP"))
    assert loaded["started_at"] >= execution["ended_at"]

    assert (run["status"], run["pipeline"]) == ("SUCCEEDED", pipeline)
    assert is_sentence(run["outcome"])
    assert run["steps"]["job-0"]["id"] == execution["id"]
    assert run["steps"]["load-0"]["id"] == loaded["id"]
    (reason,) = run["options"]["reasons"]
    assert reason["by"] == source
    assert service.is_free(pipeline)


def test_a_job_that_loads_a_model_itself_is_started_before_the_webhook_is_answered(
    service: DeployedService, celonis: CelonisControls
) -> None:
    model, job = celonis.model("VBAK"), celonis.job()
    celonis.set_job(job, loads_model=model.id)  # not before: the run of its history would have loaded it
    load = {"data_model": model.id, "started_by": "job"}
    pipeline = service.pipeline(jobs=[job], loads=[load])
    answer = service.webhook(service.source({"pipeline": pipeline}))
    answered_at = time.time()
    assert answer.status_code == 202
    (started,) = celonis.executions(job)
    assert started["requested_at"] < answered_at
    run_id = answer.json()["runs"][0]["run_id"]
    noted = service.item(f"run#{run_id}")["steps"]["M"]["load-0"]["M"]
    assert "baseline" in noted
    run = service.closed(run_id)
    assert run["status"] == "SUCCEEDED"
    assert len(celonis.requests("execute", job)) == 1
    assert celonis.requests("load", model.id) == []


def test_the_state_machine_continues_from_the_job_that_the_trigger_started(
    service: DeployedService, celonis: CelonisControls
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()], loads=[celonis.model().id])
    run_id = service.webhook(service.source({"pipeline": pipeline})).json()["runs"][0]["run_id"]
    described = service.ended(run_id)
    given = json.loads(described["input"])
    assert (described["name"], given["run_id"], given["answer"]["step"]) == (run_id, run_id, "job-0")
    assert set(given) == {"run_id", "answer"}
    assert described["output"] == {"status": "SUCCEEDED", "run_id": run_id}
    states = service.states(run_id)
    assert [states[0], states[-1]] == ["OpenRun", "RunSucceeded"]
    assert {"StartJob", "CheckJob", "StartLoad", "CheckLoad"} < set(states)
    assert service.closed(run_id)["execution_arn"] == service.arn(run_id)


def test_what_is_not_authentic_not_known_or_not_readable_starts_nothing(
    service: DeployedService, celonis: CelonisControls
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()])
    source = service.source({"pipeline": pipeline})
    lost = service.source({"pipeline": "no-such-pipeline"})
    deep = b"[" * 100 + b"]" * 100
    cases: list[tuple[Any, int, str]] = [
        (service.webhook(source, secret="another-run's"), 401, "NotAuthentic"),
        (service.webhook(source, headers={"x-hub-signature-256": None}), 401, "NotAuthentic"),
        (service.webhook(source, headers={"x-hub-signature-256": "sha256=é"}), 401, "NotAuthentic"),
        (service.webhook("no-such-source"), 401, "NotAuthentic"),
        (service.webhook("no%2Fsource%2F..%2Fpipelines"), 401, "NotAuthentic"),
        (service.webhook(source, b'{"action": "completed", '), 400, "Malformed"),
        (service.webhook(source, deep), 400, "Malformed"),
        (service.webhook(source, b"\xff\xfe"), 400, "Malformed"),
        (service.webhook(lost), 404, "UnknownPipeline"),
    ]
    for answer, status, error in cases:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"] == error
        assert is_sentence(answer.json()["message"])
    assert celonis.starts() == []
    assert service.is_free(pipeline)


def test_an_event_that_starts_nothing_is_answered_with_the_reason(
    service: DeployedService, celonis: CelonisControls
) -> None:
    source = service.source({"pipeline": service.pipeline(jobs=[celonis.job()])})
    failed = {**WORKFLOW_SUCCEEDED, "workflow_run": {"conclusion": "failure"}}
    answer = service.webhook(source, failed, delivery="d-1")
    assert answer.status_code == 200
    reported = answer.json()
    assert (reported["delivery"], reported["status"]) == ("d-1", "ignored")
    assert "condition does not hold" in reported["reason"]
    ping = service.webhook(source, {"zen": "Keep it simple."}, headers={"x-github-event": "ping"})
    assert ping.status_code == 200
    assert celonis.starts() == []


def test_a_delivery_sent_again_gets_the_run_that_it_led_to(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=0.5)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    first = service.webhook(source, delivery="again").json()["runs"][0]
    while_it_runs = service.webhook(source, delivery="again")
    service.closed(first["run_id"])
    after_its_end = service.webhook(source, delivery="again")
    for answer in (while_it_runs, after_its_end):
        assert answer.status_code == 200
        assert answer.json() == {
            "delivery": "again",
            "runs": [{**first, "status": "duplicate"}],
            "duplicate": True,
        }
    assert len(celonis.executions(job)) == 1
    other = service.webhook(service.source({"pipeline": pipeline}), delivery="again")
    assert other.json()["runs"][0]["status"] == "started"  # the ids of two sources never collide
    service.closed(other.json()["runs"][0]["run_id"])


def test_a_batch_that_is_larger_than_a_transaction_is_one_run(
    service: DeployedService, celonis: CelonisControls
) -> None:
    """Its events have one item until the function that accepts them records each, and deletes the item."""
    job, call = celonis.job(), CALLS["azure_event_grid"](1)
    source = source_of(service, call, {"pipeline": service.pipeline(jobs=[job])})
    events = [{"id": f"event-{number}", "eventType": "Loaded"} for number in range(MAX_ACTIONS + 1)]
    body = json.dumps(events).encode()
    answer = service.send("POST", f"/webhooks/{source}{call.query}", body, call.headers)
    assert answer.status_code == 202
    (run_id,) = {event["runs"][0]["run_id"] for event in answer.json()["events"]}
    assert service.closed(run_id)["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_one_event_starts_every_pipeline_whose_rule_matches(
    service: DeployedService, celonis: CelonisControls
) -> None:
    jobs = [celonis.job(), celonis.job()]
    one, other = (service.pipeline(jobs=[job]) for job in jobs)
    never = service.pipeline(jobs=[celonis.job()])
    source = service.source(
        {"pipeline": one, "mode": "DELTA", "reason": {"path": "workflow_run.name"}},
        {"pipeline": other, "mode": "FULL"},
        {"pipeline": never, "when": "repository.full_name == 'acme/other'"},
    )
    runs = service.webhook(source).json()["runs"]
    assert [run["pipeline"] for run in runs] == [one, other]
    records = [service.closed(run["run_id"]) for run in runs]
    assert [record["status"] for record in records] == ["SUCCEEDED", "SUCCEEDED"]
    assert records[0]["options"]["reasons"][0]["text"] == "load-erp"
    assert [[each["mode"] for each in celonis.executions(job)] for job in jobs] == [["DELTA"], ["FULL"]]
    assert service.is_free(never)


def test_a_rotated_secret_is_known_at_once(service: DeployedService, celonis: CelonisControls) -> None:
    secret = service.secret("webhooks", {"current": "the-first-secret-of-all"})
    source = service.source({"pipeline": service.pipeline(jobs=[celonis.job()])}, secret=secret)
    nothing = {"action": "requested"}
    service.secrets += ["the-first-secret-of-all", "the-second-secret-of-all"]
    assert service.webhook(source, nothing, secret="the-first-secret-of-all").status_code == 200
    service.stack.client("secretsmanager").put_secret_value(
        SecretId=f"{service.stack.stack_name}/webhooks/{secret}",
        SecretString=json.dumps(
            {"current": "the-second-secret-of-all", "previous": "the-first-secret-of-all"}
        ),
    )
    for signed_with in ("the-second-secret-of-all", "the-first-secret-of-all"):
        assert service.webhook(source, nothing, secret=signed_with).status_code == 200


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str, bool]]:
    """Method, path and whether it is open, of every route in the template."""
    found = []
    for resource in yaml_parse((ROOT / "template.yaml").read_text())["Resources"].values():
        for event in resource.get("Properties", {}).get("Events", {}).values():
            if event["Type"] == "HttpApi":
                route = event["Properties"]
                is_open = route.get("Auth", {}).get("Authorizer") == "NONE"
                found.append((route["Method"], route["Path"], is_open))
    return found


def test_the_webhook_route_is_open_and_every_other_route_requires_a_signature(
    service: DeployedService, routes: list[tuple[str, str, bool]]
) -> None:
    assert {path for _, path, is_open in routes if is_open} == {"/webhooks/{source}"}
    for method, path, is_open in routes:
        plain = path.replace("{run_id}", "some-run").replace("{source}", "no-such-source")
        answer = service.send(method, plain)
        assert answer.status_code == (401 if is_open else 403), (method, path)
        if not is_open:
            assert answer.json() == {"message": "Forbidden"}
            forged = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu/execute-api"}
            assert service.send(method, plain, headers=forged).status_code == 403
    assert service.send("GET", "/").status_code == 404
    assert service.send("GET", "/webhooks/github").status_code == 404

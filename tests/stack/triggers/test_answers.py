"""The responses: their statuses, their messages, and that each arrives in time."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

import pytest
import requests

from local.wait import until
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.permissions import withheld
from tests.stack.runs.service import WORKFLOW_SUCCEEDED, DeployedService, is_sentence
from tests.stack.triggers.watching import SingleProcess

SLOW = 6.0
"""Seconds that Celonis takes for one answer: twice what the fastest sender waits for ours."""


class ExpectedRefusal(NamedTuple):
    """An answer, and what it should be."""

    answer: requests.Response
    status: int
    error: str


def test_every_refusal_has_its_status_and_its_sentence(
    service: DeployedService, celonis: CelonisControls
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()])
    source = service.source({"pipeline": pipeline})
    service.parameter("sources/not-json", "{")
    service.parameter("sources/no-rules", json.dumps({"sender": "github", "secret": "tests", "rules": []}))
    service.parameter("pipelines/senseless", json.dumps({"data_pool": "p", "jobs": []}))
    no_secret = service.source({"pipeline": pipeline}, secret="no-such-secret")
    no_truth = service.source({"pipeline": pipeline, "when": "workflow_run.name"})
    no_mode = service.source({"pipeline": pipeline, "mode": {"path": "action"}})
    too_much = service.source({"pipeline": pipeline, "when": "|".join(["[@,@]"] * 90)})
    refusals = [
        ExpectedRefusal(service.webhook(source, b"{"), 400, "Malformed"),
        ExpectedRefusal(service.webhook(source, secret="a-stranger's"), 401, "NotAuthentic"),
        ExpectedRefusal(service.webhook("no-such-source"), 401, "NotAuthentic"),
        ExpectedRefusal(service.webhook(service.source({"pipeline": "none"})), 404, "UnknownPipeline"),
        ExpectedRefusal(service.webhook(source, b"x" * (1024 * 1024 + 1)), 413, "TooLarge"),
        ExpectedRefusal(service.webhook("not-json"), 401, "NotAuthentic"),
        ExpectedRefusal(service.webhook("no-rules"), 401, "NotAuthentic"),
        ExpectedRefusal(service.webhook(service.source({"pipeline": "senseless"})), 422, "InvalidDefinition"),
        ExpectedRefusal(service.webhook(no_truth), 422, "RuleError"),
        ExpectedRefusal(service.webhook(no_mode), 422, "RuleError"),
        ExpectedRefusal(service.webhook(too_much), 422, "RuleError"),
        ExpectedRefusal(service.webhook(no_secret), 401, "NotAuthentic"),
    ]
    for refusal in refusals:
        reported = refusal.answer.json()
        assert (refusal.answer.status_code, reported["error"]) == (refusal.status, refusal.error), reported
        assert is_sentence(reported["message"]), reported
        assert refusal.answer.headers["content-type"] == "application/json"
        assert refusal.answer.text.endswith("}\n")
        assert ("retry-after" in refusal.answer.headers) == (refusal.status == 503)
    unproven = [refusal.answer for refusal in refusals if refusal.status == 401]
    assert len({(answer.text, *sorted(_own_headers(answer))) for answer in unproven}) == 1
    assert celonis.starts() == []
    assert service.is_free(pipeline)


def _own_headers(answer: requests.Response) -> list[str]:
    """The names and values of the headers that do not change from request to request."""
    changing = ("date", "apigw-requestid")
    return [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() not in changing]


def test_a_rule_that_cannot_be_applied_is_logged_and_counted(service: DeployedService) -> None:
    source = service.source({"pipeline": "none", "tables": {"path": "workflow_run"}})
    assert service.webhook(source).json()["message"].startswith("rule 1: tables gave neither")
    counted = until(lambda: _counted(service, source), "the count of what went wrong")
    metrics = counted["_aws"]["CloudWatchMetrics"]
    assert {metric["Namespace"] for metric in metrics} == {"CelonisRefresh"}
    assert [{"Name": "ConfigurationErrors", "Unit": "Count"}] in [metric["Metrics"] for metric in metrics]
    logged = [line for line in _lines(service) if line.get("error") == "RuleError"]
    assert any("rule 1: tables" in line["why"] for line in logged)


def test_a_rule_that_cannot_be_applied_keeps_no_sound_one_from_its_event(
    service: DeployedService, celonis: CelonisControls
) -> None:
    """Some senders switch an endpoint off that refuses a few events."""
    broken = {"pipeline": "none", "when": "workflow_run.conclusion"}
    source = service.source(broken, {"pipeline": service.pipeline(jobs=[celonis.job()])})
    answer = service.webhook(source)
    reported = answer.json()
    assert answer.status_code == 202
    (error,) = reported["errors"]
    assert error.startswith("rule 1: when gave neither true nor false")
    assert service.closed(reported["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    assert until(lambda: _counted(service, source), "the count of what went wrong")


def _lines(service: DeployedService) -> list[Json]:
    return [json.loads(line.text) for line in service.stack.logs("Trigger") if line.text.startswith("{")]


def _refused(service: DeployedService, source: str) -> Json | None:
    return next((line for line in _lines(service) if line.get("source") == source and "why" in line), None)


def _counted(service: DeployedService, source: str) -> Json | None:
    """The one line that counts a rule's error; a process's log arrives a moment after its answer."""
    found = [
        line for line in _lines(service) if line.get("ConfigurationErrors") and line.get("source") == source
    ]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    "rule",
    [
        {"when": "data.["},
        {"when": "nosuchfunction(@)"},
        {"when": "a" * 1001},
        {"mode": "SOMETIMES"},
        {"mode": {"path": "a..b"}},
        {"tables": []},
        {"reason": ""},
        {"events": [""]},
        {"whem": "`true`"},
    ],
)
def test_a_rule_that_is_not_valid_is_logged_by_its_field_before_any_event(
    service: DeployedService, rule: Json
) -> None:
    source = service.source({"pipeline": "order-to-cash", **rule})
    answer = service.webhook(source, {"action": "anything"})
    assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")
    (field,) = rule
    line = until(lambda: _refused(service, source), "the reason in the log")
    assert line["error"] == "InvalidSource"
    assert f"rules.0.{field}" in line["why"]


def test_an_authentic_event_that_matches_nothing_is_answered_with_the_reason_of_every_rule(
    service: DeployedService,
) -> None:
    source = service.source(
        {"pipeline": "one"},
        {"pipeline": "two", "events": ["release"], "when": "action == 'published'"},
    )
    failed = {**WORKFLOW_SUCCEEDED, "workflow_run": {"conclusion": "failure"}}
    answer = service.webhook(source, failed, delivery="d")
    assert answer.status_code == 200
    reported = answer.json()
    assert (reported["delivery"], reported["status"]) == ("d", "ignored")
    assert "rule 1 (" in reported["reason"]
    assert "the rule is for release, the event is not" in reported["reason"]


@pytest.mark.parametrize("kind", ["drip", "delay"])
def test_the_sender_is_answered_while_celonis_is_slow(
    service: DeployedService, celonis: CelonisControls, kind: str
) -> None:
    """What the trigger cannot finish in time is done by the state machine."""
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    assert service.webhook(source, {"action": "requested"}).status_code == 200  # the function is warm
    celonis.fault("job", kind, seconds=SLOW, target=job)
    began = time.monotonic()
    answer = service.webhook(source)
    took = time.monotonic() - began
    assert answer.status_code == 202
    assert took < SLOW
    assert service.closed(answer.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_a_trigger_that_celonis_refuses_is_accepted_and_its_run_fails(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    source = service.source({"pipeline": service.pipeline(jobs=[job])})
    celonis.settings(forbidden_calls=["execute"])
    answer = service.webhook(source)
    assert answer.status_code == 202
    run = service.closed(answer.json()["runs"][0]["run_id"])
    assert (run["status"], run["error"]) == ("FAILED", "PermissionDenied")
    assert celonis.executions(job) == []


def test_nothing_is_accepted_where_the_table_cannot_be_written(
    service: DeployedService, celonis: CelonisControls
) -> None:
    """An error of ours is no 503: trying again would not help, and nothing was accepted."""
    source = service.source({"pipeline": service.pipeline(jobs=[celonis.job()])})
    with withheld(service.stack, "TriggerRole", "dynamodb:PutItem"):
        answer = service.webhook(source, delivery="denied")
    assert (answer.status_code, answer.json()["error"]) == (500, "InternalError")
    assert "not authorized" not in answer.text
    assert celonis.starts() == []
    again = service.webhook(source, delivery="denied")
    assert again.status_code == 202
    assert service.closed(again.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"


def test_a_warm_process_reads_cached_values_once(service: DeployedService, celonis: CelonisControls) -> None:
    """It caches a source and its secret for a minute, a pipeline's definition for ten seconds."""
    job = celonis.job(seconds=600)
    source = service.source({"pipeline": service.pipeline(jobs=[job])})
    watched = SingleProcess(
        service.stack, "GetParameters|GetSecretValue|TransactWriteItems|/oauth2/|data-jobs"
    )
    cold = watched.calls(lambda: service.webhook(source, delivery="first"), 202)
    assert any("GetSecretValue" in call for call in cold)
    calls = watched.calls(lambda: service.webhook(source, delivery="second"), 202)
    calls = [call.rsplit(".", 1)[1] for call in calls]
    assert calls.count("TransactWriteItems") == 2  # the claim, and the joining
    assert calls.count("GetParameters") <= 1  # a slow machine may take longer than that
    assert len(calls) <= 3
    first = service.webhook(source, delivery="first").json()["runs"][0]
    service.running(first["run_id"])
    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    assert service.closed(first["run_id"])["status"] == "SUCCEEDED"

"""What runs, deliveries and reconcile write into the logs as metrics, and the ids of log lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from celonis_refresh.metrics import METRICS, NAMESPACE
from local.aws.stack import LocalStack
from local.serve import STACK_NAME
from tests.stack.environment import TIME_FACTOR, StackEnvironment, deployed
from tests.stack.local_fixtures import calm_settings
from tests.stack.runs.documents import WORKFLOW_SUCCEEDED

OF_A_RUN = {"run_id", "pipeline", "source", "delivery_id"}
STEPS = {"StartStep", "CheckStep"}


@pytest.fixture(scope="module")
def environment() -> Iterator[StackEnvironment]:
    with deployed("metrics", calm_settings(TIME_FACTOR), LogLevel="DEBUG") as made:
        yield made


def value(stack: LocalStack, name: str, **dimensions: str) -> float:
    return stack.metric(NAMESPACE, name, service=STACK_NAME, **dimensions) or 0.0


def lines(stack: LocalStack, function: str | None = None) -> list[dict[str, Any]]:
    texts = (line.text for line in stack.logs(function))
    return [json.loads(text) for text in texts if text.startswith("{")]


def run(environment: StackEnvironment, source: str) -> str:
    """A webhook whose run is over; its id."""
    run_id: str = environment.service.webhook(source).json()["runs"][0]["run_id"]
    environment.service.closed(run_id)
    environment.settled()
    return run_id


def test_a_run_that_succeeds(environment: StackEnvironment) -> None:
    service, stack = environment.service, environment.service.stack
    job, model = environment.celonis.job(seconds=0.5), environment.celonis.model("VBAK", seconds=0.5)
    pipeline = service.pipeline(jobs=[job], loads=[{"data_model": model.id}])
    source = service.source({"pipeline": pipeline})
    run_id = run(environment, source)
    assert value(stack, "RunsEnded", pipeline=pipeline, outcome="SUCCEEDED") == 1
    assert value(stack, "Deliveries", source=source, result="accepted") == 1
    for name in ("RunDuration", "RunWaitingTime"):
        assert value(stack, name, pipeline=pipeline) > 0, name
    for name in ("JobDuration", "LoadDuration", "PollsPerRun"):
        assert value(stack, name) > 0, name
    for call in ("get_job", "execute_job", "load_model", "get_last_load", "sign_in"):
        assert value(stack, "CelonisRequests", call=call, status="200") > 0, call
    age = stack.metric(NAMESPACE, "SecondsSinceSuccess", service=STACK_NAME, pipeline=pipeline)
    assert (age or 0) > 0
    assert value(stack, "NotificationsSent") == 0
    of_steps = [line for line in lines(stack) if line.get("step") and line.get("message") == "progress"]
    assert {line["step"] for line in of_steps} == {"job-0", "load-0"}
    for line in of_steps:
        assert set(line) >= OF_A_RUN
        assert (line["run_id"], line["pipeline"], line["source"]) == (run_id, pipeline, source)
        assert line["data_job" if line["step"] == "job-0" else "data_model"] in (job, model.id)
        assert line["data_pool"]
    (ended,) = [line for line in lines(stack, "CloseRun") if line.get("message") == "run ended"]
    assert set(ended) >= OF_A_RUN


def test_a_run_that_fails_sends_a_notification(environment: StackEnvironment) -> None:
    service, stack = environment.service, environment.service.stack
    sent = value(stack, "NotificationsSent")
    job = environment.celonis.job(seconds=0.5, outcome="FAIL")
    pipeline = service.pipeline(jobs=[job])
    run(environment, service.source({"pipeline": pipeline}))
    assert value(stack, "RunsEnded", pipeline=pipeline, outcome="FAILED") == 1
    assert value(stack, "NotificationsSent") == sent + 1


def event(**fields: object) -> dict[str, Any]:
    return {**WORKFLOW_SUCCEEDED, **fields}


def test_what_deliveries_lead_to(environment: StackEnvironment) -> None:
    service, stack = environment.service, environment.service.stack
    job = environment.celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline, "when": "go"})
    service.webhook(source, event(go=False))
    service.webhook(source, event(go=True), delivery="d-1")
    service.webhook(source, event(go=True), delivery="d-1")
    service.webhook(source, event(go=True, n=2), delivery="d-2")
    service.webhook(source, event(go=True), secret="a stranger's")
    service.webhook("unknown-source", event(go=True))
    environment.celonis.set_job(job, seconds=0.5)
    environment.celonis.finish(job)
    environment.settled()
    results = {
        result: value(stack, "Deliveries", source=source, result=result)
        for result in ("accepted", "merged", "ignored", "duplicate", "refused")
    }
    assert results == dict.fromkeys(results, 1.0)
    unknown = [line for line in lines(stack) if "_aws" in line and line.get("source") == "unknown-source"]
    assert unknown == []


def test_every_line_with_metrics_has_metrics_of_the_table(environment: StackEnvironment) -> None:
    stack = environment.service.stack
    stack.fire_schedule(f"{STACK_NAME}-reconcile")
    assert stack.settle()
    described = [
        directive
        for line in lines(stack)
        if "_aws" in line
        for directive in line["_aws"]["CloudWatchMetrics"]
    ]
    assert described
    for directive in described:
        assert directive["Namespace"] == NAMESPACE
        for metric in directive["Metrics"]:
            known = METRICS[metric["Name"]]
            assert metric["Unit"] == known.unit
            assert directive["Dimensions"] == [["service", *known.dimensions]]


def test_the_dashboard_is_there(environment: StackEnvironment) -> None:
    stack = environment.service.stack
    (entry,) = stack.client("cloudwatch").list_dashboards()["DashboardEntries"]
    body = stack.client("cloudwatch").get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"]
    assert STACK_NAME in body
    assert json.loads(body)["widgets"]
    assert "${PROP('Dim.pipeline')}" in body

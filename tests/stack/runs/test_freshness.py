"""Stale and fresh again: the notification comes once, whatever keeps a pipeline from being refreshed.

Time passes by ageing the last success in the table; rounds of reconcile are fired one by one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from celonis_refresh.metrics import NAMESPACE
from local.serve import STACK_NAME
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService

HOUR = 3600


def _round(service: DeployedService) -> None:
    service.stack.fire_schedule(f"{STACK_NAME}-reconcile")
    assert service.stack.settle()


def _age(service: DeployedService, pipeline: str, hours: float) -> None:
    """Makes the last success of a pipeline older."""
    started = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")
    service.stack.client("dynamodb").update_item(
        TableName=service.stack.outputs["TableName"],
        Key={"pk": {"S": f"pipeline#{pipeline}"}},
        UpdateExpression="SET last_success_started_at = :started",
        ExpressionAttributeValues={":started": {"S": started.replace("+00:00", "Z")}},
    )


def _freshness(service: DeployedService, pipeline: str) -> str | None:
    answer = service.call("GET", f"/pipelines/{pipeline}")
    assert answer.status_code == 200, answer.text
    found = answer.json()["freshness"]
    return None if found is None else str(found["state"])


def _notified(service: DeployedService, pipeline: str) -> list[str]:
    """The subjects of all notifications of a pipeline."""
    return [
        str(one["Subject"]) for one in service.notices() if str(one["Subject"]).startswith(f"{pipeline}: ")
    ]


def test_a_webhook_that_stops_makes_its_pipeline_stale_once_and_the_next_event_fresh_once(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job], fresh_within=HOUR)
    source = service.source({"pipeline": pipeline})
    first = service.webhook(source, delivery="before").json()["runs"][0]["run_id"]
    assert service.closed(first)["status"] == "SUCCEEDED"
    _round(service)
    assert _freshness(service, pipeline) == "FRESH"
    _age(service, pipeline, 0.9)
    _round(service)
    assert _notified(service, pipeline) == []

    _age(service, pipeline, 1.1)
    for _ in range(3):
        _round(service)
    assert _freshness(service, pipeline) == "STALE"
    assert _notified(service, pipeline) == [f"{pipeline}: stale ({STACK_NAME})"]
    assert "check its schedule, its source and the sender" in service.notice_about(pipeline)
    assert (service.stack.metric(NAMESPACE, "StalePipelines", service=STACK_NAME) or 0) >= 1
    age = service.stack.metric(NAMESPACE, "SecondsSinceSuccess", service=STACK_NAME, pipeline=pipeline)
    assert (age or 0) >= 1.1 * HOUR - 1
    listed = service.call("GET", "/pipelines").json()["freshness"][pipeline]
    assert (listed["state"], listed["fresh_within"]) == ("STALE", HOUR)

    second = service.webhook(source, delivery="after").json()["runs"][0]["run_id"]
    assert service.closed(second)["status"] == "SUCCEEDED"
    for _ in range(3):
        _round(service)
    assert _freshness(service, pipeline) == "FRESH"
    subjects = [f"{pipeline}: {state} ({STACK_NAME})" for state in ("stale", "fresh again")]
    assert _notified(service, pipeline) == subjects


def _stale_notice(service: DeployedService, pipeline: str) -> str | None:
    """The notification that data is stale, beside the one that the definition cannot be used."""
    return next(
        (text for text in service.notices_about(pipeline) if "is older than its limit of" in text), None
    )


def test_a_forgotten_pause_and_a_definition_that_is_not_valid_are_named_as_the_reason(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    paused, invalid = (service.pipeline(jobs=[job], fresh_within=HOUR) for _ in range(2))
    for pipeline in (paused, invalid):
        assert service.run_by_hand({"pipeline": pipeline})["status"] == "SUCCEEDED"
    _round(service)
    service.define(paused, jobs=[job], fresh_within=HOUR, paused=True)
    service.parameter(f"pipelines/{invalid}", "{}")
    for pipeline in (paused, invalid):
        _age(service, pipeline, 2)
    _round(service)
    assert "It is paused" in service.notice_about(paused)
    about_invalid = until(lambda: _stale_notice(service, invalid), "the stale notification")
    assert "Its definition is not valid" in about_invalid


@pytest.mark.parametrize("value", ["06:30", "06:30 Europe/Atlantis", 10])
def test_a_deadline_that_cannot_be_read_is_refused_with_its_field(
    service: DeployedService, celonis: CelonisControls, value: object
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()], fresh_within=value)
    answer = service.call("GET", f"/pipelines/{pipeline}")
    assert answer.json()["error"] == "InvalidDefinition"
    assert "fresh_within: expected " in answer.json()["message"]

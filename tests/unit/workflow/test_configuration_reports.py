"""Configuration that kept an event from starting a run is reported to the right people, and not too often."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from celonis_refresh.errors import RefreshError, UnusableConfiguration
from celonis_refresh.notifications.messages import render
from celonis_refresh.notifications.outbox import Outbox
from celonis_refresh.pipelines.definition import Definition, parse_definition
from celonis_refresh.pipelines.errors import InvalidDefinition, UnknownPipeline
from celonis_refresh.webhooks.errors import RuleError
from celonis_refresh.workflow.configuration_reports import (
    PROCESS_SECONDS,
    REPORT_SECONDS,
    ConfigurationReports,
)
from tests.fakes.dynamodb import client_error
from tests.fakes.service import ServiceHarness, job_definition
from tests.fakes.wiring import PLACE
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of

GONE = UnusableConfiguration(UnknownPipeline("gone", where="/stack/pipelines/gone"), "shop", "gone", "d-1")
NOTIFY: dict[str, Any] = {"channels": ["slack-team", "pager"], "repeat_after": 600}


def invalid(pipeline: str = "otc", **fields: object) -> InvalidDefinition:
    """The error of a definition in which at least ``fresh_within`` cannot be read."""
    document = {"data_pool": "p", "jobs": [{"job": "j"}], "fresh_within": "soon", "notify": NOTIFY, **fields}
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition(pipeline, json.dumps(document))
    return caught.value


def broken(source: str = "shop", pipeline: str = "otc", **fields: object) -> UnusableConfiguration:
    return UnusableConfiguration(invalid(pipeline, **fields), source, pipeline, "d-1")


def reports_of(service: ServiceHarness) -> ConfigurationReports:
    return ConfigurationReports(Outbox(service.table, {}, service.clock), PLACE.stack, service.clock)


def messages(service: ServiceHarness) -> list[dict[str, Any]]:
    return list(service.dynamodb.documents("outbox#"))


def reported(service: ServiceHarness) -> list[str]:
    """The pipelines of which a notification was written to the first channel."""
    firsts = ("topic", "slack-team")
    return [each["facts"].get("pipeline", "") for each in messages(service) if each["target"] in firsts]


@pytest.fixture
def service() -> ServiceHarness:
    return ServiceHarness()


def test_a_report_says_what_is_wrong_where_and_what_to_do(service: ServiceHarness) -> None:
    outbox = Outbox(service.table, {}, service.clock)
    reports_of(service).report([broken()])
    message = outbox.find(str(messages(service)[0]["message_id"]))
    assert message is not None
    assert message.message_id.isascii()
    assert " " not in message.message_id
    notification = render(message, PLACE)
    fields = dict(notification.fields)
    assert notification.title == "otc: configuration not usable (shop)"
    assert notification.lead.startswith("An event of source shop could not start a run")
    assert "fresh_within: expected" in notification.body
    known = {
        "Pipeline": "otc",
        "Source": "shop",
        "Parameter": "/shop/pipelines/otc",
        "Fields": "fresh_within",
        "Delivery": "d-1",
        "Error": "InvalidDefinition",
    }
    assert {label: fields.get(label) for label in known} == known
    assert "Correct the field in the parameter" in notification.advice
    assert "Then send the event again" in notification.advice
    assert notification.command.endswith(" deliveries shop")


def test_it_goes_to_the_channels_of_the_pipeline_although_the_rest_cannot_be_read(
    service: ServiceHarness,
) -> None:
    reports_of(service).report([broken()])
    assert {each["target"] for each in messages(service)} == {"slack-team", "pager"}


@pytest.mark.parametrize(
    ("notify", "targets"),
    [
        ({**NOTIFY, "chanels": []}, {"slack-team", "pager"}),
        ({"channels": ["No Pe!"]}, {"topic"}),
        ({}, {"topic"}),
        ("slack-team", {"topic"}),
    ],
)
def test_channels_that_cannot_be_read_are_those_of_the_stack(
    service: ServiceHarness, notify: object, targets: set[str]
) -> None:
    reports_of(service).report([broken(notify=notify)])
    assert {each["target"] for each in messages(service)} == targets


def test_a_rule_that_cannot_be_applied_is_reported_to_the_channels_of_its_pipeline(
    service: ServiceHarness,
) -> None:
    found = UnusableConfiguration(RuleError(0, "mode", "gave neither"), "shop", "otc", "d-1")
    reports_of(service).report([found], lambda _: job_definition(notify=NOTIFY))
    assert {each["target"] for each in messages(service)} == {"slack-team", "pager"}
    facts = messages(service)[0]["facts"]
    assert (facts["parameter"], facts["fields"]) == ("/shop/sources/shop", ["rules.0.mode"])


def test_channels_of_a_pipeline_that_is_not_valid_either_are_read(service: ServiceHarness) -> None:
    def definition(_: str) -> Definition:
        raise invalid()

    found = UnusableConfiguration(RuleError(0, "mode", "gave neither"), "shop", "otc")
    reports_of(service).report([found], definition)
    assert {each["target"] for each in messages(service)} == {"slack-team", "pager"}


@pytest.mark.parametrize(("found", "seconds"), [(broken(), 600), (GONE, REPORT_SECONDS)])
def test_a_cause_is_not_repeated_more_often_than_the_pipeline_allows(
    service: ServiceHarness, found: UnusableConfiguration, seconds: float
) -> None:
    first, second = reports_of(service), reports_of(service)
    for reports in (first, first, second):
        reports.report([found])
    assert len(reported(service)) == 1
    service.clock.sleep(seconds - 1)
    second.report([found])
    assert len(reported(service)) == 1
    service.clock.sleep(PROCESS_SECONDS)
    second.report([found])
    assert len(reported(service)) == 2


def test_a_process_writes_one_report_for_any_number_of_requests(service: ServiceHarness) -> None:
    reports = reports_of(service)
    for _ in range(5):
        reports.report([GONE])
    assert service.dynamodb.calls == ["TransactWriteItems"]


def test_another_source_pipeline_error_and_field_are_reported_too(service: ServiceHarness) -> None:
    found = [
        broken(),
        broken(pipeline="p2p"),
        broken(source="erp"),
        broken(settle=-1),
        UnusableConfiguration(UnknownPipeline("otc", where="/stack/pipelines/otc"), "shop", "otc"),
        UnusableConfiguration(RefreshError("Another."), "shop"),
    ]
    reports = reports_of(service)
    for _ in range(2):
        reports.report(found)
    assert sorted(reported(service)) == ["", "otc", "otc", "otc", "p2p"]  # broken() of erp is that of shop


def test_a_table_that_cannot_be_written_is_tried_again_with_the_next_event(service: ServiceHarness) -> None:
    def fails(operation: str, request: object) -> None:
        raise client_error("ProvisionedThroughputExceededException", operation)

    reports = reports_of(service)
    service.dynamodb.before = fails
    reports.report([GONE])
    service.dynamodb.before = lambda *_: None
    reports.report([GONE])
    assert len(reported(service)) == 1


def test_an_event_that_starts_nothing_is_reported_and_one_that_starts_a_run_writes_nothing_more() -> None:
    harness = WebhookHarness()
    seen: list[tuple[str, ...]] = []

    def report(found: Sequence[UnusableConfiguration], _: Callable[[str], Definition]) -> None:
        seen.extend(
            (each.source, each.pipeline, each.error.name, each.delivery_id, each.field) for each in found
        )

    harness.report = report
    harness.deliver("d-1")
    assert seen == []
    with pytest.raises(UnknownPipeline):
        harness.deliver("d-2", source_of({"pipeline": "gone"}, {"pipeline": "lost"}))
    assert seen == [
        ("shop", "gone", "UnknownPipeline", "d-2", "rules.0.pipeline"),
        ("shop", "lost", "UnknownPipeline", "d-2", "rules.1.pipeline"),
    ]
    seen.clear()
    rule = {"pipeline": "p2p", "mode": {"path": "type"}}
    harness.deliver("d-3", source_of({"pipeline": "gone"}, {"pipeline": "otc"}, rule))
    assert seen == [
        ("shop", "p2p", "RuleError", "d-3", ""),
        ("shop", "gone", "UnknownPipeline", "d-3", "rules.0.pipeline"),
    ]


def test_an_unknown_pipeline_is_the_mistake_of_the_rule_that_names_it(service: ServiceHarness) -> None:
    reports_of(service).report([GONE._replace(field="rules.1.pipeline")])
    facts = messages(service)[0]["facts"]
    assert (facts["parameter"], facts["fields"]) == ("/shop/sources/shop", ["rules.1.pipeline"])
    assert facts["incident"] == "configuration/shop/gone/UnknownPipeline-rules.1.pipeline"

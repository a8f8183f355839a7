"""What became of the events of a source, in the order of their arrival, for 14 days."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest

from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.runs.deliveries import DAY, DELIVERY_DAYS, SHARDS, LoggedEvent, logged_item
from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, RuleError
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sources import Source
from celonis_refresh.workflow.delivery_list import DeliveryList
from tests.fakes.service import Crashed, job_definition
from tests.unit.workflow.webhook_harness import SECRET, WebhookHarness, source_of

HOUR = 3600.0


def listed(
    harness: WebhookHarness, limit: int = 100, before: str | None = None, source: str = "shop"
) -> dict[str, Any]:
    return DeliveryList(harness.service.table, harness.service.clock).page(source, limit, before)


def results(harness: WebhookHarness) -> list[tuple[str | None, str]]:
    return [(each["delivery"], each["result"]) for each in listed(harness)["deliveries"]]


def write(harness: WebhookHarness, count: int, seconds: float) -> list[str]:
    """Write this many ignored events, ``seconds`` apart; their ids, newest first."""
    service = harness.service
    for number in range(count):
        event = LoggedEvent("shop", f"event#shop#{number}", f"d-{number}")
        item = logged_item(event, "ignored", "no rule", (), service.clock())
        service.table.transact([service.table.put(item)], service.deadline())
        service.clock.sleep(seconds)
    return [f"d-{number}" for number in reversed(range(count))]


def test_an_event_that_starts_or_merges_is_stored_without_another_request() -> None:
    harness = WebhookHarness()
    harness.deliver("d-1")
    harness.service.clock.sleep(1)
    harness.service.dynamodb.calls.clear()
    (merged,) = harness.deliver("d-2").body["runs"]
    assert harness.service.dynamodb.calls == ["TransactWriteItems"] * 2
    assert list(harness.service.dynamodb.documents("event#")) == []
    second, first = listed(harness)["deliveries"]
    assert first == {
        "source": "shop",
        "delivery": "d-1",
        "received_at": "2026-01-01T00:00:00.000Z",
        "result": "started",
        "reason": None,
        "runs": [{"pipeline": "otc", "run_id": "otc-1", "status": "started"}],
        "errors": [],
    }
    assert (second["result"], second["runs"]) == ("merged", [merged])


def test_each_other_event_costs_one_write_and_says_why() -> None:
    harness = WebhookHarness()
    harness.definitions["skips"] = job_definition(when_running="skip")
    harness.deliver("d-0", source_of({"pipeline": "skips"}))
    events: list[tuple[str, Source, str, str]] = [
        (
            "d-1",
            source_of({"pipeline": "otc", "events": ["other"]}),
            "ignored",
            "the rule is for other, the event is not",
        ),
        ("d-2", source_of({"pipeline": "skips"}), "ignored", "skipped, because a run is running: skips with"),
        ("d-0", source_of({"pipeline": "skips"}), "duplicate", ""),
    ]
    for delivery, source, result, reason in events:
        harness.service.clock.sleep(1)
        harness.service.dynamodb.calls.clear()
        harness.deliver(delivery, source)
        assert harness.service.dynamodb.calls.count("UpdateItem") == 1
        newest = listed(harness)["deliveries"][0]
        assert (newest["delivery"], newest["result"]) == (delivery, result)
        assert reason in (newest["reason"] or "")
    assert newest["runs"] == [{"pipeline": "skips", "run_id": "skips-1", "status": "started"}]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"pipeline": "nowhere"}, UnknownPipeline),
        ({"pipeline": "otc", "mode": {"path": "type"}}, RuleError),
    ],
)
def test_a_failed_rule_is_stored_with_its_error(rule: dict[str, Any], error: type[Exception]) -> None:
    harness = WebhookHarness()
    with pytest.raises(error) as caught:
        harness.deliver("d-1", source_of(rule))
    (failed,) = listed(harness)["deliveries"]
    assert (failed["delivery"], failed["result"], failed["runs"]) == ("d-1", "failed", [])
    assert failed["errors"] == [str(caught.value)]


def test_a_failed_rule_beside_one_that_starts_is_stored_with_the_run() -> None:
    harness = WebhookHarness()
    harness.deliver("d-1", source_of({"pipeline": "otc"}, {"pipeline": "nowhere"}))
    (entry,) = listed(harness)["deliveries"]
    assert (entry["result"], [run["pipeline"] for run in entry["runs"]]) == ("started", ["otc"])
    assert "nowhere" in entry["errors"][0]


def test_an_authentic_body_that_cannot_be_read_is_stored_without_its_content() -> None:
    harness = WebhookHarness()
    request = harness.signed("d-1", "secret text")
    broken = WebhookRequest({**request.headers, "content-type": "text/csv"}, {}, request.body)
    with pytest.raises(Malformed):
        harness.receive(broken)
    (failed,) = listed(harness)["deliveries"]
    assert (failed["delivery"], failed["result"]) == (None, "failed")
    assert "secret text" not in json.dumps(list(harness.service.dynamodb.documents("")))


def test_what_is_not_authentic_is_not_stored() -> None:
    harness = WebhookHarness()
    with pytest.raises(NotAuthentic):
        harness.deliver(secret="whsec_" + "b" * 44)
    assert list(harness.service.dynamodb.documents("")) == []


def test_neither_a_body_nor_a_secret_is_stored() -> None:
    harness = WebhookHarness()
    body = {"type": "orders.loaded", "customer": "very private"}
    harness.receive(harness.signed("d-1", body))
    harness.receive(harness.signed("d-2", body), source_of({"pipeline": "otc", "events": ["x"]}))
    text = json.dumps(list(harness.service.dynamodb.documents("")))
    assert "very private" not in text
    assert SECRET not in text


def test_an_event_without_an_id_is_stored_as_well() -> None:
    harness = WebhookHarness()
    source = source_of({"pipeline": "otc", "when": "`true`"}, sender="azure_event_grid")
    for _ in range(2):
        harness.receive(_event_grid({"eventType": "Done"}), source)
        harness.service.clock.sleep(1)
    entries = listed(harness)["deliveries"]
    assert [(each["delivery"], each["result"]) for each in entries] == [(None, "merged"), (None, "started")]


def _event_grid(*events: dict[str, Any]) -> WebhookRequest:
    headers = {"content-type": "application/json"}
    return WebhookRequest(headers, {"token": SECRET}, json.dumps(events).encode())


@pytest.mark.parametrize("count", [3, 99, 200])
def test_every_event_of_a_batch_is_stored(count: int) -> None:
    harness = WebhookHarness()
    events = [{"id": f"e-{number}", "eventType": "Done"} for number in range(count)]
    source = source_of({"pipeline": "otc", "when": "`true`"}, sender="azure_event_grid")
    harness.receive(_event_grid(*events), source)
    found: list[dict[str, Any]] = []
    before: str | None = None
    while not found or before is not None:
        page = listed(harness, 100, before)
        found += page["deliveries"]
        before = page["before"]
    assert {each["delivery"] for each in found} == {event["id"] for event in events}
    assert {each["result"] for each in found} == {"started"}
    assert len(found) == count


@pytest.mark.parametrize("seconds", [0.01, 7.0, 0.9 * HOUR])
@pytest.mark.parametrize("limit", [1, 3, 7, 50])
def test_pages_are_in_order_across_shards_and_hours(limit: int, seconds: float) -> None:
    harness = WebhookHarness()
    expected = write(harness, 40, seconds)
    shards = {item["source_shard"] for item in harness.service.dynamodb.documents("event#")}
    assert len(shards) == SHARDS
    found: list[str] = []
    before: str | None = None
    while not found or before is not None:
        harness.service.dynamodb.calls.clear()
        page = listed(harness, limit, before)
        assert harness.service.dynamodb.calls == ["Query"] * SHARDS
        found += [each["delivery"] for each in page["deliveries"]]
        before = page["before"]
    assert found == expected


def test_events_are_listed_for_fourteen_days() -> None:
    harness = WebhookHarness()
    harness.deliver("d-1")
    harness.service.clock.sleep(DAY)
    write(harness, 1, 0.0)
    harness.service.clock.sleep((DELIVERY_DAYS - 1) * DAY)
    assert results(harness) == [("d-0", "ignored"), ("d-1", "started")]
    harness.service.clock.sleep(1)
    assert results(harness) == [("d-0", "ignored")]
    harness.service.clock.sleep(DAY)
    assert listed(harness) == {"deliveries": [], "before": None}


def test_a_delivery_sent_again_for_another_pipeline_is_listed_once_with_both() -> None:
    harness = WebhookHarness()
    harness.deliver("d-1", source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    harness.service.clock.sleep(60)
    harness.deliver("d-1", source_of({"pipeline": "otc"}, {"pipeline": "p2p"}))
    (entry,) = listed(harness)["deliveries"]
    assert ([run["pipeline"] for run in entry["runs"]], entry["errors"]) == (["otc", "p2p"], [])
    assert entry["received_at"].startswith("2026-01-01T00:01:00")


def test_sources_are_listed_apart() -> None:
    harness = WebhookHarness()
    write(harness, 2, 1.0)
    assert listed(harness, source="sho") == {"deliveries": [], "before": None}


def test_a_table_that_takes_no_log_changes_no_answer() -> None:
    harness = WebhookHarness()
    ignoring = source_of({"pipeline": "otc", "events": ["other"]})
    expected = harness.deliver("d-1", ignoring)

    def broken(operation: str, request: dict[str, Any]) -> None:
        raise ValueError(operation)

    harness.service.dynamodb.before = broken
    assert harness.deliver("d-2", ignoring) == expected._replace(body={**expected.body, "delivery": "d-2"})


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_events_of_a_batch_whose_function_died_are_stored_by_the_next_claim(
    number: int, when: str
) -> None:
    """All are listed once the batch is accepted, wherever the function died; none before."""
    harness = WebhookHarness()
    events = [{"id": f"e-{each}", "eventType": "Done"} for each in range(120)]
    source = source_of({"pipeline": "otc", "when": "`true`"}, sender="azure_event_grid")
    counted = itertools.count(1)

    def die(operation: str, request: dict[str, Any]) -> None:
        if next(counted) == number:
            raise Crashed

    quiet = getattr(harness.service.dynamodb, when)
    setattr(harness.service.dynamodb, when, die)
    with contextlib.suppress(Crashed):
        harness.receive(_event_grid(*events), source)
    setattr(harness.service.dynamodb, when, quiet)
    is_accepted = bool(harness.service.dynamodb.document("slot#otc"))
    harness.receive(_event_grid({"id": "next", "eventType": "Done"}), source)
    found = harness.service.dynamodb.documents("delivery#")
    stored = {item["delivery"] for item in found if "source_shard" in item}
    assert stored == {"next"} | ({event["id"] for event in events} if is_accepted else set())

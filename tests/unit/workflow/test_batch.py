"""Events in one request are accepted together: the valid ones, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import MAX_ACTIONS
from celonis_refresh.webhooks.errors import TooLarge
from celonis_refresh.webhooks.events import MAX_EVENTS
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sources import MAX_RULES
from celonis_refresh.workflow.webhook import NOTHING_VALID, Reply
from tests.fakes.dynamodb import canceled
from tests.fakes.service import job_definition
from tests.unit.steps.outgoing import claims, logged, starts
from tests.unit.workflow.webhook_harness import SECRET, WebhookHarness, source_of

BY_KIND = [{"pipeline": name, "when": f"eventType == '{name}'"} for name in ("otc", "p2p")]
LARGE = MAX_ACTIONS - 2
"""Events whose keys do not fit into one transaction beside a claim."""


def _harness() -> WebhookHarness:
    harness = WebhookHarness()
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    for job in ("job-a", "job-b"):
        harness.service.job(job).add_past_start(600.0)
    return harness


def _event(number: int, kind: str = "otc") -> dict[str, Any]:
    return {"id": f"e-{number}", "eventType": kind}


def _send(harness: WebhookHarness, *events: dict[str, Any]) -> Reply:
    body = json.dumps(events).encode()
    request = WebhookRequest({"content-type": "application/json"}, {"token": SECRET}, body)
    return harness.receive(request, source_of(*BY_KIND, sender="azure_event_grid"))


def _reported(reply: Reply) -> list[tuple[str, str]]:
    answers = reply.body.get("events", [reply.body])
    return [(run["run_id"], run["status"]) for each in answers for run in each["runs"]]


def _deliveries(harness: WebhookHarness) -> int:
    return sum(bool(item["runs"]) for item in harness.service.dynamodb.documents("delivery#"))


def test_a_pipeline_that_is_not_defined_keeps_no_other_event_of_a_batch_from_its_run() -> None:
    harness = _harness()
    del harness.definitions["p2p"]
    reply = _send(harness, _event(1), _event(2, "p2p"))
    assert reply.status == 202
    sound, broken = reply.body["events"]
    assert [run["status"] for run in sound["runs"]] == ["started"]
    assert (broken["delivery"], broken["status"]) == ("e-2", "ignored")
    assert broken["reason"] == NOTHING_VALID
    assert "p2p" in broken["errors"][0]
    assert _deliveries(harness) == 1
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    again = _send(harness, _event(1), _event(2, "p2p"))
    assert [status for _, status in _reported(again)] == ["duplicate", "started"]


def test_where_no_event_of_a_batch_can_start_anything_it_is_refused() -> None:
    harness = _harness()
    harness.definitions.clear()
    with pytest.raises(UnknownPipeline):
        _send(harness, _event(1), _event(2, "p2p"))
    assert [item["result"] for item in harness.service.dynamodb.documents("")] == ["failed", "failed"]
    assert harness.executions.start_requests == []


def test_events_of_several_pipelines_are_one_transaction_with_one_result_each() -> None:
    harness = _harness()
    claimed = claims(harness.service)
    reply = _send(harness, _event(1), _event(2, "p2p"), _event(3))
    assert len(claimed) == 1
    (first, second, third) = _reported(reply)
    assert first == third
    assert (first[1], second[1], reply.status) == ("started", "started", 202)
    assert harness.executions.start_requests == [first[0], second[0]]
    assert len(starts(harness.service)) == 2
    assert {reason.text for reason in harness.service.records.get(first[0]).options.reasons} == {
        "azure_event_grid otc e-1",
        "azure_event_grid otc e-3",
    }


def test_a_table_that_is_busy_has_accepted_nothing_of_a_batch() -> None:
    harness = _harness()

    def conflict(operation: str, request: dict[str, Any]) -> None:
        raise canceled("TransactionConflict")

    harness.service.dynamodb.before = conflict
    with pytest.raises(TableBusy):
        _send(harness, _event(1), _event(2, "p2p"))
    assert (harness.service.dynamodb.items, harness.executions.start_requests) == ({}, [])


def test_duplicates_in_a_batch_are_distinguished_from_new_events() -> None:
    harness = _harness()
    (old,) = _reported(_send(harness, _event(1)))
    reply = _send(harness, _event(1), _event(2, "p2p"), _event(3))
    assert reply.status == 202
    assert [status for _, status in _reported(reply)] == ["duplicate", "started", "joined"]
    assert _reported(reply)[0][0] == old[0]
    again = _send(harness, _event(3), _event(2, "p2p"), _event(1))
    assert again.status == 200
    assert [run_id for run_id, _ in _reported(again)] == [run_id for run_id, _ in reversed(_reported(reply))]


def test_an_event_repeated_in_a_batch_counts_once() -> None:
    harness = _harness()
    reply = _send(harness, _event(1), _event(1))
    (first, second) = _reported(reply)
    assert (reply.status, first[1], second) == (202, "started", (first[0], "duplicate"))
    assert len(harness.service.records.get(first[0]).options.reasons) == 1
    assert harness.executions.start_requests == [first[0]]


def test_a_batch_with_more_ids_than_a_transaction_takes_is_accepted_once() -> None:
    harness = _harness()
    events = [_event(number) for number in range(MAX_EVENTS)]
    claimed = claims(harness.service)
    (run,) = set(_reported(_send(harness, *events)))
    assert (run[1], _deliveries(harness)) == ("started", MAX_EVENTS)
    assert len(claimed) == 6  # two announce it, one accepts it, three record it
    harness.forget()
    harness.service.dynamodb.calls.clear()
    harness.executions.start_requests.clear()
    again = _send(harness, *events)
    assert (again.status, set(_reported(again))) == (200, {(run[0], "duplicate")})
    logs = ["TransactWriteItems"] * 2
    assert harness.service.dynamodb.calls == [*["TransactGetItems"] * 3, "GetItem", *logs]
    assert harness.executions.start_requests == [run[0]]
    assert _reported(_send(harness, events[-1])) == [(run[0], "duplicate")]


def test_ids_that_cannot_be_recorded_in_time_refuse_nothing_and_are_still_known() -> None:
    harness = _harness()
    writes: list[str] = []

    def conflict(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            writes.append(operation)
            if len(writes) > 2:
                raise canceled("TransactionConflict")

    harness.service.dynamodb.before = conflict
    with logged() as lines:
        reply = _send(harness, *(_event(number) for number in range(LARGE)))
    assert (reply.status, _deliveries(harness)) == (202, 0)
    assert "deliveries were not recorded; the next claim records them" in [
        line.getMessage() for line in lines
    ]
    harness.service.dynamodb.before = lambda operation, request: None
    harness.forget()
    again = _send(harness, _event(LARGE - 1))
    assert (again.status, _reported(again)) == (200, [(_reported(reply)[0][0], "duplicate")])
    assert _deliveries(harness) == LARGE


def test_events_of_one_batch_record_their_own_pipelines_only() -> None:
    harness = _harness()
    _send(harness, _event(1), _event(2, "p2p"))
    changed = _send(harness, {**_event(1), "eventType": "p2p"})
    assert [status for _, status in _reported(changed)] == ["joined"]


def test_a_repeated_event_with_other_content_starts_what_both_name() -> None:
    harness = _harness()
    (first, second, third) = _reported(_send(harness, _event(1), _event(1, "p2p"), _event(1, "p2p")))
    assert (first[1], second[1], third) == ("started", "started", (second[0], "duplicate"))


def test_what_is_known_of_a_full_request_is_found_with_one_request_to_the_table() -> None:
    harness = _harness()
    events = [_event(number) for number in range(LARGE)]
    (run,) = set(_reported(_send(harness, *events)))
    for sent, calls in ((LARGE, ["TransactGetItems"]), (LARGE - 1, ["TransactWriteItems"])):
        harness.forget()
        harness.service.dynamodb.calls.clear()
        assert set(_reported(_send(harness, *events[:sent]))) == {(run[0], "duplicate")}
        assert harness.service.dynamodb.calls == [*calls, "GetItem", "TransactWriteItems"]


def test_the_largest_batch_for_the_most_pipelines_fits_into_one_item() -> None:
    """Full of long ids in a script whose letters take three bytes, for thirty pipelines with long names."""
    door = WebhookHarness()
    names = [f"p{number:02d}".ljust(48, "x") for number in range(MAX_RULES)]
    door.definitions = {name: job_definition(jobs=[{"job": name}]) for name in names}
    source = source_of(*({"pipeline": name} for name in names), sender="azure_event_grid")
    events = [
        {"id": f"{number:03d}".ljust(200, "漢"), "eventType": "Acme.Done"} for number in range(MAX_EVENTS)
    ]
    headers = {"content-type": "application/json"}
    request = WebhookRequest(headers, {"token": SECRET}, json.dumps(events, ensure_ascii=False).encode())
    assert door.receive(request, source).status == 202
    assert door.receive(request, source).status == 200
    assert len(door.executions.known) == MAX_RULES


def test_a_batch_that_is_too_large_is_refused_whole() -> None:
    harness = _harness()
    with pytest.raises(TooLarge):
        _send(harness, *(_event(number) for number in range(MAX_EVENTS + 1)))
    (item,) = harness.service.dynamodb.documents("")
    assert (item["result"], "delivery" in item, item["runs"]) == ("failed", False, {})

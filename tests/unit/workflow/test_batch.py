"""Events that come in one request are accepted together: what of them is sound, or nothing."""

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
from celonis_refresh.workflow.webhook import NOTHING_SOUND, Reply
from tests.fakes.dynamodb import canceled
from tests.fakes.service import job_definition
from tests.unit.steps.outgoing import claims, logged, starts
from tests.unit.workflow.webhook_harness import SECRET, WebhookHarness, source_of

BY_KIND = [{"pipeline": name, "when": f"eventType == '{name}'"} for name in ("otc", "p2p")]
LARGE = MAX_ACTIONS - 2
"""Events whose keys do not fit into one transaction beside a claim."""


def _door() -> WebhookHarness:
    door = WebhookHarness()
    door.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    for job in ("job-a", "job-b"):
        door.service.job(job).before(600.0)
    return door


def _event(number: int, kind: str = "otc") -> dict[str, Any]:
    return {"id": f"e-{number}", "eventType": kind}


def _send(door: WebhookHarness, *events: dict[str, Any]) -> Reply:
    body = json.dumps(events).encode()
    request = WebhookRequest({"content-type": "application/json"}, {"token": SECRET}, body)
    return door.receive(request, source_of(*BY_KIND, sender="azure_event_grid"))


def _reported(reply: Reply) -> list[tuple[str, str]]:
    answers = reply.body.get("events", [reply.body])
    return [(run["run_id"], run["status"]) for each in answers for run in each["runs"]]


def _deliveries(door: WebhookHarness) -> int:
    return len(list(door.service.dynamodb.documents("delivery#")))


def test_a_pipeline_that_is_not_defined_keeps_no_other_event_of_a_batch_from_its_run() -> None:
    door = _door()
    del door.definitions["p2p"]
    reply = _send(door, _event(1), _event(2, "p2p"))
    assert reply.status == 202
    sound, broken = reply.body["events"]
    assert [run["status"] for run in sound["runs"]] == ["started"]
    assert (broken["delivery"], broken["status"]) == ("e-2", "ignored")
    assert broken["reason"] == NOTHING_SOUND
    assert "p2p" in broken["errors"][0]
    assert _deliveries(door) == 1
    door.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}])
    again = _send(door, _event(1), _event(2, "p2p"))
    assert [status for _, status in _reported(again)] == ["duplicate", "started"]


def test_where_no_event_of_a_batch_can_start_anything_it_is_refused() -> None:
    door = _door()
    door.definitions.clear()
    with pytest.raises(UnknownPipeline):
        _send(door, _event(1), _event(2, "p2p"))
    assert (door.service.dynamodb.calls, door.executions.asked) == ([], [])


def test_events_of_several_pipelines_are_one_transaction_and_each_is_told_its_own() -> None:
    door = _door()
    claimed = claims(door.service)
    reply = _send(door, _event(1), _event(2, "p2p"), _event(3))
    assert len(claimed) == 1
    (first, second, third) = _reported(reply)
    assert first == third
    assert (first[1], second[1], reply.status) == ("started", "started", 202)
    assert door.executions.asked == [first[0], second[0]]
    assert len(starts(door.service)) == 2
    assert {reason.text for reason in door.service.records.get(first[0]).options.reasons} == {
        "azure_event_grid otc e-1",
        "azure_event_grid otc e-3",
    }


def test_a_table_that_is_busy_has_accepted_nothing_of_a_batch() -> None:
    door = _door()

    def conflict(operation: str, request: dict[str, Any]) -> None:
        raise canceled("TransactionConflict")

    door.service.dynamodb.before = conflict
    with pytest.raises(TableBusy):
        _send(door, _event(1), _event(2, "p2p"))
    assert (door.service.dynamodb.items, door.executions.asked) == ({}, [])


def test_what_came_before_is_told_from_what_is_new() -> None:
    door = _door()
    (old,) = _reported(_send(door, _event(1)))
    reply = _send(door, _event(1), _event(2, "p2p"), _event(3))
    assert reply.status == 202
    assert [status for _, status in _reported(reply)] == ["duplicate", "started", "joined"]
    assert _reported(reply)[0][0] == old[0]
    again = _send(door, _event(3), _event(2, "p2p"), _event(1))
    assert again.status == 200
    assert [run_id for run_id, _ in _reported(again)] == [run_id for run_id, _ in reversed(_reported(reply))]


def test_an_event_that_stands_twice_in_a_batch_counts_once() -> None:
    door = _door()
    reply = _send(door, _event(1), _event(1))
    (first, second) = _reported(reply)
    assert (reply.status, first[1], second) == (202, "started", (first[0], "duplicate"))
    assert len(door.service.records.get(first[0]).options.reasons) == 1
    assert door.executions.asked == [first[0]]


def test_a_batch_with_more_ids_than_a_transaction_takes_is_accepted_once() -> None:
    door = _door()
    events = [_event(number) for number in range(MAX_EVENTS)]
    claimed = claims(door.service)
    (run,) = set(_reported(_send(door, *events)))
    assert (run[1], _deliveries(door)) == ("started", MAX_EVENTS)
    assert len(claimed) == 4
    door.service.dynamodb.calls.clear()
    door.executions.asked.clear()
    again = _send(door, *events)
    assert (again.status, set(_reported(again))) == (200, {(run[0], "duplicate")})
    assert door.service.dynamodb.calls == [*["TransactGetItems"] * 3, "GetItem"]
    assert door.executions.asked == [run[0]]
    assert _reported(_send(door, events[-1])) == [(run[0], "duplicate")]


def test_ids_that_cannot_be_recorded_in_time_refuse_nothing_and_are_known_all_the_same() -> None:
    door = _door()
    writes: list[str] = []

    def conflict(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            writes.append(operation)
            if len(writes) > 1:
                raise canceled("TransactionConflict")

    door.service.dynamodb.before = conflict
    with logged() as lines:
        reply = _send(door, *(_event(number) for number in range(LARGE)))
    assert (reply.status, _deliveries(door)) == (202, 0)
    assert "accepted deliveries are recorded by the next claim" in [line.getMessage() for line in lines]
    door.service.dynamodb.before = lambda operation, request: None
    again = _send(door, _event(LARGE - 1))
    assert (again.status, _reported(again)) == (200, [(_reported(reply)[0][0], "duplicate")])
    assert _deliveries(door) == LARGE


def test_events_of_one_batch_record_their_own_pipelines_only() -> None:
    door = _door()
    _send(door, _event(1), _event(2, "p2p"))
    changed = _send(door, {**_event(1), "eventType": "p2p"})
    assert [status for _, status in _reported(changed)] == ["joined"]


def test_an_event_that_stands_twice_in_a_batch_with_other_words_starts_what_both_name() -> None:
    door = _door()
    (first, second, third) = _reported(_send(door, _event(1), _event(1, "p2p"), _event(1, "p2p")))
    assert (first[1], second[1], third) == ("started", "started", (second[0], "duplicate"))


def test_what_is_known_of_a_full_request_is_found_with_one_request_to_the_table() -> None:
    door = _door()
    events = [_event(number) for number in range(LARGE)]
    (run,) = set(_reported(_send(door, *events)))
    for sent, calls in ((LARGE, ["TransactGetItems"]), (LARGE - 1, ["TransactWriteItems"])):
        door.service.dynamodb.calls.clear()
        assert set(_reported(_send(door, *events[:sent]))) == {(run[0], "duplicate")}
        assert door.service.dynamodb.calls[:-1] == calls
        assert door.service.dynamodb.calls[-1] == "GetItem"


def test_a_batch_that_is_too_large_is_refused_whole() -> None:
    door = _door()
    with pytest.raises(TooLarge):
        _send(door, *(_event(number) for number in range(MAX_EVENTS + 1)))
    assert door.service.dynamodb.calls == []

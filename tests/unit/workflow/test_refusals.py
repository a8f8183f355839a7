"""Notifications of refused executions: one an hour for each cause, and one incident for each cause."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from celonis_refresh.notifications.messages import render
from celonis_refresh.notifications.outbox import CLAIM_SECONDS, Message, MessageKind
from celonis_refresh.runs.table import refusal_cause_key, refusal_key
from celonis_refresh.timing import iso
from celonis_refresh.workflow.configuration_reports import REPORT_SECONDS
from celonis_refresh.workflow.executions import ExecutionDescription, refusal_cause
from tests.fakes.service import Crashed
from tests.fakes.wiring import PLACE, make_outbox
from tests.unit.workflow.close_harness import CloseHarness

SCHEDULE = 300.0
HOUR = 3600.0


class RefusalHarness(CloseHarness):
    """``number``: of executions that were refused."""

    number = 0

    def refuse(self, document: object, error: str = "InvalidTrigger", *, close: bool = True) -> str:
        """An execution with this input fails before it becomes a run; return its name."""
        self.number += 1
        name = f"nightly-{self.number}"
        self.ended(name, "FAILED", "It is not valid.")
        known = replace(self.executions.known[name], error=error, input=json.dumps(document))
        self.executions.known[name] = known
        if close:
            assert self.close(name) is None
        return name

    def keys(self) -> set[str]:
        """The incidents of what was notified."""
        made = [
            Message("id", MessageKind.NOTIFICATION, "topic", facts, iso(self.service.clock.now))
            for _, _, facts in self.notices
        ]
        return {render(each, PLACE).key for each in made}


def test_a_schedule_whose_pipeline_is_not_valid_is_notified_once_an_hour_in_one_incident() -> None:
    harness = RefusalHarness()
    for _ in range(36):
        harness.service.clock.sleep(SCHEDULE)
        harness.refuse({"pipeline": "p2p", "delivery": f"nightly {harness.number}"}, "InvalidDefinition")
    assert [facts["execution"] for _, _, facts in harness.notices] == [
        "nightly-1",
        "nightly-13",
        "nightly-25",
    ]
    assert harness.keys() == {f"{PLACE.stack}/refused/p2p/InvalidDefinition"}
    assert list(harness.service.dynamodb.documents("outbox#")) == []


DIFFERENT: list[tuple[object, str]] = [
    ({"pipeline": "p2p"}, "UnknownPipeline"),
    ({"pipeline": "p2p"}, "InvalidDefinition"),
    ({"pipeline": "o2c"}, "UnknownPipeline"),
    ({"pipeline": {"name": "inline", "jobs": []}}, "InvalidDefinition"),
    ({"pipelin": "p2p"}, "InvalidTrigger"),
    ({"pipeline": "a/../b"}, "InvalidTrigger"),
    ({"pipeline": 5}, "InvalidTrigger"),
    ({}, "InvalidTrigger"),
    (["p2p"], "InvalidTrigger"),
    (["o2c"], "InvalidTrigger"),
]


def test_refusals_with_different_causes_are_all_notified_and_have_incidents_of_their_own() -> None:
    harness = RefusalHarness()
    for _ in range(2):
        for document, error in DIFFERENT:
            harness.refuse(document, error)
    assert len(harness.notices) == len(DIFFERENT)
    assert len(harness.keys()) == len(DIFFERENT)


@pytest.mark.parametrize(
    "same",
    [
        [{"pipelin": "p2p", "delivery": f"schedule {number}"} for number in range(2)],
        [{"source": "aws.events", "id": f"id-{number}", "time": f"{number}"} for number in range(2)],
        [{"pipeline": "p2p", "mode": "delta", "reason": f"at {number}"} for number in range(2)],
    ],
)
def test_what_differs_from_firing_to_firing_makes_no_other_cause(same: list[dict[str, Any]]) -> None:
    harness = RefusalHarness()
    for document in same:
        harness.refuse(document)
    assert len(harness.notices) == 1


@pytest.mark.parametrize("text", ["", "no JSON", json.dumps({"pipeline": "x" * 5000}), "[" * 5000, '"é\\n"'])
@pytest.mark.parametrize("error", ["", "Some error # of a user / ü" * 50])
def test_a_cause_can_be_in_a_key_and_in_a_dedup_key(text: str, error: str) -> None:
    cause = refusal_cause(ExecutionDescription("n", "arn:n", "ABORTED", error, input=text))
    assert cause.isascii()
    assert cause.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert len(cause) <= 130


def test_an_event_that_arrives_again_later_sends_nothing_of_a_refusal_that_was_not_notified() -> None:
    harness = RefusalHarness()
    first, second = harness.refuse({"pipeline": "p2p"}), harness.refuse({"pipeline": "p2p"})
    harness.service.clock.sleep(2 * HOUR)
    harness.close(second)
    harness.close(first)
    assert [facts["execution"] for _, _, facts in harness.notices] == [first]


def test_the_items_of_a_refusal_expire() -> None:
    harness = RefusalHarness()
    names = [harness.refuse({"pipeline": "p2p"}) for _ in range(2)]
    keys = [refusal_cause_key("p2p/InvalidTrigger"), *map(refusal_key, names)]
    now = harness.service.clock.now
    for key in keys:
        item = harness.service.table.get(key) or {}
        assert now + REPORT_SECONDS <= item["expires"] < now + 30 * 24 * HOUR, key


def test_executions_with_the_same_cause_that_end_at_the_same_time_are_notified_once() -> None:
    for operation in ("TransactWriteItems", "UpdateItem", "DeleteItem"):
        harness = RefusalHarness()
        first, second = (harness.refuse({"pipeline": "p2p"}, close=False) for _ in range(2))
        harness.service.dynamodb.interleave(operation, partial(harness.close, second))
        harness.close(first)
        harness.close(second)
        assert len(harness.notices) == 1, operation


def test_a_refusal_that_was_promised_is_sent_although_its_cause_is_known() -> None:
    """Its event arrives again, after that of another execution with the same cause."""
    harness = RefusalHarness()

    def fails(subject: str, text: str, facts: object) -> None:
        raise ConnectionError

    first, second = (harness.refuse({"pipeline": "p2p"}, close=False) for _ in range(2))
    closer = replace(harness.closer, outbox=make_outbox(harness.service, fails))
    closer.close(f"arn:{first}", harness.service.deadline())
    harness.close(second)
    assert harness.notices == []
    harness.service.clock.sleep(CLAIM_SECONDS)
    harness.close(first)
    assert [facts["execution"] for _, _, facts in harness.notices] == [first]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_call_loses_no_refusal(moment: Literal["before", "after"]) -> None:
    for number in range(1, 12):
        harness, calls = RefusalHarness(), [0]
        names = [harness.refuse({"pipeline": "p2p"}, close=False) for _ in range(2)]

        def dies(operation: str, request: object, calls: list[int] = calls, number: int = number) -> None:
            calls[0] += 1
            if calls[0] == number:
                raise Crashed

        setattr(harness.service.dynamodb, moment, dies)
        for name in names:
            try:
                harness.close(name)
            except Crashed:
                harness.service.clock.sleep(CLAIM_SECONDS)
                harness.close(name)
        assert 1 <= len(harness.notices) <= 2, number
        assert len({facts["execution"] for _, _, facts in harness.notices}) == 1, number
        assert list(harness.service.dynamodb.documents("outbox#")) == []

"""One deadline, 2.5 s from the request's arrival at API Gateway, reaches every call to Celonis."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.workflow.webhook import (
    ANSWER_SECONDS,
    MIN_CELONIS_SECONDS,
    START_EXECUTION_SECONDS,
    WebhookHandler,
)
from tests.fakes.service import MODEL, job_definition
from tests.template import documents
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of

RESERVED = ANSWER_SECONDS - START_EXECUTION_SECONDS
"""Seconds from the arrival by which the last call to Celonis must be over."""
CONTEXT = SimpleNamespace(
    function_name="trigger",
    memory_limit_in_mb=512,
    invoked_function_arn="arn",
    aws_request_id="r",
    get_remaining_time_in_millis=lambda: 10_000,
)


def load(function: str) -> ModuleType:
    """The module of the function, as Lambda imports it."""
    path = documents.FUNCTIONS / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"{function}_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Trigger:
    """The function over a bench; ``asked``: when each call to Celonis began."""

    door: WebhookHarness = field(default_factory=WebhookHarness)
    asked: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        bench = self.door.bench
        bench.job().before(600.0)
        bench.model()
        bench.celonis.model_tables[MODEL] = [ModelTable("t-1", "VBAK")]
        bench.celonis.hook = self._note
        self.app = load("trigger")
        vars(self.app)["time"] = SimpleNamespace(time=bench.clock)
        vars(self.app)["_webhook_handler"] = self._triggering

    def _note(self, name: str, when: str) -> None:
        if when == "before":
            self.asked.append(self.door.bench.clock.now)

    @property
    def ends(self) -> list[float]:
        """When each call to Celonis would have been given up."""
        timeouts = self.door.bench.celonis.timeouts
        return [at + timeout for at, timeout in zip(self.asked, timeouts, strict=True)]

    def _triggering(self) -> WebhookHandler:
        door = self.door
        return WebhookHandler(
            source=lambda _: source_of(),
            secrets=lambda _: door.secrets,
            refreshed_secrets=lambda _: door.refreshed_secrets,
            acceptor=door.accepting,
            context=door.bench.context,
            tables=door.tables,
            executions=door.executions,
            sns=door.sns,
            clock=door.bench.clock,
        )

    def answer(self, age: float) -> dict[str, Any]:
        """The answer to a request that arrived ``age`` seconds ago."""
        clock = self.door.bench.clock
        request = self.door.signed()
        event = {
            "version": "2.0",
            "headers": dict(request.headers),
            "rawQueryString": "",
            "pathParameters": {"source": "shop"},
            "requestContext": {"http": {"method": "POST"}, "timeEpoch": int((clock.now - age) * 1000)},
            "body": request.body.decode(),
            "isBase64Encoded": False,
        }
        reported: dict[str, Any] = self.app.handler(event, CONTEXT)
        return {**reported, "body": json.loads(reported["body"])}


@pytest.fixture
def trigger() -> Trigger:
    return Trigger()


@pytest.mark.parametrize("age", [0.0, 0.05, 0.4, 0.9], ids=["at once", "warm", "cold", "very cold"])
def test_the_time_outs_are_what_is_left_less_what_starting_the_execution_needs(
    trigger: Trigger, age: float
) -> None:
    arrived = trigger.door.bench.clock.now - age
    reported = trigger.answer(age)
    assert reported["statusCode"] == 202
    assert trigger.door.bench.celonis.names() == ["job", "executions", "execute_job"]
    first, *_ = trigger.door.bench.celonis.timeouts
    assert first == pytest.approx(RESERVED - age, abs=0.002)
    assert [end - arrived for end in trigger.ends] == pytest.approx([RESERVED] * 3, abs=0.002)


@pytest.mark.parametrize("age", [1.2, 2.0, 2.6, 60.0])
def test_with_too_little_left_celonis_is_not_asked_and_the_trigger_accepted_all_the_same(
    trigger: Trigger, age: float
) -> None:
    assert RESERVED - age < MIN_CELONIS_SECONDS
    reported = trigger.answer(age)
    assert reported["statusCode"] == 202
    (run,) = reported["body"]["runs"]
    assert trigger.door.bench.celonis.timeouts == []
    assert trigger.door.executions.asked == [run["run_id"]]
    assert trigger.door.bench.records.get(run["run_id"]).status is RunStatus.OPENING


def test_asking_for_tables_counts_as_well(trigger: Trigger) -> None:
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["VBAK"]}]
    trigger.door.definitions["otc"] = job_definition(loads=loads)
    arrived = trigger.door.bench.clock.now - 0.3
    assert trigger.answer(0.3)["statusCode"] == 202
    assert trigger.door.bench.celonis.names() == ["tables", "job", "executions", "execute_job"]
    assert [end - arrived for end in trigger.ends] == pytest.approx([RESERVED] * 4, abs=0.002)


@pytest.mark.parametrize("slow", [1.3, 1.85, 5.0])
def test_what_celonis_takes_for_itself_is_missing_afterwards(trigger: Trigger, slow: float) -> None:
    """A look that used up the time is not followed by a start that nobody would wait for."""
    bench = trigger.door.bench
    bench.celonis.up = slow
    reported = trigger.answer(0.0)
    assert reported["statusCode"] == 202
    assert len(trigger.door.executions.asked) == 1
    assert max(end for end in trigger.ends) <= bench.clock.now
    assert "execute_job" not in bench.celonis.names()


def test_a_claim_that_takes_long_leaves_celonis_to_the_state_machine(trigger: Trigger) -> None:
    bench = trigger.door.bench
    bench.dynamodb.before = lambda operation, request: bench.clock.sleep(1.2)
    assert trigger.answer(0.0)["statusCode"] == 202
    assert bench.celonis.timeouts == []
    assert len(trigger.door.executions.asked) == 1

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
    MIN_CELONIS_SECONDS,
    RESPONSE_SECONDS,
    START_EXECUTION_SECONDS,
    WebhookHandler,
)
from tests.fakes.service import MODEL, job_definition
from tests.template import documents
from tests.unit.workflow.webhook_harness import WebhookHarness, source_of

RESERVED = RESPONSE_SECONDS - START_EXECUTION_SECONDS
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
class TimedTrigger:
    """The function over a ServiceHarness; ``call_times``: when each call to Celonis began."""

    harness: WebhookHarness = field(default_factory=WebhookHarness)
    call_times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        service = self.harness.service
        service.job().add_past_start(600.0)
        service.model()
        service.celonis.model_tables[MODEL] = [ModelTable("t-1", "VBAK")]
        service.celonis.hook = self._note
        self.app = load("trigger")
        vars(self.app)["time"] = SimpleNamespace(time=service.clock)
        vars(self.app)["_webhook_handler"] = self._webhook_handler

    def _note(self, name: str, when: str) -> None:
        if when == "before":
            self.call_times.append(self.harness.service.clock.now)

    @property
    def ends(self) -> list[float]:
        """When each call to Celonis would have timed out."""
        timeouts = self.harness.service.celonis.timeouts
        return [at + timeout for at, timeout in zip(self.call_times, timeouts, strict=True)]

    def _webhook_handler(self) -> WebhookHandler:
        harness = self.harness
        return WebhookHandler(
            source=lambda _: source_of(),
            secrets=lambda _: harness.secrets,
            refreshed_secrets=lambda _: harness.refreshed_secrets,
            acceptor=harness.acceptor,
            context=harness.service.context,
            tables=harness.tables,
            executions=harness.executions,
            sns=harness.sns,
            clock=harness.service.clock,
        )

    def answer(self, age: float) -> dict[str, Any]:
        """The answer to a request that arrived ``age`` seconds ago."""
        clock = self.harness.service.clock
        request = self.harness.signed()
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
def trigger() -> TimedTrigger:
    return TimedTrigger()


@pytest.mark.parametrize("age", [0.0, 0.05, 0.4, 0.9], ids=["at once", "warm", "cold", "very cold"])
def test_the_timeouts_leave_enough_time_to_start_the_execution(trigger: TimedTrigger, age: float) -> None:
    arrived = trigger.harness.service.clock.now - age
    reported = trigger.answer(age)
    assert reported["statusCode"] == 202
    assert trigger.harness.service.celonis.names() == ["job", "executions", "execute_job"]
    first, *_ = trigger.harness.service.celonis.timeouts
    assert first == pytest.approx(RESERVED - age, abs=0.002)
    assert [end - arrived for end in trigger.ends] == pytest.approx([RESERVED] * 3, abs=0.002)


@pytest.mark.parametrize("age", [1.2, 2.0, 2.6, 60.0])
def test_with_too_little_time_left_the_trigger_is_accepted_without_a_request_to_celonis(
    trigger: TimedTrigger, age: float
) -> None:
    assert RESERVED - age < MIN_CELONIS_SECONDS
    reported = trigger.answer(age)
    assert reported["statusCode"] == 202
    (run,) = reported["body"]["runs"]
    assert trigger.harness.service.celonis.timeouts == []
    assert trigger.harness.executions.start_requests == [run["run_id"]]
    assert trigger.harness.service.records.get(run["run_id"]).status is RunStatus.OPENING


def test_asking_for_tables_counts_as_well(trigger: TimedTrigger) -> None:
    loads = [{"data_model": MODEL, "kind": "partial", "tables": ["VBAK"]}]
    trigger.harness.definitions["otc"] = job_definition(loads=loads)
    arrived = trigger.harness.service.clock.now - 0.3
    assert trigger.answer(0.3)["statusCode"] == 202
    assert trigger.harness.service.celonis.names() == ["tables", "job", "executions", "execute_job"]
    assert [end - arrived for end in trigger.ends] == pytest.approx([RESERVED] * 4, abs=0.002)


@pytest.mark.parametrize("slow", [1.3, 1.85, 5.0])
def test_what_celonis_takes_for_itself_is_missing_afterwards(trigger: TimedTrigger, slow: float) -> None:
    """A poll that used up the time is not followed by a start whose response would come too late."""
    service = trigger.harness.service
    service.celonis.up = slow
    reported = trigger.answer(0.0)
    assert reported["statusCode"] == 202
    assert len(trigger.harness.executions.start_requests) == 1
    assert max(end for end in trigger.ends) <= service.clock.now
    assert "execute_job" not in service.celonis.names()


def test_a_claim_that_takes_long_leaves_celonis_to_the_state_machine(trigger: TimedTrigger) -> None:
    service = trigger.harness.service
    service.dynamodb.before = lambda operation, request: service.clock.sleep(1.2)
    assert trigger.answer(0.0)["statusCode"] == 202
    assert service.celonis.timeouts == []
    assert len(trigger.harness.executions.start_requests) == 1

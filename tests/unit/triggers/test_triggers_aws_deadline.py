"""A webhook whose calls to AWS hang or are throttled: answered in time, and nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import endpoint

from celonis_refresh.aws.clients import CLIENT_TIMEOUTS
from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    Parameters,
    Secrets,
    is_transient_error,
)
from celonis_refresh.aws.executions import StateMachine
from celonis_refresh.aws.source_cache import SourceCache
from celonis_refresh.aws.ttl_cache import TtlCache
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.timing import Deadline
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.webhook import ANSWER_SECONDS, Reply, RequestTime, WebhookHandler
from tests.fakes.aws import Asked, Failure, Wire
from tests.fakes.service import JOB, POOL, ServiceHarness
from tests.unit.workflow.webhook_harness import FUNCTION_SECONDS, SECRET, WebhookHarness

PIPELINE = {"data_pool": POOL, "jobs": [{"job": JOB}]}
SOURCE, RULES, CLAIM = "/stack/sources/shop", "/stack/pipelines/otc", "TransactWriteItems"
TIMEOUTS = CLIENT_TIMEOUTS["response"]
MAX_SECONDS = 4.0
"""A webhook with one call that hangs is answered within this time."""
ACCEPTED = ["GetParameter", "GetSecretValue", "GetParameter", CLAIM, CLAIM, "StartExecution"]
"""What one webhook asks of AWS in a new process, in order: the second transaction writes the baseline."""
DEFINITION_SECONDS = 10.0
LONG = 60.0
"""Seconds: longer than anybody waits."""


@dataclass
class Trigger:
    """The way of a webhook over real clients of botocore; its time is that of the fakes."""

    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        wire = self.wire
        wire.parameters = {
            SOURCE: {
                "sender": "standard_webhooks",
                "secret": "shop",
                "rules": [{"pipeline": "otc"}],
            },
            RULES: PIPELINE,
        }
        wire.secrets = {"stack/webhooks/shop": {"current": SECRET}}
        clients: Any = wire.client("dynamodb")
        self.door = WebhookHarness(ServiceHarness(wire.clock, clients))
        self.bench = self.door.bench
        self.bench.job().before(600.0)
        self.bench.model()
        parameters = Parameters(wire.client("ssm"), "stack")
        secrets = Secrets(wire.client("secretsmanager"), "stack")
        known = SourceCache(parameters, wire.clock)
        kept = webhook_secrets(secrets.webhook, wire.clock)
        sources = TtlCache(known.source, 60, wire.clock, is_transient_error)
        definitions = TtlCache(parameters.pipeline, DEFINITION_SECONDS, wire.clock, is_transient_error)
        self.ids = 0
        self.triggering = WebhookHandler(
            source=sources.get,
            secrets=kept.get,
            refreshed_secrets=kept.refresh_if_allowed,
            acceptor=TriggerAcceptor(self.bench.claims, definitions.get, self._new_id, wire.clock),
            context=self.bench.context,
            tables=self.door.tables,
            executions=StateMachine(wire.client("stepfunctions"), "arn:aws:states:x:1:stateMachine:refresh"),
            sns=self.door.sns,
            clock=wire.clock,
        )

    def _new_id(self, name: str) -> str:
        self.ids += 1
        return f"{name}-{self.ids}"

    def arrive(self, age: float = 0.0, end: float = FUNCTION_SECONDS) -> Reply:
        """The answer to a request that arrived ``age`` seconds ago, where Lambda gives ``end`` seconds."""
        clock = self.wire.clock
        self.arrived = clock() - age
        given = RequestTime(Deadline(self.arrived + ANSWER_SECONDS, clock), Deadline.after(end, clock))
        return self.triggering.receive("shop", self.door.signed(), given)

    @property
    def operations(self) -> list[str]:
        return [asked.operation for asked in self.wire.asked]

    @property
    def took(self) -> float:
        """Seconds from the arrival until now."""
        return self.wire.clock() - self.arrived

    @property
    def claims(self) -> list[Asked]:
        """The transactions that claim a pipeline."""
        return [asked for asked in self.wire.of(CLAIM) if len(asked.body["TransactItems"]) > 2]

    @property
    def notes(self) -> list[Asked]:
        """The transactions that write the baseline of a start, with what it requires."""
        return [asked for asked in self.wire.of(CLAIM) if len(asked.body["TransactItems"]) == 2]

    def runs(self) -> list[str]:
        return [str(one["run_id"]) for one in self.wire.dynamodb.documents("run#")]

    def started(self) -> int:
        """How often the job was started at Celonis."""
        return len(self.bench.celonis.jobs[JOB].mine)


@pytest.fixture
def trigger(monkeypatch: pytest.MonkeyPatch) -> Trigger:
    trigger = Trigger()
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(sleep=trigger.wire.clock.sleep))
    return trigger


def test_a_webhook_asks_aws_six_things_once(trigger: Trigger) -> None:
    assert trigger.arrive().status == 202
    assert trigger.operations == ACCEPTED


@pytest.mark.parametrize("operation", ["GetSecretValue", "GetParameter", CLAIM, "StartExecution"])
def test_a_call_that_hangs_is_abandoned_and_tried_once_more(trigger: Trigger, operation: str) -> None:
    trigger.wire.takes[operation] = [LONG]
    assert trigger.arrive().status == 202
    first, again, *_ = trigger.wire.of(operation)
    assert first.body == again.body
    assert TIMEOUTS.read <= again.at - first.at < TIMEOUTS.read + 0.1
    assert trigger.took < MAX_SECONDS
    assert trigger.runs() == ["otc-1"]
    assert set(trigger.wire.started) == {"otc-1"}
    assert trigger.started() <= 1


def test_a_claim_that_was_written_and_not_answered_is_accepted_with_the_same_token(trigger: Trigger) -> None:
    trigger.wire.takes[CLAIM] = [LONG]
    reply = trigger.arrive()
    assert (reply.status, reply.body["runs"][0]["status"]) == (202, "started")
    assert "duplicate" not in reply.body
    tokens = [asked.body["ClientRequestToken"] for asked in trigger.claims]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    assert trigger.runs() == trigger.wire.started == ["otc-1"]


def test_a_claim_that_is_never_answered_is_found_when_the_delivery_comes_again(trigger: Trigger) -> None:
    trigger.wire.takes[CLAIM] = [LONG] * TIMEOUTS.attempts
    with pytest.raises(TableBusy):
        trigger.arrive()
    assert trigger.took < MAX_SECONDS
    assert len({one.body["ClientRequestToken"] for one in trigger.wire.of(CLAIM)}) == 1
    assert trigger.wire.started == []
    again = trigger.arrive()
    assert (again.status, again.body["duplicate"]) == (200, True)
    assert trigger.runs() == trigger.wire.started == ["otc-1"]


def test_a_secret_that_does_not_come_is_answered_in_time(trigger: Trigger) -> None:
    trigger.wire.takes["GetSecretValue"] = [LONG] * 3
    with pytest.raises(ConfigurationUnavailable):
        trigger.arrive()
    assert trigger.took < MAX_SECONDS
    assert len(trigger.wire.of("GetSecretValue")) == TIMEOUTS.attempts
    assert CLAIM not in trigger.operations


def test_a_note_that_was_written_and_not_answered_is_no_reason_not_to_start(trigger: Trigger) -> None:
    """Sent again, it has the same token."""
    trigger.wire.takes[CLAIM] = [trigger.wire.usually, TIMEOUTS.read + 0.01]
    assert trigger.arrive().status == 202
    assert len(trigger.notes) == 2
    assert len({asked.body["ClientRequestToken"] for asked in trigger.notes}) == 1
    assert trigger.started() == 1
    assert trigger.wire.started == ["otc-1"]


def test_a_note_that_is_never_answered_leaves_the_start_to_the_state_machine(trigger: Trigger) -> None:
    trigger.wire.takes[CLAIM] = [trigger.wire.usually, *[LONG] * 4]
    assert trigger.arrive().status == 202
    assert len(trigger.notes) > 1
    assert trigger.started() == 0
    assert trigger.wire.started == ["otc-1"]


def test_an_execution_that_cannot_be_started_in_time_is_started_by_reconcile(trigger: Trigger) -> None:
    trigger.wire.takes["StartExecution"] = [LONG] * TIMEOUTS.attempts
    assert trigger.arrive().status == 202
    assert trigger.took < MAX_SECONDS
    assert trigger.runs() == ["otc-1"]


def test_a_throttled_read_is_tried_once_more(trigger: Trigger) -> None:
    trigger.wire.failures["GetSecretValue"] = [Failure("ThrottlingException")]
    assert trigger.arrive().status == 202
    assert len(trigger.wire.of("GetSecretValue")) == 2


def test_a_read_that_fails_is_given_up_after_the_second_attempt(trigger: Trigger) -> None:
    trigger.wire.failures["GetParameter"] = [Failure("InternalServerError", 500)] * 9
    with pytest.raises(ConfigurationUnavailable):
        trigger.arrive()
    assert len(trigger.wire.failures["GetParameter"]) == 9 - TIMEOUTS.attempts


def test_what_is_refused_for_good_is_not_asked_for_again(trigger: Trigger) -> None:
    trigger.wire.failures["GetSecretValue"] = [Failure("ResourceNotFoundException")] * 9
    with pytest.raises(Exception, match="does not exist"):
        trigger.arrive()
    assert len(trigger.wire.of("GetSecretValue")) == 1


def test_a_parameter_store_that_does_not_answer_delays_one_delivery_in_five_seconds(
    trigger: Trigger,
) -> None:
    assert trigger.arrive().status == 202
    trigger.wire.clock.sleep(DEFINITION_SECONDS)
    trigger.wire.takes = {"GetParameter": [LONG] * 99}
    trigger.wire.asked.clear()
    took = []
    for _ in range(3):
        assert trigger.arrive().status == 200  # one that is sent again: it is claimed, and known
        took.append(trigger.took)
    assert took[0] < MAX_SECONDS
    assert max(took[1:]) < 0.5
    assert trigger.operations.count(CLAIM) == 3

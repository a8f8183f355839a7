"""A webhook whose calls to AWS hang or are throttled: answered in time, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import endpoint

from celonis_refresh.aws.clients import CLIENT_TIMEOUTS
from celonis_refresh.aws.configuration import (
    ConfigurationUnavailable,
    Parameters,
    Secrets,
)
from celonis_refresh.aws.executions import StateMachine
from celonis_refresh.aws.webhook_configuration import PIPELINE_SECONDS, WebhookConfiguration
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.timing import Deadline
from celonis_refresh.workflow.accept import TriggerAcceptor
from celonis_refresh.workflow.webhook import RESPONSE_SECONDS, Reply, RequestTime, WebhookHandler
from tests.fakes.aws import AwsAttempt, AwsFailure, FakeAws
from tests.fakes.service import JOB, POOL, ServiceHarness
from tests.unit.workflow.webhook_harness import FUNCTION_SECONDS, SECRET, WebhookHarness

PIPELINE = {"data_pool": POOL, "jobs": [{"job": JOB}]}
SOURCE, RULES, CLAIM = "/stack/sources/shop", "/stack/pipelines/otc", "TransactWriteItems"
TIMEOUTS = CLIENT_TIMEOUTS["response"]
MAX_SECONDS = 4.0
"""A webhook with one call that hangs is answered within this time."""
CONFIGURATION = [
    "GetItem",
    "GetParameters",
    "GetSecretValue",
    "GetParameters",
    "UpdateItem",
]
"""What the first webhook of a source asks for: the source, its secret, a pipeline; the table shares each."""
ACCEPTED = [CLAIM, CLAIM, "StartExecution"]
"""What a webhook asks of AWS then, in order: the second transaction writes the baseline."""
LONG = 60.0
"""Seconds: longer than any timeout."""


@dataclass
class TriggerOverAws:
    """A webhook handled with real botocore clients in virtual time."""

    aws: FakeAws = field(default_factory=FakeAws)
    start: Callable[[Thread], None] = Thread.run

    def __post_init__(self) -> None:
        aws = self.aws
        aws.parameters = {
            SOURCE: {
                "sender": "standard_webhooks",
                "secret": "shop",
                "rules": [{"pipeline": "otc"}],
            },
            RULES: PIPELINE,
        }
        aws.secrets = {"stack/webhooks/shop": {"current": SECRET}}
        clients: Any = aws.client("dynamodb")
        self.harness = WebhookHarness(ServiceHarness(aws.clock, clients))
        self.service = self.harness.service
        self.service.job().add_past_start(600.0)
        self.service.model()
        parameters = Parameters(aws.client("ssm"), "stack")
        secrets = Secrets(aws.client("secretsmanager"), "stack")
        self.configuration = WebhookConfiguration.of(
            parameters, secrets, self.service.table, aws.clock, aws.clock.sleep, self.start
        )
        found = self.configuration
        self.ids = 0
        self.webhook_handler = WebhookHandler(
            source=found.source,
            secrets=found.secrets.get,
            refreshed_secrets=found.secrets.refresh_if_allowed,
            acceptor=TriggerAcceptor(self.service.claims, found.definition, self._new_id, aws.clock),
            context=self.service.context,
            tables=self.harness.tables,
            executions=StateMachine(aws.client("stepfunctions"), "arn:aws:states:x:1:stateMachine:refresh"),
            sns=self.harness.sns,
            clock=aws.clock,
        )

    def _new_id(self, name: str) -> str:
        self.ids += 1
        return f"{name}-{self.ids}"

    def arrive(self, age: float = 0.0, end: float = FUNCTION_SECONDS) -> Reply:
        """The answer to a request that arrived ``age`` seconds ago, where Lambda gives ``end`` seconds."""
        clock = self.aws.clock
        self.arrived = clock() - age
        given = RequestTime(Deadline(self.arrived + RESPONSE_SECONDS, clock), Deadline.after(end, clock))
        return self.webhook_handler.receive("shop", self.harness.signed(), given)

    @property
    def operations(self) -> list[str]:
        return [attempt.operation for attempt in self.aws.attempts]

    @property
    def took(self) -> float:
        """Seconds from the arrival until now."""
        return self.aws.clock() - self.arrived

    @property
    def claims(self) -> list[AwsAttempt]:
        """The transactions that claim a pipeline."""
        return [attempt for attempt in self.aws.attempts_of(CLAIM) if len(attempt.body["TransactItems"]) > 2]

    @property
    def notes(self) -> list[AwsAttempt]:
        """The transactions that write the baseline of a start, with what it requires."""
        return [attempt for attempt in self.aws.attempts_of(CLAIM) if len(attempt.body["TransactItems"]) == 2]

    def runs(self) -> list[str]:
        return [str(one["run_id"]) for one in self.aws.dynamodb.documents("run#")]

    def started(self) -> int:
        """How often the job was started at Celonis."""
        return len(self.service.celonis.jobs[JOB].mine)


@pytest.fixture
def trigger(monkeypatch: pytest.MonkeyPatch) -> TriggerOverAws:
    trigger = TriggerOverAws()
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(sleep=trigger.aws.clock.sleep))
    return trigger


def test_the_first_webhook_of_a_source_reads_its_configuration_and_shares_it(trigger: TriggerOverAws) -> None:
    assert trigger.arrive().status == 202
    assert trigger.operations == [*CONFIGURATION, *ACCEPTED]


def test_a_webhook_is_answered_before_its_configuration_is_shared() -> None:
    threads: list[Thread] = []
    trigger = TriggerOverAws(start=threads.append)
    assert trigger.arrive().status == 202
    assert trigger.operations == [*CONFIGURATION[:-1], *ACCEPTED]
    (thread,) = threads
    thread.run()
    assert trigger.operations[-1] == "UpdateItem"
    another = TriggerOverAws(trigger.aws)
    trigger.aws.attempts.clear()
    another.arrive()
    assert "GetParameters" not in another.operations


def test_a_new_process_reads_the_copy_in_the_table_and_the_secret(trigger: TriggerOverAws) -> None:
    assert trigger.arrive().status == 202
    again = TriggerOverAws(trigger.aws)
    trigger.aws.attempts.clear()
    assert again.arrive().status == 200  # the same delivery
    expected = ["GetItem", "GetSecretValue", CLAIM, "GetItem", "StartExecution", "UpdateItem"]
    assert again.operations == expected


@pytest.mark.parametrize(
    "operation", ["GetItem", "UpdateItem", "GetSecretValue", "GetParameters", CLAIM, "StartExecution"]
)
def test_a_call_that_hangs_is_abandoned_and_tried_once_more(trigger: TriggerOverAws, operation: str) -> None:
    trigger.aws.latencies[operation] = [LONG]
    assert trigger.arrive().status == 202
    first, again, *_ = trigger.aws.attempts_of(operation)
    assert first.body == again.body
    assert TIMEOUTS.read <= again.at - first.at < TIMEOUTS.read + 0.1
    assert trigger.took < MAX_SECONDS
    assert trigger.runs() == ["otc-1"]
    assert set(trigger.aws.started) == {"otc-1"}
    assert trigger.started() <= 1


def test_a_claim_that_was_written_and_not_answered_is_accepted_with_the_same_token(
    trigger: TriggerOverAws,
) -> None:
    trigger.aws.latencies[CLAIM] = [LONG]
    reply = trigger.arrive()
    assert (reply.status, reply.body["runs"][0]["status"]) == (202, "started")
    assert "duplicate" not in reply.body
    tokens = [attempt.body["ClientRequestToken"] for attempt in trigger.claims]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    assert trigger.runs() == trigger.aws.started == ["otc-1"]


def test_a_claim_that_is_never_answered_is_found_when_the_delivery_comes_again(
    trigger: TriggerOverAws,
) -> None:
    trigger.aws.latencies[CLAIM] = [LONG] * TIMEOUTS.attempts
    with pytest.raises(TableBusy):
        trigger.arrive()
    assert trigger.took < MAX_SECONDS
    assert len({one.body["ClientRequestToken"] for one in trigger.aws.attempts_of(CLAIM)}) == 1
    assert trigger.aws.started == []
    again = trigger.arrive()
    assert (again.status, again.body["duplicate"]) == (200, True)
    assert trigger.runs() == trigger.aws.started == ["otc-1"]


def test_a_secret_that_does_not_come_is_answered_in_time(trigger: TriggerOverAws) -> None:
    trigger.aws.latencies["GetSecretValue"] = [LONG] * 3
    with pytest.raises(ConfigurationUnavailable):
        trigger.arrive()
    assert trigger.took < MAX_SECONDS
    assert len(trigger.aws.attempts_of("GetSecretValue")) == TIMEOUTS.attempts
    assert CLAIM not in trigger.operations


def test_a_note_that_was_written_and_not_answered_is_no_reason_not_to_start(trigger: TriggerOverAws) -> None:
    """Sent again, it has the same token."""
    trigger.aws.latencies[CLAIM] = [trigger.aws.default_latency, TIMEOUTS.read + 0.01]
    assert trigger.arrive().status == 202
    assert len(trigger.notes) == 2
    assert len({attempt.body["ClientRequestToken"] for attempt in trigger.notes}) == 1
    assert trigger.started() == 1
    assert trigger.aws.started == ["otc-1"]


def test_a_note_that_is_never_answered_leaves_the_start_to_the_state_machine(trigger: TriggerOverAws) -> None:
    trigger.aws.latencies[CLAIM] = [trigger.aws.default_latency, *[LONG] * 4]
    assert trigger.arrive().status == 202
    assert len(trigger.notes) > 1
    assert trigger.started() == 0
    assert trigger.aws.started == ["otc-1"]


def test_an_execution_that_cannot_be_started_in_time_is_started_by_reconcile(trigger: TriggerOverAws) -> None:
    trigger.aws.latencies["StartExecution"] = [LONG] * TIMEOUTS.attempts
    assert trigger.arrive().status == 202
    assert trigger.took < MAX_SECONDS
    assert trigger.runs() == ["otc-1"]


def test_a_throttled_read_is_tried_once_more(trigger: TriggerOverAws) -> None:
    trigger.aws.failures["GetSecretValue"] = [AwsFailure("ThrottlingException")]
    assert trigger.arrive().status == 202
    assert len(trigger.aws.attempts_of("GetSecretValue")) == 2


def test_a_failing_read_is_abandoned_after_the_second_attempt(trigger: TriggerOverAws) -> None:
    trigger.aws.failures["GetParameters"] = [AwsFailure("InternalServerError", 500)] * 9
    with pytest.raises(ConfigurationUnavailable):
        trigger.arrive()
    assert len(trigger.aws.failures["GetParameters"]) == 9 - TIMEOUTS.attempts


def test_a_permanent_error_is_not_retried(trigger: TriggerOverAws) -> None:
    trigger.aws.failures["GetSecretValue"] = [AwsFailure("ResourceNotFoundException")] * 9
    with pytest.raises(Exception, match="does not exist"):
        trigger.arrive()
    assert len(trigger.aws.attempts_of("GetSecretValue")) == 1


def test_a_parameter_store_that_does_not_answer_delays_one_delivery_in_five_seconds(
    trigger: TriggerOverAws,
) -> None:
    assert trigger.arrive().status == 202
    trigger.aws.clock.sleep(PIPELINE_SECONDS)
    trigger.aws.latencies = {"GetParameters": [LONG] * 99}
    trigger.aws.attempts.clear()
    took = []
    for _ in range(3):
        trigger.harness.forget()
        assert trigger.arrive().status == 200  # one that is sent again: it is claimed, and known
        took.append(trigger.took)
    assert took[0] < MAX_SECONDS
    assert max(took[1:]) < 0.5
    assert trigger.operations.count(CLAIM) == 3

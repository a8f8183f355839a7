"""One deadline reaches every call to AWS: what is left less what StartExecution needs, attempt by attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from celonis_refresh.aws.clients import PATIENCE
from celonis_refresh.aws.configuration import ConfigurationUnavailable, Parameters, Secrets, is_passing
from celonis_refresh.aws.executions import StateMachine
from celonis_refresh.aws.in_time import LEAST_SECONDS
from celonis_refresh.aws.kept import Kept
from celonis_refresh.aws.known_sources import KnownSources
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.passage.accepting import Accepting
from celonis_refresh.passage.request_time import (
    ANSWER_SECONDS,
    HAND_OVER_SECONDS,
    LEAST_CLAIM_SECONDS,
    MORE_HAND_OVER_SECONDS,
    RequestTime,
)
from celonis_refresh.passage.triggering import GIVE_BACK_SECONDS, Reply, Triggering
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.timing import Deadline
from tests.fakes.aws import Asked, Failure, Wire
from tests.fakes.bench import JOB, MODEL, POOL, Bench
from tests.unit.passage.entrance import FUNCTION_SECONDS, SECRET, Entrance

PIPELINE = {"data_pool": POOL, "jobs": [{"job": JOB}]}
SOURCE, RULES, CLAIM = "/stack/sources/shop", "/stack/pipelines/otc", "TransactWriteItems"
READ = PATIENCE["answer"].read
RESERVED = ANSWER_SECONDS - HAND_OVER_SECONDS
"""Seconds from the arrival by which everything before the hand-over is to be over."""
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
        self.door = Entrance(Bench(wire.clock, clients))
        self.bench = self.door.bench
        self.bench.job().before(600.0)
        self.bench.model()
        parameters = Parameters(wire.client("ssm"), "stack")
        secrets = Secrets(wire.client("secretsmanager"), "stack")
        known = KnownSources(parameters, wire.clock)
        kept = webhook_secrets(secrets.webhook, wire.clock)
        sources = Kept(known.source, 60, wire.clock, is_passing)
        definitions = Kept(parameters.pipeline, DEFINITION_SECONDS, wire.clock, is_passing)
        self.ids = 0
        self.triggering = Triggering(
            source=sources.get,
            secrets=kept.get,
            renewed=kept.renew_seldom,
            accepting=Accepting(self.bench.claims, definitions.get, self._new_id, wire.clock),
            tasks=self.bench.tasks,
            tables=self.door.tables,
            records=self.bench.records,
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

    def left_of(self, asked: Asked) -> float:
        """When the attempt's time is over, in seconds since the arrival; its caps aside."""
        return asked.at + asked.total - self.arrived


@pytest.fixture
def trigger() -> Trigger:
    return Trigger()


@pytest.mark.parametrize("age", [0.0, 0.05, 0.3], ids=["at once", "warm", "cold"])
def test_every_call_may_take_what_is_left_less_what_starting_the_execution_needs(
    trigger: Trigger, age: float
) -> None:
    assert trigger.arrive(age).status == 202
    assert trigger.operations == ACCEPTED
    *before, start = trigger.wire.asked
    assert [trigger.left_of(asked) for asked in before] == pytest.approx([RESERVED] * 5)
    assert trigger.left_of(start) == pytest.approx(ANSWER_SECONDS)
    for asked in trigger.wire.asked:
        assert (asked.connect, asked.read) == (PATIENCE["answer"].connect, READ)


@pytest.mark.parametrize("age", [0.5, 2.0, 2.6, 60.0])
def test_the_claim_and_what_it_needs_to_know_have_their_least_however_late_it_is(
    trigger: Trigger, age: float
) -> None:
    assert trigger.arrive(age).status == 202
    source, secret, pipeline, claim, *_, start = trigger.wire.asked
    assert source.total == pytest.approx(LEAST_CLAIM_SECONDS)
    assert secret.total == pytest.approx(LEAST_CLAIM_SECONDS - (secret.at - source.at))
    assert pipeline.total == pytest.approx(LEAST_CLAIM_SECONDS)
    assert claim.total == pytest.approx(LEAST_CLAIM_SECONDS - (claim.at - pipeline.at))
    assert start.total == pytest.approx(max(HAND_OVER_SECONDS, trigger.arrived + ANSWER_SECONDS - start.at))


@pytest.mark.parametrize("operation", ["GetSecretValue", "GetParameter", CLAIM, "StartExecution"])
def test_an_answer_that_comes_too_late_is_asked_for_again_within_what_is_left(
    trigger: Trigger, operation: str
) -> None:
    trigger.wire.takes[operation] = [LONG]
    assert trigger.arrive().status == 202
    first, again, *_ = trigger.wire.of(operation)
    assert first.body == again.body
    assert again.at - first.at == pytest.approx(READ)
    assert again.total == pytest.approx(max(first.total - READ, LEAST_SECONDS))
    assert trigger.took < ANSWER_SECONDS
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


def test_a_claim_that_is_never_answered_ends_in_time_and_is_found_when_it_comes_again(
    trigger: Trigger,
) -> None:
    trigger.wire.takes[CLAIM] = [LONG] * 3
    with pytest.raises(TableBusy):
        trigger.arrive()
    assert trigger.took == pytest.approx(RESERVED)
    asked = trigger.wire.of(CLAIM)
    assert [one.ends - trigger.arrived for one in asked] == pytest.approx(
        [asked[0].at - trigger.arrived + READ + PATIENCE["answer"].connect, RESERVED]
    )
    assert len({one.body["ClientRequestToken"] for one in asked}) == 1
    assert trigger.wire.started == []
    del trigger.wire.takes[CLAIM]
    again = trigger.arrive()
    assert (again.status, again.body["duplicate"]) == (200, True)
    assert trigger.runs() == trigger.wire.started == ["otc-1"]


def test_three_calls_that_hang_do_not_outlast_what_each_has_at_least(trigger: Trigger) -> None:
    for operation in ("GetSecretValue", CLAIM, "StartExecution"):
        trigger.wire.takes[operation] = [LONG]
    assert trigger.arrive().status == 202
    claims = trigger.claims
    assert claims[0].total == pytest.approx(LEAST_CLAIM_SECONDS - trigger.wire.usually)
    assert claims[1].total == pytest.approx(claims[0].total - READ)
    (start,) = trigger.wire.of("StartExecution")
    assert start.total == pytest.approx(HAND_OVER_SECONDS)
    assert trigger.took < 2 * READ + HAND_OVER_SECONDS + 0.1


def test_a_secret_that_does_not_come_leaves_time_to_say_so(trigger: Trigger) -> None:
    trigger.wire.takes["GetSecretValue"] = [LONG] * 3
    with pytest.raises(ConfigurationUnavailable):
        trigger.arrive()
    assert trigger.took == pytest.approx(RESERVED)
    assert len(trigger.wire.of("GetSecretValue")) == 2
    assert CLAIM not in trigger.operations


def test_a_note_that_was_written_and_not_answered_is_no_reason_not_to_start(trigger: Trigger) -> None:
    """Sent again, it has the same token."""
    trigger.wire.takes[CLAIM] = [trigger.wire.usually, READ + 0.01]
    assert trigger.arrive().status == 202
    assert len(trigger.notes) == 2
    assert len({asked.body["ClientRequestToken"] for asked in trigger.notes}) == 1
    assert trigger.started() == 1
    assert trigger.wire.started == ["otc-1"]


def test_a_note_that_is_never_answered_leaves_the_start_to_the_state_machine(trigger: Trigger) -> None:
    trigger.wire.takes[CLAIM] = [trigger.wire.usually, LONG, LONG, LONG]
    assert trigger.arrive().status == 202
    *notes, given_back = trigger.notes
    assert len(notes) > 1
    assert all(asked.ends - trigger.arrived <= RESERVED + 0.001 for asked in notes[1:])
    assert given_back.ends - trigger.arrived <= RESERVED + GIVE_BACK_SECONDS + 0.001
    assert trigger.started() == 0
    assert trigger.wire.started == ["otc-1"]


def test_a_hand_over_has_the_whole_rest_and_is_tried_again_within_it(trigger: Trigger) -> None:
    trigger.wire.takes["StartExecution"] = [LONG, LONG, LONG]
    assert trigger.arrive().status == 202
    assert trigger.took == pytest.approx(ANSWER_SECONDS)
    starts = trigger.wire.of("StartExecution")
    assert [later.at - one.at for one, later in pairwise(starts)] == pytest.approx([READ, READ])
    assert starts[-1].ends == pytest.approx(trigger.arrived + ANSWER_SECONDS)


def test_nothing_is_sent_once_the_function_is_at_its_end(trigger: Trigger) -> None:
    trigger.wire.takes[CLAIM] = [0.9]
    assert trigger.arrive(end=0.95).status == 202
    assert trigger.wire.of("StartExecution") == trigger.notes == []
    assert all(asked.ends <= trigger.arrived + 0.95 + 1e-6 for asked in trigger.wire.asked)
    assert trigger.runs() == ["otc-1"]


def test_each_further_run_of_a_delivery_keeps_its_share_of_the_time(trigger: Trigger) -> None:
    trigger.wire.parameters[SOURCE]["rules"] = [{"pipeline": name} for name in ("otc", "p2p")]
    trigger.wire.parameters["/stack/pipelines/p2p"] = {
        "data_pool": POOL,
        "loads": [{"data_model": MODEL}],
    }
    assert trigger.arrive().status == 202
    (note,), (first, second) = trigger.notes, trigger.wire.of("StartExecution")
    assert trigger.left_of(note) == pytest.approx(RESERVED - MORE_HAND_OVER_SECONDS)
    assert trigger.left_of(first) == pytest.approx(ANSWER_SECONDS - MORE_HAND_OVER_SECONDS)
    assert trigger.left_of(second) == pytest.approx(ANSWER_SECONDS)


def test_a_throttled_read_is_asked_for_again_at_once_and_no_longer_than_it_helps(trigger: Trigger) -> None:
    trigger.wire.failures["GetSecretValue"] = [Failure("ThrottlingException")] * 2
    assert trigger.arrive().status == 202
    assert len(trigger.wire.of("GetSecretValue")) == PATIENCE["answer"].attempts
    trigger = Trigger()
    trigger.wire.failures["GetParameter"] = [Failure("InternalServerError", 500)] * 9
    with pytest.raises(ConfigurationUnavailable):
        trigger.arrive()
    assert len(trigger.wire.failures["GetParameter"]) == 9 - PATIENCE["answer"].attempts


def test_what_is_refused_for_good_is_not_asked_for_again(trigger: Trigger) -> None:
    trigger.wire.failures["GetSecretValue"] = [Failure("ResourceNotFoundException")] * 9
    with pytest.raises(Exception, match="does not exist"):
        trigger.arrive()
    assert len(trigger.wire.of("GetSecretValue")) == 1


@pytest.mark.parametrize("seconds", [1.2, LONG], ids=["slow", "silent"])
def test_a_parameter_store_that_does_not_answer_holds_nothing_up_that_is_known(
    trigger: Trigger, seconds: float
) -> None:
    assert trigger.arrive().status == 202
    trigger.wire.clock.sleep(DEFINITION_SECONDS)
    trigger.wire.takes = {"GetParameter": [seconds] * 99}
    trigger.wire.asked.clear()
    for _ in range(3):
        assert trigger.arrive().status == 200  # one that is sent again: it is claimed, and known
        assert trigger.took < ANSWER_SECONDS
    assert trigger.operations.count(CLAIM) == 3

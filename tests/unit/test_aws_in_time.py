"""What a client asks ends with the block at hand: the handlers of botocore's events, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ReadTimeoutError,
)
from urllib3 import Timeout

from celonis_refresh.aws import clients
from celonis_refresh.aws.clients import PATIENCE, Patience
from celonis_refresh.aws.in_time import FIRST_PAUSE, LEAST_SECONDS, InTime
from celonis_refresh.aws.passing import THROTTLED
from celonis_refresh.timing import Deadline, left_within, within
from tests.fakes.clock import Clock

REQUEST: Any = SimpleNamespace(url="https://dynamodb.eu-central-1.amazonaws.com/")
PATIENT = Patience(0.5, 1.0, 3, bounded=True)


class Most(Random):
    """The longest pause that may be drawn."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def given() -> list[Timeout]:
    return []


@pytest.fixture
def handlers(given: list[Timeout]) -> InTime:
    def send(_: object, timeout: Timeout) -> Any:
        given.append(timeout)
        return "the answer"

    return InTime(PATIENT, send, Most())


def test_outside_of_any_block_nothing_is_bounded() -> None:
    assert left_within() == inf


def test_a_block_bounds_what_is_in_it_and_never_outlasts_the_one_around_it(clock: Clock) -> None:
    with within(Deadline.after(3.0, clock)):
        assert left_within() == pytest.approx(3.0)
        with within(Deadline.after(9.0, clock)):
            assert left_within() == pytest.approx(3.0)
        with within(Deadline.after(1.0, clock)):
            clock.sleep(0.5)
            assert left_within() == pytest.approx(0.5)
            clock.sleep(1.0)
            assert left_within() == 0.0
        assert left_within() == pytest.approx(1.5)
    assert left_within() == inf


def test_a_block_is_over_when_it_is_left_by_an_error(clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError), within(Deadline.after(1.0, clock)):
        raise ZeroDivisionError
    assert left_within() == inf


def told(timeout: Timeout) -> tuple[object, object, object]:
    return timeout.connect_timeout, timeout.read_timeout, timeout.total


@pytest.mark.parametrize(("left", "connect", "total"), [(1.9, 0.5, 1.9), (0.3, 0.3, 0.3), (0.06, 0.06, 0.06)])
def test_an_attempt_may_take_what_is_left_and_no_more_than_its_patience(
    left: float, connect: float, total: float, handlers: InTime, given: list[Timeout], clock: Clock
) -> None:
    with within(Deadline(clock() + left, lambda: clock.now)):
        assert handlers.before_send(REQUEST) == "the answer"
    (timeout,) = given
    assert told(timeout) == pytest.approx((connect, PATIENT.read, total))
    timeout.start_connect()
    assert timeout.read_timeout == pytest.approx(min(PATIENT.read, total), abs=0.02)


def test_outside_of_any_block_an_attempt_has_its_patience(handlers: InTime, given: list[Timeout]) -> None:
    handlers.before_send(REQUEST)
    assert [told(timeout) for timeout in given] == [(PATIENT.connect, PATIENT.read, None)]


@pytest.mark.parametrize("left", [-60.0, 0.0, LEAST_SECONDS / 2])
def test_nothing_is_sent_where_no_time_is_left(
    left: float, handlers: InTime, given: list[Timeout], clock: Clock
) -> None:
    with within(Deadline.after(left, clock)), pytest.raises(ConnectTimeoutError):
        handlers.before_send(REQUEST)
    assert given == []


def answer(status: int, code: str = "") -> Any:
    return SimpleNamespace(status_code=status), {"Error": {"Code": code}} if code else {}


PASSING = [
    (answer(500, "InternalServerError"), None),
    (answer(503), None),
    *((answer(400, code), None) for code in sorted(THROTTLED)),
    *((None, error(endpoint_url=REQUEST.url)) for error in (ReadTimeoutError, ConnectTimeoutError)),
    (None, EndpointConnectionError(endpoint_url=REQUEST.url)),
]
FINAL = [
    (answer(200), None),
    (answer(400, "ConditionalCheckFailedException"), None),
    (answer(400, "TransactionCanceledException"), None),
    (answer(400, "TransactionInProgressException"), None),
    (None, ParamValidationError(report="")),
]


@pytest.mark.parametrize(("response", "error"), PASSING)
def test_what_may_pass_is_asked_for_again_after_a_short_pause(
    response: Any, error: Any, handlers: InTime
) -> None:
    pauses = [handlers.needs_retry(attempts, response, error) for attempts in (1, 2, 3)]
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, None]


@pytest.mark.parametrize(("response", "error"), FINAL)
def test_what_is_final_is_not_asked_for_again(response: Any, error: Any, handlers: InTime) -> None:
    assert handlers.needs_retry(1, response, error) is None


@pytest.mark.parametrize(
    ("left", "again"), [(LEAST_SECONDS + FIRST_PAUSE + 0.01, True), (FIRST_PAUSE, False)]
)
def test_nobody_pauses_for_an_attempt_that_would_not_be_sent(
    left: float, *, again: bool, handlers: InTime, clock: Clock
) -> None:
    with within(Deadline.after(left, clock)):
        pause = handlers.needs_retry(1, *PASSING[0])
    assert pause == (FIRST_PAUSE if again else None)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    values = {"DEFAULT_REGION": "eu-central-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    yield
    for cached in (vars(clients)["_client"], vars(clients)["_session"], vars(clients)["_connections"]):
        cached.cache_clear()


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("make", "ask"),
    [
        (clients.dynamodb, lambda client: client.get_item(TableName="t", Key={"pk": {"S": "a"}})),
        (clients.ssm, lambda client: client.get_parameter(Name="n")),
        (clients.secretsmanager, lambda client: client.get_secret_value(SecretId="n")),
        (clients.stepfunctions, lambda client: client.start_execution(stateMachineArn="a", name="n")),
        (clients.sns, lambda client: client.publish(TopicArn="a", Message="m")),
    ],
)
def test_every_client_whose_answer_somebody_waits_for_is_bounded(make: Any, ask: Any, clock: Clock) -> None:
    """No socket is opened here: a request that left would be noticed."""
    with within(Deadline.after(0.0, clock)), pytest.raises(ConnectTimeoutError):
        ask(make(PATIENCE["answer"]))

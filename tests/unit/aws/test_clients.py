"""The clients of AWS: how long each function waits for an answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celonis_refresh.aws import clients
from tests.template import documents

FUNCTIONS = documents.functions()
MAX_BACKOFF_SECONDS = 1.0
"""Before the second attempt after a throttled call; twice as long before the third."""
MAX_WEBHOOK_SECONDS = 4.0
"""A webhook with one call that hangs is answered within this time."""


def longest(timeouts: clients.ClientTimeouts) -> float:
    """Return the seconds that one call may take, all its attempts and pauses included."""
    pauses = MAX_BACKOFF_SECONDS * sum(range(1, timeouts.attempts))
    return timeouts.attempts * (timeouts.connect + timeouts.read) + pauses


def timeouts_of(function: str) -> clients.ClientTimeouts:
    return clients.CLIENT_TIMEOUTS[FUNCTIONS[function]["Environment"]["Variables"]["CLIENT_TIMEOUTS"]]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_call_without_an_answer_leaves_the_function_time_to_report_it(function: str) -> None:
    assert longest(timeouts_of(function)) <= FUNCTIONS[function]["Timeout"]


def test_the_functions_that_a_client_waits_for_try_a_call_that_hangs_once_more() -> None:
    response = clients.CLIENT_TIMEOUTS["response"]
    assert [name for name in FUNCTIONS if timeouts_of(name) is response] == ["Trigger", "Api"]
    assert response.attempts == 2
    assert longest(response) <= MAX_WEBHOOK_SECONDS


@pytest.fixture
def _new_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ("DEFAULT_REGION", "eu-central-1"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"):
        monkeypatch.setenv(f"AWS_{name}", value)
    for cached in (clients._client, clients._session):
        cached.cache_clear()
    yield
    for cached in (clients._client, clients._session):
        cached.cache_clear()


@pytest.mark.usefixtures("_new_clients")
@pytest.mark.parametrize("service", ["dynamodb", "secretsmanager", "sns", "ssm", "stepfunctions"])
@pytest.mark.parametrize("timeouts", clients.CLIENT_TIMEOUTS.values(), ids=clients.CLIENT_TIMEOUTS)
def test_a_client_has_the_timeouts_of_its_function_and_is_made_once(
    service: str, timeouts: clients.ClientTimeouts
) -> None:
    make = getattr(clients, service)
    client = make(timeouts)
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (timeouts.connect, timeouts.read)
    assert config.retries == {"mode": "standard", "total_max_attempts": timeouts.attempts}
    assert make(timeouts) is client

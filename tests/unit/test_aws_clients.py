"""The clients of AWS: how long each function waits for an answer."""

from __future__ import annotations

import pytest

from celonis_refresh.aws import clients
from celonis_refresh.aws.in_time import LEAST_SECONDS
from celonis_refresh.passage.request_time import ANSWER_SECONDS, HAND_OVER_SECONDS, LEAST_CLAIM_SECONDS
from tests.template import documents

FUNCTIONS = documents.functions()
LONGEST_PAUSE = 1.0
"""Seconds before the second attempt; twice as long before the third."""


def most(patience: clients.Patience) -> float:
    """What one call may take, all its attempts and pauses included."""
    pauses = LONGEST_PAUSE * sum(range(1, patience.attempts))
    seconds: float = patience.attempts * (patience.connect + patience.read) + pauses
    return seconds


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_call_that_gets_no_answer_leaves_the_function_time_to_say_so(function: str) -> None:
    patience = clients.PATIENCE[FUNCTIONS[function]["Environment"]["Variables"]["PATIENCE"]]
    assert most(patience) <= FUNCTIONS[function]["Timeout"]


def test_where_somebody_waits_an_attempt_leaves_time_for_another() -> None:
    named = {name: one["Environment"]["Variables"]["PATIENCE"] for name, one in FUNCTIONS.items()}
    assert [name for name, patience in named.items() if patience == "answer"] == ["Trigger", "Api"]
    patience = clients.PATIENCE["answer"]
    assert patience.bounded
    assert patience.attempts > 1
    assert patience.connect + patience.read <= LEAST_CLAIM_SECONDS < 2 * patience.read
    assert patience.read < ANSWER_SECONDS - HAND_OVER_SECONDS - LEAST_SECONDS


@pytest.mark.parametrize("patience", clients.PATIENCE.values(), ids=clients.PATIENCE)
def test_a_client_waits_as_long_as_it_is_told_to(
    patience: clients.Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ("DEFAULT_REGION", "eu-central-1"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"):
        monkeypatch.setenv(f"AWS_{name}", value)
    client = clients.dynamodb(patience)
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (patience.connect, patience.read)
    assert config.retries["total_max_attempts"] == patience.attempts
    assert clients.dynamodb(patience) is client

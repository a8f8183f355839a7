"""The clients of AWS: how long each function waits for an answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore import endpoint
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from urllib3 import HTTPResponse, Timeout

from celonis_refresh.aws import clients
from celonis_refresh.aws.in_time import FIRST_PAUSE, LEAST_SECONDS
from celonis_refresh.aws.models import SERVICES
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
    assert config.retries["total_max_attempts"] == (1 if patience.bounded else patience.attempts)
    assert clients.dynamodb(patience) is client


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients and their session are made anew, and gone at the end."""
    for name, value in ("DEFAULT_REGION", "eu-central-1"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"):
        monkeypatch.setenv(f"AWS_{name}", value)
    for kept in (clients._client, clients._session):
        kept.cache_clear()
    yield
    for kept in (clients._client, clients._session):
        kept.cache_clear()


MAKERS = {name: getattr(clients, name) for name in SERVICES}


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("service", SERVICES)
def test_a_client_is_made_without_a_look_at_other_services(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    real = os.listdir

    def noted(path: str) -> list[str]:
        listed.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(os, "listdir", noted)
    client = MAKERS[service](clients.PATIENCE["task"])
    assert client.meta.endpoint_url.startswith("https://")
    assert set(listed) == {service}


@pytest.mark.usefixtures("session")
def test_a_description_of_the_layer_comes_before_that_of_botocore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Loader().load_service_model("sns", "service-2")
    folder = tmp_path / "sns" / known["metadata"]["apiVersion"]
    folder.mkdir(parents=True)
    only = {**known, "operations": {"Publish": known["operations"]["Publish"]}}
    (folder / "service-2.json").write_text(json.dumps(only), encoding="utf-8")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    model = clients.sns(clients.PATIENCE["task"]).meta.service_model
    assert model.operation_names == ["Publish"]


class Throttled:
    """Answers that ask to come back later."""

    def send(self, request: AWSPreparedRequest, timeout: Timeout) -> AWSResponse:
        raw = HTTPResponse(BytesIO(b'{"__type": "ThrottlingException"}'), status=400, preload_content=False)
        return AWSResponse(request.url, 400, {"Content-Type": "application/x-amz-json-1.0"}, raw)


@pytest.mark.usefixtures("session")
def test_what_is_bounded_sleeps_for_our_pauses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore would wait for up to one second, then two, whatever is left of the request."""
    slept: list[float] = []
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr(clients, "_connections", Throttled)
    client = clients.dynamodb(clients.PATIENCE["answer"])
    for _ in range(20):
        with pytest.raises(ClientError):
            client.get_item(TableName="t", Key={"pk": {"S": "x"}})
    pauses = clients.PATIENCE["answer"].attempts - 1
    assert len(slept) == 20 * pauses
    assert max(slept) <= FIRST_PAUSE * 2 ** (pauses - 1)

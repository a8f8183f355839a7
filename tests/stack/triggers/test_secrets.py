"""A secret is rotated without a deployment, without a lost event, and without costs caused by strangers."""

from __future__ import annotations

import json
import time

import pytest

from celonis_refresh.aws.webhook_secrets import READ_SECONDS, READS_AT_ONCE
from local.serve import STACK_NAME
from local.wait import until
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import DeployedService
from tests.stack.triggers.watching import SingleProcess

OLD, NEW = "the-old-secret-of-the-sender-0001", "the-new-secret-of-the-sender-0002"
NOTHING = {"action": "requested"}
"""An authentic event that starts nothing."""


@pytest.fixture
def rotated(service: DeployedService, celonis: CelonisControls) -> tuple[str, str]:
    """A source and the name of its secret."""
    service.secrets += [OLD, NEW]
    secret = service.secret("webhooks", {"current": OLD})
    return service.source({"pipeline": service.pipeline(jobs=[celonis.job()])}, secret=secret), secret


def _put(service: DeployedService, secret: str, **values: str) -> None:
    service.stack.client("secretsmanager").put_secret_value(
        SecretId=f"{STACK_NAME}/webhooks/{secret}", SecretString=json.dumps(values)
    )


def test_the_new_secret_counts_at_once_and_the_previous_one_still(
    service: DeployedService, rotated: tuple[str, str]
) -> None:
    source, secret = rotated
    SingleProcess(service.stack)
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 200
    _put(service, secret, current=NEW, previous=OLD)
    assert service.webhook(source, NOTHING, secret=NEW).status_code == 200
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 200


def test_once_the_previous_secret_is_gone_it_is_refused(
    service: DeployedService, rotated: tuple[str, str]
) -> None:
    source, secret = rotated
    _put(service, secret, current=NEW)
    SingleProcess(service.stack)
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 401
    assert service.webhook(source, NOTHING, secret=NEW).status_code == 200


def test_unauthenticated_requests_delay_no_rotation(
    service: DeployedService, rotated: tuple[str, str]
) -> None:
    """Senders such as GitHub and Airbyte do not send again what was refused."""
    source, secret = rotated
    SingleProcess(service.stack)
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 200
    assert service.webhook(source, NOTHING, secret="guess").status_code == 401
    _put(service, secret, current=NEW)
    assert [service.webhook(source, NOTHING, secret=NEW).status_code for _ in range(12)] == [200] * 12
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 401


def test_a_flood_of_unauthenticated_requests_costs_few_reads_and_delays_a_rotation_by_seconds(
    service: DeployedService, rotated: tuple[str, str]
) -> None:
    source, secret = rotated
    watched = SingleProcess(service.stack, "GetSecretValue")
    assert len(watched.calls(lambda: service.webhook(source, NOTHING, secret=OLD), 200)) == 1
    began = time.monotonic()
    reads = [watched.calls(lambda: service.webhook(source, NOTHING, secret="guess"), 401) for _ in range(12)]
    assert 1 <= sum(map(len, reads)) <= READS_AT_ONCE + (time.monotonic() - began) / READ_SECONDS
    assert watched.calls(lambda: service.webhook(source, NOTHING, secret=OLD), 200) == []
    _put(service, secret, current=NEW)
    until_then = time.monotonic() + READ_SECONDS
    while time.monotonic() < until_then:
        service.webhook(source, NOTHING, secret="guess")
    assert service.webhook(source, NOTHING, secret=NEW).status_code == 200


def test_a_secret_that_is_no_secret_is_logged_without_being_repeated(
    service: DeployedService, rotated: tuple[str, str]
) -> None:
    source, secret = rotated
    _put(service, secret, curent=NEW)
    SingleProcess(service.stack)
    answer = service.webhook(source, NOTHING, secret=NEW)
    assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")
    line = until(lambda: _logged(service, source), "the reason in the log")
    assert line["error"] == "WebhookSecretUnreadable"
    assert NEW not in answer.text + json.dumps(line)


def _logged(service: DeployedService, source: str) -> Json | None:
    """The line about the refusal; a process's log arrives a moment after its answer."""
    lines = [json.loads(line.text) for line in service.stack.logs("Trigger") if line.text.startswith("{")]
    return next((line for line in lines if line.get("source") == source and "error" in line), None)

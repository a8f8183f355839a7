"""A secret is rotated without a deployment, without a lost event, and without a bill that strangers write."""

from __future__ import annotations

import json

import pytest

from local.standing import STACK_NAME
from tests.stack.passages.celonis import Celonis
from tests.stack.passages.service import Service
from tests.stack.triggers.watching import Watched

OLD, NEW = "the-old-secret-of-the-sender-0001", "the-new-secret-of-the-sender-0002"
NOTHING = {"action": "requested"}
"""An authentic event that starts nothing."""


@pytest.fixture
def rotated(service: Service, celonis: Celonis) -> tuple[str, str]:
    """A source and the name of its secret."""
    service.secrets += [OLD, NEW]
    secret = service.secret("webhooks", {"current": OLD})
    return service.source({"pipeline": service.pipeline(jobs=[celonis.job()])}, secret=secret), secret


def _put(service: Service, secret: str, **values: str) -> None:
    service.stack.client("secretsmanager").put_secret_value(
        SecretId=f"{STACK_NAME}/webhooks/{secret}", SecretString=json.dumps(values)
    )


def test_the_new_secret_counts_at_once_and_the_previous_one_still(
    service: Service, rotated: tuple[str, str]
) -> None:
    source, secret = rotated
    Watched(service.stack)
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 200
    _put(service, secret, current=NEW, previous=OLD)
    assert service.webhook(source, NOTHING, secret=NEW).status_code == 200
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 200


def test_once_the_previous_secret_is_gone_it_is_refused(service: Service, rotated: tuple[str, str]) -> None:
    source, secret = rotated
    _put(service, secret, current=NEW)
    Watched(service.stack)
    assert service.webhook(source, NOTHING, secret=OLD).status_code == 401
    assert service.webhook(source, NOTHING, secret=NEW).status_code == 200


def test_a_forger_makes_a_process_read_the_secret_once_a_minute_at_most(
    service: Service, rotated: tuple[str, str]
) -> None:
    source, _ = rotated
    watched = Watched(service.stack, "GetSecretValue")
    assert len(watched.calls(lambda: service.webhook(source, NOTHING, secret=OLD), 200)) == 1
    reads = [watched.calls(lambda: service.webhook(source, NOTHING, secret="guess"), 401) for _ in range(12)]
    assert sum(map(len, reads)) == 1
    assert watched.calls(lambda: service.webhook(source, NOTHING, secret=OLD), 200) == []


def test_a_secret_that_is_no_secret_is_told_without_being_repeated(
    service: Service, rotated: tuple[str, str]
) -> None:
    source, secret = rotated
    _put(service, secret, curent=NEW)
    Watched(service.stack)
    answer = service.webhook(source, NOTHING, secret=NEW)
    assert (answer.status_code, answer.json()["error"]) == (503, "SecretUnreadable")
    assert answer.headers["retry-after"]
    assert NEW not in answer.text

"""One stack and one Celonis for all tests of triggers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.aws.settings import EventSettings, Settings
from tests.stack.ground import Ground, deployed
from tests.stack.passages.celonis import Celonis
from tests.stack.passages.service import Service

TIME_FACTOR = 0.25
"""The waits of state machines are shortened; Celonis and the functions run in real time."""


@pytest.fixture(scope="package")
def ground() -> Iterator[Ground]:
    """Events come late and twice, transactions meet, as in AWS. Limits of requests are out of the way."""
    settings = Settings(time_factor=TIME_FACTOR, events=EventSettings(late_seconds=0.6))
    with deployed("triggers", settings, WebhookRateLimit="10000", WebhookBurstLimit="5000") as ground:
        ground.service.stack.warm("Trigger", 2)
        yield ground


@pytest.fixture
def celonis(ground: Ground) -> Celonis:
    ground.celonis.reset()
    return ground.celonis


@pytest.fixture
def service(ground: Ground, celonis: Celonis) -> Iterator[Service]:
    """The service. What a test starts, it sees to its end, and nothing may lie in the dead-letter queue."""
    yield ground.service
    ground.settled()

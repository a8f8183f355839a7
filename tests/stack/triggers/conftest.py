"""One stack and one Celonis for all tests of triggers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.aws.settings import EventSettings, Settings
from tests.stack.environment import StackEnvironment, deployed
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService

TIME_FACTOR = 0.25
"""The waits of state machines are shortened; Celonis and the functions run in real time."""


@pytest.fixture(scope="package")
def environment() -> Iterator[StackEnvironment]:
    """Events come late and twice, transactions conflict, as in AWS. Without request limits."""
    settings = Settings(time_factor=TIME_FACTOR, events=EventSettings(late_seconds=0.6))
    with deployed("triggers", settings, WebhookRateLimit="10000", WebhookBurstLimit="5000") as environment:
        environment.service.stack.warm("Trigger", 2)
        yield environment


@pytest.fixture
def celonis(environment: StackEnvironment) -> CelonisControls:
    environment.celonis.reset()
    return environment.celonis


@pytest.fixture
def service(environment: StackEnvironment, celonis: CelonisControls) -> Iterator[DeployedService]:
    """The service. A test waits for the end of what it starts, and the dead-letter queue must stay empty."""
    yield environment.service
    environment.settled()

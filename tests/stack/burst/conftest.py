"""A stack for many triggers at once, as unkind as AWS may be, and without limits of requests in the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.concurrent_senders import crowd_settings
from tests.stack.environment import StackEnvironment, deployed

ARRIVAL_LEAD = 5.0
"""Seconds. Response times here depend on the machine and its other load."""
PROCESSES = 8
"""Of the trigger, ready before the first request; more of them come as they are needed."""


@pytest.fixture(scope="package")
def environment() -> Iterator[StackEnvironment]:
    with deployed(
        "burst",
        crowd_settings(time_factor=0.25, arrival_lead=ARRIVAL_LEAD),
        WebhookRateLimit="10000",
        WebhookBurstLimit="5000",
    ) as environment:
        environment.service.stack.warm("Trigger", PROCESSES)
        yield environment

"""One simulator for all tests of it, reset for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.celonis.server import CelonisSimulator
from tests.simulator.client import START, Clock, Team


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def simulator(clock: Clock) -> Iterator[CelonisSimulator]:
    with CelonisSimulator(clock=clock) as running:
        yield running


@pytest.fixture
def team(simulator: CelonisSimulator, clock: Clock) -> Iterator[Team]:
    clock.now = START
    client = Team(simulator, clock)
    client.post("/reset")
    with client.session:
        yield client

"""One simulator for all tests of it, reset for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.celonis.server import CelonisSimulator
from tests.simulator.client import START, ManualClock, SimulatorClient


@pytest.fixture(scope="session")
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def simulator(clock: ManualClock) -> Iterator[CelonisSimulator]:
    with CelonisSimulator(clock=clock) as running:
        yield running


@pytest.fixture
def team(simulator: CelonisSimulator, clock: ManualClock) -> Iterator[SimulatorClient]:
    clock.now = START
    client = SimulatorClient(simulator, clock)
    client.post("/reset")
    with client.session:
        yield client

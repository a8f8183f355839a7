"""Unit tests open no sockets, except those marked ``enable_socket``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket

from celonis_refresh.timing import Deadline
from tests.fakes.clock import FakeClock
from tests.unit.functions_over_fakes import functions  # noqa: F401 - a fixture


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def deadline(clock: FakeClock) -> Deadline:
    return Deadline.after(5.0, clock)


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("enable_socket") is None:
        disable_socket(allow_unix_socket=True)
    yield
    enable_socket()

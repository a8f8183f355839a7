"""A stack whose events come once and in time: here, what goes wrong is a function that dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.aws.settings import EventSettings, Settings, TransactionSettings
from tests.stack.ground import Ground, deployed


@pytest.fixture(scope="package")
def ground() -> Iterator[Ground]:
    settings = Settings(
        time_factor=0.25,
        events=EventSettings(twice_ratio=0, late_ratio=0),
        transactions=TransactionSettings(conflict_ratio=0),
    )
    with deployed("crashes", settings) as ground:
        yield ground

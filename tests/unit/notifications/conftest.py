"""Virtual time, and a table, for what is sent."""

from __future__ import annotations

import pytest

from celonis_refresh.runs.table import Table
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of


@pytest.fixture
def dynamodb() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def table(dynamodb: FakeDynamoDB, clock: FakeClock) -> Table:
    return table_of(dynamodb, clock)

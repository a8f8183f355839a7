"""The table over moto and the fake, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws
from moto.dynamodb import responses

from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records
from celonis_refresh.runs.table import MAX_ACTIONS, Table
from tests.fakes.clock import FakeClock
from tests.unit.runs.compared_clients import ComparedClients, create_table, moto_client, table_of


@pytest.fixture(scope="package")
def moto() -> Iterator[Any]:
    """moto takes 25 items in a transaction that reads, where DynamoDB takes 100."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setattr(responses, "TRANSACTION_MAX_ITEMS", MAX_ACTIONS)
        yield moto_client()


@pytest.fixture
def client(moto: Any) -> ComparedClients:
    return ComparedClients(moto)


@pytest.fixture
def table(client: ComparedClients, clock: FakeClock) -> Table:
    return table_of(client, create_table(client.moto), clock)


@pytest.fixture
def claims(table: Table, clock: FakeClock) -> Claims:
    return Claims(table, clock)


@pytest.fixture
def records(table: Table, clock: FakeClock) -> Records:
    return Records(table, clock)


@pytest.fixture
def leases(table: Table, clock: FakeClock) -> Leases:
    return Leases(table, clock)

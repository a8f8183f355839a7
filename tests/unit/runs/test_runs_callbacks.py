"""Callbacks are stored by the transaction that accepts their trigger, for the run that covers it."""

from __future__ import annotations

import pytest

from celonis_refresh.pipelines.options import Reason, make_options
from celonis_refresh.runs.callbacks import (
    CALLBACK,
    CALLBACK_DAYS,
    DAY,
    Callback,
    StoredCallback,
    callbacks_of,
    find_callback,
    promised,
)
from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.slots import release
from celonis_refresh.runs.table import MAX_ACTIONS, ConditionFailed, Table, callback_key, slot_key
from celonis_refresh.timing import Deadline, iso
from celonis_refresh.webhooks.sources import MAX_CALLBACK_RULES
from tests.fakes.clock import FakeClock
from tests.unit.runs.compared_clients import ComparedClients, claim, definition, table_of

ONE = Callback("https://hooks.example.com/?token=secret-1")
TWO = Callback("https://hooks.example.com/?token=secret-2", "azure_data_factory")
THREE = Callback("https://hooks.example.com/?token=secret-3")


@pytest.fixture
def moto_table(table: Table, client: ComparedClients, clock: FakeClock) -> Table:
    """The same table over moto alone: the pages of the fake are smaller."""
    return table_of(client.moto, table.name, clock)


@pytest.fixture
def fake_table(client: ComparedClients, clock: FakeClock) -> Table:
    return table_of(client.fake, "runs", clock)


def found(table: Table, run_id: str, deadline: Deadline) -> set[Callback]:
    return {stored.callback for stored in callbacks_of(table, run_id, deadline)}


def test_a_started_run_has_the_callback_of_its_trigger_with_one_write(
    claims: Claims, table: Table, client: ComparedClients, clock: FakeClock, deadline: Deadline
) -> None:
    claims.accept([claim(callbacks=(ONE,))], ["delivery#a#1"], deadline)
    assert client.calls == ["transact_write_items"]
    key = callback_key("otc-1", ONE.digest)
    assert table.get(key) == {
        "pk": key,
        "run_id": "otc-1",
        "address": ONE.address,
        "format": "run",
        "pipeline": "callbacks#otc-1",
        "status": CALLBACK,
        "position": f"{iso(clock.now)} {key}",
        "expires": int(clock.now) + CALLBACK_DAYS * DAY,
    }
    assert find_callback(table, key) == StoredCallback(key, "otc-1", ONE)


def test_triggers_that_join_have_theirs_at_the_pending_run(
    claims: Claims, table: Table, moto_table: Table, client: ComparedClients, deadline: Deadline
) -> None:
    claims.accept([claim(callbacks=(ONE,))], ["delivery#a#1"], deadline)
    claims.accept([claim(number=2, callbacks=(TWO,))], ["delivery#a#2"], deadline)
    claims.accept([claim(number=3, callbacks=(THREE,))], ["delivery#a#3"], deadline)
    assert found(moto_table, "otc-1", deadline) == {ONE}
    assert found(moto_table, "otc-follow-2", deadline) == {TWO, THREE}
    assert found(moto_table, "otc-follow-3", deadline) == set()
    assert client.calls.count("transact_write_items") == 5, "one to start, two to join"


def test_a_trigger_that_does_not_change_the_pending_run_writes_only_its_callback(
    claims: Claims, table: Table, client: ComparedClients, fake_table: Table, deadline: Deadline
) -> None:
    reason = Reason("2026-01-01T00:00:00.000Z", "d#0", "erp", "")
    options = make_options(None, None, [reason])
    claims.accept([claim(options=options)], [], deadline)
    claims.accept([claim(number=2, options=options)], [], deadline)
    slot = table.get(slot_key("otc"))
    client.requests.clear()
    claims.accept([claim(number=3, options=options, callbacks=(ONE,))], ["delivery#a#3"], deadline)
    assert table.get(slot_key("otc")) == slot
    written = [
        next(iter(action.values()))["Item"]["pk"]["S"] for action in client.requests[-2]["TransactItems"]
    ]
    assert written == ["delivery#a#3", callback_key("otc-follow-2", ONE.digest)]
    assert found(fake_table, "otc-follow-2", deadline) == {ONE}


def test_a_delivery_sent_again_stores_no_second_callback(
    claims: Claims, fake_table: Table, deadline: Deadline
) -> None:
    for number in (1, 2):
        claims.accept([claim(number=number, callbacks=(ONE,))], ["delivery#a#1"], deadline)
    assert found(fake_table, "otc-1", deadline) == {ONE}
    assert found(fake_table, "otc-follow-2", deadline) == set()


def test_a_trigger_that_is_skipped_has_no_run_and_no_callback(
    claims: Claims, client: ComparedClients, deadline: Deadline
) -> None:
    claims.accept([claim()], [], deadline)
    skipping = definition("job-a", when_running="skip")
    claims.accept([claim(number=2, definition=skipping, callbacks=(ONE,))], ["delivery#a#2"], deadline)
    assert list(client.fake.documents("callback#")) == []


def test_a_callback_follows_its_run_from_pending_to_running(
    claims: Claims, table: Table, fake_table: Table, clock: FakeClock, deadline: Deadline
) -> None:
    claims.accept([claim()], [], deadline)
    claims.accept([claim(number=2, callbacks=(ONE,))], ["delivery#a#2"], deadline)
    slot = table.get(slot_key("otc")) or {}
    table.transact(release(table, "otc", slot, "otc-1", iso(clock.now), paused=False), deadline)
    assert (table.get(slot_key("otc")) or {})["run_id"] == "otc-follow-2"
    assert found(fake_table, "otc-follow-2", deadline) == {ONE}


def test_two_rules_for_one_pipeline_store_their_address_once() -> None:
    both = claim(callbacks=(ONE, TWO)).joined_by(claim(number=2, callbacks=(TWO, THREE)))
    assert both.callbacks == (ONE, TWO, THREE)


def test_an_event_with_the_most_rules_fits_into_one_transaction(
    claims: Claims, client: ComparedClients, deadline: Deadline
) -> None:
    many = [
        claim(f"p{number}", definition=definition(f"job-{number}"), job=f"job-{number}", callbacks=(ONE,))
        for number in range(MAX_CALLBACK_RULES)
    ]
    acceptance = claims.accept(many, ["delivery#a#1", "signed#a#1"], deadline)
    assert acceptance.batch is None
    (request,) = client.requests
    assert MAX_ACTIONS - 3 < len(request["TransactItems"]) <= MAX_ACTIONS
    assert len(list(client.fake.documents("callback#p"))) == MAX_CALLBACK_RULES


def test_many_callbacks_of_a_run_are_all_found(
    claims: Claims, fake_table: Table, moto_table: Table, deadline: Deadline
) -> None:
    callbacks = tuple(Callback(f"https://hooks.example.com/{number}") for number in range(90))
    claims.accept([claim(callbacks=callbacks)], [], deadline)
    assert found(fake_table, "otc-1", deadline) == set(callbacks)
    assert found(moto_table, "otc-1", deadline) == set(callbacks)
    assert found(fake_table, "otc", deadline) == set()


def test_a_callback_is_claimed_once_and_then_found_only_by_its_key(
    claims: Claims, table: Table, fake_table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(callbacks=(ONE,))], [], deadline)
    key = callback_key("otc-1", ONE.digest)
    table.transact([promised(table, key)], deadline)
    assert found(fake_table, "otc-1", deadline) == set()
    assert not {"status", "position", "pipeline"} & set(table.get(key) or {})
    assert find_callback(table, key) == StoredCallback(key, "otc-1", ONE)
    with pytest.raises(ConditionFailed):
        table.transact([promised(table, key)], deadline)


def test_a_callback_that_does_not_exist_cannot_be_claimed(table: Table, deadline: Deadline) -> None:
    with pytest.raises(ConditionFailed):
        table.transact([promised(table, callback_key("otc-1", ONE.digest))], deadline)
    assert find_callback(table, callback_key("otc-1", ONE.digest)) is None


def test_no_index_has_the_address(
    claims: Claims, client: ComparedClients, moto_table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(callbacks=(ONE,))], [], deadline)
    for index, attribute, value in (
        ("by_status", "status", CALLBACK),
        ("by_pipeline", "pipeline", "callbacks#otc-1"),
    ):
        page = client.moto.query(
            TableName=moto_table.name,
            IndexName=index,
            KeyConditionExpression="#key = :key",
            ExpressionAttributeNames={"#key": attribute},
            ExpressionAttributeValues={":key": {"S": value}},
        )
        (item,) = page["Items"]
        assert "address" not in item


def test_an_address_is_in_no_repr() -> None:
    stored = StoredCallback(callback_key("otc-1", TWO.digest), "otc-1", TWO)
    for shown in (repr(TWO), str(TWO), repr(claim(callbacks=(TWO,))), repr(stored)):
        assert "secret-2" not in shown
        assert TWO.digest in shown


def test_the_status_of_a_callback_is_that_of_no_run() -> None:
    assert CALLBACK not in set(RunStatus)

"""The fake answers and refuses as moto does, to random sequences of the requests that the table makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.records import IS_OPEN, OPEN_VALUES, RunStatus, new_record
from celonis_refresh.runs.table import Action, ConditionFailed, Table
from celonis_refresh.timing import Deadline
from tests.fakes.clock import FakeClock
from tests.unit.runs.compared_clients import ComparedClients, create_table, outcome, table_of

KEYS = ("run#a", "run#b")
Make = Callable[[Table, str], Action]
ITEM = {**new_record("a", "otc", RunOptions(), "2026-01-01T00:00:00.000Z"), "expires": 5, "rev": 1}

numbers = st.integers(0, 2)
conditions: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.just(("", {})),
    st.just(("attribute_exists(pk)", {})),
    st.just(("attribute_not_exists(pk)", {})),
    st.just((IS_OPEN, dict(OPEN_VALUES))),
    st.just(("attribute_not_exists(#steps.#step)", {})),
    numbers.map(lambda rev: ("#rev = :rev", {"rev": rev})),
    numbers.map(lambda rev: (f"{IS_OPEN} AND #steps.#step.#rev = :rev", {**OPEN_VALUES, "rev": rev})),
    numbers.map(lambda now: ("attribute_not_exists(pk) OR #expires < :now", {"now": now * 5})),
    st.just(("attribute_not_exists(#run_id) AND attribute_not_exists(#pending)", {})),
)
changes: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.just(("SET #rev = if_not_exists(#rev, :zero) + :one, #x = :one", {"zero": 0, "one": 1})),
    st.just(("SET #steps.#step = :saved", {"saved": {"rev": 1}})),
    st.sampled_from([*RunStatus]).map(lambda status: ("SET #status = :status", {"status": status})),
    st.just(("SET #x = :one REMOVE #pending, #run_id, #status", {"one": 1})),
)


def _put(condition: tuple[str, dict[str, Any]], rev: int) -> Make:
    return lambda table, key: table.put({**ITEM, "pk": key, "rev": rev}, *_used(condition))


def _change(condition: tuple[str, dict[str, Any]], change: tuple[str, dict[str, Any]]) -> Make:
    values = {**condition[1], **change[1]}
    names = {"step": "job-0"}
    return lambda table, key: table.change(key, change[0], condition[0], values, names)


def _used(condition: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A put takes no other names than the attributes' own."""
    return (condition[0].replace("#step.", "").replace(".#step)", ")"), condition[1])


makes: st.SearchStrategy[Make] = st.one_of(
    st.builds(_put, conditions, numbers),
    st.builds(_change, conditions, changes),
    st.builds(_change, st.just(("", {})), changes),
    conditions.filter(lambda condition: bool(condition[0])).map(
        lambda condition: lambda table, key: table.check(key, *_used(condition))
    ),
    conditions.map(lambda condition: lambda table, key: table.remove(key, *_used(condition))),
)
transactions = st.lists(makes, min_size=1, max_size=len(KEYS))


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(transactions, min_size=1, max_size=5), st.booleans())
def test_it_does_as_moto_does(moto: Any, steps: list[list[Make]], filled: bool) -> None:
    clock, client = FakeClock(), ComparedClients(moto)
    table = table_of(client, create_table(moto), clock)
    if filled:
        _write(table, [table.put({**ITEM, "pk": key}) for key in KEYS])
    for step in steps:
        _write(table, [make(table, key) for make, key in zip(step, KEYS, strict=False)])
        for key in KEYS:
            table.get(key)


def _write(table: Table, actions: list[Action]) -> None:
    """By the single request where there is one, and otherwise as a transaction."""
    deadline = Deadline.after(1, FakeClock())
    (kind, *_) = actions[0]
    try:
        if len(actions) == 1 and kind == "Update":
            table.update(actions[0], deadline)
        elif len(actions) == 1 and kind == "Delete":
            table.delete(actions[0], deadline)
        else:
            table.transact(actions, deadline)
    except (ConditionFailed, ClientError):
        return  # moto said the same


def test_both_read_the_items_that_there_are(table: Table) -> None:
    deadline = Deadline.after(1, FakeClock())
    table.transact([table.put({**ITEM, "pk": key}) for key in KEYS], deadline)
    found = table.get_all(["none", *KEYS, "other"], deadline)
    assert found == {key: {**ITEM, "pk": key} for key in KEYS}


def test_both_refuse_a_transaction_that_touches_an_item_twice(client: ComparedClients, table: Table) -> None:
    actions = [table.put({"pk": "a"}), table.check("a", "attribute_exists(pk)")]
    code, _ = outcome(client.transact_write_items, {"TransactItems": actions})
    assert code == "ValidationException"

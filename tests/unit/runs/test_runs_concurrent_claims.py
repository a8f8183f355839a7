"""Many claims at once, in threads: one starts, and the others join into one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from time import sleep, time
from typing import Any, cast

import pytest

from celonis_refresh.pipelines.options import RunOptions, make_options
from celonis_refresh.runs.claims import Acceptance, Accepted, Claims
from celonis_refresh.runs.records import Records
from celonis_refresh.runs.table import Table, delivery_key, slot_key
from celonis_refresh.timing import Deadline
from tests.fakes.dynamodb import FakeDynamoDB
from tests.unit.runs.compared_clients import claim, create_table

THREADS = 12


class OvertakenClient:
    """A client for threads: one call at a time, and each call may be overtaken before it begins."""

    def __init__(self, client: Any) -> None:
        self.client, self.lock, self.random = client, threading.Lock(), Random(1)  # noqa: S311

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            sleep(self.random.uniform(0.0, 0.003))
            with self.lock:
                return getattr(self.client, operation)(**request)

        return call


def at_once(work: Callable[[int], None]) -> None:
    """Runs the work in as many threads, which begin together."""
    barrier, failures = threading.Barrier(THREADS), list[BaseException]()

    def one(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(params=["fake", "moto"])
def threads_table(request: pytest.FixtureRequest, moto: Any) -> Table:
    client = FakeDynamoDB() if request.param == "fake" else moto
    return Table(cast("Any", OvertakenClient(client)), create_table(moto), Random(1))  # noqa: S311


def test_of_many_at_once_one_starts_and_the_others_join_into_one(threads_table: Table) -> None:
    claims, results = Claims(threads_table, time), list[Accepted]()

    def one(number: int) -> None:
        wanted = claim(number=number, options=make_options(None, [f"t{number}"], []))
        deadline = Deadline.after(30.0, time)
        results.extend(claims.accept([wanted], [delivery_key("erp", str(number))], deadline).results)

    at_once(one)
    (started,) = [result for result in results if result.status == "started"]
    (follow_up,) = {result.run_id for result in results if result.status == "joined"}
    slot = threads_table.get(slot_key("otc")) or {}
    assert (slot["run_id"], slot["pending"]["run_id"]) == (started.run_id, follow_up)
    records = Records(threads_table, time)
    run_options = [records.get(started.run_id).options, RunOptions.from_json(slot["pending"]["options"])]
    assert sorted(len(each.tables) for each in run_options) == [1, THREADS - 1]
    assert frozenset[str]().union(*(each.tables for each in run_options)) == {f"t{n}" for n in range(THREADS)}
    assert records.find(follow_up) is None


def test_of_many_that_bring_the_same_delivery_one_is_accepted(threads_table: Table) -> None:
    claims, acceptances = Claims(threads_table, time), list[Acceptance]()

    def one(number: int) -> None:
        wanted = claim(number=number)
        delivery = delivery_key("erp", "the same")
        acceptances.append(claims.accept([wanted], [delivery], Deadline.after(30.0, time)))

    at_once(one)
    assert sorted(acceptance.duplicate for acceptance in acceptances) == [False] + [True] * (THREADS - 1)
    assert len({acceptance.results for acceptance in acceptances}) == 1
    assert "pending" not in (threads_table.get(slot_key("otc")) or {})

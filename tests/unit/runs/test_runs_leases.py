"""Which run uses a job or a model now."""

from __future__ import annotations

import pytest

from celonis_refresh.runs import keys
from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.errors import RunClosed, RunNotFound
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records, RunStatus
from celonis_refresh.runs.table import Table
from celonis_refresh.timing import Deadline, iso
from tests.fakes.clock import START, Clock
from tests.unit.runs.both import claim, definition

LEASE = keys.model_lease("model-a")


@pytest.fixture(autouse=True)
def _runs(claims: Claims, deadline: Deadline) -> None:
    """Runs one-1 and two-1 are under way and hold no lease."""
    for pipeline in ("one", "two"):
        claims.accept([claim(pipeline, definition=definition(), job=None)], [], deadline)


def end(records: Records, run_id: str, deadline: Deadline) -> None:
    records.note(records.get(run_id), {"status": RunStatus.FAILED}, deadline)


def holder(table: Table, lease: str = LEASE) -> str | None:
    item = table.get(lease)
    return str(item["run_id"]) if item else None


def test_a_free_lease_is_taken(leases: Leases, table: Table, clock: Clock, deadline: Deadline) -> None:
    assert leases.take("one-1", LEASE, deadline)
    at = iso(START)
    assert table.get(LEASE) == {
        "pk": LEASE,
        "run_id": "one-1",
        "at": at,
        "status": "LEASED",
        "position": f"{at} {LEASE}",
    }


def test_a_lease_is_one_runs_at_a_time(leases: Leases, table: Table, deadline: Deadline) -> None:
    assert leases.take("one-1", LEASE, deadline)
    assert not leases.take("two-1", LEASE, deadline)
    assert holder(table) == "one-1"


def test_whoever_holds_it_takes_it_again(leases: Leases, deadline: Deadline) -> None:
    assert leases.take("one-1", LEASE, deadline)
    assert leases.take("one-1", LEASE, deadline)


def test_a_job_and_a_model_of_the_same_id_have_leases_of_their_own(
    leases: Leases, table: Table, deadline: Deadline
) -> None:
    job = keys.job_lease("model-a")
    assert leases.take("one-1", LEASE, deadline)
    assert leases.take("two-1", job, deadline)
    assert (holder(table), holder(table, job)) == ("one-1", "two-1")


def test_a_lease_whose_run_has_ended_is_taken_over(
    leases: Leases, records: Records, table: Table, deadline: Deadline
) -> None:
    leases.take("one-1", LEASE, deadline)
    end(records, "one-1", deadline)
    assert leases.take("two-1", LEASE, deadline)
    assert holder(table) == "two-1"


def test_a_lease_whose_run_is_forgotten_is_taken_over(
    leases: Leases, table: Table, deadline: Deadline
) -> None:
    leases.take("one-1", LEASE, deadline)
    table.delete(table.remove(keys.run("one-1"), ""), deadline)
    assert leases.take("two-1", LEASE, deadline)


def test_a_run_that_has_ended_takes_nothing(
    leases: Leases, records: Records, table: Table, deadline: Deadline
) -> None:
    end(records, "one-1", deadline)
    with pytest.raises(RunClosed) as caught:
        leases.take("one-1", LEASE, deadline)
    assert (caught.value.run_id, caught.value.status) == ("one-1", "FAILED")
    assert holder(table) is None


def test_a_run_that_has_ended_does_not_even_keep_what_it_holds(
    leases: Leases, records: Records, deadline: Deadline
) -> None:
    leases.take("one-1", LEASE, deadline)
    end(records, "one-1", deadline)
    with pytest.raises(RunClosed):
        leases.take("one-1", LEASE, deadline)


def test_a_run_without_a_record_takes_nothing(leases: Leases, table: Table, deadline: Deadline) -> None:
    with pytest.raises(RunNotFound):
        leases.take("nobody", LEASE, deadline)
    assert holder(table) is None


def test_a_lease_is_freed_by_its_holder_only(leases: Leases, table: Table, deadline: Deadline) -> None:
    leases.take("one-1", LEASE, deadline)
    leases.free("two-1", LEASE, deadline)
    assert holder(table) == "one-1"
    leases.free("one-1", LEASE, deadline)
    assert holder(table) is None


def test_freeing_twice_is_harmless(leases: Leases, deadline: Deadline) -> None:
    leases.free("one-1", LEASE, deadline)
    leases.free("one-1", LEASE, deadline)


def test_a_lease_that_is_held_is_taken_over_only_from_that_moment_on(
    leases: Leases, records: Records, table: Table, clock: Clock, deadline: Deadline
) -> None:
    leases.take("one-1", LEASE, deadline)
    leases.hold("one-1", LEASE, START + 60.0, deadline)
    end(records, "one-1", deadline)
    for _ in range(2):
        assert not leases.take("two-1", LEASE, deadline)
        clock.sleep(29.9)
    assert holder(table) == "one-1"
    clock.sleep(0.2)
    assert leases.take("two-1", LEASE, deadline)
    assert holder(table) == "two-1"
    assert "held_until" not in (table.get(LEASE) or {})


def test_a_lease_is_held_by_its_holder_only(leases: Leases, table: Table, deadline: Deadline) -> None:
    leases.hold("one-1", LEASE, START + 60.0, deadline)
    assert table.get(LEASE) is None
    leases.take("one-1", LEASE, deadline)
    leases.hold("two-1", LEASE, START + 60.0, deadline)
    assert "held_until" not in (table.get(LEASE) or {})


def test_a_lease_that_is_held_is_freed_by_its_holder_all_the_same(
    leases: Leases, table: Table, deadline: Deadline
) -> None:
    leases.take("one-1", LEASE, deadline)
    leases.hold("one-1", LEASE, START + 60.0, deadline)
    leases.free("one-1", LEASE, deadline)
    assert holder(table) is None

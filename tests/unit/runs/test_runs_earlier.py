"""Our last executions of a job or a model, and the condition that an observation shows the newest of them."""

from __future__ import annotations

import pytest

from celonis_refresh.runs import keys
from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.earlier import MAX_EARLIER, MAX_OPERANDS, Earlier, check_shown
from celonis_refresh.runs.errors import StaleBaseline, StepMoved
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records
from celonis_refresh.runs.table import Refused, Table
from celonis_refresh.timing import Deadline
from tests.fakes.clock import START
from tests.unit.runs.both import claim, definition

LEASE = keys.job_lease("job-a")
STARTED = 1_767_225_500_000
OURS = Earlier().followed_by(["exec-1", "item-1"], STARTED, START + 60.0, shows_running=True)


def stored(table: Table, earlier: Earlier, deadline: Deadline) -> None:
    table.transact([earlier.write(table, LEASE)], deadline)


@pytest.mark.parametrize(
    "earlier",
    [
        Earlier(),
        OURS,
        Earlier().followed_by(["exec-1"], None, START, shows_running=False),
        Earlier().followed_by([], STARTED, START, shows_running=False),
    ],
)
def test_it_is_read_back_as_it_was_written(
    table: Table, leases: Leases, deadline: Deadline, earlier: Earlier
) -> None:
    stored(table, earlier, deadline)
    assert leases.earlier(LEASE) == earlier


def test_where_none_is_stored_there_is_none(leases: Leases) -> None:
    assert leases.earlier(LEASE) == Earlier()


def test_the_newest_stands_first_and_the_oldest_are_dropped() -> None:
    earlier = Earlier()
    for number in range(MAX_EARLIER + 5):
        earlier = earlier.followed_by([f"exec-{number:02}"], number, float(number), shows_running=False)
    assert earlier.ids == tuple(f"exec-{number:02}" for number in range(MAX_EARLIER + 4, 4, -1))
    assert (earlier.newest, earlier.started, earlier.visible_by) == (("exec-14",), 14, 14.0)


def test_what_was_seen_running_once_shows_what_runs_for_good() -> None:
    assert OURS.followed_by(["exec-2"], None, START, shows_running=False).shows_running is True


def test_an_execution_that_is_stored_twice_stands_there_once() -> None:
    assert OURS.followed_by(["exec-1", "item-1"], STARTED, START, shows_running=True).ids == OURS.ids


SHOWN = [
    (frozenset({"exec-1"}), None, 0.0, True),
    (frozenset({"item-1", "exec-0"}), None, 0.0, True),
    (frozenset({"exec-0"}), None, 0.0, False),
    (frozenset(), None, 0.0, False),
    (frozenset(), STARTED, 0.0, True),
    (frozenset(), STARTED + 1, 0.0, True),
    (frozenset({"exec-0"}), STARTED - 1, 0.0, False),
    (frozenset(), None, 59.0, False),
    (frozenset(), None, 60.0, True),
]
"""Ids and newest start date of an observation, seconds later, and whether it shows our last execution."""


@pytest.mark.parametrize(("ids", "newest_start", "later", "shown"), SHOWN)
def test_the_condition_of_a_write_says_the_same_as_what_was_read(
    table: Table, deadline: Deadline, ids: frozenset[str], newest_start: int | None, later: float, shown: bool
) -> None:
    """Against moto and the fake: the client asks both."""
    stored(table, OURS, deadline)
    now = START + later
    assert OURS.is_shown_by(ids, newest_start, now) is shown
    actions = [
        check_shown(table, LEASE, ids, newest_start, now),
        table.put({"pk": "run#written", "run_id": "written"}),
    ]
    if shown:
        table.transact(actions, deadline)
    else:
        with pytest.raises(Refused):
            table.transact(actions, deadline)
    assert (table.get("run#written") is not None) is shown


def test_the_condition_holds_where_nothing_is_stored(table: Table, deadline: Deadline) -> None:
    actions = [check_shown(table, LEASE, (), None, START), table.put({"pk": "run#written", "run_id": "w"})]
    table.transact(actions, deadline)
    assert table.get("run#written") is not None


def test_an_execution_without_id_and_date_is_shown_only_by_time(table: Table, deadline: Deadline) -> None:
    nameless = Earlier().followed_by([], None, START + 60.0, shows_running=False)
    stored(table, nameless, deadline)
    assert not nameless.is_shown_by({"exec-1"}, STARTED, START)
    with pytest.raises(Refused):
        table.transact(
            [check_shown(table, LEASE, {"exec-1"}, STARTED, START), table.put({"pk": "run#x"})], deadline
        )


def test_more_ids_than_a_condition_takes_are_cut_off(table: Table) -> None:
    many = [f"exec-{number:03}" for number in range(3 * MAX_OPERANDS)]
    request = str(check_shown(table, LEASE, many, None, START))
    assert f"exec-{MAX_OPERANDS - 1:03}" in request
    assert f"exec-{MAX_OPERANDS:03}" not in request


def test_a_step_is_saved_only_with_a_baseline_that_shows_our_last_execution(
    table: Table, claims: Claims, records: Records, deadline: Deadline
) -> None:
    claims.accept([claim("one", definition=definition("job-a"))], [], deadline)
    run = records.get("one-1")
    stored(table, OURS, deadline)
    stale = check_shown(table, LEASE, {"exec-0"}, None, START)
    with pytest.raises(StaleBaseline):
        records.save_step(run, "job-0", {"posts": 1}, deadline, {"loads": {}}, stale)
    unchanged = records.get("one-1")
    assert (unchanged.steps, unchanged.loads) == ({}, None)
    fresh = check_shown(table, LEASE, {"exec-1"}, None, START)
    saved = records.save_step(run, "job-0", {"posts": 1}, deadline, {"loads": {}}, fresh)
    assert records.get("one-1").steps == saved.steps == {"job-0": {"posts": 1, "rev": 1}}


def test_a_step_that_another_task_changed_is_said_to_have_moved_also_where_the_baseline_is_stale(
    table: Table, claims: Claims, records: Records, deadline: Deadline
) -> None:
    claims.accept([claim("one", definition=definition("job-a"))], [], deadline)
    run = records.get("one-1")
    stored(table, OURS, deadline)
    records.save_step(run, "job-0", {"posts": 1}, deadline)
    stale = check_shown(table, LEASE, {"exec-0"}, None, START)
    with pytest.raises(StepMoved):
        records.save_step(run, "job-0", {"posts": 1, "other": True}, deadline, None, stale)


def test_a_lease_is_freed_and_its_execution_stored_in_one_transaction(
    table: Table, claims: Claims, leases: Leases, deadline: Deadline
) -> None:
    claims.accept([claim("one", definition=definition("job-a"))], [], deadline)
    leases.free("another", LEASE, deadline, OURS)
    assert (table.get(LEASE) is not None, leases.earlier(LEASE)) == (True, Earlier())
    leases.free("one-1", LEASE, deadline, OURS)
    assert (table.get(LEASE), leases.earlier(LEASE)) == (None, OURS)

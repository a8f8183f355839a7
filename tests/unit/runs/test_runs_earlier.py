"""Our last executions of a job or a model, and the condition that an observation shows the newest of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.earlier import (
    MAX_EARLIER,
    MAX_OPERANDS,
    Busy,
    Earlier,
    check_shown,
    note_busy,
    read_earlier,
)
from celonis_refresh.runs.errors import StaleBaseline, StepMoved
from celonis_refresh.runs.leases import Leases
from celonis_refresh.runs.records import Records
from celonis_refresh.runs.table import ConditionFailed, Table, job_lease
from celonis_refresh.timing import Deadline
from tests.fakes.clock import START
from tests.unit.runs.compared_clients import claim, definition

LEASE = job_lease("job-a")
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
        OURS.with_busy("one-1", Busy(START + 60.0, ("exec-2",)), START),
        Earlier().with_busy("one-1", Busy(START + 60.0), START),
    ],
)
def test_it_is_read_back_as_it_was_written(
    table: Table, leases: Leases, deadline: Deadline, earlier: Earlier
) -> None:
    stored(table, earlier, deadline)
    assert read_earlier(leases.table, LEASE) == earlier


def test_where_none_is_stored_there_is_none(leases: Leases) -> None:
    assert read_earlier(leases.table, LEASE) == Earlier()


def test_the_newest_is_first_and_the_oldest_are_dropped() -> None:
    earlier = Earlier()
    for number in range(MAX_EARLIER + 5):
        earlier = earlier.followed_by([f"exec-{number:02}"], number, float(number), shows_running=False)
    assert earlier.ids == tuple(f"exec-{number:02}" for number in range(MAX_EARLIER + 4, 4, -1))
    assert (earlier.newest, earlier.started, earlier.visible_by) == (("exec-14",), 14, 14.0)


def test_once_seen_running_an_execution_is_always_shown() -> None:
    assert OURS.followed_by(["exec-2"], None, START, shows_running=False).shows_running is True


def test_an_execution_that_is_stored_twice_is_listed_once() -> None:
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
def test_the_condition_of_a_write_matches_what_was_read(
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
        with pytest.raises(ConditionFailed):
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
    with pytest.raises(ConditionFailed):
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
    assert (table.get(LEASE) is not None, read_earlier(leases.table, LEASE)) == (True, Earlier())
    leases.free("one-1", LEASE, deadline, OURS)
    assert (table.get(LEASE), read_earlier(leases.table, LEASE)) == (None, replace(OURS, run_id="one-1"))


# ---------------------------------------------------------------- what polls of waiting runs have shown


def test_what_a_poll_has_shown_running_counts_for_the_other_runs_until_every_reading_shows_it() -> None:
    earlier = OURS.with_busy("one-1", Busy(START + 60.0), START)
    assert earlier.shows_end_of_busy("one-1", (), START)
    assert not earlier.shows_end_of_busy("two-1", ("exec-2",), START + 59.0)
    assert earlier.shows_end_of_busy("two-1", (), START + 60.0)
    assert earlier.is_shown_by(("exec-1",), None, START)


def test_where_it_has_ids_an_observation_that_shows_their_end_is_no_older() -> None:
    earlier = OURS.with_busy("one-1", Busy(START + 60.0, ("exec-2", "exec-3")), START)
    assert not earlier.shows_end_of_busy("two-1", ("exec-1", "exec-2"), START)
    assert earlier.shows_end_of_busy("two-1", ("exec-1", "exec-2", "exec-3"), START)


def test_each_run_has_its_own_and_what_every_reading_shows_is_dropped() -> None:
    earlier = Earlier().with_busy("one-1", Busy(START + 60.0), START)
    earlier = earlier.with_busy("two-1", Busy(START + 90.0), START + 30.0)
    assert set(earlier.busy) == {"one-1", "two-1"}
    earlier = earlier.with_busy("two-1", Busy(START + 120.0), START + 60.0)
    assert earlier.busy == {"two-1": Busy(START + 120.0)}


def test_the_end_of_an_execution_of_ours_keeps_what_others_have_shown() -> None:
    busy = Earlier().with_busy("one-1", Busy(START + 60.0), START)
    assert busy.followed_by(["exec-1"], None, START, shows_running=False).busy == busy.busy


def test_what_two_runs_store_in_the_same_moment_is_both_kept(
    table: Table, leases: Leases, deadline: Deadline
) -> None:
    stored(table, OURS, deadline)
    found = read_earlier(leases.table, LEASE)
    note_busy(leases.table, "one-1", LEASE, Busy(START + 60.0), leases.clock, deadline)
    late = found.with_busy("two-1", Busy(START + 60.0), START)
    with pytest.raises(ConditionFailed):
        table.transact([late.write(table, LEASE, replaces=found)], deadline)
    note_busy(leases.table, "two-1", LEASE, Busy(START + 60.0), leases.clock, deadline)
    assert set(read_earlier(leases.table, LEASE).busy) == {"one-1", "two-1"}
    assert read_earlier(leases.table, LEASE).ids == OURS.ids


def test_where_nothing_is_stored_yet_it_is_stored_alone(leases: Leases, deadline: Deadline) -> None:
    note_busy(leases.table, "one-1", LEASE, Busy(START + 60.0, ("exec-2",)), leases.clock, deadline)
    assert read_earlier(leases.table, LEASE).busy == {"one-1": Busy(START + 60.0, ("exec-2",))}


@pytest.mark.parametrize(("now", "holds"), [(START + 59.0, False), (START + 60.0, True)])
def test_a_write_that_has_not_read_the_item_waits_until_every_reading_shows_it(
    table: Table, leases: Leases, deadline: Deadline, now: float, holds: bool
) -> None:
    note_busy(leases.table, "one-1", LEASE, Busy(START + 60.0, ("exec-2",)), leases.clock, deadline)
    check = check_shown(table, LEASE, {"exec-2"}, None, now)
    if holds:
        table.transact([check], deadline)
    else:
        with pytest.raises(ConditionFailed):
            table.transact([check], deadline)

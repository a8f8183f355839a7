"""How a slot is released: only if unchanged since it was read, and only by the run that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from celonis_refresh.pipelines.options import RunOptions, make_options
from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.runs.slots import drop_pending, release, start_pending
from celonis_refresh.runs.table import ConditionFailed, Table, slot_key
from celonis_refresh.timing import Deadline
from tests.unit.runs.compared_clients import claim, definition

EARLIER = "2025-12-31T23:59:59.000Z"
LATER = "2026-01-01T01:00:00.000Z"
WANTED = make_options("DELTA", ["VBAK"], [])


def slot_of(table: Table) -> Mapping[str, Any]:
    slot = table.get(slot_key("otc"))
    assert slot is not None
    return slot


@pytest.fixture
def busy(claims: Claims, table: Table, deadline: Deadline) -> Table:
    """Run otc-1 is running."""
    claims.accept([claim()], [], deadline)
    return table


@pytest.fixture
def followed(busy: Table, claims: Claims, deadline: Deadline) -> Table:
    """Run otc-1 is running, and otc-follow-2 is pending."""
    claims.accept([claim(number=2, options=WANTED)], [], deadline)
    return busy


@pytest.fixture
def waiting(table: Table, claims: Claims, deadline: Deadline) -> Table:
    """Nothing is running, and otc-follow-1 is pending."""
    claims.accept([claim(definition=definition("job-a", paused=True), options=WANTED)], [], deadline)
    return table


@pytest.mark.parametrize("paused", [False, True])
def test_a_slot_without_a_pending_run_becomes_free(busy: Table, deadline: Deadline, paused: bool) -> None:
    busy.transact(release(busy, "otc", slot_of(busy), "otc-1", LATER, paused=paused), deadline)
    assert slot_of(busy) == {"pk": "slot#otc", "released_at": LATER, "rev": 2}


def test_a_free_slot_is_claimed_like_a_new_one(busy: Table, claims: Claims, deadline: Deadline) -> None:
    busy.transact(release(busy, "otc", slot_of(busy), "otc-1", LATER, paused=False), deadline)
    (result,) = claims.accept([claim(number=2)], [], deadline).results
    assert (result.run_id, result.status) == ("otc-2", "started")


def test_a_pending_run_gets_the_slot_and_its_announced_record(followed: Table, deadline: Deadline) -> None:
    followed.transact(release(followed, "otc", slot_of(followed), "otc-1", LATER, paused=False), deadline)
    slot = {"pk": "slot#otc", "run_id": "otc-follow-2", "released_at": LATER, "rev": 3}
    assert slot_of(followed) == slot
    run = Run(followed.get("run#otc-follow-2") or {})
    assert (run.status, run.options, run.item["created_at"]) == (RunStatus.OPENING, WANTED, LATER)
    assert not run.has_definition


def test_during_a_pause_a_pending_run_stays_pending_and_listed(followed: Table, deadline: Deadline) -> None:
    pending = slot_of(followed)["pending"]
    followed.transact(release(followed, "otc", slot_of(followed), "otc-1", LATER, paused=True), deadline)
    assert slot_of(followed) == {
        "pk": "slot#otc",
        "pending": pending,
        "status": "WAITING",
        "position": f"{LATER} otc",
        "released_at": LATER,
        "rev": 3,
    }
    assert followed.get("run#otc-follow-2") is None


def test_a_run_is_never_created_before_the_end_of_the_run_before_it(
    busy: Table, claims: Claims, deadline: Deadline
) -> None:
    """The clocks of two functions differ, and a claim that conflicted has the time of its first attempt."""
    busy.transact(release(busy, "otc", slot_of(busy), "otc-1", LATER, paused=False), deadline)
    acceptance = claims.accept([claim(number=2)], [], deadline)
    assert acceptance.records["otc-2"]["created_at"] == LATER
    assert (busy.get("run#otc-2") or {})["position"] == f"{LATER} otc-2"


def test_a_run_that_waited_for_the_end_of_a_pause_is_not_created_before_the_run_before_it(
    followed: Table, deadline: Deadline
) -> None:
    followed.transact(release(followed, "otc", slot_of(followed), "otc-1", LATER, paused=True), deadline)
    followed.transact(start_pending(followed, "otc", slot_of(followed), EARLIER), deadline)
    assert (followed.get("run#otc-follow-2") or {})["created_at"] == LATER


def test_what_waits_in_a_free_slot_becomes_its_run(waiting: Table, deadline: Deadline) -> None:
    waiting.transact(start_pending(waiting, "otc", slot_of(waiting), LATER), deadline)
    assert slot_of(waiting) == {"pk": "slot#otc", "run_id": "otc-follow-1", "rev": 2}
    assert Run(waiting.get("run#otc-follow-1") or {}).options == WANTED


def test_what_waits_is_started_once(waiting: Table, deadline: Deadline) -> None:
    slot = slot_of(waiting)
    waiting.transact(start_pending(waiting, "otc", slot, LATER), deadline)
    with pytest.raises(ConditionFailed):
        waiting.transact(start_pending(waiting, "otc", slot, LATER), deadline)


def test_a_pending_run_can_be_dropped(followed: Table, deadline: Deadline) -> None:
    followed.update(drop_pending(followed, "otc", slot_of(followed)), deadline)
    assert slot_of(followed) == {"pk": "slot#otc", "run_id": "otc-1", "rev": 3}


def test_a_pending_run_in_a_free_slot_can_be_dropped_and_is_no_longer_listed(
    waiting: Table, deadline: Deadline
) -> None:
    waiting.update(drop_pending(waiting, "otc", slot_of(waiting)), deadline)
    assert slot_of(waiting) == {"pk": "slot#otc", "rev": 2}


Change = Any
MOVES: dict[str, Change] = {
    "release": lambda table, slot, run_id: release(table, "otc", slot, run_id, LATER, paused=False),
    "release during a pause": lambda table, slot, run_id: release(
        table, "otc", slot, run_id, LATER, paused=True
    ),
}


@pytest.mark.parametrize("move", MOVES)
def test_only_the_run_that_holds_the_slot_moves_it(move: str, followed: Table, deadline: Deadline) -> None:
    slot = slot_of(followed)
    with pytest.raises(ConditionFailed):
        followed.transact(MOVES[move](followed, slot, "otc-2"), deadline)
    assert slot_of(followed) == slot


DROP: Change = lambda table, slot, _: [drop_pending(table, "otc", slot)]  # noqa: E731 - a row of the table


@pytest.mark.parametrize("move", [*MOVES.values(), DROP], ids=[*MOVES, "drop"])
def test_a_slot_that_another_trigger_joined_since_it_was_read_is_not_moved(
    move: Change, followed: Table, claims: Claims, deadline: Deadline
) -> None:
    read = slot_of(followed)
    claims.accept([claim(number=3, options=make_options("FULL", "all", []))], [], deadline)
    after = slot_of(followed)
    with pytest.raises(ConditionFailed):
        followed.transact(move(followed, read, "otc-1"), deadline)
    assert slot_of(followed) == after
    assert RunOptions.from_json(after["pending"]["options"]).complete


def test_a_slot_that_was_started_or_joined_since_it_was_read_is_not_started(
    waiting: Table, claims: Claims, deadline: Deadline
) -> None:
    read = slot_of(waiting)
    claims.accept([claim(number=2, is_execution=True, options=make_options("FULL", None, []))], [], deadline)
    with pytest.raises(ConditionFailed):
        waiting.transact(start_pending(waiting, "otc", read, LATER), deadline)
    assert "run_id" not in slot_of(waiting)


def test_a_pending_run_is_not_started_beside_the_current_run(followed: Table, deadline: Deadline) -> None:
    slot = slot_of(followed)
    with pytest.raises(ConditionFailed):
        followed.transact(start_pending(followed, "otc", slot, LATER), deadline)
    assert slot_of(followed) == slot

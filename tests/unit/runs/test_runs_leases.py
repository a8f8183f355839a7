"""Which run uses a job or a model now."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.earlier import Earlier, read_earlier
from celonis_refresh.runs.errors import RunClosed, RunNotFound, StepMoved
from celonis_refresh.runs.leases import Blocked, LeaseRequest, Leases, QueuePlace
from celonis_refresh.runs.records import Records, RunStatus, StepWrite
from celonis_refresh.runs.table import Table, job_lease, model_lease, run_key
from celonis_refresh.timing import Deadline, iso
from tests.fakes.clock import START, FakeClock
from tests.fakes.leases import take
from tests.unit.runs.compared_clients import ComparedClients, claim, definition

LEASE = model_lease("model-a")


@pytest.fixture(autouse=True)
def _runs(claims: Claims, deadline: Deadline) -> None:
    """Runs one-1 and two-1 are running and hold no lease."""
    for pipeline in ("one", "two"):
        claims.accept([claim(pipeline, definition=definition(), job=None)], [], deadline)


def end(records: Records, run_id: str, deadline: Deadline) -> None:
    records.set_facts(records.get(run_id), {"status": RunStatus.FAILED}, deadline)


def holder(table: Table, lease: str = LEASE) -> str | None:
    item = table.get(lease) or {}
    return item.get("run_id")


def test_a_free_lease_is_taken(leases: Leases, table: Table, clock: FakeClock, deadline: Deadline) -> None:
    assert take(leases, "one-1", LEASE, deadline)
    at = iso(START)
    assert table.get(LEASE) == {
        "pk": LEASE,
        "run_id": "one-1",
        "at": at,
        "status": "LEASED",
        "position": f"{at} {LEASE}",
    }


def test_a_lease_is_one_runs_at_a_time(leases: Leases, table: Table, deadline: Deadline) -> None:
    assert take(leases, "one-1", LEASE, deadline)
    assert not take(leases, "two-1", LEASE, deadline)
    assert holder(table) == "one-1"


def test_the_holder_of_a_lease_can_take_it_again(leases: Leases, deadline: Deadline) -> None:
    assert take(leases, "one-1", LEASE, deadline)
    assert take(leases, "one-1", LEASE, deadline)


def test_a_job_and_a_model_of_the_same_id_have_leases_of_their_own(
    leases: Leases, table: Table, deadline: Deadline
) -> None:
    job = job_lease("model-a")
    assert take(leases, "one-1", LEASE, deadline)
    assert take(leases, "two-1", job, deadline)
    assert (holder(table), holder(table, job)) == ("one-1", "two-1")


def test_a_lease_whose_run_has_ended_is_taken_over(
    leases: Leases, records: Records, table: Table, deadline: Deadline
) -> None:
    take(leases, "one-1", LEASE, deadline)
    end(records, "one-1", deadline)
    assert take(leases, "two-1", LEASE, deadline)
    assert holder(table) == "two-1"


def test_a_lease_whose_run_is_forgotten_is_taken_over(
    leases: Leases, table: Table, deadline: Deadline
) -> None:
    take(leases, "one-1", LEASE, deadline)
    table.delete(table.remove(run_key("one-1"), ""), deadline)
    assert take(leases, "two-1", LEASE, deadline)


def test_a_run_that_has_ended_takes_nothing(
    leases: Leases, records: Records, table: Table, deadline: Deadline
) -> None:
    end(records, "one-1", deadline)
    with pytest.raises(RunClosed) as caught:
        take(leases, "one-1", LEASE, deadline)
    assert (caught.value.run_id, caught.value.status) == ("one-1", "FAILED")
    assert holder(table) is None


def test_a_run_that_has_ended_does_not_even_keep_what_it_holds(
    leases: Leases, records: Records, deadline: Deadline
) -> None:
    take(leases, "one-1", LEASE, deadline)
    end(records, "one-1", deadline)
    with pytest.raises(RunClosed):
        take(leases, "one-1", LEASE, deadline)


def test_a_run_without_a_record_takes_nothing(leases: Leases, table: Table, deadline: Deadline) -> None:
    with pytest.raises(RunNotFound):
        take(leases, "nobody", LEASE, deadline)
    assert holder(table) is None


def test_a_lease_is_freed_by_its_holder_only(leases: Leases, table: Table, deadline: Deadline) -> None:
    take(leases, "one-1", LEASE, deadline)
    leases.free("two-1", LEASE, deadline)
    assert holder(table) == "one-1"
    leases.free("one-1", LEASE, deadline)
    assert holder(table) is None


def test_freeing_twice_is_harmless(leases: Leases, deadline: Deadline) -> None:
    leases.free("one-1", LEASE, deadline)
    leases.free("one-1", LEASE, deadline)


def test_a_lease_that_is_held_is_taken_over_only_from_that_moment_on(
    leases: Leases, records: Records, table: Table, clock: FakeClock, deadline: Deadline
) -> None:
    take(leases, "one-1", LEASE, deadline)
    leases.hold("one-1", LEASE, START + 60.0, deadline)
    end(records, "one-1", deadline)
    for _ in range(2):
        assert not take(leases, "two-1", LEASE, deadline)
        clock.sleep(29.9)
    assert holder(table) == "one-1"
    clock.sleep(0.2)
    assert take(leases, "two-1", LEASE, deadline)
    assert holder(table) == "two-1"
    assert "held_until" not in (table.get(LEASE) or {})


def test_a_lease_is_held_by_its_holder_only(leases: Leases, table: Table, deadline: Deadline) -> None:
    leases.hold("one-1", LEASE, START + 60.0, deadline)
    assert table.get(LEASE) is None
    take(leases, "one-1", LEASE, deadline)
    leases.hold("two-1", LEASE, START + 60.0, deadline)
    assert "held_until" not in (table.get(LEASE) or {})


def test_a_held_lease_can_be_freed_by_its_holder(leases: Leases, table: Table, deadline: Deadline) -> None:
    take(leases, "one-1", LEASE, deadline)
    leases.hold("one-1", LEASE, START + 60.0, deadline)
    leases.free("one-1", LEASE, deadline)
    assert holder(table) is None


# ---------------------------------------------------------------- several leases at once, and their queues

JOB, OTHER = job_lease("job-a"), job_lease("job-b")
LATER = START + 3600.0
"""A moment until which a place counts."""


@pytest.fixture
def lease_requests(leases: Leases, records: Records, clock: FakeClock, deadline: Deadline) -> LeaseRequests:
    return LeaseRequests(leases, records, clock, deadline)


class LeaseRequests:
    """Lease requests of steps of the runs one-1 and two-1."""

    def __init__(self, leases: Leases, records: Records, clock: FakeClock, deadline: Deadline) -> None:
        self.leases, self.records, self.clock, self.deadline = leases, records, clock, deadline

    def request(
        self,
        run_id: str,
        *wanted: str,
        since: float = START,
        priority: bool = False,
        later: tuple[str, ...] = (),
    ) -> LeaseRequest:
        return LeaseRequest(run_id, wanted, QueuePlace(priority=priority, since=since), later)

    def check(self, run_id: str) -> StepWrite:
        return self.records.step_check(self.records.get(run_id), "job-0")

    def write(self, run_id: str, **state: object) -> StepWrite:
        return self.records.step_write(self.records.get(run_id), "job-0", state)

    def acquire(self, request: LeaseRequest, *held: str) -> Blocked | None:
        return self.leases.acquire(request, self.check(request.run_id), self.deadline, held)

    def enqueue(self, request: LeaseRequest, until: float = LATER) -> Blocked:
        blocked = self.acquire(request)
        assert blocked is not None
        self.leases.enqueue(blocked, self.check(request.run_id), until, self.deadline)
        return blocked

    def release(self, request: LeaseRequest, place: QueuePlace | None = None, *, held: bool = True) -> None:
        write = self.write(request.run_id, waiting_for="Celonis")
        self.leases.release(request, write, self.deadline, place, held=held)

    def queue(self, lease: str) -> dict[str, Any]:
        return dict((self.leases.table.get(lease) or {}).get("queue", {}))


def test_several_leases_are_acquired_in_one_transaction(
    lease_requests: LeaseRequests, client: ComparedClients, table: Table
) -> None:
    client.calls.clear()
    assert lease_requests.acquire(lease_requests.request("one-1", JOB, LEASE)) is None
    assert client.calls == ["get_item", "transact_write_items"]  # the first is of this test
    assert (holder(table, JOB), holder(table)) == ("one-1", "one-1")


@pytest.mark.parametrize("taken", [JOB, LEASE])
def test_where_one_of_several_is_held_none_is_acquired(
    lease_requests: LeaseRequests, table: Table, taken: str
) -> None:
    assert lease_requests.acquire(lease_requests.request("two-1", taken)) is None
    blocked = lease_requests.acquire(lease_requests.request("one-1", JOB, LEASE))
    assert blocked is not None
    assert {JOB, LEASE} - {taken} == {lease for lease in (JOB, LEASE) if holder(table, lease) is None}


def test_the_leases_of_a_step_that_moved_are_not_acquired(
    lease_requests: LeaseRequests, table: Table
) -> None:
    """A task that was overtaken by its retry must not hold anything again."""
    check = lease_requests.check("one-1")
    lease_requests.records.save_step(
        lease_requests.records.get("one-1"), "job-0", {}, lease_requests.deadline
    )
    with pytest.raises(StepMoved):
        lease_requests.leases.acquire(lease_requests.request("one-1", JOB), check, lease_requests.deadline)
    assert holder(table, JOB) is None


def test_what_the_run_holds_already_is_no_obstacle(lease_requests: LeaseRequests, table: Table) -> None:
    lease_requests.acquire(lease_requests.request("one-1", JOB))
    assert lease_requests.acquire(lease_requests.request("one-1", JOB, LEASE)) is None
    assert lease_requests.acquire(lease_requests.request("one-1", JOB, LEASE)) is None
    assert (holder(table, JOB), holder(table)) == ("one-1", "one-1")


def test_a_run_is_queued_up_to_the_first_lease_that_it_cannot_have(lease_requests: LeaseRequests) -> None:
    """It waits for the job: that is no reason to keep another run from the model."""
    lease_requests.acquire(lease_requests.request("two-1", JOB))
    lease_requests.enqueue(lease_requests.request("one-1", JOB, LEASE))
    assert lease_requests.queue(JOB) == {"one-1": {"priority": False, "since": START, "until": LATER}}
    assert lease_requests.queue(LEASE) == {}
    lease_requests.leases.free("two-1", JOB, lease_requests.deadline)
    lease_requests.acquire(lease_requests.request("two-1", LEASE))
    lease_requests.enqueue(lease_requests.request("one-1", JOB, LEASE))
    assert (set(lease_requests.queue(JOB)), set(lease_requests.queue(LEASE))) == ({"one-1"}, {"one-1"})


def queued_first(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline, **fields: Any
) -> LeaseRequest:
    """One-1 waits for the job that two-1 held and has freed."""
    request = lease_requests.request("one-1", JOB, **fields)
    lease_requests.acquire(lease_requests.request("two-1", JOB))
    lease_requests.enqueue(request)
    lease_requests.leases.free("two-1", JOB, deadline)
    assert holder(table, JOB) is None
    return request


def test_a_run_that_comes_later_yields_to_one_that_is_queued(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline
) -> None:
    request = queued_first(lease_requests, table, deadline)
    assert lease_requests.acquire(lease_requests.request("two-1", JOB, since=START + 1.0)) is not None
    assert lease_requests.acquire(request) is None
    assert (holder(table, JOB), lease_requests.queue(JOB)) == ("one-1", {})


def test_a_run_that_waits_for_longer_goes_first(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline
) -> None:
    queued_first(lease_requests, table, deadline)
    assert lease_requests.acquire(lease_requests.request("two-1", JOB, since=START - 1.0)) is None
    assert (holder(table, JOB), set(lease_requests.queue(JOB))) == ("two-1", {"one-1"})


def test_a_run_that_keeps_what_others_wait_for_goes_first(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline
) -> None:
    queued_first(lease_requests, table, deadline)
    assert (
        lease_requests.acquire(lease_requests.request("two-1", JOB, since=START + 1.0, priority=True)) is None
    )


def test_a_run_that_will_keep_leases_does_not_begin_while_another_is_queued_for_what_it_needs_later(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline
) -> None:
    queued_first(lease_requests, table, deadline)
    request = lease_requests.request("two-1", OTHER, LEASE, since=START + 1.0, later=(JOB,))
    assert lease_requests.acquire(request) is not None
    assert (holder(table, OTHER), holder(table)) == (None, None)
    lease_requests.enqueue(request)
    assert (set(lease_requests.queue(OTHER)), set(lease_requests.queue(LEASE))) == ({"two-1"}, {"two-1"})
    assert lease_requests.acquire(lease_requests.request("one-1", JOB)) is None
    assert lease_requests.acquire(request) is None  # it needs the queue to be empty, not the lease to be free


def test_a_queue_position_that_was_not_renewed_blocks_no_step(
    lease_requests: LeaseRequests, table: Table, clock: FakeClock, deadline: Deadline
) -> None:
    queued_first(lease_requests, table, deadline)
    clock.now = LATER
    later = lease_requests.request("two-1", JOB, since=LATER)
    lease_requests.deadline = Deadline.after(5.0, clock)
    assert lease_requests.acquire(later) is None
    assert lease_requests.queue(JOB) == {}


@pytest.mark.parametrize("closing", [True, False])
def test_the_queue_position_of_a_run_that_ends_blocks_no_step(
    lease_requests: LeaseRequests, records: Records, table: Table, deadline: Deadline, *, closing: bool
) -> None:
    queued_first(lease_requests, table, deadline)
    if closing:
        records.begin_closing(records.get("one-1"), iso(START), deadline)
    else:
        end(records, "one-1", deadline)
    assert lease_requests.acquire(lease_requests.request("two-1", JOB, since=START + 1.0)) is None
    assert lease_requests.queue(JOB) == {}


def test_a_place_is_renewed_with_the_lease_as_it_is(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline
) -> None:
    lease_requests.acquire(lease_requests.request("two-1", JOB))
    request = lease_requests.request("one-1", JOB)
    assert not lease_requests.enqueue(request).is_queued(START)
    blocked = lease_requests.acquire(request)
    assert blocked is not None
    assert blocked.is_queued(LATER)
    assert not blocked.is_queued(LATER + 1.0)
    lease_requests.leases.hold("two-1", JOB, START + 60.0, deadline)  # what was read is not what is there
    lease_requests.leases.enqueue(blocked, lease_requests.check("one-1"), LATER + 60.0, deadline)
    assert lease_requests.queue(JOB)["one-1"]["until"] == LATER + 60.0
    assert (holder(table, JOB), (table.get(JOB) or {})["held_until"]) == ("two-1", START + 60.0)


def test_a_run_that_holds_its_own_lease_and_cannot_have_another_gives_it_back(
    lease_requests: LeaseRequests, table: Table
) -> None:
    """An attempt before, which died, had both."""
    request = lease_requests.request("one-1", JOB, LEASE)
    lease_requests.acquire(lease_requests.request("two-1", LEASE))
    lease_requests.enqueue(request)
    lease_requests.acquire(lease_requests.request("one-1", JOB))
    blocked = lease_requests.enqueue(request)
    assert not blocked.is_queued(START)
    assert (holder(table, JOB), set(lease_requests.queue(JOB))) == (None, {"one-1"})


def test_a_claim_takes_no_lease_for_which_a_run_is_queued(
    lease_requests: LeaseRequests, claims: Claims, table: Table, deadline: Deadline
) -> None:
    request = queued_first(lease_requests, table, deadline)
    accepted = claims.accept([claim("three")], [], deadline).results[0]
    assert (accepted.status, accepted.holds_lease) == ("started", False)
    assert lease_requests.acquire(request) is None


def test_leases_are_given_back_with_what_is_noted_of_the_step(
    lease_requests: LeaseRequests, client: ComparedClients, table: Table, records: Records
) -> None:
    request = lease_requests.request("one-1", JOB, LEASE)
    lease_requests.acquire(request)
    client.calls.clear()
    lease_requests.release(request)
    assert client.calls == ["get_item", "transact_write_items"]
    assert (table.get(JOB), table.get(LEASE)) == (None, None)
    assert records.get("one-1").steps["job-0"] == {"waiting_for": "Celonis", "rev": 1}


def test_a_lease_that_is_given_back_keeps_the_places_of_others(
    lease_requests: LeaseRequests, table: Table
) -> None:
    request = lease_requests.request("one-1", JOB)
    lease_requests.acquire(request)
    lease_requests.enqueue(lease_requests.request("two-1", JOB))
    lease_requests.release(request)
    assert (holder(table, JOB), set(lease_requests.queue(JOB))) == (None, {"two-1"})


def test_a_run_that_gives_back_may_stay_queued(lease_requests: LeaseRequests, table: Table) -> None:
    request = lease_requests.request("one-1", JOB, LEASE)
    lease_requests.acquire(request)
    lease_requests.release(request, QueuePlace(priority=False, since=START, until=LATER))
    assert (set(lease_requests.queue(JOB)), set(lease_requests.queue(LEASE))) == ({"one-1"}, {"one-1"})
    assert lease_requests.acquire(lease_requests.request("two-1", LEASE, since=START + 1.0)) is not None
    assert lease_requests.acquire(request) is None


@pytest.mark.parametrize("held", [True, False])
def test_leases_are_released_even_if_their_assumed_holder_is_wrong(
    lease_requests: LeaseRequests, table: Table, *, held: bool
) -> None:
    """After a crash, a step does not know whether its leases are held for it."""
    request = lease_requests.request("one-1", JOB, LEASE)
    if not held:
        lease_requests.acquire(request)
    lease_requests.release(request, held=held)
    assert (table.get(JOB), table.get(LEASE)) == (None, None)


def test_leases_of_other_runs_are_not_released(
    lease_requests: LeaseRequests, table: Table, records: Records
) -> None:
    lease_requests.acquire(lease_requests.request("two-1", JOB))
    for held in (True, False):
        lease_requests.release(lease_requests.request("one-1", JOB, LEASE), held=held)
    assert (holder(table, JOB), holder(table)) == ("two-1", None)
    assert records.get("one-1").steps["job-0"]["rev"] == 2


def test_a_lease_is_freed_with_the_place_of_its_run_and_keeps_the_others(
    lease_requests: LeaseRequests, table: Table, deadline: Deadline
) -> None:
    lease_requests.acquire(lease_requests.request("two-1", JOB))
    lease_requests.enqueue(lease_requests.request("one-1", JOB))
    lease_requests.leases.free("one-1", JOB, deadline)
    assert (holder(table, JOB), lease_requests.queue(JOB)) == ("two-1", {})
    lease_requests.enqueue(lease_requests.request("one-1", JOB))
    lease_requests.leases.free("two-1", JOB, deadline)
    assert "run_id" not in (table.get(JOB) or {})
    assert set(lease_requests.queue(JOB)) == {"one-1"}


def test_the_end_of_a_step_its_lease_and_its_execution_are_one_write(
    lease_requests: LeaseRequests, client: ComparedClients, table: Table, records: Records, deadline: Deadline
) -> None:
    lease_requests.acquire(lease_requests.request("one-1", JOB))
    earlier = Earlier().followed_by(["exec-1"], None, START + 60.0, shows_running=True)
    write = lease_requests.write("one-1", outcome="SUCCEEDED")
    client.calls.clear()
    lease_requests.leases.end("one-1", JOB, write, deadline, earlier)
    assert client.calls == ["transact_write_items"]
    assert (table.get(JOB), read_earlier(lease_requests.leases.table, JOB)) == (
        None,
        replace(earlier, run_id="one-1"),
    )
    assert records.get("one-1").steps["job-0"]["outcome"] == "SUCCEEDED"


def test_a_step_that_ends_after_its_lease_was_freed_stores_no_execution(
    lease_requests: LeaseRequests, table: Table, records: Records, deadline: Deadline
) -> None:
    lease_requests.acquire(lease_requests.request("two-1", JOB))
    earlier = Earlier().followed_by(["exec-1"], None, START + 60.0, shows_running=True)
    lease_requests.leases.end(
        "one-1", JOB, lease_requests.write("one-1", outcome="SUCCEEDED"), deadline, earlier
    )
    assert (holder(table, JOB), read_earlier(lease_requests.leases.table, JOB)) == ("two-1", Earlier())
    assert records.get("one-1").steps["job-0"]["outcome"] == "SUCCEEDED"


def test_places_of_runs_that_ended_are_removed_and_others_stay(
    lease_requests: LeaseRequests, records: Records, table: Table, deadline: Deadline
) -> None:
    request = queued_first(lease_requests, table, deadline)
    assert not lease_requests.leases.remove_ended(lease_requests.leases.find(JOB), deadline)
    assert not lease_requests.leases.remove_ended(lease_requests.leases.find(OTHER), deadline)
    assert set(lease_requests.queue(JOB)) == {request.run_id}
    end(records, "one-1", deadline)
    assert lease_requests.leases.remove_ended(lease_requests.leases.find(JOB), deadline)
    assert table.get(JOB) is None

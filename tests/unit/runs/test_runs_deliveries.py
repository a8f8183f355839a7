"""What a delivery led to is recorded per pipeline: sent again, it starts exactly what it has not started."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from celonis_refresh.runs.claims import Acceptance, Claims, Delivery
from celonis_refresh.runs.deliveries import DAY, DELIVERY_DAYS
from celonis_refresh.runs.errors import PipelinePaused, TableBusy
from celonis_refresh.runs.slots import release
from celonis_refresh.runs.table import MAX_ACTIONS, Table, batch_key
from celonis_refresh.timing import Deadline, iso
from tests.fakes.clock import START, FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, canceled, table_of
from tests.fakes.service import Crashed
from tests.unit.runs.compared_clients import ComparedClients, claim, definition

KEY = "delivery#erp#1"
OTHER: dict[str, Any] = {"job": "job-b", "definition": definition("job-b")}
SKIPPING = definition("job-a", when_running="skip")


def runs_of(acceptance: Acceptance) -> list[tuple[str, bool]]:
    """The runs, and whether an earlier delivery had led to them."""
    return [(result.run_id, result.pipeline in acceptance.earlier) for result in acceptance.results]


def test_a_delivery_sent_again_starts_the_pipelines_that_it_has_not_started(
    claims: Claims, client: ComparedClients, clock: FakeClock, deadline: Deadline
) -> None:
    claims.accept([claim("one")], [KEY], deadline)
    clock.now += 3600
    client.calls.clear()
    again = claims.accept([claim("one", 2), claim("two", 2, **OTHER)], [KEY], Deadline.after(5, clock))
    assert client.calls == ["transact_write_items"] * 2
    assert runs_of(again) == [("one-1", True), ("two-2", False)]
    assert (again.duplicate, again.earlier) == (False, {"one": START})
    assert list(again.records) == ["two-2"]
    claims.remembered.clear()  # another process
    client.calls.clear()
    third = claims.accept([claim("one", 3), claim("two", 3, **OTHER)], [KEY], Deadline.after(5, clock))
    assert client.calls == ["transact_write_items"]
    assert runs_of(third) == [("one-1", True), ("two-2", True)]
    assert third.duplicate


def test_a_delivery_whose_rules_changed_starts_what_they_name_now(claims: Claims, deadline: Deadline) -> None:
    claims.accept([claim("one")], [KEY], deadline)
    assert runs_of(claims.accept([claim("two", **OTHER)], [KEY], deadline)) == [("two-1", False)]
    assert runs_of(claims.accept([claim("one", 2)], [KEY], deadline)) == [("one-1", True)]


def test_a_pipeline_that_was_skipped_is_tried_again_beside_one_that_started(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(definition=SKIPPING)], [], deadline)
    both = [claim(number=2, definition=SKIPPING), claim("other", **OTHER)]
    first = claims.accept(both, [KEY], deadline)
    assert [result.status for result in first.results] == ["skipped", "started"]
    again = claims.accept(both, [KEY], deadline)
    assert [result.status for result in again.results] == ["skipped", "started"]
    assert (again.duplicate, again.earlier) == (True, {"other": START})
    slot = table.get("slot#otc") or {}
    table.transact(release(table, "otc", slot, "otc-1", iso(START), paused=False), deadline)
    assert runs_of(claims.accept(both, [KEY], deadline)) == [("otc-2", False), ("other-1", True)]


def test_each_pipeline_of_a_delivery_is_known_for_its_own_days(claims: Claims, clock: FakeClock) -> None:
    claims.accept([claim("one")], [KEY], Deadline.after(5, clock))
    clock.now += 10 * DAY
    claims.accept([claim("two", **OTHER)], [KEY], Deadline.after(5, clock))
    clock.now = START + DELIVERY_DAYS * DAY + 1
    again = claims.accept([claim("one", 2), claim("two", 2, **OTHER)], [KEY], Deadline.after(5, clock))
    assert runs_of(again) == [("one-follow-2", False), ("two-1", True)]


def test_a_delivery_under_two_keys_is_recorded_under_both(claims: Claims, deadline: Deadline) -> None:
    claims.accept([claim("one")], [KEY, "signed#erp#x"], deadline)
    claims.accept([claim("one", 2), claim("two", **OTHER)], ["delivery#erp#2", "signed#erp#x"], deadline)
    for known in ("delivery#erp#2", "signed#erp#x"):
        again = claims.accept([claim("two", 2, **OTHER)], [known], deadline)
        assert runs_of(again) == [("two-1", True)]


def test_a_delivery_that_two_requests_accept_concurrently_is_claimed_once(
    clock: FakeClock, deadline: Deadline
) -> None:
    fake = FakeDynamoDB()
    claims = Claims(table_of(fake, clock), clock)
    claims.accept([claim("one")], [KEY], deadline)
    rivals = [claim("one", 2), claim("two", 2, **OTHER)]
    fake.interleave("TransactWriteItems", lambda: claims.accept(rivals, [KEY], deadline))
    again = claims.accept([claim("one", 3), claim("two", 3, **OTHER)], [KEY], deadline)
    assert runs_of(again) == [("one-1", True), ("two-2", True)]
    assert sorted(item["run_id"] for item in fake.documents("run#")) == ["one-1", "two-2"]


def test_a_pause_does_not_refuse_what_was_accepted_before_it(claims: Claims, deadline: Deadline) -> None:
    claims.accept([claim(may_join=False)], [KEY], deadline)
    paused = claim(number=2, may_join=False, definition=definition("job-a", paused=True))
    assert runs_of(claims.accept([paused], [KEY], deadline)) == [("otc-1", True)]
    with pytest.raises(PipelinePaused):
        claims.accept([paused], ["delivery#erp#2"], deadline)


# ---------------------------------------------------------------- batches


def batch(count: int, *pipelines: str, number: int = 1) -> list[Delivery]:
    """Deliveries that each claim all pipelines; the ids of their runs end with ``number``."""
    claimed = [claim(name, number, job=f"job-{name}") for name in pipelines]
    return [Delivery(claimed, [f"delivery#erp#{each}"]) for each in range(count)]


def accept(claims: Claims, deliveries: list[Delivery], deadline: Deadline) -> list[Acceptance]:
    accepted = claims.accept_batch(deliveries, deadline)
    claims.finish(accepted, deadline)
    return accepted


def test_each_delivery_of_a_batch_records_its_own_pipelines(claims: Claims, deadline: Deadline) -> None:
    first, second = Delivery([claim("one")], ["a"]), Delivery([claim("two", **OTHER)], ["b"])
    accepted = claims.accept_batch([first, second], deadline)
    assert [runs_of(each) for each in accepted] == [[("one-1", False)], [("two-1", False)]]
    again = claims.accept([claim("two", 2, **OTHER)], ["a"], deadline)
    assert runs_of(again) == [("two-follow-2", False)]


@pytest.mark.parametrize(
    ("count", "calls"),
    [
        (MAX_ACTIONS - 3, ["transact_write_items"]),
        (MAX_ACTIONS - 2, ["transact_get_items"]),
        (2 * MAX_ACTIONS, ["transact_get_items"] * 3),
    ],
)
def test_what_is_known_of_a_batch_is_read_a_hundred_at_a_time(
    count: int, calls: list[str], claims: Claims, client: ComparedClients, deadline: Deadline
) -> None:
    accept(claims, batch(count, "otc"), deadline)
    claims.remembered.clear()  # another process
    client.calls.clear()
    again = claims.accept_batch(batch(count, "otc", number=2), deadline)
    assert {(each.duplicate, each.results[0].run_id) for each in again} == {(True, "otc-1")}
    assert client.calls == calls


def test_a_batch_with_more_keys_than_a_transaction_takes_is_recorded_key_by_key(
    claims: Claims, table: Table, client: ComparedClients, deadline: Deadline
) -> None:
    accepted = accept(claims, batch(2 * MAX_ACTIONS, "one", "two"), deadline)
    assert {tuple(runs_of(each)) for each in accepted} == {(("one-1", False), ("two-1", False))}
    reads, writes = ["transact_get_items"] * 3, ["transact_write_items"]
    assert client.calls == [*reads, *writes * 2, *writes, "get_item", *writes * 2, *writes]
    for number in (0, 99, 100, 199):
        known = claims.known(f"delivery#erp#{number}")
        assert known is not None
        assert [result.run_id for result in known.results] == ["one-1", "two-1"]
    assert table.get(batch_key("one-1")) is None
    assert "batch" not in (table.get("slot#one") or {})
    assert "batch" not in (table.get("slot#two") or {})


def test_a_batch_of_which_some_was_accepted_for_some_pipelines_records_the_rest(
    claims: Claims, deadline: Deadline
) -> None:
    claims.accept([claim("one")], ["delivery#erp#150"], deadline)
    accepted = accept(claims, batch(2 * MAX_ACTIONS, "one", "two", number=2), deadline)
    assert runs_of(accepted[0]) == [("one-follow-2", False), ("two-2", False)]
    assert runs_of(accepted[150]) == [("one-1", True), ("two-2", False)]
    known = claims.known("delivery#erp#150")
    assert known is not None
    assert [result.run_id for result in known.results] == ["one-1", "two-2"]


@pytest.fixture
def fake() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def alone(fake: FakeDynamoDB, clock: FakeClock) -> Claims:
    """Claims over the fake alone."""
    return Claims(table_of(fake, clock), clock)


def test_the_largest_batch_fits_into_an_item(alone: Claims, deadline: Deadline) -> None:
    names = [f"{number:02}".rjust(48, "p") for number in range(30)]
    deliveries = [
        Delivery(each.claims, [f"{number:03}{key}".ljust(240, "x") for key in ("delivery", "signed")])
        for number, each in enumerate(batch(200, *names))
    ]
    for each in accept(alone, deliveries, deadline):
        assert [result.pipeline for result in each.fresh] == names
    again = alone.accept_batch(deliveries, deadline)
    assert {tuple(sorted(each.earlier)) for each in again} == {tuple(names)}


def large(number: int = 1, pipeline: str = "otc") -> list[Delivery]:
    return batch(MAX_ACTIONS + 50, pipeline, number=number)


def dies_at(fake: FakeDynamoDB, call: int, moment: str) -> None:
    """The function dies before or after its n-th write from now on."""
    left = [call]

    def hook(when: str) -> Any:
        def at(operation: str, request: dict[str, Any]) -> None:
            if operation == "TransactWriteItems" and when == moment:
                left[0] -= 1
                if left[0] < 0:
                    fake.before = fake.after = lambda operation, request: None
                    raise Crashed

        return at

    fake.before, fake.after = hook("before"), hook("after")


CRASHES = [(call, moment) for call in range(6) for moment in ("before", "after")]
COMMIT = 2
"""The write that accepts a batch of 150 deliveries: two that announce it come before."""


def recorded(fake: FakeDynamoDB) -> int:
    """How many deliveries are known to have led to a run."""
    return sum(bool(item["runs"]) for item in fake.documents("delivery#"))


@pytest.mark.parametrize(("call", "moment"), CRASHES)
@pytest.mark.parametrize("sent", [range(150), range(149, 150), range(40, 150)], ids=["all", "one", "some"])
@pytest.mark.parametrize("ended", [False, True], ids=["runs", "ended"])
def test_a_batch_that_dies_anywhere_is_accepted_once_however_it_is_sent_again(
    call: int, moment: str, sent: range, ended: bool, fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    dies_at(fake, call, moment)
    with pytest.raises(Crashed):
        accept(alone, large(), deadline)
    committed = "run#otc-1" in fake.items
    assert committed is (call > COMMIT or (call, moment) == (COMMIT, "after"))
    if ended and committed:
        slot = fake.document("slot#otc")
        actions = release(alone.table, "otc", slot, "otc-1", iso(START), paused=False)
        alone.table.transact(actions, deadline)
    again = accept(alone, [large(2)[number] for number in sent], deadline)
    runs = {result.run_id for each in again for result in each.results}
    assert runs == ({"otc-1"} if committed else {"otc-2"})
    assert {each.duplicate for each in again} == {committed}
    assert [item["run_id"] for item in fake.documents("run#")] == sorted(runs)
    alone.accept([claim(number=3)], ["delivery#new"], deadline)
    assert recorded(fake) == 1 + (150 if committed else len(sent))
    assert "batch" not in fake.document("slot#otc")
    assert list(fake.documents("batch#")) == []


def test_a_batch_that_joins_what_waits_and_dies_is_known_after_the_end_of_its_run(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    """Also if it requests no more than the pending run, so that the slot could stay unchanged."""
    for number in (8, 9):
        alone.accept([claim(number=number)], [f"delivery#old#{number}"], deadline)
    alone.accept_batch(large(), deadline)
    for run_id in ("otc-8", "otc-follow-9"):
        slot = fake.document("slot#otc")
        actions = release(alone.table, "otc", slot, run_id, iso(START), paused=False)
        alone.table.transact(actions, deadline)
    assert runs_of(alone.accept([claim(number=3)], ["delivery#erp#149"], deadline)) == [
        ("otc-follow-9", True)
    ]


def test_a_new_delivery_after_a_batch_that_died_joins_as_ever(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    dies_at(fake, COMMIT, "after")
    with pytest.raises(Crashed):
        accept(alone, large(), deadline)
    assert runs_of(alone.accept([claim(number=2)], ["delivery#erp#new"], deadline)) == [
        ("otc-follow-2", False)
    ]
    assert recorded(fake) == 151


def test_a_batch_is_finished_by_several_at_once(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    accepted = alone.accept_batch(large(), deadline)
    for call in range(4):
        fake.interleave("TransactWriteItems", lambda: alone.finish(accepted, deadline))
        alone.finish(accepted, deadline)
        assert len(list(fake.documents("delivery#"))) == 150, call
    assert list(fake.documents("batch#")) == []


def test_who_finishes_a_batch_late_leaves_the_next_one_alone(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    first = alone.accept_batch(large(), deadline)
    second = [Delivery([claim(number=2)], [f"delivery#second#{number}"]) for number in range(MAX_ACTIONS)]

    def rival() -> None:
        alone.finish(first, deadline)
        alone.accept_batch(second, deadline)

    writes = [0]

    def before(operation: str, request: dict[str, Any]) -> None:
        writes[0] += operation == "TransactWriteItems"
        if writes[0] == 3:  # the slot, after two parts of the deliveries
            fake.before = lambda operation, request: None
            rival()

    fake.before = before
    alone.finish(first, deadline)
    assert fake.document("slot#otc")["batch"] == batch_key("otc-2")
    assert [item["pk"] for item in fake.documents("batch#")] == [batch_key("otc-2")]


def test_a_delivery_that_is_accepted_while_a_batch_is_read_is_not_accepted_twice(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    """Also where its run has ended by then."""

    def rival() -> None:
        alone.accept([claim(number=7)], ["delivery#erp#149"], deadline)
        slot = fake.document("slot#otc")
        alone.table.transact(release(alone.table, "otc", slot, "otc-7", iso(START), paused=False), deadline)

    fake.interleave("TransactWriteItems", rival)
    accepted = accept(alone, large(), deadline)
    assert runs_of(accepted[149]) == [("otc-7", True)]
    assert runs_of(accepted[0]) == [("otc-1", False)]


def test_a_write_that_comes_late_accepts_no_delivery_of_a_batch(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    """It joins the run that was pending when it read the slot, and that has started by now."""
    for number in (8, 9):
        alone.accept([claim(number=number)], [f"delivery#old#{number}"], deadline)
    late: list[dict[str, Any]] = []

    def stalls(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems" and len(request["TransactItems"]) == 1:
            late.append(request)
            fake.before = lambda operation, request: None
            raise Crashed

    fake.before = stalls
    with pytest.raises(Crashed):
        alone.accept([claim(number=10)], ["delivery#erp#149"], deadline)
    slot = fake.document("slot#otc")
    alone.table.transact(release(alone.table, "otc", slot, "otc-8", iso(START), paused=False), deadline)
    writes = [0]

    def arrives(operation: str, request: dict[str, Any]) -> None:
        writes[0] += operation == "TransactWriteItems"
        if writes[0] == COMMIT + 1:
            fake.before = lambda operation, request: None
            with pytest.raises(ClientError):
                fake.transact_write_items(**late[0])

    fake.before = arrives
    accepted = accept(alone, large(), deadline)
    assert runs_of(accepted[149]) == [("otc-follow-1", False)]
    known = alone.known("delivery#erp#149")
    assert known is not None
    assert runs_of(known) == [("otc-follow-1", True)]


@pytest.mark.parametrize("moment", ["TransactGetItems", "TransactWriteItems"])
def test_a_batch_that_shrinks_does_not_accept_what_another_batch_accepts(
    moment: str, fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    """Its slot is older than the deliveries: read before them, or before one of them had changed."""
    for number in (8, 9):
        alone.accept([claim(number=number)], [f"delivery#old#{number}"], deadline)

    def repeat_some() -> None:
        for number in range(5):
            alone.accept([claim(number=20)], [f"delivery#erp#{number}"], deadline)

    def rival() -> None:
        repeat_some()
        slot = fake.document("slot#otc")
        alone.table.transact(release(alone.table, "otc", slot, "otc-8", iso(START), paused=False), deadline)
        others = [Delivery([claim(number=10)], [f"delivery#rival#{number}"]) for number in range(MAX_ACTIONS)]
        same = batch(MAX_ACTIONS + 1, "otc", number=10)[MAX_ACTIONS - 1]
        rivals.extend(alone.accept_batch([same, *others], deadline))

    rivals: list[Acceptance] = []
    if moment == "TransactGetItems":
        repeat_some()
        fake.interleave(moment, lambda: fake.interleave(moment, rival))  # between the two parts that it reads
    else:
        fake.interleave(moment, rival)
    accepted = accept(alone, batch(MAX_ACTIONS + 1, "otc"), deadline)
    assert runs_of(rivals[0]) == [("otc-follow-10", False)]
    assert runs_of(accepted[MAX_ACTIONS - 1]) == [("otc-follow-10", True)]


def test_two_requests_with_the_same_batch_start_one_run(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    fake.interleave("TransactWriteItems", lambda: alone.accept_batch(large(7), deadline))
    accepted = accept(alone, large(), deadline)
    assert {tuple(runs_of(each)) for each in accepted} == {(("otc-7", True),)}


def test_a_batch_that_expired_unfinished_holds_up_nothing(
    fake: FakeDynamoDB, alone: Claims, clock: FakeClock, deadline: Deadline
) -> None:
    alone.accept_batch(large(), deadline)
    clock.now += (DELIVERY_DAYS + 1) * DAY
    assert runs_of(alone.accept([claim(number=2)], [KEY], Deadline.after(5, clock))) == [
        ("otc-follow-2", False)
    ]
    assert recorded(fake) == 1


def test_a_job_in_use_does_not_keep_a_large_batch_from_its_run(alone: Claims, deadline: Deadline) -> None:
    alone.accept([claim("other", job="job-otc")], [], deadline)
    (first, *_) = accept(alone, large(), deadline)
    assert (first.results[0].status, first.results[0].holds_lease) == ("started", False)


def test_a_read_that_meets_a_transaction_is_repeated_until_the_deadline(
    fake: FakeDynamoDB, alone: Claims, deadline: Deadline
) -> None:
    refusals = [canceled("TransactionConflict", "None")] * 3

    def conflict(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactGetItems" and refusals:
            raise refusals.pop()

    fake.before = conflict
    accept(alone, large(), deadline)
    fake.before = lambda operation, request: refusals.append(canceled("TransactionConflict"))
    fake.calls.clear()

    def always(operation: str, request: dict[str, Any]) -> None:
        raise canceled("TransactionConflict")

    fake.before = always
    alone.remembered.clear()  # another process
    with pytest.raises(TableBusy):
        accept(alone, large(), deadline)

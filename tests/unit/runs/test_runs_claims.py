"""How a trigger becomes a run, or joins the one that follows. Sequences are in tests/properties."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import Reason, RunOptions, make_options
from celonis_refresh.runs.claims import MAX_REMEMBERED, MAX_ROUNDS, Acceptance, Accepted, Claim, Claims
from celonis_refresh.runs.deliveries import DAY, DELIVERY_DAYS
from celonis_refresh.runs.errors import PipelineBusy, PipelinePaused, TableBusy
from celonis_refresh.runs.records import Records, Run, RunStatus, new_record
from celonis_refresh.runs.slots import release
from celonis_refresh.runs.table import Table, slot_key
from celonis_refresh.timing import Deadline, iso
from tests.fakes.clock import START, FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, canceled, table_of
from tests.unit.runs.compared_clients import ComparedClients, claim, definition

AT = "2026-01-01T00:00:00.000Z"


def tables(*names: str) -> RunOptions:
    return make_options(None, list(names), [Reason(AT, names[0], "erp", "")])


def one(acceptance: Acceptance) -> Accepted:
    (result,) = acceptance.results
    return result


def leave(table: Table, run_id: str, deadline: Deadline, *, paused: bool = False) -> None:
    """The run releases its slot."""
    slot = table.get(slot_key("otc")) or {}
    table.transact(release(table, "otc", slot, run_id, AT, paused=paused), deadline)


def test_a_free_pipeline_starts_with_slot_record_and_lease_written_at_once(
    claims: Claims, table: Table, client: ComparedClients, deadline: Deadline
) -> None:
    wanted = claim(options=make_options("DELTA", ["VBAK"], []), skip=("model-z",))
    acceptance = claims.accept([wanted], ["delivery#erp#1"], deadline)
    assert acceptance.results == (Accepted("otc", "otc-1", "started", holds_lease=True),)
    assert (acceptance.duplicate, acceptance.earlier) == (False, {})
    assert client.calls == ["transact_write_items"]
    record = new_record("otc-1", "otc", wanted.options, AT, wanted.definition, ("model-z",))
    assert table.get("run#otc-1") == record == acceptance.records["otc-1"]
    assert table.get("slot#otc") == {"pk": "slot#otc", "run_id": "otc-1", "rev": 1}
    assert table.get("lease#job#job-a") == {
        "pk": "lease#job#job-a",
        "run_id": "otc-1",
        "at": AT,
        "status": "LEASED",
        "position": f"{AT} lease#job#job-a",
    }


def test_a_record_that_was_claimed_is_open_and_has_the_definition(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim()], [], deadline)
    run = Run(table.get("run#otc-1") or {})
    assert (run.status, run.is_open, run.steps, run.loads) == (RunStatus.OPENING, True, {}, None)
    assert run.definition == definition("job-a")


def test_a_pipeline_without_jobs_takes_no_lease(claims: Claims, table: Table, deadline: Deadline) -> None:
    result = one(claims.accept([claim(definition=definition(), job=None)], [], deadline))
    assert result == Accepted("otc", "otc-1", "started", holds_lease=False)
    assert table.get("lease#job#job-a") is None


def test_a_job_that_another_run_uses_does_not_delay_the_claim(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim("first")], [], deadline)
    assert one(claims.accept([claim("second")], [], deadline)) == Accepted("second", "second-1", "started")
    assert (table.get("lease#job#job-a") or {})["run_id"] == "first-1"


def test_of_two_pipelines_that_come_together_the_first_gets_the_job_they_share(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    results = claims.accept([claim("first"), claim("second")], [], deadline).results
    assert [(result.run_id, result.holds_lease) for result in results] == [
        ("first-1", True),
        ("second-1", False),
    ]
    assert (table.get("lease#job#job-a") or {})["run_id"] == "first-1"


def test_two_spellings_of_one_job_have_one_lease(claims: Claims, table: Table, deadline: Deadline) -> None:
    uuid = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"
    first = claim("first", job=uuid.upper(), definition=definition(uuid.upper()))
    others = [claim("second", job=uuid, definition=definition(uuid))]
    results = claims.accept([first, *others], [], deadline).results
    assert [result.holds_lease for result in results] == [True, False]
    third = claim("third", job=uuid, definition=definition(uuid))
    assert not one(claims.accept([third], [], deadline)).holds_lease
    assert (table.get(f"lease#job#{uuid}") or {})["run_id"] == "first-1"


def test_triggers_of_a_busy_pipeline_join_into_one_follow_up(
    claims: Claims, table: Table, client: ComparedClients, deadline: Deadline
) -> None:
    claims.accept([claim()], [], deadline)
    client.calls.clear()
    second = one(claims.accept([claim(number=2, options=tables("a"))], [], deadline))
    assert client.calls == ["transact_write_items"] * 2
    third = one(claims.accept([claim(number=3, options=tables("b"))], [], deadline))
    assert second == third == Accepted("otc", "otc-follow-2", "joined")
    pending = (table.get("slot#otc") or {})["pending"]
    assert pending["run_id"] == "otc-follow-2"
    assert RunOptions.from_json(pending["options"]) == tables("a").join(tables("b"))
    assert table.get("run#otc-follow-2") is None
    assert table.get("run#otc-2") is None


def test_a_options_that_what_waits_covers_already_changes_nothing(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim()], [], deadline)
    claims.accept([claim(number=2, options=tables("a"))], [], deadline)
    before = table.get("slot#otc")
    again = one(claims.accept([claim(number=3, options=tables("a"))], ["delivery#erp#3"], deadline))
    assert again.run_id == "otc-follow-2"
    assert table.get("slot#otc") == before
    assert table.get("delivery#erp#3") is not None


@pytest.mark.parametrize("busy", [True, False])
def test_what_joins_goes_all_or_nothing_with_what_starts(
    busy: bool, claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim("first")], [], deadline)
    others = [claim("first", 2), claim("second", job="job-b", definition=definition("job-b"))]
    if busy:
        others.append(claim("third", may_join=False))
        claims.accept([claim("third", 7)], [], deadline)
        with pytest.raises(PipelineBusy):
            claims.accept(others, ["delivery#erp#1"], deadline)
    else:
        results = claims.accept(others, ["delivery#erp#1"], deadline).results
        assert [result.status for result in results] == ["joined", "started"]
    assert (table.get("run#second-1") is None) is busy
    assert ("pending" not in (table.get("slot#first") or {})) is busy
    assert (table.get("delivery#erp#1") is None) is busy


def test_a_delivery_sent_again_gets_the_runs_it_led_to(
    claims: Claims, clock: FakeClock, client: ComparedClients, deadline: Deadline
) -> None:
    first = claims.accept([claim("one"), claim("two")], ["delivery#erp#1"], deadline)
    clock.now += 100
    claims.remembered.clear()  # another process
    client.calls.clear()
    again = claims.accept([claim("one", 2), claim("two", 2)], ["delivery#erp#1"], deadline)
    assert (again.results, again.duplicate) == (first.results, True)
    assert again.earlier == {"one": START, "two": START}
    assert client.calls == ["transact_write_items"]


def test_a_delivery_sent_again_to_the_process_that_accepted_it_needs_no_request(
    claims: Claims, client: ComparedClients, deadline: Deadline
) -> None:
    first = claims.accept([claim()], ["delivery#erp#1", "delivery#erp#body"], deadline)
    client.calls.clear()
    for keys in (["delivery#erp#1"], ["delivery#erp#2", "delivery#erp#body"]):
        again = claims.accept([claim(run_id="otc-2")], keys, deadline)
        assert (again.duplicate, again.results) == (True, first.results)
    assert client.calls == []
    claims.accept([claim(), claim("p2p", job="job-b")], ["delivery#erp#1"], deadline)
    assert client.calls != []


def test_a_process_remembers_only_the_last_deliveries(clock: FakeClock) -> None:
    """Over the fake alone: moto copies all deliveries for each of them."""
    fake, deadline = FakeDynamoDB(), Deadline.after(5, clock)
    claims = Claims(table_of(fake, clock), clock)
    for number in range(MAX_REMEMBERED + 1):
        claims.accept([claim()], [f"delivery#erp#{number}"], deadline)
    assert len(claims.remembered) == MAX_REMEMBERED
    fake.calls.clear()
    assert claims.accept([claim()], ["delivery#erp#0"], deadline).duplicate
    assert fake.calls == ["TransactWriteItems"]


def test_a_delivery_is_known_by_any_of_its_keys(claims: Claims, deadline: Deadline) -> None:
    claims.accept([claim()], ["delivery#erp#1", "signed#erp#x"], deadline)
    again = claims.accept([claim(number=2)], ["delivery#erp#2", "signed#erp#x"], deadline)
    assert (again.duplicate, one(again).run_id) == (True, "otc-1")
    assert claims.known("delivery#erp#2") is None


@pytest.mark.parametrize(("late", "duplicate"), [(-1, True), (1, False)])
def test_an_expired_delivery_is_unknown_even_if_its_item_still_exists(
    late: int, duplicate: bool, claims: Claims, clock: FakeClock, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim()], ["delivery#erp#1"], deadline)
    clock.now += DELIVERY_DAYS * DAY + late
    assert (claims.known("delivery#erp#1") is not None) is duplicate
    again = claims.accept([claim(number=2)], ["delivery#erp#1"], Deadline.after(5, clock))
    assert again.duplicate is duplicate
    assert one(again).run_id == ("otc-1" if duplicate else "otc-follow-2")
    assert (table.get("delivery#erp#1") or {})["expires"] > clock.now


def test_the_id_of_an_expired_run_is_free_even_if_its_record_still_exists(
    claims: Claims, clock: FakeClock, table: Table, deadline: Deadline
) -> None:
    """Step Functions takes the name of an execution again after 90 days."""
    old = {**new_record("otc-1", "otc", RunOptions(), "2025-01-01T00:00:00.000Z"), "status": RunStatus.FAILED}
    table.transact([table.put({**old, "expires": int(clock.now) - 1})], deadline)
    assert one(claims.accept([claim()], [], deadline)).status == "started"
    assert Records(table, clock).get("otc-1").is_open


def test_a_known_delivery_is_reported_without_a_claim(claims: Claims, deadline: Deadline) -> None:
    assert claims.known("delivery#erp#1") is None
    accepted = claims.accept([claim()], ["delivery#erp#1"], deadline)
    known = claims.known("delivery#erp#1")
    assert known is not None
    assert (known.results, known.duplicate) == (accepted.results, True)
    assert known.earlier == {"otc": START}


SKIPPING = definition("job-a", when_running="skip")


def test_a_pipeline_may_skip_what_comes_while_it_runs(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(definition=SKIPPING)], [], deadline)
    before = table.get("slot#otc")
    skipped = claims.accept([claim(number=2, definition=SKIPPING)], ["delivery#erp#2"], deadline)
    assert skipped.results == (Accepted("otc", "otc-1", "skipped"),)
    assert not skipped.duplicate
    assert table.get("slot#otc") == before
    assert table.get("delivery#erp#2") is None


def test_what_is_skipped_does_not_hold_up_what_starts_with_it(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(definition=SKIPPING)], [], deadline)
    both = [claim(number=2, definition=SKIPPING), claim("other")]
    results = claims.accept(both, ["delivery#erp#2"], deadline).results
    assert [result.status for result in results] == ["skipped", "started"]
    assert claims.accept(both, ["delivery#erp#2"], deadline).results == results


def test_a_delivery_that_started_the_run_is_not_skipped_when_it_comes_again(
    claims: Claims, deadline: Deadline
) -> None:
    first = claims.accept([claim(definition=SKIPPING)], ["delivery#erp#1"], deadline)
    again = claims.accept([claim(number=2, definition=SKIPPING)], ["delivery#erp#1"], deadline)
    assert (again.results, again.duplicate) == (first.results, True)


PAUSED = definition("job-a", paused=True)


def test_what_comes_during_a_pause_waits_where_it_can_be_listed(
    claims: Claims, table: Table, clock: FakeClock, deadline: Deadline
) -> None:
    first = one(claims.accept([claim(definition=PAUSED, options=tables("a"))], [], deadline))
    clock.now += 1
    second = one(claims.accept([claim(number=2, definition=PAUSED, options=tables("b"))], [], deadline))
    assert first == second == Accepted("otc", "otc-follow-1", "joined")
    slot = table.get("slot#otc") or {}
    assert (slot["status"], slot["position"]) == ("WAITING", f"{iso(START + 1)} otc")
    assert "run_id" not in slot
    assert table.get("lease#job#job-a") is None


def test_the_first_trigger_after_a_pause_starts_what_waits_with_its_own(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(definition=PAUSED, options=tables("a"))], [], deadline)
    result = one(claims.accept([claim(number=2, options=tables("b"))], [], deadline))
    assert result == Accepted("otc", "otc-follow-1", "started", holds_lease=True)
    assert table.get("slot#otc") == {"pk": "slot#otc", "run_id": "otc-follow-1", "rev": 2}
    assert Run(table.get("run#otc-follow-1") or {}).options == tables("a").join(tables("b"))


def test_of_two_triggers_after_a_pause_one_starts_what_waits_and_the_other_joins(clock: FakeClock) -> None:
    fake, deadline = FakeDynamoDB(), Deadline.after(5, clock)
    claims = Claims(table_of(fake, clock), clock)
    claims.accept([claim(definition=PAUSED)], [], deadline)
    results = []

    def rival() -> None:
        fake.interleave(
            "TransactWriteItems", lambda: results.append(claims.accept([claim(number=7)], [], deadline))
        )

    fake.interleave("TransactWriteItems", rival)  # before the second try, which has seen the pending run
    second = claims.accept([claim(number=2)], [], deadline)
    assert one(results[0]) == Accepted("otc", "otc-follow-1", "started", holds_lease=True)
    assert one(second) == Accepted("otc", "otc-follow-2", "joined")


def test_an_execution_has_a_name_already_and_so_joins_what_waits(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim(definition=PAUSED)], [], deadline)
    result = one(claims.accept([claim(number=2, is_execution=True)], [], deadline))
    assert result == Accepted("otc", "otc-follow-1", "joined")
    assert "run_id" not in (table.get("slot#otc") or {})


BUSY_WITH: dict[str, tuple[list[Claim], str]] = {
    "a run": ([claim()], "otc-1"),
    "a run that another follows": ([claim(), claim(number=2)], "otc-1"),
    "what waits": ([claim(definition=PAUSED)], "otc-follow-1"),
}


@pytest.mark.parametrize("case", BUSY_WITH)
@pytest.mark.parametrize("current", [definition("job-a"), PAUSED, SKIPPING], ids=["plain", "paused", "skips"])
def test_what_may_not_join_is_refused_while_the_pipeline_is_busy(
    case: str, current: Definition, claims: Claims, table: Table, deadline: Deadline
) -> None:
    before, run_id = BUSY_WITH[case]
    for each in before:
        claims.accept([each], [], deadline)
    slot = table.get("slot#otc")
    expected: Any = PipelinePaused if current.paused else PipelineBusy
    with pytest.raises(expected) as caught:
        claims.accept([claim(number=9, may_join=False, definition=current)], ["delivery#x#1"], deadline)
    assert caught.value.pipeline == "otc"
    if not current.paused:
        assert caught.value.run_id == run_id
        assert run_id in str(caught.value)
    assert (table.get("slot#otc"), table.get("delivery#x#1")) == (slot, None)


def test_what_may_not_join_starts_where_nothing_is_in_its_way(
    claims: Claims, table: Table, deadline: Deadline
) -> None:
    claims.accept([claim()], [], deadline)
    leave(table, "otc-1", deadline)
    result = one(claims.accept([claim(number=2, may_join=False)], [], deadline))
    assert (result.run_id, result.status) == ("otc-2", "started")


def test_two_triggers_of_one_pipeline_become_one_claim() -> None:
    both = claim(options=tables("a")).joined_by(claim(number=2, options=tables("b"), may_join=False))
    assert (both.run_id, both.options, both.may_join) == ("otc-1", tables("a").join(tables("b")), False)


def test_a_run_id_that_is_taken_is_reported(claims: Claims, deadline: Deadline) -> None:
    claims.accept([claim("first")], [], deadline)
    with pytest.raises(TableBusy, match="first-1 exists already"):
        claims.accept([claim("second", run_id="first-1")], [], deadline)


def test_a_record_that_is_taken_beside_a_slot_that_conflicts_is_no_refusal(
    clock: FakeClock, deadline: Deadline
) -> None:
    """Another trigger may have started the pending run: the slot, which conflicted, shows it."""
    fake = FakeDynamoDB()
    claims = Claims(table_of(fake, clock), clock)
    claims.accept([claim()], [], deadline)
    conflicts = [canceled("None", "TransactionConflict", "ConditionalCheckFailed", "None")]

    def conflict(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems" and conflicts:
            raise conflicts.pop()

    fake.before = conflict
    accepted = one(claims.accept([claim(number=2)], ["delivery#erp#1"], deadline))
    assert (accepted.run_id, accepted.status) == ("otc-follow-2", "joined")


def test_a_slot_that_keeps_changing_is_reported_as_busy(clock: FakeClock, deadline: Deadline) -> None:
    fake = FakeDynamoDB()
    claims = Claims(table_of(fake, clock), clock)
    claims.accept([claim()], [], deadline)

    def interfere(operation: str, request: dict[str, Any]) -> None:
        slot = fake.items["slot#otc"]
        slot["rev"] = {"N": str(int(slot["rev"]["N"]) + 1)}

    fake.calls.clear()
    fake.before = interfere
    with pytest.raises(TableBusy, match="kept changing"):
        claims.accept([claim(number=2)], ["delivery#erp#1"], deadline)
    assert len(fake.calls) == MAX_ROUNDS
    assert not [key for key in fake.items if key.startswith("delivery#")]

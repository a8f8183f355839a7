"""Records change only while their run is open, and a step only as it was read."""

from __future__ import annotations

import pytest

from celonis_refresh.pipelines.definition import Definition, InlineDefinition, read_definition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.errors import RunClosed, RunNotFound, StepMoved
from celonis_refresh.runs.records import OPEN, Records, Run, RunStatus, new_record
from celonis_refresh.runs.table import MAX_RUN_ID, Table
from celonis_refresh.timing import Deadline
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, client_error, table_of
from tests.unit.runs.compared_clients import ComparedClients, claim, definition

CLOSED = sorted(set(RunStatus) - OPEN)


@pytest.fixture
def run(claims: Claims, records: Records, deadline: Deadline) -> Run:
    claims.accept([claim()], [], deadline)
    return records.get("otc-1")


def test_a_run_is_found_by_its_id(run: Run, records: Records) -> None:
    assert (run.run_id, run.pipeline, run.options) == ("otc-1", "otc", RunOptions())
    assert records.find("otc-1") == run
    assert records.get_open("otc-1") == run


def test_a_run_that_is_not_there_is_reported(records: Records) -> None:
    assert records.find("otc-9") is None
    for get in (records.get, records.get_open):
        with pytest.raises(RunNotFound, match="no record of run 'otc-9'") as caught:
            get("otc-9")
        assert caught.value.run_id == "otc-9"


def test_a_run_id_that_is_too_long_is_not_read(records: Records, client: ComparedClients) -> None:
    with pytest.raises(RunNotFound):
        records.get("x" * (MAX_RUN_ID + 1))
    assert client.calls == []


@pytest.mark.parametrize("status", CLOSED)
def test_a_run_that_has_ended_is_not_open(
    status: RunStatus, run: Run, records: Records, deadline: Deadline
) -> None:
    ended = records.set_facts(run, {"status": status}, deadline)
    assert not ended.is_open
    with pytest.raises(RunClosed, match=rf"has ended already \({status}\)") as caught:
        records.get_open("otc-1")
    assert caught.value.status == status
    assert records.get("otc-1").status is status


def test_what_is_noted_is_written_and_reported(run: Run, records: Records, deadline: Deadline) -> None:
    noted = records.set_facts(
        run, {"status": RunStatus.RUNNING, "loads": {"load-0": {"kind": "x"}}}, deadline
    )
    assert records.get("otc-1") == noted
    assert (noted.status, noted.loads) == (RunStatus.RUNNING, {"load-0": {"kind": "x"}})


@pytest.mark.parametrize("status", CLOSED)
def test_nothing_is_noted_of_a_run_that_has_ended(
    status: RunStatus, run: Run, records: Records, deadline: Deadline
) -> None:
    records.set_facts(run, {"status": status}, deadline)
    before = records.get("otc-1")
    with pytest.raises(RunClosed):
        records.set_facts(run, {"fact": 1}, deadline)
    with pytest.raises(RunClosed):
        records.save_step(run, "job-0", {}, deadline)
    assert records.get("otc-1") == before


def test_nothing_is_noted_of_a_run_without_a_record(
    run: Run, records: Records, table: Table, deadline: Deadline
) -> None:
    table.delete(table.remove("run#otc-1", ""), deadline)
    with pytest.raises(RunNotFound):
        records.set_facts(run, {"fact": 1}, deadline)
    with pytest.raises(RunNotFound):
        records.save_step(run, "job-0", {}, deadline)
    assert records.find("otc-1") is None


def test_steps_are_saved_with_a_revision_each(run: Run, records: Records, deadline: Deadline) -> None:
    run = records.save_step(run, "job-0", {"posts": 1}, deadline)
    run = records.save_step(run, "load-0", {"posts": 1}, deadline)
    run = records.save_step(run, "job-0", {"posts": 2}, deadline, {"status": RunStatus.RUNNING})
    assert run.steps == {"job-0": {"posts": 2, "rev": 2}, "load-0": {"posts": 1, "rev": 1}}
    assert run.status is RunStatus.RUNNING
    assert records.get("otc-1") == run


def test_a_step_is_replaced_as_a_whole(run: Run, records: Records, deadline: Deadline) -> None:
    run = records.save_step(run, "job-0", {"last_error": "x"}, deadline)
    assert records.save_step(run, "job-0", {}, deadline).steps["job-0"] == {"rev": 2}


@pytest.mark.parametrize("known", [False, True])
def test_a_step_that_moved_since_it_was_read_is_not_saved(
    known: bool, run: Run, records: Records, deadline: Deadline
) -> None:
    read = records.save_step(run, "job-0", {"by": "first"}, deadline) if known else run
    records.save_step(read, "job-0", {"by": "second"}, deadline)
    before = records.get("otc-1")
    with pytest.raises(StepMoved, match=r"Step job-0 of run otc-1 was changed") as caught:
        records.save_step(read, "job-0", {"by": "third"}, deadline, {"status": RunStatus.RUNNING})
    assert (caught.value.run_id, caught.value.step) == ("otc-1", "job-0")
    assert records.get("otc-1") == before


def test_parallel_steps_do_not_move_each_other(run: Run, records: Records, deadline: Deadline) -> None:
    records.save_step(run, "load-0", {"x": 0}, deadline)
    records.save_step(run, "load-1", {"x": 1}, deadline)
    assert records.get("otc-1").steps == {"load-0": {"x": 0, "rev": 1}, "load-1": {"x": 1, "rev": 1}}


INLINE = read_definition(
    "The definition", InlineDefinition, {"name": "adhoc", "data_pool": "p", "jobs": [{"job": "j"}]}
)


@pytest.mark.parametrize("given", [definition("j", "k", settle=7), INLINE])
def test_a_record_gives_back_the_definition_it_opened_with(given: Definition) -> None:
    run = Run(new_record("otc-1", "otc", RunOptions(), "at", given, ("j",)))
    assert (run.definition, run.has_definition) == (given, True)
    assert [job.job for job in run.plan.jobs] == ["k"][: len(given.jobs) - 1]


def test_a_record_of_a_run_that_waited_has_no_definition_yet() -> None:
    record = new_record("otc-1", "otc", RunOptions(), "at")
    assert "skip" not in record
    assert not Run(record).has_definition


def test_a_definition_that_a_record_should_not_hold_is_reported_with_its_run() -> None:
    record = new_record("otc-1", "otc", RunOptions(), "at", definition("j"))
    run = Run({**record, "definition": '{"data_pool": "p"}'})
    with pytest.raises(InvalidDefinition, match="definition in the record of run otc-1 is not valid"):
        _ = run.definition


@pytest.fixture
def fake() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def opened(fake: FakeDynamoDB, clock: FakeClock, deadline: Deadline) -> tuple[Records, Run]:
    table = table_of(fake, clock)
    Claims(table, clock).accept([claim()], [], deadline)
    records = Records(table, clock)
    return records, records.get("otc-1")


STATE = {"sent_by": 1_767_225_600.0, "began": 1_767_225_600.25, "posts": 1, "baseline": {"ids": ("a", "b")}}


def test_a_step_that_was_saved_without_an_answer_is_saved(
    fake: FakeDynamoDB, opened: tuple[Records, Run], deadline: Deadline
) -> None:
    """Sent again, it is refused by its own first try, which is as good."""
    records, run = opened
    fake.lose_answer("UpdateItem")
    saved = records.save_step(run, "job-0", STATE, deadline, {"loads": {}})
    assert saved.steps["job-0"]["rev"] == records.get("otc-1").steps["job-0"]["rev"] == 1
    fake.lose_answer("UpdateItem")
    later = records.save_step(saved, "job-0", {**saved.steps["job-0"], "posts": 2}, deadline)
    assert later.steps["job-0"]["rev"] == 2


def test_a_step_that_another_task_saved_has_moved_also_where_responses_are_lost(
    fake: FakeDynamoDB, opened: tuple[Records, Run], deadline: Deadline
) -> None:
    records, run = opened
    records.save_step(run, "job-0", {**STATE, "began": 1_767_225_600.5}, deadline)
    before = fake.items
    fake.before = lambda operation, request: _fails_once(fake, operation)
    with pytest.raises(StepMoved):
        records.save_step(run, "job-0", STATE, deadline)
    assert fake.items == before


def _fails_once(fake: FakeDynamoDB, operation: str) -> None:
    fake.before = lambda operation, request: None
    raise client_error("InternalServerError", operation, ResponseMetadata={"HTTPStatusCode": 500})


def test_the_same_state_of_another_task_is_not_taken_for_ones_own(
    opened: tuple[Records, Run], deadline: Deadline
) -> None:
    records, run = opened
    records.save_step(run, "job-0", STATE, deadline)
    with pytest.raises(StepMoved):
        records.save_step(run, "job-0", STATE, deadline)


def test_what_is_noted_twice_is_noted(
    fake: FakeDynamoDB, opened: tuple[Records, Run], deadline: Deadline
) -> None:
    records, run = opened
    fake.lose_answer("UpdateItem")
    records.set_facts(run, {"status": RunStatus.RUNNING}, deadline)
    assert records.get("otc-1").status is RunStatus.RUNNING

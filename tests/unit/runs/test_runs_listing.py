"""Runs a page at a time: none lost, none twice, for any times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.leases import lease_item
from celonis_refresh.runs.records import Records, Run, RunStatus, new_record
from celonis_refresh.runs.table import LEASED, WAITING, Table, job_lease, slot_key
from celonis_refresh.timing import Deadline
from celonis_refresh.workflow.listing import SUMMARY, Listing, shown
from tests.fakes.clock import FakeClock
from tests.unit.runs.compared_clients import ComparedClients, create_table, definition, table_of

SECONDS = [f"2026-01-01T00:00:0{second}.000Z" for second in range(3)]
PIPELINES = ("otc", "p2p")
SOME = (RunStatus.RUNNING, RunStatus.SUCCEEDED, RunStatus.FAILED)
Listed = list[dict[str, Any]]


@pytest.fixture
def moto_table(moto: Any, clock: FakeClock) -> Table:
    return table_of(moto, create_table(moto), clock)


@pytest.fixture
def listing(moto_table: Table, clock: FakeClock) -> Listing:
    return Listing(moto_table, clock)


@pytest.fixture
def add(moto_table: Table, deadline: Deadline) -> Callable[..., None]:
    def put(run_id: str, pipeline: str, at: str, **facts: Any) -> None:
        record = new_record(run_id, pipeline, RunOptions(), at, definition("job-a"))
        moto_table.transact([moto_table.put({**record, **facts})], deadline)

    return put


def every_page(
    listing: Listing, limit: int, pipeline: str | None = None, status: RunStatus | None = None
) -> Listed:
    """All runs, page by page; each page is full, and only the last is marked as last."""
    page = listing.page(limit, pipeline, status, None)
    runs = page.runs
    while page.before is not None:
        assert len(page.runs) == limit
        older = listing.page(limit, pipeline, status, page.before)
        assert older.runs
        assert older.runs[0] not in runs
        page = older
        runs += page.runs
    return runs


rows = st.lists(
    st.tuples(st.sampled_from(PIPELINES), st.sampled_from(SECONDS), st.sampled_from(SOME)),
    min_size=1,
    max_size=9,
)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows, st.integers(1, 4), st.sampled_from([None, *PIPELINES]), st.sampled_from([None, *SOME]))
def test_pages_hold_every_run_once_newest_first(
    moto: Any,
    made: list[tuple[str, str, RunStatus]],
    limit: int,
    pipeline: str | None,
    status: RunStatus | None,
) -> None:
    clock = FakeClock()
    table = table_of(ComparedClients(moto), create_table(moto), clock)
    items = [
        {**new_record(f"run-{number:02}", name, RunOptions(), at), "status": ended}
        for number, (name, at, ended) in enumerate(made)
    ]
    table.transact([table.put(item) for item in items], Deadline.after(5, clock))
    wanted = [
        item["run_id"]
        for item in sorted(items, key=lambda item: str(item["position"]), reverse=True)
        if pipeline in (None, item["pipeline"]) and status in (None, item["status"])
    ]
    assert [run["run_id"] for run in every_page(Listing(table, clock), limit, pipeline, status)] == wanted


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_last_page_says_so_also_when_it_is_full(
    count: int, listing: Listing, add: Callable[..., None]
) -> None:
    for number in range(count):
        add(f"run-{number}", "otc", SECONDS[0])
    for pipeline, status in ((None, None), ("otc", None), (None, RunStatus.OPENING)):
        page = listing.page(2, pipeline, status, None)
        assert (len(page.runs), page.before is None) == (min(count, 2), count <= 2)


def test_a_rare_status_is_found_after_many_others(
    moto_table: Table,
    listing: Listing,
    add: Callable[..., None],
    deadline: Deadline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("celonis_refresh.workflow.listing.FILTERED", 20)
    add("the-one", "otc", SECONDS[0], status=RunStatus.FAILED)
    many = [new_record(f"run-{number}", "otc", RunOptions(), SECONDS[1]) for number in range(90)]
    moto_table.transact([moto_table.put(record) for record in many], deadline)
    add("run-x", "otc", SECONDS[2])
    page = listing.page(1, "otc", RunStatus.FAILED, None)
    assert ([run["run_id"] for run in page.runs], page.before) == (["the-one"], None)


def test_a_run_is_listed_with_what_it_came_to(listing: Listing, add: Callable[..., None]) -> None:
    facts = {"status": RunStatus.FAILED, "ended_at": SECONDS[2], "error": "JobFailed", "outcome": "Red."}
    add("run-1", "otc", SECONDS[0], **facts)
    expected = {
        "run_id": "run-1",
        "pipeline": "otc",
        "created_at": SECONDS[0],
        "duration_seconds": 2,
        **facts,
    }
    for pipeline, status in ((None, None), ("otc", None), (None, RunStatus.FAILED)):
        assert listing.page(9, pipeline, status, None).runs == [expected]
    assert set(expected) == {*SUMMARY, "duration_seconds"}


def test_what_is_no_run_is_in_no_list_of_runs(
    moto_table: Table, listing: Listing, add: Callable[..., None], deadline: Deadline
) -> None:
    add("run-1", "otc", SECONDS[0])
    waiting = {"pk": slot_key("otc"), "status": WAITING, "position": f"{SECONDS[0]} otc"}
    lease = lease_item(job_lease("job-a"), "run-1", SECONDS[1])
    moto_table.transact([moto_table.put(item) for item in (waiting, lease)], deadline)
    assert [run["run_id"] for run in listing.page(9, None, None, None).runs] == ["run-1"]
    assert [item["pk"] for item in listing.oldest(WAITING, None, 9)] == ["slot#otc"]
    assert [item["pk"] for item in listing.oldest(LEASED, None, 9)] == ["lease#job#job-a"]


@pytest.mark.parametrize(("left", "kept"), [(-1, False), (0, True), (1, True), (None, True)])
def test_what_has_expired_is_in_no_list_and_not_found(
    left: int | None, kept: bool, listing: Listing, add: Callable[..., None], clock: FakeClock
) -> None:
    """DynamoDB deletes it when it has the time."""
    add("run-1", "otc", SECONDS[0], status=RunStatus.FAILED)
    facts = {} if left is None else {"expires": int(clock.now) + left}
    add("run-2", "otc", SECONDS[1], status=RunStatus.FAILED, **facts)
    wanted = ["run-2", "run-1"] if kept else ["run-1"]
    for pipeline, status in (
        (None, None),
        ("otc", None),
        (None, RunStatus.FAILED),
        ("otc", RunStatus.FAILED),
    ):
        assert [run["run_id"] for run in every_page(listing, 1, pipeline, status)] == wanted
    assert [item["run_id"] for item in listing.oldest(RunStatus.FAILED, None, 9)] == wanted[::-1]
    assert (Records(listing.table, clock).find("run-2") is not None) is kept


def test_all_items_of_a_status_are_listed_oldest_first(listing: Listing, add: Callable[..., None]) -> None:
    for number in (2, 0, 1):
        add(f"run-{number}", "otc", SECONDS[number])
    found = list(listing.oldest(RunStatus.OPENING, None, 99))
    assert [item["run_id"] for item in found] == ["run-0", "run-1", "run-2"]


def test_a_record_is_shown_without_what_the_table_keeps_for_itself() -> None:
    evidence = {"ours": "e-1", "proven_by": "id", "seen": 3}
    step = {"rev": 3, "evidence": evidence, "baseline": {"ids": []}, "sent_by": 1.5, "outcome": "SUCCEEDED"}
    record = new_record("otc-1", "otc", RunOptions(), SECONDS[0], definition("job-a"), ("model-b",))
    document = shown(Run({**record, "expires": 1, "steps": {"job-0": step, "load-0": {"rev": 1}}}))
    assert document == {
        "run_id": "otc-1",
        "pipeline": "otc",
        "status": "OPENING",
        "created_at": SECONDS[0],
        "options": RunOptions().to_json(),
        "definition": {"data_pool": "pool-1", "jobs": [{"job": "job-a"}]},
        "skip": ["model-b"],
        "steps": {
            "job-0": {"outcome": "SUCCEEDED", "id": "e-1", "proven_by": "id"},
            "load-0": {"id": None, "proven_by": None},
        },
    }


def test_a_record_of_a_run_that_waited_is_shown_without_a_definition() -> None:
    assert "definition" not in shown(Run(new_record("otc-1", "otc", RunOptions(), SECONDS[0])))

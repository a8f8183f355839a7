"""Ten thousand runs: a round and a page send a bounded number of requests, and nothing is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from celonis_refresh.notifications.outbox import Message, MessageKind
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.leases import lease_item
from celonis_refresh.runs.records import RunStatus, new_record
from celonis_refresh.runs.table import WAITING, from_item, job_lease, slot_key, to_item
from celonis_refresh.timing import iso
from celonis_refresh.workflow.executions import ExecutionDescription
from celonis_refresh.workflow.listing import MAX_REQUESTS, OLDEST
from celonis_refresh.workflow.reconcile import (
    MAX_TASKS,
    MIN_CLOSE_SECONDS,
    POSITIONS,
    TASK_SECONDS,
    UNPACED_TASKS,
)
from tests.fakes.service import RUN
from tests.unit.workflow.commands_harness import CommandsHarness

MANY = 10_000
HOUR = 3600.0
KINDS = 6
"""Kinds of work in a round: open runs of both statuses, slots, leases, messages, reports of configuration."""


@dataclass
class ManyRuns(CommandsHarness):
    """``described``: the runs whose execution was described, and when."""

    described: list[tuple[str, float]] = field(default_factory=list)
    describe_seconds: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        find = self.executions.find

        def noted(run_id: str) -> ExecutionDescription | None:
            self.service.clock.sleep(self.describe_seconds)
            self.described.append((run_id, self.service.clock.now))
            return find(run_id)

        self.executions.find = noted  # type: ignore[method-assign]
        self.service.clock.sleep(10 * HOUR)

    def put(self, item: dict[str, Any]) -> None:
        self.service.dynamodb.items[item["pk"]] = to_item(item)

    def at(self, number: int) -> str:
        """A moment of the last hours: the greater the number, the later."""
        return iso(self.service.clock.now - 5 * HOUR + number)

    def add_runs(self, count: int, status: str = "RUNNING", **facts: Any) -> list[str]:
        """The ids of new runs, oldest first; the table has them in any order."""
        names = [f"many-{number:05}" for number in range(count)]
        records = [
            {**new_record(name, "many", RunOptions(), self.at(number)), "status": status, **facts}
            for number, name in enumerate(names)
        ]
        Random(1).shuffle(records)  # noqa: S311
        for record in records:
            self.put(record)
            name = str(record["run_id"])
            self.executions.known[name] = ExecutionDescription(name, f"arn:{name}", "RUNNING")
        return names

    def counted(self, act: Callable[[], object]) -> Counter[str]:
        """The requests that something sends to the table, by operation."""
        self.service.dynamodb.calls.clear()
        act()
        return Counter(self.service.dynamodb.calls)


def test_rounds_visit_all_open_runs_oldest_first_with_a_bounded_number_of_requests() -> None:
    harness = ManyRuns()
    wanted = [RUN, *harness.add_runs(MANY)]
    rounds = 0
    while len(harness.described) < len(wanted):
        before = len(harness.described)
        requests = harness.counted(harness.round)
        assert len(harness.described) - before == min(MAX_TASKS, len(wanted) - before)
        assert requests["Query"] <= MAX_TASKS // OLDEST + KINDS
        assert requests["GetItem"] <= MAX_TASKS + 1
        assert requests["UpdateItem"] == 1
        assert requests["TransactGetItems"] == 1  # the state of the only page of pipelines
        assert requests.total() == sum(
            requests[name] for name in ("Query", "GetItem", "UpdateItem", "TransactGetItems")
        )
        rounds += 1
    assert rounds == MANY // MAX_TASKS + 1
    assert [name for name, _ in harness.described] == wanted
    harness.round()
    assert [name for name, _ in harness.described[len(wanted) :]] == wanted[:MAX_TASKS]


def test_the_tasks_of_a_round_keep_within_the_rate_of_step_functions() -> None:
    harness = ManyRuns()
    harness.add_runs(MAX_TASKS)
    harness.round()
    times = [at for _, at in harness.described]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert min(waits[UNPACED_TASKS:]) >= TASK_SECONDS - 0.001
    assert sum(waits) <= MAX_TASKS * TASK_SECONDS


def test_a_clock_that_is_set_back_does_not_delay_a_round() -> None:
    harness = ManyRuns()
    names = harness.add_runs(UNPACED_TASKS + 10)
    find = harness.executions.find

    def set_back(run_id: str) -> ExecutionDescription | None:
        found = find(run_id)
        if run_id == names[-2]:
            harness.service.clock.now -= HOUR
        return found

    harness.executions.find = set_back  # type: ignore[method-assign]
    harness.round()
    (_, before), (_, after) = harness.described[-2:]
    assert after - (before - HOUR) == pytest.approx(TASK_SECONDS)


def test_a_round_that_runs_out_of_time_is_continued_by_the_next() -> None:
    harness = ManyRuns(describe_seconds=2.0)
    wanted = [RUN, *harness.add_runs(300)]
    for _ in range(4):
        before = len(harness.described)
        harness.round()
        assert 80 <= len(harness.described) - before <= 120
    assert [name for name, _ in harness.described[: len(wanted)]] == wanted


def test_no_kind_of_work_starves_another() -> None:
    """More of each kind than one round does: after four rounds everything is done."""
    harness = ManyRuns()
    count = 2 * MAX_TASKS + 10
    wanted = harness.add_runs(count)
    for number in range(count):
        harness.definitions[f"paused-{number}"] = harness.definition
        pending = {"run_id": f"waiting-{number}", "options": RunOptions().to_json()}
        position = f"{harness.at(number)} paused-{number}"
        slot = {"pk": slot_key(f"paused-{number}"), "pending": pending, "rev": 1}
        harness.put({**slot, "status": WAITING, "position": position})
        harness.put(lease_item(job_lease(f"j-{number}"), f"gone-{number}", harness.at(number)))
        message_id, made_at = f"gone-{number}/ended/topic", harness.at(number)
        message = Message(message_id, MessageKind.NOTIFICATION, "topic", {"what": "failed"}, made_at)
        harness.put(from_item(harness.closer.outbox.put(message)["Put"]["Item"]))
    found = [harness.round() for _ in range(4)]
    assert sum(len(each.slots) for each in found) == count
    assert sum(len(each.leases) for each in found) == count
    assert sum(len(each.notified) for each in found) == count
    assert set(wanted) <= {name for name, _ in harness.described}
    assert not any(each.failed for each in found)


def test_a_run_that_is_left_to_the_next_round_is_its_first() -> None:
    harness = ManyRuns()
    names = harness.add_runs(3)
    harness.executions.end(names[0], "FAILED", "JobFailed", "It failed.")
    harness.round(MIN_CLOSE_SECONDS - 1)
    assert harness.status(names[0]) is RunStatus.RUNNING
    assert [name for name, _ in harness.described] == [RUN, *names]
    harness.described.clear()
    assert harness.round().closed == [names[0]]
    assert [name for name, _ in harness.described] == names


def test_a_task_that_fails_does_not_keep_the_next_round_from_those_after_it() -> None:
    harness = ManyRuns()
    names = harness.add_runs(MAX_TASKS + 5)
    del harness.service.dynamodb.items[f"run#{names[-1]}"]["options"]
    for name in names[:3]:
        del harness.executions.known[name]
        harness.service.dynamodb.items[f"run#{name}"]["created_at"] = {"S": "no date"}
    assert len(harness.round().failed) == 3
    assert harness.service.dynamodb.document(POSITIONS)["after"]["RUNNING"].endswith(names[MAX_TASKS - 2])
    assert harness.round().failed == []
    assert "RUNNING" not in harness.service.dynamodb.document(POSITIONS)["after"]
    assert len(harness.round().failed) == 3


def every_run(harness: ManyRuns, **query: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of ``GET /runs``, each with a bounded number of requests."""
    before, lists = "", 1 if query.keys() & {"pipeline", "status"} else len(RunStatus)
    while True:
        harness.service.dynamodb.calls.clear()
        answer = harness.requests.list({**query, "before": before})
        assert set(harness.service.dynamodb.calls) == {"Query"}
        assert len(harness.service.dynamodb.calls) <= MAX_REQUESTS * lists
        yield answer["runs"]
        if answer["before"] is None:
            return
        before = answer["before"]


@pytest.mark.parametrize(
    "query", [{}, {"pipeline": "many"}, {"status": "FAILED"}, {"pipeline": "many", "status": "FAILED"}]
)
def test_a_page_of_runs_sends_a_bounded_number_of_requests(query: dict[str, str]) -> None:
    harness = ManyRuns()
    names = harness.add_runs(MANY, "FAILED")
    pages = every_run(harness, **query, limit="100")
    for number in range(5):
        found = [run["run_id"] for run in next(pages)]
        expected = names[::-1][100 * number : 100 * (number + 1)]
        assert found == expected
    rest = harness.counted(lambda: harness.requests.list(query))
    assert rest["Query"] <= len(RunStatus)


@pytest.mark.parametrize("query", [{}, {"pipeline": "many"}, {"status": "FAILED"}])
def test_runs_that_have_expired_do_not_make_a_page_endless(query: dict[str, str]) -> None:
    harness = ManyRuns()
    harness.add_runs(MANY, "FAILED", expires=int(harness.service.clock.now) - 1)
    found = [run["run_id"] for page in every_run(harness, **query) for run in page]
    assert found == ([RUN] if not query else [])


def test_a_rare_status_is_found_over_several_pages() -> None:
    harness = ManyRuns()
    names = harness.add_runs(MANY, "FAILED")
    harness.put({**harness.service.dynamodb.document(f"run#{names[10]}"), "status": "ABORTED"})
    pages = list(every_run(harness, pipeline="many", status="ABORTED"))
    assert [run["run_id"] for page in pages for run in page] == [names[10]]
    assert len(pages) <= 3


def test_a_pipeline_is_shown_with_a_bounded_number_of_requests() -> None:
    harness = ManyRuns()
    harness.definitions["many"] = harness.definition
    names = harness.add_runs(MANY, "FAILED")
    requests = harness.counted(lambda: harness.run_commands.show_pipeline("many", harness.service.deadline()))
    assert requests["Query"] <= 2 * MAX_REQUESTS
    succeeded = {"status": "SUCCEEDED", "ended_at": harness.at(0)}
    harness.put({**harness.service.dynamodb.document(f"run#{names[1000]}"), **succeeded})
    shown = harness.run_commands.show_pipeline("many", harness.service.deadline())
    assert shown["last_success"]["run_id"] == names[1000]

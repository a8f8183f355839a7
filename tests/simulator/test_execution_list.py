"""The list of executions in every form: order, length, and missing entries."""

from __future__ import annotations

from typing import Any

import pytest

from local.celonis import world
from tests.simulator.client import JOB, POOL, SimulatorClient

EXECUTIONS = f"{POOL}/logs/{world.ERP_JOB_ID}/executions"
TASKS = f"{POOL}/logs/executions"


def run_three(team: SimulatorClient) -> list[str]:
    """Let the job run three times, and return the ids of all executions, oldest first."""
    team.set_job(seconds=1)
    for _ in range(3):
        team.execute()
        team.clock.pass_seconds(2)
    found = team.control("GET", "/ledger").json()["executions"]
    return [one["id"] for one in found if one["job_id"] == world.ERP_JOB_ID]


def listed(team: SimulatorClient) -> list[str]:
    return [one["executionId"] for one in team.executions()]


@pytest.mark.parametrize(
    ("setup", "chosen"),
    [
        ({}, [3, 2, 1, 0]),
        ({"list_order": "newest_first"}, [3, 2, 1, 0]),
        ({"list_order": "oldest_first"}, [0, 1, 2, 3]),
        ({"list_limit": 2}, [3, 2]),
        ({"list_limit": 2, "list_limit_keeps": "newest"}, [3, 2]),
        ({"list_limit": 2, "list_limit_keeps": "oldest"}, [1, 0]),
        ({"list_limit": 2, "list_order": "oldest_first"}, [2, 3]),
        ({"list_limit": 2, "list_limit_keeps": "oldest", "list_order": "oldest_first"}, [0, 1]),
        ({"list_limit": 1, "list_limit_keeps": "oldest"}, [0]),
        ({"list_limit": 9, "list_limit_keeps": "oldest"}, [3, 2, 1, 0]),
        ({"list_limit": 0}, []),
        ({"list_limit": None}, [3, 2, 1, 0]),
    ],
)
def test_list_has_the_order_and_the_length_that_are_set(
    team: SimulatorClient, setup: dict[str, Any], chosen: list[int]
) -> None:
    ids = run_three(team)
    team.set_job(**setup)
    assert listed(team) == [ids[index] for index in chosen]


def test_pages_follow_the_order_that_is_set(team: SimulatorClient) -> None:
    ids = run_three(team)
    team.set_job(list_order="oldest_first", list_limit=3)
    page = team.call("GET", EXECUTIONS, params={"limit": "2", "page": "1"}).json()
    assert ([one["executionId"] for one in page["executionItems"]], page["numOfPages"]) == ([ids[3]], 2)


@pytest.mark.parametrize(
    ("hides", "statuses"),
    [
        ([], ["QUEUED", "RUNNING", "SUCCESS"]),
        (["queued"], ["RUNNING", "SUCCESS"]),
        (["running"], ["QUEUED", "SUCCESS"]),
        (["queued", "running"], ["SUCCESS"]),
        (["ended"], ["QUEUED", "RUNNING"]),
    ],
)
def test_list_can_hide_what_is_queued_or_running(
    team: SimulatorClient, hides: list[str], statuses: list[str]
) -> None:
    team.set_job(seconds=60, while_running="queue", list_hides=hides)
    team.execute()
    team.execute()
    assert [one["status"] for one in team.executions()] == statuses


def test_hidden_execution_is_listed_once_it_has_ended(team: SimulatorClient) -> None:
    team.set_job(seconds=3, queue_seconds=2, list_hides=["queued", "running"])
    team.execute()
    counts = []
    for _ in range(3):
        counts.append(len(listed(team)))
        team.clock.pass_seconds(2.5)
    assert (counts, len(listed(team))) == ([1, 1, 2], 2)


def test_hidden_entries_do_not_count_for_the_length(team: SimulatorClient) -> None:
    ids = run_three(team)
    team.set_job(seconds=60, list_hides=["running"], list_limit=1)
    team.execute()
    assert listed(team) == [ids[-1]]


@pytest.mark.parametrize("how", ["null_fields", "omit_fields"])
@pytest.mark.parametrize("names", [["status"], ["startDate", "endDate"], ["mode"]])
def test_list_can_lack_statuses_or_dates(team: SimulatorClient, how: str, names: list[str]) -> None:
    team.set_job(**{how: [f"execution.{name}" for name in names]})
    (entry,) = team.executions()
    assert [entry.get(name, "missing") for name in names] == [
        None if how == "null_fields" else "missing"
    ] * len(names)
    assert entry["executionId"]
    assert team.job()["status"] == "SUCCESS"


def test_fields_of_tasks_are_set_apart_from_those_of_the_list(team: SimulatorClient) -> None:
    query = {"executionId": listed(team)[0], "type": "TASK", "id": world.ERP_JOB_ID}
    team.set_job(omit_fields=["execution.startDate", "task.endDate"], null_fields=["task.status"])
    assert "startDate" not in team.executions()[0]
    for task in team.call("GET", TASKS, params=query).json():
        assert (task["startDate"] is None, "endDate" in task, task["status"]) == (False, False, None)


def test_list_settings_leave_all_other_answers_alone(team: SimulatorClient) -> None:
    run_three(team)
    before = (
        team.job(),
        team.call("GET", f"{POOL}/logs/status").json(),
        team.call("GET", f"{JOB}/tasks").json(),
    )
    team.set_job(list_limit=0, list_hides=["ended"], list_order="oldest_first")
    after = (
        team.job(),
        team.call("GET", f"{POOL}/logs/status").json(),
        team.call("GET", f"{JOB}/tasks").json(),
    )
    assert before == after

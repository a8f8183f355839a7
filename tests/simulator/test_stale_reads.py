"""Stale reads after a start: for a time, or a number of times, per aspect."""

from __future__ import annotations

import pytest

from local.celonis import world
from tests.simulator.client import POOL, START, SimulatorClient


def test_all_of_a_start_stays_hidden_for_a_time(team: SimulatorClient) -> None:
    before, list_before = team.job(), team.executions()
    team.set_job(stale=5, seconds=60)
    team.execute()
    team.clock.pass_seconds(4.9)
    assert team.job() == before
    assert team.executions() == list_before
    team.clock.pass_seconds(0.1)
    assert team.job()["status"] == "RUNNING"
    assert len(team.executions()) == 2


@pytest.mark.parametrize(
    ("aspect", "status", "id_is_new", "listed"),
    [("status", "SUCCESS", True, 2), ("ids", "RUNNING", False, 2), ("list", "RUNNING", True, 1)],
)
def test_each_aspect_is_stale_by_itself(
    team: SimulatorClient, aspect: str, status: str, id_is_new: bool, listed: int
) -> None:
    team.set_job(stale={aspect: 5}, seconds=60)
    team.execute()
    record = team.job()
    assert record["status"] == status
    assert (record["currentExecutionId"] is not None) is id_is_new
    assert len(team.executions()) == listed


def test_dates_are_stale_by_themselves(team: SimulatorClient) -> None:
    team.set_job(stale={"dates": 5}, seconds=60)
    team.execute()
    (entry,) = [
        one for one in team.call("GET", f"{POOL}/logs/status").json() if one["id"] == world.ERP_JOB_ID
    ]
    assert entry["status"] == "RUNNING"
    assert entry["lastExecutionStartDate"] == (START - 86_400) * 1000


def test_execution_shorter_than_the_staleness_is_seen_ended(team: SimulatorClient) -> None:
    team.set_job(stale=5, seconds=1, outcome="FAIL")
    team.execute()
    team.clock.pass_seconds(3)
    assert team.job()["status"] == "SUCCESS"
    team.clock.pass_seconds(2)
    assert team.job()["status"] == "FAIL"


def test_stale_read_shows_the_execution_before_still_running(team: SimulatorClient) -> None:
    team.set_job(seconds=2, stale=2.5)
    team.execute()
    team.clock.pass_seconds(1)
    team.execute()
    team.clock.pass_seconds(2.4)
    record = team.job()
    assert (record["status"], record["currentExecutionId"]) == ("RUNNING", team.started()[0]["id"])


def test_first_reads_after_every_start_can_be_stale(team: SimulatorClient) -> None:
    team.set_job(stale_reads=2, seconds=60, while_running="parallel")
    for _ in range(2):
        before = team.job()["currentExecutionId"]
        team.execute()
        after = [team.job()["currentExecutionId"] for _ in range(3)]
        assert after[:2] == [before, before]
        assert after[2] == team.started()[-1]["id"]


def test_single_read_in_the_middle_can_be_stale(team: SimulatorClient) -> None:
    team.set_job(seconds=60)
    team.execute()
    assert team.job()["status"] == "RUNNING"
    team.post(f"/jobs/{world.ERP_JOB_ID}/stale", reads=1, aspects=["status"])
    stale = team.job()
    assert (stale["status"], stale["currentExecutionId"]) == ("SUCCESS", team.started()[0]["id"])
    assert team.job()["status"] == "RUNNING"


def test_last_load_can_be_stale(team: SimulatorClient) -> None:
    before = team.last_load()
    team.set_model(stale=3, seconds=60)
    team.load()
    assert team.last_load() == before
    team.clock.pass_seconds(3)
    assert team.last_load()["loadStatus"] == "RUNNING"


def test_ids_of_a_load_can_be_stale_alone(team: SimulatorClient) -> None:
    before = team.last_load()
    team.set_model(stale={"ids": 3}, seconds=60)
    team.load()
    record = team.last_load()
    assert record["dataLoadId"] == before["dataLoadId"]
    assert record["loadStatus"] == "RUNNING"
    assert record["startDate"] == START * 1000

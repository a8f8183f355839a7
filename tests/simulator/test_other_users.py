"""Executions and loads that another user starts: now, later, around our start, or when the job is idle."""

from __future__ import annotations

import pytest

from local.celonis import world
from tests.simulator.client import START, SimulatorClient

JOB = f"/jobs/{world.ERP_JOB_ID}"
MODEL = f"/models/{world.MODEL_ID}"


def test_another_user_starts_a_job_now(team: SimulatorClient) -> None:
    answer = team.post(f"{JOB}/start", mode="DELTA", by="schedule", seconds=7, outcome="FAIL")
    (execution,) = team.started()
    assert answer == {"effect": "started", "id": execution["id"]}
    assert (execution["by"], execution["mode"]) == ("schedule", "DELTA")
    team.clock.pass_seconds(7)
    assert team.job()["status"] == "FAIL"


def test_another_user_starts_right_before_our_start(team: SimulatorClient) -> None:
    team.set_job(seconds=5)
    team.post(f"{JOB}/start", when="before_next")
    assert team.job()["status"] == "SUCCESS"
    team.execute()
    theirs, ours = team.started()
    assert (theirs["by"], ours["by"]) == ("another user", "api")
    assert (theirs["phase"], ours["phase"]) == ("running", "waiting")


def test_ours_is_refused_when_another_user_was_faster(team: SimulatorClient) -> None:
    team.set_job(while_running="refuse")
    team.post(f"{JOB}/start", when="before_next")
    assert team.execute().status_code == 409
    assert [one["by"] for one in team.started()] == ["another user"]


def test_another_user_starts_right_after_our_start_once(team: SimulatorClient) -> None:
    team.set_job(while_running="parallel")
    team.post(f"{JOB}/start", when="after_next")
    team.execute()
    team.execute()
    assert [one["by"] for one in team.started()] == ["api", "another user", "api"]


def test_another_user_starts_when_the_job_becomes_idle(team: SimulatorClient) -> None:
    team.set_job(seconds=5)
    team.execute()
    team.post(f"{JOB}/start", when="when_idle")
    team.clock.pass_seconds(8)
    _, theirs = team.started()
    assert (theirs["requested_at"], theirs["phase"]) == (START + 5, "running")


@pytest.mark.parametrize("readings", range(1, 13))
def test_no_request_sees_an_idle_job_between_ours_and_theirs(team: SimulatorClient, readings: int) -> None:
    """Wherever ours ends between two readings of the clock while a request is answered."""
    team.set_job(seconds=5)
    team.execute()
    team.post(f"{JOB}/start", when="when_idle")
    team.clock.pass_seconds(5 - 0.1 * (readings - 0.5))
    team.clock.step = 0.1
    status = team.job()["status"]
    team.clock.step = 0.0
    assert status == "RUNNING"


def test_another_user_starts_at_once_when_the_job_is_idle(team: SimulatorClient) -> None:
    team.post(f"{JOB}/start", when="when_idle")
    assert team.started()[0]["requested_at"] == START


def test_idle_job_that_never_ran_can_be_started(team: SimulatorClient) -> None:
    team.post("/reset", history=False)
    team.post(f"{JOB}/start", when="when_idle")
    assert team.job()["status"] == "RUNNING"


def test_another_user_starts_after_some_seconds(team: SimulatorClient) -> None:
    team.post(f"{JOB}/start", in_seconds=4)
    team.clock.pass_seconds(3.9)
    assert team.started() == []
    team.clock.pass_seconds(2)
    assert team.started()[0]["requested_at"] == START + 4


def test_another_user_loads_a_model(team: SimulatorClient) -> None:
    table = world.table_id(world.MODEL_ID, "VBAK", world.ERP_SOURCE_ID)
    team.post(f"{MODEL}/load", tables=[table])
    (load,) = team.loaded()
    assert (load["by"], load["type"], load["tables"]) == ("another user", "PARTIAL", [table])


def test_another_user_loads_around_our_load(team: SimulatorClient) -> None:
    team.set_model(while_running="parallel")
    team.post(f"{MODEL}/load", when="before_next", type="FROM_CACHE")
    team.post(f"{MODEL}/load", when="after_next")
    team.load()
    assert [(one["by"], one["type"]) for one in team.loaded()] == [
        ("another user", "FROM_CACHE"),
        ("api", "COMPLETE"),
        ("another user", "COMPLETE"),
    ]


def test_another_user_cancels_and_ends_jobs(team: SimulatorClient) -> None:
    team.set_job(seconds=60)
    team.execute()
    first = team.started()[0]["id"]
    assert team.post(f"{JOB}/cancel") == {"cancelled": first}
    assert team.job()["status"] == "CANCEL"
    team.execute()
    team.post(f"{JOB}/finish", outcome="FAIL", in_seconds=1)
    assert team.job()["status"] == "RUNNING"
    team.clock.pass_seconds(1)
    assert team.job()["status"] == "FAIL"
    assert team.post(f"{JOB}/finish") == {"ended": None}
    assert team.post(f"{JOB}/cancel") == {"cancelled": None}


def test_things_fall_due_in_their_order(team: SimulatorClient) -> None:
    team.set_job(seconds=3)
    team.post(f"{JOB}/start", in_seconds=2, by="late")
    team.post(f"{JOB}/start", in_seconds=1, by="early")
    team.clock.pass_seconds(100)
    assert [(one["by"], one["started_at"]) for one in team.started()] == [
        ("early", START + 1),
        ("late", START + 4),
    ]

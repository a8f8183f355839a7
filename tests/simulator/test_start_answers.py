"""The response to a start: nothing, the record before or after it, and ids that are new or not."""

from __future__ import annotations

import pytest

from local.celonis import world
from tests.simulator.client import MODEL, POOL, SimulatorClient

VBAK = world.table_id(world.MODEL_ID, "VBAK", world.ERP_SOURCE_ID)


def test_execute_can_answer_with_the_job_before_the_start(team: SimulatorClient) -> None:
    team.set_job(execute_answer="job_before", current_id_after_end=True, execute_status=202)
    before = team.job()
    answer = team.execute()
    assert (answer.status_code, answer.json()) == (202, before)
    assert before["currentExecutionId"] != team.started()[0]["id"] == team.job()["currentExecutionId"]
    assert (before["status"], team.job()["status"]) == ("SUCCESS", "RUNNING")


def test_execute_can_answer_with_the_job_after_the_start(team: SimulatorClient) -> None:
    team.set_job(execute_answer="job")
    assert team.execute().json()["currentExecutionId"] == team.started()[0]["id"]


def test_job_before_a_queued_start_is_the_one_that_runs(team: SimulatorClient) -> None:
    team.set_job(execute_answer="job_before")
    team.execute()
    assert team.execute().json()["currentExecutionId"] == team.started()[0]["id"]
    assert len(team.started()) == 2


def test_execute_can_answer_with_the_id_of_the_execution(team: SimulatorClient) -> None:
    team.set_job(execute_answer="execution_id", item_ids="own")
    assert team.execute().json() == {"executionId": team.started()[0]["id"]}


def test_execute_can_answer_with_the_id_of_the_item(team: SimulatorClient) -> None:
    team.set_job(execute_answer="item_id", item_ids="own")
    answered = team.execute().json()["executionId"]
    assert answered == team.job()["latestExecutionItemId"] == team.executions()[0]["id"]
    assert answered not in {one["executionId"] for one in team.executions()}


def test_execute_can_answer_with_an_id_that_nothing_else_shows(team: SimulatorClient) -> None:
    team.set_job(execute_answer="other_id")
    answered = team.execute().json()["executionId"]
    assert answered
    assert answered not in str(
        [team.job(), team.executions(), team.call("GET", f"{POOL}/logs/status").json()]
    )
    assert team.execute().json()["executionId"] != answered


def test_older_execute_answers_alike(team: SimulatorClient) -> None:
    team.set_job(execute_answer="job_before")
    before = team.job()
    path = f"{POOL}/jobs/{world.ERP_JOB_ID}/execute"
    assert team.call("POST", path, json={"mode": "FULL"}).json() == before


@pytest.mark.parametrize("partial", [False, True])
def test_load_can_answer_with_the_record_before_the_start(team: SimulatorClient, partial: bool) -> None:
    team.set_model(load_answer="record_before", load_status=201)
    before = team.last_load()
    answer = team.load_tables([VBAK]) if partial else team.load()
    assert (answer.status_code, answer.json()) == (201, before)
    assert before["dataLoadId"] != team.loaded()[0]["id"] == team.last_load()["dataLoadId"]


def test_load_of_a_model_never_loaded_has_no_record_before(team: SimulatorClient) -> None:
    team.post("/reset", history=False)
    team.set_model(load_answer="record_before")
    assert team.load().content == b""
    assert len(team.loaded()) == 1


def test_load_can_answer_with_the_id_of_the_load(team: SimulatorClient) -> None:
    team.set_model(load_answer="load_id")
    assert team.load().json() == {"dataLoadId": team.loaded()[0]["id"]}


def test_load_can_answer_with_an_id_that_nothing_else_shows(team: SimulatorClient) -> None:
    team.set_model(load_answer="other_id")
    answered = team.load().json()["dataLoadId"]
    history = team.call("GET", f"{POOL}/data-models/{world.MODEL_ID}/load-history/load-info-sync").json()
    assert answered
    assert answered not in str([team.last_load(), history])


def test_refused_start_answers_with_the_error_alone(team: SimulatorClient) -> None:
    team.set_job(execute_answer="job_before", while_running="refuse")
    team.set_model(load_answer="record_before", while_running="refuse")
    for start in (team.execute, team.load):
        assert start().status_code == 200
        assert set(start().json()) == {"title", "status", "detail", "errorCode"}


def test_ended_loads_only_are_shown_by_last_load(team: SimulatorClient) -> None:
    team.set_model(last_load_shows="end", seconds=2)
    before = team.last_load()
    for _ in range(2):
        team.load()
    team.clock.pass_seconds(1.9)
    assert team.last_load() == before
    team.clock.pass_seconds(0.1)
    assert team.last_load()["dataLoadId"] == team.loaded()[0]["id"]
    team.clock.pass_seconds(1.9)
    assert team.last_load()["dataLoadId"] == team.loaded()[0]["id"]
    assert team.last_load()["loadStatus"] == "SUCCESS"


def test_first_load_is_not_shown_before_its_end(team: SimulatorClient) -> None:
    team.post("/reset", history=False)
    team.set_model(last_load_shows="end", seconds=2)
    team.load()
    assert team.call("GET", f"{MODEL}/last-load").status_code == 404
    team.clock.pass_seconds(2)
    assert team.last_load()["endDate"]

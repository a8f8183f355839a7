"""Data jobs: starting, queueing, ending, being cancelled, and how the record shows it."""

from __future__ import annotations

import pytest

from local.celonis import world
from local.celonis.starts import RequestedStart
from tests.simulator.client import JOB, JOB_V2, START, SimulatorClient


def test_job_that_ran_yesterday_shows_its_old_success(team: SimulatorClient) -> None:
    record = team.job()
    assert record["status"] == "SUCCESS"
    assert record["currentExecutionId"] is None
    assert record["latestExecutionItemId"] is not None
    assert record["dataPoolId"] == world.POOL_ID


def test_job_that_never_ran_shows_no_status_and_no_ids(team: SimulatorClient) -> None:
    team.post("/reset", history=False)
    record = team.job()
    assert (record["status"], record["currentExecutionId"], record["latestExecutionItemId"]) == (
        None,
        None,
        None,
    )
    assert team.executions() == []


def test_execution_runs_as_long_as_its_mode_says(team: SimulatorClient) -> None:
    team.set_job(full_seconds=10, delta_seconds=2, queue_seconds=1)
    assert team.execute("DELTA").content == b""
    assert team.job()["status"] == "QUEUED"
    team.clock.pass_seconds(1)
    assert team.job()["status"] == "RUNNING"
    team.clock.pass_seconds(1.9)
    assert team.job()["status"] == "RUNNING"
    team.clock.pass_seconds(0.1)
    assert team.job()["status"] == "SUCCESS"
    (execution,) = team.started()
    assert (execution["mode"], execution["started_at"], execution["ended_at"]) == (
        "DELTA",
        START + 1,
        START + 3,
    )


@pytest.mark.parametrize("outcome", ["SUCCESS", "FAIL", "CANCEL", "SKIPPED", "HIBERNATED"])
def test_execution_ends_with_the_outcome_that_is_set(team: SimulatorClient, outcome: str) -> None:
    team.set_job(seconds=1, outcome=outcome)
    team.execute()
    team.clock.pass_seconds(1)
    record = team.job()
    assert (record["status"], record["currentExecutionId"]) == (outcome, None)
    assert team.executions()[0]["status"] == outcome


def test_ids_move_with_the_execution(team: SimulatorClient) -> None:
    before = team.job()["latestExecutionItemId"]
    team.set_job(execute_answer="execution_id", item_ids="own")
    started = team.execute().json()["executionId"]
    record = team.job()
    assert record["currentExecutionId"] == started
    assert record["latestExecutionItemId"] not in {before, started}
    newest = team.executions()[0]
    assert (newest["executionId"], newest["id"]) == (started, record["latestExecutionItemId"])


def test_item_id_is_the_execution_id_by_default(team: SimulatorClient) -> None:
    team.execute()
    record = team.job()
    assert record["latestExecutionItemId"] == record["currentExecutionId"]


def test_latest_item_can_move_at_the_end_only(team: SimulatorClient) -> None:
    team.set_job(latest_item_moves="end", seconds=1)
    before = team.job()["latestExecutionItemId"]
    team.execute()
    assert team.job()["latestExecutionItemId"] == before
    team.clock.pass_seconds(1)
    assert team.job()["latestExecutionItemId"] == team.started()[0]["item_id"]


def test_current_id_can_stay_after_the_end(team: SimulatorClient) -> None:
    team.set_job(current_id_after_end=True, seconds=1)
    team.execute()
    team.clock.pass_seconds(5)
    assert team.job()["currentExecutionId"] == team.started()[0]["id"]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [("execution_id", {"executionId"}), ("no_id", {"message"}), ("job", {"id", "status"})],
)
def test_execute_answers_with_the_body_that_is_set(
    team: SimulatorClient, answer: str, fields: set[str]
) -> None:
    team.set_job(execute_answer=answer, execute_status=202)
    response = team.execute()
    assert response.status_code == 202
    assert fields <= set(response.json())


@pytest.mark.parametrize("status", [400, 409])
def test_execute_while_running_can_be_refused(team: SimulatorClient, status: int) -> None:
    team.set_job(while_running="refuse", refuse_status=status)
    team.execute()
    refused = team.execute()
    assert refused.status_code == status
    assert refused.json()["status"] == status
    assert len(team.started()) == 1
    assert [one["effect"]["effect"] for one in team.requests_of("execute")] == ["started", "refused"]


def test_execute_while_running_can_be_queued(team: SimulatorClient) -> None:
    team.set_job(while_running="queue", seconds=4, queue_seconds=1)
    team.execute()
    team.clock.pass_seconds(3)
    team.execute()
    first, second = team.started()
    assert (second["phase"], second["started_at"]) == ("waiting", None)
    assert team.job()["currentExecutionId"] == first["id"]
    assert [one["status"] for one in team.executions()[:2]] == ["QUEUED", "RUNNING"]
    team.clock.pass_seconds(2.5)
    record = team.job()
    assert (record["status"], record["currentExecutionId"]) == ("QUEUED", second["id"])
    team.clock.pass_seconds(5)
    assert [one["ended_at"] for one in team.started()] == [START + 5, START + 10]


def test_line_may_be_long(team: SimulatorClient) -> None:
    team.set_job(seconds=1)
    for _ in range(400):
        team.simulator.model.request(team.simulator.model.jobs[world.ERP_JOB_ID], RequestedStart())
    team.clock.pass_seconds(399.5)
    assert [one["phase"] for one in team.started()] == ["ended"] * 399 + ["running"]


def test_execute_while_running_can_be_ignored(team: SimulatorClient) -> None:
    team.set_job(while_running="ignore", execute_answer="execution_id")
    first = team.execute()
    second = team.execute()
    assert second.status_code == 200
    assert second.json() == first.json()
    assert len(team.started()) == 1


def test_execute_while_running_can_run_beside_it(team: SimulatorClient) -> None:
    team.set_job(while_running="parallel")
    team.execute()
    team.execute()
    assert [(one["phase"], one["outcome"]) for one in team.started()] == [("running", None)] * 2
    team.post(f"/jobs/{world.ERP_JOB_ID}/finish", outcome="FAIL")
    record = team.job()
    assert (record["status"], record["currentExecutionId"]) == ("RUNNING", team.started()[0]["id"])


def test_execute_while_running_can_restart_it(team: SimulatorClient) -> None:
    team.set_job(while_running="restart")
    team.execute()
    team.clock.pass_seconds(1)
    team.execute()
    first, second = team.started()
    assert (first["outcome"], first["ended_at"], second["phase"]) == ("CANCEL", START + 1, "running")


def test_cancel_takes_its_time_and_clears_the_current_id(team: SimulatorClient) -> None:
    team.set_job(seconds=60, cancel_seconds=2)
    team.execute()
    assert team.cancel().content == b""
    assert team.job()["status"] == "RUNNING"
    team.clock.pass_seconds(1)
    team.cancel()
    team.clock.pass_seconds(1)
    record = team.job()
    assert (record["status"], record["currentExecutionId"]) == ("CANCEL", None)
    assert team.started()[0]["ended_at"] == START + 2


def test_execution_that_ends_before_its_cancelling_keeps_its_outcome(team: SimulatorClient) -> None:
    team.set_job(seconds=3, cancel_seconds=5)
    team.execute()
    team.cancel()
    team.clock.pass_seconds(5)
    assert team.job()["status"] == "SUCCESS"


def test_cancel_can_be_ignored(team: SimulatorClient) -> None:
    team.set_job(seconds=3, cancel_ignored=True)
    team.execute()
    assert team.cancel().status_code == 200
    assert team.job()["status"] == "RUNNING"


def test_cancel_keeps_or_clears_the_queue(team: SimulatorClient) -> None:
    team.set_job(seconds=10)
    team.execute()
    team.execute()
    team.cancel()
    assert team.job()["currentExecutionId"] == team.started()[1]["id"]
    team.set_job(cancel_clears_queue=True)
    team.execute()
    team.cancel()
    assert [one["outcome"] for one in team.started()] == ["CANCEL"] * 3
    assert team.job()["currentExecutionId"] is None


def test_cancelling_an_idle_job_answers_as_set(team: SimulatorClient) -> None:
    assert team.cancel().status_code == 200
    team.set_job(cancel_idle_status=400)
    assert team.cancel().json()["errorCode"] == "GENERAL_BAD_REQUEST"
    assert team.job()["status"] == "SUCCESS"


@pytest.mark.parametrize("mode", ["", "?mode=full", "?mode=EVERYTHING"])
def test_execute_without_a_known_mode_is_refused(team: SimulatorClient, mode: str) -> None:
    response = team.call("POST", f"{JOB_V2}/execute{mode}")
    assert (response.status_code, response.json()["errorCode"]) == (400, "GENERAL_BAD_REQUEST")
    assert team.started() == []


def test_status_while_running_can_be_any_word(team: SimulatorClient) -> None:
    team.set_job(running_status="WARMING_UP")
    team.execute()
    assert team.job()["status"] == "WARMING_UP"


def test_fields_can_be_null_or_missing(team: SimulatorClient) -> None:
    team.set_job(null_fields=["job.status", "currentExecutionId"], omit_fields=["latestExecutionItemId"])
    team.execute()
    record = team.job()
    assert record["status"] is None
    assert record["currentExecutionId"] is None
    assert "latestExecutionItemId" not in record
    assert team.executions()[0]["status"] == "RUNNING"


def test_timestamp_stays_or_changes(team: SimulatorClient) -> None:
    team.set_job(seconds=1)
    before = team.job()["timeStamp"]
    team.execute()
    assert team.job()["timeStamp"] == before
    team.set_job(time_stamp_moves=True)
    assert team.job()["timeStamp"] == START * 1000
    team.clock.pass_seconds(1)
    assert team.job()["timeStamp"] == (START + 1) * 1000


def test_deleted_job_is_not_found_but_stays_in_the_ledger(team: SimulatorClient) -> None:
    team.execute()
    assert team.control("DELETE", f"/jobs/{world.ERP_JOB_ID}").json()["is_gone"] is True
    assert team.call("GET", JOB).status_code == 404
    assert len(team.started()) == 1

"""What the public SDK calls: who signs in, pools, jobs and models, logs, the load history, older starts."""

from __future__ import annotations

from typing import Any

import pytest

from local.celonis import world
from tests.simulator.client import JOB, POOL, START, SimulatorClient

DATA_MODEL = f"{POOL}/data-models/{world.MODEL_ID}"


def get(team: SimulatorClient, path: str, **query: str) -> Any:
    answer = team.call("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def fail(team: SimulatorClient, **setup: object) -> str:
    """Let the job fail and return the execution's id."""
    team.set_job(seconds=1, outcome="FAIL", **setup)
    team.execute()
    team.clock.pass_seconds(1)
    execution_id: str = team.executions()[0]["executionId"]
    return execution_id


def test_caller_reads_its_own_permissions(team: SimulatorClient) -> None:
    assert get(team, "/api/cloud")["email"]
    assert {"serviceName", "permissions"} <= set(get(team, "/api/cloud/permissions")[0])
    assert get(team, "/api/team")["domain"]


def test_pools_jobs_and_models_are_listed(team: SimulatorClient) -> None:
    assert {"id": world.POOL_ID, "name": "Order to cash"} in get(team, "/integration/api/pools")
    assert get(team, POOL)["name"] == "Order to cash"
    names = {job["name"] for job in get(team, f"{POOL}/jobs")}
    assert names == {"ERP extraction", "CRM extraction", "Master data"}
    assert {model["id"] for model in get(team, f"{POOL}/data-models")} == {
        world.MODEL_ID,
        world.SECOND_MODEL_ID,
    }
    assert get(team, DATA_MODEL)["poolId"] == world.POOL_ID
    tables = get(team, f"{POOL}/data-model/{world.MODEL_ID}/tables")
    assert get(team, f"{POOL}/data-model/{world.MODEL_ID}/tables/{tables[0]['id']}") == tables[0]
    assert team.call("GET", f"{POOL}/data-model/{world.MODEL_ID}/tables/none").status_code == 404
    assert len(get(team, f"{JOB}/tasks")) == len(get(team, f"{JOB}/tasks/")) == 3


def test_task_records_name_their_pool(team: SimulatorClient) -> None:
    other = f"/integration/api/pools/{world.OTHER_POOL_ID}/jobs/{world.OTHER_JOB_ID}/tasks/"
    assert {task["poolId"] for task in get(team, f"{JOB}/tasks/")} == {world.POOL_ID}
    assert {task["poolId"] for task in get(team, other)} == {world.OTHER_POOL_ID}
    needed = {"id", "poolId", "jobId", "taskId", "name", "taskType", "disabled"}  # by the SDK's Task
    assert all(needed <= set(task) for task in get(team, f"{JOB}/tasks/"))


@pytest.mark.parametrize(
    ("setup", "order"),
    [
        ({}, ["ERROR", "ERROR", "INFO", "WARNING", "INFO"]),
        ({"log_order": "errors_first"}, ["ERROR", "ERROR", "INFO", "WARNING", "INFO"]),
        ({"log_order": "oldest_first"}, ["INFO", "WARNING", "ERROR", "ERROR", "INFO"]),
        ({"log_order": "newest_first"}, ["INFO", "ERROR", "ERROR", "WARNING", "INFO"]),
    ],
)
def test_log_lines_come_in_the_order_that_is_set(
    team: SimulatorClient, setup: dict[str, object], order: list[str]
) -> None:
    execution_id = fail(team, error_messages=["one", "two"], **setup)
    task = get(team, f"{JOB}/tasks/")[1]["id"]
    path = f"{POOL}/logs/executions/detail"
    log = get(team, path, executionId=execution_id, type="TASK", id=task)["logMessages"]
    assert [line["level"] for line in log] == order
    errors = [line["logMessage"] for line in log if line["level"] == "ERROR"]
    assert errors == (["two", "one"] if setup.get("log_order") == "newest_first" else ["one", "two"])


def test_status_of_all_jobs(team: SimulatorClient) -> None:
    team.set_job(queue_seconds=1)
    team.execute()
    entries = {entry["id"]: entry for entry in get(team, f"{POOL}/logs/status")}
    assert entries[world.ERP_JOB_ID]["status"] == "QUEUED"
    assert entries[world.CRM_JOB_ID]["status"] == "SUCCESS"
    team.clock.pass_seconds(1)
    entries = {entry["id"]: entry for entry in get(team, f"{POOL}/logs/status")}
    assert entries[world.ERP_JOB_ID]["lastExecutionStartDate"] == (START + 1) * 1000


def test_older_execute_takes_the_mode_from_the_body(team: SimulatorClient) -> None:
    body = {"poolId": world.POOL_ID, "jobId": world.ERP_JOB_ID, "mode": "DELTA", "transformations": []}
    assert team.call("POST", f"{JOB}/execute", json=body).content == b""
    assert team.started()[0]["mode"] == "DELTA"
    for wrong in (b"{", b"[]", b"{}"):
        assert team.call("POST", f"{JOB}/execute", data=wrong).status_code == 400


@pytest.mark.parametrize(("query", "kind"), [("", "COMPLETE"), ("?forceComplete=False", "FROM_CACHE")])
def test_older_load(team: SimulatorClient, query: str, kind: str) -> None:
    assert team.call("POST", f"{DATA_MODEL}/reload{query}").status_code == 200
    assert team.loaded()[0]["type"] == kind


def test_failed_job_shows_why(team: SimulatorClient) -> None:
    execution_id = fail(team, error_messages=["Column VBELN is missing."])
    tasks = get(team, f"{POOL}/logs/executions", executionId=execution_id, type="TASK", id=world.ERP_JOB_ID)
    assert [task["status"] for task in tasks] == ["SUCCESS", "FAIL", "CANCEL"]
    failed = tasks[1]
    assert (failed["type"], failed["executionId"]) == ("TASK", execution_id)
    path = f"{POOL}/logs/executions/detail"
    log = get(team, path, executionId=execution_id, type="TASK", id=failed["taskId"])["logMessages"]
    assert [one["logMessage"] for one in log if one["level"] == "ERROR"] == ["Column VBELN is missing."]
    assert {one["level"] for one in log} == {"INFO", "WARNING", "ERROR"}
    assert log[0]["logMessage"] == "Column VBELN is missing."
    quiet = get(team, path, executionId=execution_id, type="TASK", id=tasks[0]["taskId"])["logMessages"]
    assert "ERROR" not in {one["level"] for one in quiet}


def test_the_log_of_an_execution_has_the_codes_of_its_end(team: SimulatorClient) -> None:
    codes = ("DATA_CONSUMPTION_LIMIT_EXCEEDED", "EXECUTION_AUTOMATICALLY_CANCELLED_AFTER_X_MINUTES:720")
    execution_id = fail(team, message_codes=codes)
    path = f"{POOL}/logs/executions/detail"
    log = get(team, path, executionId=execution_id, type="JOB", id=world.ERP_JOB_ID)["logMessages"]
    assert [one["logTranslationCode"] for one in log] == [code.partition(":")[0] for code in codes]
    assert log[1]["logTranslationParameters"] == [{"key": "value", "value": "720"}]
    errors = get(team, path, executionId=execution_id, type="JOB", id=world.ERP_JOB_ID, logLevels="ERROR")
    assert errors["logMessages"] == []


def test_log_can_be_filtered_paged_and_turned_round(team: SimulatorClient) -> None:
    execution_id = fail(team, error_messages=["one", "two"], log_order="oldest_first")
    tasks = get(team, f"{POOL}/logs/executions", executionId=execution_id, type="TASK", id=world.ERP_JOB_ID)
    path = f"{POOL}/logs/executions/detail?executionId={execution_id}&type=TASK&id={tasks[1]['taskId']}"
    errors = get(team, f"{path}&logLevels=ERROR&logLevels=DEBUG")["logMessages"]
    assert [one["logMessage"] for one in errors] == ["one", "two"]
    page = get(team, f"{path}&limit=2&page=1")
    assert [one["logMessage"] for one in page["logMessages"]] == ["one", "two"]
    assert page["numOfPages"] == 3


def test_running_job_has_running_tasks(team: SimulatorClient) -> None:
    team.execute()
    execution_id = team.executions()[0]["executionId"]
    tasks = get(team, f"{POOL}/logs/executions", executionId=execution_id, type="TASK", id=world.ERP_JOB_ID)
    assert [task["status"] for task in tasks] == ["RUNNING", "QUEUED", "QUEUED"]


@pytest.mark.parametrize("outcome", ["SUCCESS", "CANCEL", "SKIPPED"])
def test_tasks_of_a_job_that_did_not_fail_end_with_its_status(team: SimulatorClient, outcome: str) -> None:
    team.set_job(seconds=1, outcome=outcome)
    team.execute()
    team.clock.pass_seconds(1)
    execution_id = team.executions()[0]["executionId"]
    tasks = get(team, f"{POOL}/logs/executions", executionId=execution_id, type="TASK", id=world.ERP_JOB_ID)
    assert [task["status"] for task in tasks] == [outcome] * 3


def test_logs_of_what_does_not_exist_are_not_found(team: SimulatorClient) -> None:
    execution_id = team.executions()[0]["executionId"]
    for query in (
        {"id": "none", "executionId": execution_id},
        {"id": world.ERP_JOB_ID, "executionId": "none"},
    ):
        assert team.call("GET", f"{POOL}/logs/executions", params=query).status_code == 404
    assert (
        team.call("GET", f"{POOL}/logs/executions/detail", params={"executionId": "none"}).status_code == 404
    )
    unknown_task = get(team, f"{POOL}/logs/executions/detail", executionId=execution_id, id="none")
    assert unknown_task["logMessages"] == []


def test_executions_come_newest_first_in_pages(team: SimulatorClient) -> None:
    team.set_job(seconds=1)
    for _ in range(3):
        team.execute()
        team.clock.pass_seconds(2)
    everything = team.executions()
    assert [one["startDate"] for one in everything] == sorted(
        (one["startDate"] for one in everything), reverse=True
    )
    page = get(team, f"{POOL}/logs/{world.ERP_JOB_ID}/executions", limit="3", page="1")
    assert (page["executionItems"], page["numOfPages"]) == (everything[3:], 2)


def test_load_history_shows_current_and_past_loads(team: SimulatorClient) -> None:
    team.set_model(seconds=2, outcome="ERROR", message="The case table is empty.")
    team.load()
    history = get(team, f"{DATA_MODEL}/load-history/load-info-sync")
    assert history["loadInfo"]["currentComputeLoad"] == team.last_load()
    assert history["loadInfo"]["currentComputeLoad"]["loadStatus"] == "RUNNING"
    team.clock.pass_seconds(2)
    history = get(team, f"{DATA_MODEL}/load-history/load-info-sync")
    assert [one["loadStatus"] for one in history["loadHistory"]["dataLoadHistory"]] == ["ERROR", "SUCCESS"]
    assert history["loadHistory"]["lastSuccessfulDataModel"]["loadStatus"] == "SUCCESS"
    assert history["loadInfo"]["currentComputeLoad"]["message"] == "The case table is empty."


def test_earlier_executions_and_loads_are_listed_where_they_belong(team: SimulatorClient) -> None:
    team.execute("FULL")
    team.load()
    team.clock.pass_seconds(10)
    for ago, seconds in ((7200, 60), (3600, 80)):
        team.post(f"/jobs/{world.ERP_JOB_ID}/start", ago=ago, seconds=seconds, mode="DELTA")
        team.post(f"/models/{world.MODEL_ID}/load", ago=ago, seconds=seconds, type="PARTIAL")
    newest, *before, _ = team.executions()
    assert newest["mode"] == "FULL"
    assert [(one["mode"], one["endDate"] - one["startDate"]) for one in before] == [
        ("DELTA", 80_000),
        ("DELTA", 60_000),
    ]
    history = get(team, f"{DATA_MODEL}/load-history/load-info-sync")["loadHistory"]
    assert [one["loadType"] for one in history["dataLoadHistory"]][:3] == ["COMPLETE", "PARTIAL", "PARTIAL"]
    averages = {one["type"]: one["averageLoadingTime"] for one in history["averageLoadTime"]}
    assert averages == {"COMPLETE": 2000, "PARTIAL": 70_000}


def test_what_was_added_to_the_past_has_ended(team: SimulatorClient) -> None:
    answer = team.control("POST", f"/jobs/{world.ERP_JOB_ID}/start", {"ago": 10, "seconds": 11})
    assert (answer.status_code, answer.json()["field"]) == (400, "ago")


def test_a_load_history_that_is_not_served_is_not_found(team: SimulatorClient) -> None:
    team.set("/settings", not_served=["load_history"])
    assert team.call("GET", f"{DATA_MODEL}/load-history/load-info-sync").status_code == 404


def test_model_never_loaded_has_no_current_load(team: SimulatorClient) -> None:
    team.post("/reset", history=False)
    assert get(team, f"{DATA_MODEL}/load-history/load-info-sync")["loadInfo"]["currentComputeLoad"] is None


def test_loads_inside_a_job_are_listed(team: SimulatorClient) -> None:
    assert get(team, f"{JOB}/loads") == []
    team.set_job(loads_model=world.MODEL_ID)
    (inside,) = get(team, f"{JOB}/loads")
    assert (inside["dataModelId"], inside["partialLoad"]) == (world.MODEL_ID, False)

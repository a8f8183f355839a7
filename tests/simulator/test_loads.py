"""Data models: loads of all kinds, their record, tables, and loads that are a step of a data job."""

from __future__ import annotations

import pytest

from local.celonis import world
from tests.simulator.client import MODEL, START, SimulatorClient

VBAK = world.table_id(world.MODEL_ID, "VBAK", world.ERP_SOURCE_ID)
VBAP = world.table_id(world.MODEL_ID, "VBAP", world.ERP_SOURCE_ID)


def test_tables_have_names_and_aliases(team: SimulatorClient) -> None:
    tables = team.call("GET", f"{MODEL}/tables").json()
    by_id = {table["id"]: table for table in tables}
    assert by_id[VBAP]["name"] == "VBAP"
    assert by_id[VBAP]["aliasOrName"] == by_id[VBAP]["alias"] == "Sales order items"
    same_name = [table for table in tables if table["name"] == "KNA1"]
    assert len({table["dataSourceId"] for table in same_name}) == 2
    assert {table["aliasOrName"] for table in same_name} == {"KNA1", "Customers of the CRM"}
    assert {table["dataModelId"] for table in tables} == {world.MODEL_ID}


@pytest.mark.parametrize(
    ("query", "kind"),
    [("", "COMPLETE"), ("?fullReload=true", "COMPLETE"), ("?fullReload=false", "FROM_CACHE")],
)
def test_load_runs_and_ends(team: SimulatorClient, query: str, kind: str) -> None:
    before = team.last_load()
    team.set_model(complete_seconds=5, from_cache_seconds=5)
    assert team.load(query).status_code == 200
    record = team.last_load()
    assert record["dataLoadId"] != before["dataLoadId"]
    assert (record["loadStatus"], record["loadType"], record["endDate"]) == ("RUNNING", kind, None)
    assert record["startDate"] == START * 1000
    team.clock.pass_seconds(5)
    record = team.last_load()
    assert (record["loadStatus"], record["endDate"]) == ("SUCCESS", (START + 5) * 1000)


def test_partial_load_remembers_its_tables(team: SimulatorClient) -> None:
    team.set_model(partial_seconds=1)
    assert team.load_tables([VBAK, VBAP]).status_code == 200
    (load,) = team.loaded()
    assert (load["type"], load["tables"], load["by"]) == ("PARTIAL", [VBAK, VBAP], "api")
    team.clock.pass_seconds(1)
    assert (team.last_load()["loadType"], team.last_load()["loadStatus"]) == ("PARTIAL", "SUCCESS")


@pytest.mark.parametrize("body", [[], {}, {"tables": [VBAK]}, [1], "VBAK", [None]])
def test_partial_load_requires_a_list_of_ids(team: SimulatorClient, body: object) -> None:
    assert team.load_tables(body).status_code == 400
    assert team.loaded() == []


def test_partial_load_of_no_json_is_refused(team: SimulatorClient) -> None:
    response = team.call("POST", f"{MODEL}/load/partial-sync", data=b"[")
    assert response.status_code == 400


@pytest.mark.parametrize("status", [400, 404])
def test_unknown_table_is_refused(team: SimulatorClient, status: int) -> None:
    team.set_model(unknown_table_status=status)
    foreign = world.table_id(world.SECOND_MODEL_ID, "KNA1", world.ERP_SOURCE_ID)
    assert team.load_tables([VBAK, foreign]).status_code == status
    assert team.loaded() == []


@pytest.mark.parametrize("outcome", ["SUCCESS", "ERROR", "WARNING", "CANCELED", "EVAPORATED"])
def test_load_ends_with_outcome_and_message(team: SimulatorClient, outcome: str) -> None:
    team.set_model(seconds=1, outcome=outcome, message="2 rows were skipped.")
    team.load()
    assert team.last_load()["message"] is None
    team.clock.pass_seconds(1)
    record = team.last_load()
    assert (record["loadStatus"], record["message"]) == (outcome, "2 rows were skipped.")


def test_status_while_running_can_be_lost_connection(team: SimulatorClient) -> None:
    team.set_model(running_status="LOST_CONNECTION")
    team.load()
    assert team.last_load()["loadStatus"] == "LOST_CONNECTION"


def test_load_that_waits_to_run_is_not_shown_yet(team: SimulatorClient) -> None:
    before = team.last_load()
    team.set_model(queue_seconds=2)
    team.load()
    assert team.last_load() == before
    team.clock.pass_seconds(2)
    assert team.last_load()["loadStatus"] == "RUNNING"


def test_last_load_can_show_ended_loads_only(team: SimulatorClient) -> None:
    before = team.last_load()
    team.set_model(last_load_shows="end", seconds=1)
    team.load()
    assert team.last_load() == before
    team.clock.pass_seconds(1)
    assert team.last_load()["dataLoadId"] == team.loaded()[0]["id"]


@pytest.mark.parametrize(
    ("never", "status", "body"),
    [("empty", 200, b""), ("no_content", 204, b""), ("null", 200, b"null")],
)
def test_model_never_loaded_answers_as_set(
    team: SimulatorClient, never: str, status: int, body: bytes
) -> None:
    team.post("/reset", history=False)
    assert team.call("GET", f"{MODEL}/last-load").status_code == 404
    team.set_model(never_loaded=never)
    response = team.call("GET", f"{MODEL}/last-load")
    assert (response.status_code, response.content) == (status, body)


@pytest.mark.parametrize(
    ("answer", "field"), [("load_id", "dataLoadId"), ("no_id", "message"), ("record", "loadStatus")]
)
def test_load_answers_with_the_body_that_is_set(team: SimulatorClient, answer: str, field: str) -> None:
    assert team.load().content == b""
    team.set_model(load_answer=answer, load_status=201, while_running="parallel")
    response = team.load()
    assert response.status_code == 201
    assert field in response.json()
    if answer != "no_id":
        assert response.json()["dataLoadId"] == team.loaded()[1]["id"]


def test_load_while_loading_can_be_refused(team: SimulatorClient) -> None:
    team.set_model(while_running="refuse", refuse_status=400)
    team.load()
    assert team.load().status_code == 400
    assert team.load_tables([VBAK]).status_code == 400
    assert len(team.loaded()) == 1


def test_load_while_loading_can_wait(team: SimulatorClient) -> None:
    team.set_model(seconds=2)
    team.load()
    team.load_tables([VBAK])
    first, second = team.loaded()
    assert team.last_load()["dataLoadId"] == first["id"]
    team.clock.pass_seconds(2)
    assert team.last_load()["dataLoadId"] == second["id"]


def test_load_while_loading_can_be_ignored(team: SimulatorClient) -> None:
    team.set_model(while_running="ignore")
    team.load()
    assert team.load().status_code == 200
    assert len(team.loaded()) == 1


def test_full_reload_must_be_a_truth_value(team: SimulatorClient) -> None:
    assert team.load("?fullReload=maybe").status_code == 400


def test_ids_and_dates_of_a_load_can_be_null(team: SimulatorClient) -> None:
    team.set_model(null_fields=["dataLoadId", "startDate", "endDate"])
    record = team.last_load()
    assert (record["dataLoadId"], record["startDate"], record["endDate"]) == (None, None, None)
    assert record["loadStatus"] == "SUCCESS"


def test_another_user_cancels_a_load(team: SimulatorClient) -> None:
    team.set_model(seconds=60, cancel_seconds=2)
    team.load()
    team.post(f"/models/{world.MODEL_ID}/cancel")
    assert team.last_load()["loadStatus"] == "CANCELLING"
    team.clock.pass_seconds(2)
    assert team.last_load()["loadStatus"] == "CANCELED"


def test_job_succeeds_after_the_load_inside_it(team: SimulatorClient) -> None:
    team.set_job(seconds=2, loads_model=world.MODEL_ID, loads_tables=[VBAK])
    team.set_model(seconds=3)
    team.execute()
    assert team.loaded() == []
    team.clock.pass_seconds(3)
    (load,) = team.loaded()
    (execution,) = team.started()
    assert (load["started_at"], load["type"], load["tables"]) == (START + 2, "PARTIAL", [VBAK])
    assert (load["execution_id"], execution["load_id"]) == (execution["id"], load["id"])
    assert team.job()["status"] == "RUNNING"
    team.clock.pass_seconds(2)
    assert team.job()["status"] == "SUCCESS"
    assert team.started()[0]["ended_at"] == START + 5


def test_job_can_succeed_before_the_load_inside_it(team: SimulatorClient) -> None:
    team.set_job(seconds=2, loads_model=world.MODEL_ID, success_before_load=True)
    team.set_model(seconds=3)
    team.execute()
    team.clock.pass_seconds(2.5)
    assert team.job()["status"] == "SUCCESS"
    assert team.last_load()["loadStatus"] == "RUNNING"


def test_job_fails_when_the_load_that_it_awaits_fails(team: SimulatorClient) -> None:
    team.set_job(seconds=1, loads_model=world.MODEL_ID)
    team.set_model(seconds=1, outcome="ERROR")
    team.execute()
    team.clock.pass_seconds(2)
    assert team.job()["status"] == "FAIL"


def test_failing_job_starts_no_load(team: SimulatorClient) -> None:
    team.set_job(seconds=1, loads_model=world.MODEL_ID, outcome="FAIL")
    team.execute()
    team.clock.pass_seconds(10)
    assert team.loaded() == []


@pytest.mark.parametrize(("stops", "status"), [(True, "CANCELED"), (False, "RUNNING")])
def test_cancelling_a_job_stops_the_load_inside_it_or_not(
    team: SimulatorClient, stops: bool, status: str
) -> None:
    team.set_job(seconds=1, loads_model=world.MODEL_ID, cancel_stops_load=stops)
    team.set_model(seconds=30)
    team.execute()
    team.clock.pass_seconds(2)
    team.cancel()
    assert team.job()["status"] == "CANCEL"
    assert team.last_load()["loadStatus"] == status


def test_job_fails_when_the_model_that_it_loads_is_gone(team: SimulatorClient) -> None:
    team.set_job(seconds=1, loads_model=world.MODEL_ID)
    team.execute()
    team.control("DELETE", f"/models/{world.MODEL_ID}")
    team.clock.pass_seconds(1)
    assert team.job()["status"] == "FAIL"
    assert team.loaded() == []
    assert team.call("GET", f"{MODEL}/tables").status_code == 404


def test_job_cancelled_before_its_load_starts_none(team: SimulatorClient) -> None:
    team.set_job(seconds=5, loads_model=world.MODEL_ID)
    team.execute()
    team.clock.pass_seconds(1)
    team.cancel()
    team.clock.pass_seconds(10)
    assert team.loaded() == []


def test_load_inside_a_job_waits_for_a_running_one(team: SimulatorClient) -> None:
    team.set_model(seconds=10)
    team.load()
    team.set_job(seconds=1, loads_model=world.MODEL_ID)
    team.execute()
    team.clock.pass_seconds(12)
    assert [one["started_at"] for one in team.loaded()] == [START, START + 10]
    assert team.job()["status"] == "RUNNING"


def test_tables_of_a_model_can_be_replaced(team: SimulatorClient) -> None:
    table = {"id": "t-1", "name": "EKKO", "data_source_id": world.ERP_SOURCE_ID}
    team.set_model(tables=[table])
    (shown,) = team.call("GET", f"{MODEL}/tables").json()
    assert (shown["id"], shown["alias"], shown["aliasOrName"]) == ("t-1", None, "EKKO")
    assert team.load_tables([VBAK]).status_code == 400

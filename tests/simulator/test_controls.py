"""The controls themselves: what they show, what they refuse, and that a reset leaves nothing behind."""

from __future__ import annotations

import pytest

from local.celonis import world
from local.celonis.server import CelonisSimulator
from tests.simulator.client import JOB, ManualClock, SimulatorClient

ERP = f"/jobs/{world.ERP_JOB_ID}"
O2C = f"/models/{world.MODEL_ID}"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", ERP, {"seconds": -1}, "seconds"),
        ("PUT", ERP, {"seconds": "3"}, "seconds"),
        ("PUT", ERP, {"seconds": True}, "seconds"),
        ("PUT", ERP, {"outcome": ""}, "outcome"),
        ("PUT", ERP, {"while_running": "explode"}, "while_running"),
        ("PUT", ERP, {"stale": {"colour": 1}}, "stale"),
        ("PUT", ERP, {"stale": "long"}, "stale"),
        ("PUT", ERP, {"stale_reads": 1.5}, "stale_reads"),
        ("PUT", ERP, {"null_fields": "status"}, "null_fields"),
        ("PUT", ERP, {"refuse_status": 99}, "refuse_status"),
        ("PUT", ERP, {"cancel_ignored": 1}, "cancel_ignored"),
        ("PUT", ERP, {"loads_model": "none"}, "loads_model"),
        ("PUT", ERP, {"loads_tables": ["x"]}, "loads_tables"),
        ("PUT", ERP, {"colour": "red"}, "colour"),
        ("PUT", ERP, [], "body"),
        ("PUT", O2C, {"tables": [{"id": "1"}]}, "tables"),
        ("PUT", O2C, {"tables": {}}, "tables"),
        ("PUT", O2C, {"full_seconds": 1}, "full_seconds"),
        ("PUT", "/settings", {"dates": "roman"}, "dates"),
        ("PUT", "/settings", {"not_served": ["nothing"]}, "not_served"),
        ("PUT", "/settings", {"rate_limit": {"requests": 1}}, "rate_limit"),
        ("PUT", "/settings", {"rate_limit": {"requests": 1, "seconds": 0}}, "rate_limit"),
        ("PUT", "/credentials", {"password": "x"}, "password"),
        ("POST", "/faults", {"kind": "drop"}, "call"),
        ("POST", "/faults", {"call": "jobb"}, "call"),
        ("POST", "/faults", {"call": "job", "kind": "fire"}, "kind"),
        ("POST", "/faults", {"call": "job", "count": 0}, "count"),
        ("POST", "/faults", {"call": "job", "headers": {"A": 1}}, "headers"),
        ("POST", "/faults", {"call": "job", "status": 100}, "status"),
        ("POST", f"{ERP}/start", {"mode": "HALF"}, "mode"),
        ("POST", f"{ERP}/start", {"when": "never"}, "when"),
        ("POST", f"{O2C}/load", {"tables": ["x"]}, "tables"),
        ("POST", f"{ERP}/stale", {"aspects": ["colour"]}, "aspects"),
        ("POST", "/jobs", {}, "name"),
        ("POST", "/jobs", {"name": "x", "pool_id": "none"}, "pool_id"),
        ("POST", "/reset", {"history": "no"}, "history"),
    ],
)
def test_bad_input_is_refused_with_the_name_of_the_field(
    team: SimulatorClient, method: str, path: str, body: object, field: str
) -> None:
    before = team.control("GET", "/state").json()
    answer = team.control(method, path, body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert field in answer.json()["error"]
    assert team.control("GET", "/state").json() == before


def test_body_that_is_no_json_is_refused(team: SimulatorClient) -> None:
    answer = team.session.put(f"{team.simulator.control_url}{ERP}", data=b"{", timeout=5)
    assert answer.json()["field"] == "body"


def test_nothing_is_changed_when_one_field_is_bad(team: SimulatorClient) -> None:
    before = team.control("GET", ERP).json()
    team.control("PUT", ERP, {"name": "Renamed", "seconds": 9, "outcome": 5})
    assert team.control("GET", ERP).json() == before


@pytest.mark.parametrize("path", ["/jobs/none", "/models/none", "/nothing"])
def test_unknown_control_paths_are_not_found(team: SimulatorClient, path: str) -> None:
    assert team.control("GET", path).status_code == 404


def test_wrong_control_method_is_not_allowed(team: SimulatorClient) -> None:
    answer = team.control("PATCH", "/state")
    assert (answer.status_code, answer.json()["allowed"]) == (405, ["GET"])


def test_state_shows_what_is_running(team: SimulatorClient) -> None:
    team.execute()
    state = team.control("GET", "/state").json()
    (job,) = [job for job in state["jobs"] if job["id"] == world.ERP_JOB_ID]
    assert [one["phase"] for one in job["running"]] == ["running"]
    assert state["pools"][world.POOL_ID] == "Order to cash"
    assert team.control("GET", "/settings").json() == state["settings"]


def test_jobs_and_models_can_be_added(team: SimulatorClient) -> None:
    table = {"id": "t", "name": "EKKO", "alias": "Orders", "data_source_id": "s"}
    model = team.post("/models", name="Added model", tables=[table], seconds=1)
    job = team.post("/jobs", name="Added job", loads_model=model["id"], loads_tables=["t"], seconds=1)
    path = f"/integration/api/pools/{world.POOL_ID}/jobs/{job['id']}"
    assert team.call("GET", path).json()["name"] == "Added job"
    team.post(f"/jobs/{job['id']}/start")
    team.clock.pass_seconds(2)
    assert team.call("GET", path).json()["status"] == "SUCCESS"
    other = team.post("/models", name="Elsewhere", pool_id=world.OTHER_POOL_ID)
    assert other["pool_id"] == world.OTHER_POOL_ID


def test_job_can_be_renamed(team: SimulatorClient) -> None:
    team.set_job(name="Renamed")
    assert team.job()["name"] == "Renamed"


def test_setup_counts_for_later_starts_only(team: SimulatorClient) -> None:
    team.set_job(seconds=5)
    team.execute()
    team.set_job(seconds=50, outcome="FAIL")
    team.clock.pass_seconds(5)
    assert team.job()["status"] == "SUCCESS"


def test_reset_clears_everything(team: SimulatorClient) -> None:
    team.set("/settings", dates="iso", rate_limit={"requests": 50, "seconds": 60})
    team.set("/credentials", api_key="another")
    team.set_job(seconds=99)
    team.use_token()
    team.fault("*", count=None)
    team.post(f"{ERP}/start", when="before_next")
    team.post("/reset")
    team.headers = {"Authorization": f"Bearer {world.API_KEY}"}
    assert team.job()["timeStamp"] == 1_700_000_000_000
    assert team.control("GET", ERP).json()["setup"]["seconds"] == world.DEFAULT_JOB_SECONDS
    assert team.control("GET", "/state").json()["valid_tokens"] == 0
    team.execute()
    assert [one["by"] for one in team.started()] == ["api"]
    assert len(team.requests_of("job")) == 1


def test_ledger_shows_time_and_content_of_requests(team: SimulatorClient) -> None:
    team.clock.pass_seconds(3)
    team.execute("DELTA")
    (row,) = team.requests_of("execute")
    (execution,) = team.started()
    assert (row["method"], row["query"], row["status"], row["at"]) == (
        "POST",
        {"mode": "DELTA"},
        200,
        team.clock(),
    )
    assert row["effect"] == {"effect": "started", "kind": "execution", "id": execution["id"]}


def test_model_is_reachable_from_python(
    simulator: CelonisSimulator, clock: ManualClock, team: SimulatorClient
) -> None:
    team.execute()
    job = simulator.model.jobs[world.ERP_JOB_ID]
    assert [operation.by for operation in job.busy(clock())] == ["api"]
    assert team.call("GET", JOB).status_code == 200

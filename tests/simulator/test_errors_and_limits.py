"""What the platform answers by itself when a request is wrong, too frequent, or not served."""

from __future__ import annotations

import pytest

from local.celonis import world
from tests.simulator.client import JOB, MODEL, POOL, SimulatorClient

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/integration/api/pools/{NOWHERE}/jobs/{world.ERP_JOB_ID}"),
        ("GET", f"{POOL}/jobs/{NOWHERE}"),
        ("GET", f"/integration/api/pools/{world.OTHER_POOL_ID}/jobs/{world.ERP_JOB_ID}"),
        ("POST", f"/integration/api/v2/data-pools/{world.POOL_ID}/data-jobs/{NOWHERE}/execute?mode=FULL"),
        ("POST", f"/integration/api/v1/data-pools/{world.POOL_ID}/data-models/{NOWHERE}/load"),
        ("GET", f"/integration/api/v1/data-pools/{world.POOL_ID}/data-models/{world.OTHER_MODEL_ID}/tables"),
        ("GET", f"/integration/api/v1/data-pools/{NOWHERE}/data-models/{world.MODEL_ID}/last-load"),
        ("GET", "/integration/api/v9/nothing"),
        ("GET", f"{JOB}/"),
    ],
)
def test_unknown_paths_are_not_found(team: SimulatorClient, method: str, path: str) -> None:
    answer = team.call(method, path)
    record = answer.json()
    assert answer.status_code == record["status"] == 404
    assert record["errorCode"] == "GENERAL_NOTFOUND_PATH"
    assert set(record) == {"title", "status", "detail", "errorCode"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", JOB, "GET"), ("GET", f"{MODEL}/load", "POST"), ("DELETE", f"{MODEL}/tables", "GET")],
)
def test_wrong_method_is_not_allowed(team: SimulatorClient, method: str, path: str, allowed: str) -> None:
    answer = team.call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_every_answer_shows_the_rate_limit(team: SimulatorClient) -> None:
    team.set("/settings", rate_limit={"requests": 5, "seconds": 10})
    headers = team.call("GET", JOB).headers
    assert headers["x-ratelimit-limit"] == "5"
    assert headers["x-ratelimit-remaining"] == "4"
    assert headers["x-ratelimit-reset"] == "10"
    assert team.call("GET", "/nothing").headers["x-ratelimit-remaining"] == "3"
    assert team.sign_in().headers["x-ratelimit-remaining"] == "3"


def test_requests_beyond_the_limit_get_429_until_the_window_is_over(team: SimulatorClient) -> None:
    team.set("/settings", rate_limit={"requests": 2, "seconds": 10})
    assert team.call("GET", JOB).status_code == 200
    team.clock.pass_seconds(3.5)
    assert team.call("GET", JOB).status_code == 200
    refused = team.execute()
    assert (refused.status_code, refused.json()["errorCode"]) == (429, "LIMIT_RATE_EXCEEDED")
    assert refused.headers["x-ratelimit-reset"] == "7"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert team.started() == []
    team.clock.pass_seconds(6.5)
    assert team.execute().status_code == 200


def test_rate_limit_goes_back_to_its_default(team: SimulatorClient) -> None:
    team.set("/settings", rate_limit={"requests": 0, "seconds": 10})
    assert team.call("GET", JOB).status_code == 429
    team.set("/settings", rate_limit=None)
    assert team.call("GET", JOB).status_code == 200


def test_rate_limit_headers_can_be_left_out(team: SimulatorClient) -> None:
    team.set("/settings", rate_limit_headers=False)
    assert not [name for name in team.call("GET", JOB).headers if name.startswith("x-ratelimit")]


def test_single_calls_can_be_switched_off(team: SimulatorClient) -> None:
    team.set("/settings", not_served=["executions", "last_load"])
    assert team.call("GET", f"{POOL}/logs/{world.ERP_JOB_ID}/executions").status_code == 404
    assert team.call("GET", f"{MODEL}/last-load").status_code == 404
    assert team.call("GET", JOB).status_code == 200


def test_all_undocumented_calls_can_be_switched_off(team: SimulatorClient) -> None:
    team.set("/settings", not_served=["undocumented", "tables"])
    assert team.cancel().status_code == 404
    assert team.call("GET", f"{POOL}/logs/status").status_code == 404
    assert team.call("GET", "/api/cloud").status_code == 404
    assert team.call("GET", f"{MODEL}/tables").status_code == 404
    assert team.call("GET", JOB).status_code == 200
    assert team.load().status_code == 200
    team.set("/settings", not_served=[])
    assert team.call("GET", f"{POOL}/logs/status").status_code == 200


def test_dates_can_be_iso(team: SimulatorClient) -> None:
    team.set("/settings", dates="iso")
    team.load()
    assert team.last_load()["startDate"] == "2025-06-15T15:06:40.000Z"
    assert team.executions()[0]["startDate"] == "2025-06-14T15:06:40.000Z"

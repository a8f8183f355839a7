"""Single 200 responses with an unexpected body, and the Date header of all responses."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from local.celonis import world
from tests.simulator.client import JOB, JOB_V2, MODEL, POOL, START, SimulatorClient

ENVELOPE = {
    "title": "Internal Server Error",
    "status": "500",
    "detail": "No.",
    "errorCode": "ADMIN_FATAL_ERROR",
}
NO_ITEMS = {"numOfPages": 1}
EXECUTIONS = f"{POOL}/logs/{world.ERP_JOB_ID}/executions"
READS = {
    "job": JOB,
    "last_load": f"{MODEL}/last-load",
    "tables": f"{MODEL}/tables",
    "executions": EXECUTIONS,
    "job_statuses": f"{POOL}/logs/status",
}
BODIES: list[Any] = [None, {}, [], "", "text", 0, False, [None], [[]], ENVELOPE, NO_ITEMS]


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
def test_kth_answer_can_be_any_json(team: SimulatorClient, call: str, body: Any) -> None:
    real = team.call("GET", READS[call]).json()
    team.fault(call, "json", body=body, skip=2)
    answers = [team.call("GET", READS[call]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.json() for answer in answers] == [real, real, body, real]
    assert answers[2].headers["Content-Type"] == "application/json"


def test_json_is_null_unless_a_body_is_given(team: SimulatorClient) -> None:
    team.fault("job", "json")
    assert team.call("GET", JOB).content == b"null"


@pytest.mark.parametrize(("when", "started"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("body", [None, {}, [], ENVELOPE], ids=json.dumps)
def test_start_can_be_answered_with_any_json(
    team: SimulatorClient, when: str, started: int, body: Any
) -> None:
    team.fault("execute", "json", when=when, body=body, status=202)
    answer = team.execute()
    assert (answer.status_code, answer.json(), len(team.started())) == (202, body, started)


def test_token_endpoint_can_answer_with_any_json(team: SimulatorClient) -> None:
    team.fault("token", "json", body={"token_type": "Bearer"})
    assert team.sign_in().json() == {"token_type": "Bearer"}


@pytest.mark.parametrize("call", READS)
def test_kth_answer_can_be_empty_with_204(team: SimulatorClient, call: str) -> None:
    team.fault(call, "empty", status=204, skip=1)
    answers = [team.call("GET", READS[call]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 204, 200]
    assert (answers[1].content, "Content-Length" in answers[1].headers) == (b"", False)


@pytest.mark.parametrize("kind", ["json", "status", "html", "garbage"])
def test_204_never_has_a_body(team: SimulatorClient, kind: str) -> None:
    team.fault("job", kind, status=204)
    assert (team.call("GET", JOB).status_code, team.call("GET", JOB).json()["id"]) == (204, world.ERP_JOB_ID)


def sent_at(answer: requests.Response) -> float:
    assert answer.headers["Date"].endswith(" GMT")
    return parsedate_to_datetime(answer.headers["Date"]).timestamp()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", JOB),
        ("HEAD", JOB),
        ("POST", f"{JOB_V2}/execute?mode=FULL"),
        ("POST", "/oauth2/token"),
        ("GET", "/nothing"),
        ("BREW", JOB),
        ("GET", "/login"),
    ],
)
def test_every_answer_carries_the_date_of_the_platform(team: SimulatorClient, method: str, path: str) -> None:
    team.clock.pass_seconds(90.75)
    assert sent_at(team.call(method, path)) == START + 90


def test_answer_to_a_body_that_cannot_be_read_carries_the_date(team: SimulatorClient) -> None:
    answer = team.call("POST", JOB, headers={"Content-Length": "many"})
    assert (answer.status_code, sent_at(answer)) == (400, START)


def test_every_answer_of_a_fault_carries_the_date(team: SimulatorClient) -> None:
    for kind in ("status", "html", "empty", "garbage", "json", "redirect", "drip"):
        team.fault("job", kind)
        assert sent_at(team.call("GET", JOB, allow_redirects=False)) == START


def test_refused_callers_and_requests_beyond_the_limit_get_the_date(team: SimulatorClient) -> None:
    assert sent_at(team.call("GET", JOB, headers={})) == START
    team.set("/settings", rate_limit={"requests": 0, "seconds": 10})
    assert sent_at(team.call("GET", JOB)) == START


@pytest.mark.parametrize("skew", [0, 1, 3600, -3600, 7.5, -86_400 * 365])
def test_date_can_be_skewed(team: SimulatorClient, skew: float) -> None:
    team.set("/settings", date_skew_seconds=skew)
    assert sent_at(team.call("GET", JOB)) == int(START + skew)
    team.execute()
    assert team.executions()[0]["startDate"] == START * 1000


def test_date_can_be_left_out(team: SimulatorClient) -> None:
    team.set("/settings", date_header=False)
    assert "Date" not in team.call("GET", JOB).headers
    assert "Date" not in team.call("BREW", JOB).headers
    team.set("/settings", date_header=True)
    assert sent_at(team.call("GET", JOB)) == START


def test_fault_can_set_a_date_of_its_own(team: SimulatorClient) -> None:
    team.fault("job", "json", headers={"Date": "yesterday"})
    assert team.call("GET", JOB).headers["Date"] == "yesterday"


@pytest.mark.parametrize("value", ["1", True, None, 10**10, -(10**10)])
def test_skew_must_be_a_number_of_seconds(team: SimulatorClient, value: object) -> None:
    answer = team.control("PUT", "/settings", {"date_skew_seconds": value})
    assert (answer.status_code, answer.json()["field"]) == (400, "date_skew_seconds")

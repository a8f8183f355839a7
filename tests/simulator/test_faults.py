"""Network faults: each kind, before and after the effect, for selected requests."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from local.celonis import world
from local.wait import until
from tests.simulator.client import JOB, JOB_V2, POOL, SimulatorClient

EXECUTE = f"{JOB_V2}/execute?mode=FULL"


def get_job(team: SimulatorClient, **options: object) -> requests.Response:
    return team.call("GET", JOB, **options)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 502, 503, 504, 520])
def test_status_comes_with_the_envelope(team: SimulatorClient, status: int) -> None:
    team.fault("job", status=status)
    answer = get_job(team)
    assert answer.status_code == answer.json()["status"] == status
    assert get_job(team).status_code == 200


def test_500_carries_a_support_id_and_429_a_wait(team: SimulatorClient) -> None:
    team.fault("job", status=500)
    team.fault("job", status=429, reset=17)
    assert "support id" in get_job(team).json()["detail"]
    limited = get_job(team)
    assert limited.headers["x-ratelimit-reset"] == "17"
    assert limited.json()["errorCode"] == "LIMIT_RATE_EXCEEDED"


@pytest.mark.parametrize(
    ("fields", "body", "kind"),
    [
        ({"shape": "error"}, b'{"error": "Unauthorized"}', "application/json"),
        ({"shape": "plain"}, b"Unauthorized", "text/plain;charset=UTF-8"),
        ({"shape": "empty"}, b"", None),
        ({"shape": "html"}, b"<html><body><h1>401</h1></body></html>", "text/html"),
        ({"body": "no"}, b"no", "text/plain"),
        ({"body": {"a": 1}}, b'{"a": 1}', "application/json"),
        ({"body": [], "headers": {"X-Trace": "7"}}, b"[]", "application/json"),
    ],
)
def test_status_comes_with_any_body(
    team: SimulatorClient, fields: dict[str, Any], body: bytes, kind: str | None
) -> None:
    team.fault("job", status=401, **fields)
    answer = get_job(team)
    assert (answer.status_code, answer.content, answer.headers.get("Content-Type")) == (401, body, kind)
    assert answer.headers.get("X-Trace") == ("7" if "headers" in fields else None)


def test_html_page_instead_of_json(team: SimulatorClient) -> None:
    team.fault("job", "html")
    answer = get_job(team)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html;charset=UTF-8")
    assert b"<html>" in answer.content


def test_empty_body_instead_of_json(team: SimulatorClient) -> None:
    team.fault("job", "empty")
    answer = get_job(team)
    assert (answer.status_code, answer.content) == (200, b"")


def test_garbage_instead_of_json(team: SimulatorClient) -> None:
    team.fault("job", "garbage")
    answer = get_job(team)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.content)


def test_redirect_leads_to_a_login_page(team: SimulatorClient) -> None:
    team.fault("job", "redirect", count=2)
    plain = get_job(team, allow_redirects=False)
    assert (plain.status_code, plain.headers["Location"]) == (302, "/login")
    followed = get_job(team)
    assert (followed.status_code, b"Sign in" in followed.content) == (200, True)


def test_truncated_body_promises_more_than_it_holds(team: SimulatorClient) -> None:
    team.fault("job", "truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get_job(team)
    assert get_job(team).status_code == 200


def test_dropped_connection_brings_no_answer(team: SimulatorClient) -> None:
    team.fault("job", "drop")
    assert isinstance(connection_error(team), http.client.RemoteDisconnected)


def test_reset_connection_is_reset(team: SimulatorClient) -> None:
    team.fault("job", "reset")
    assert isinstance(connection_error(team), ConnectionResetError)


def connection_error(team: SimulatorClient) -> BaseException | None:
    """A plain connection, without a library that retries."""
    connection = http.client.HTTPConnection(urlsplit(team.simulator.url).netloc, timeout=5)
    try:
        connection.request("GET", JOB, headers=team.headers)
        connection.getresponse()
    except OSError as problem:
        return problem
    finally:
        connection.close()
    return None


def test_drip_sends_the_real_answer_slowly(team: SimulatorClient) -> None:
    team.fault("job", "drip", seconds=0.1)
    began = time.monotonic()
    assert get_job(team).json()["status"] == "SUCCESS"
    assert 0.08 < time.monotonic() - began < 5


def test_delay_outlasts_the_patience_of_a_client(team: SimulatorClient) -> None:
    team.fault("job", "delay", seconds=0.3)
    with pytest.raises(requests.exceptions.ReadTimeout):
        get_job(team, timeout=0.05)
    assert get_job(team).status_code == 200


def swallow(call: Callable[[], requests.Response]) -> int | None:
    """The status of an answer, or None when the connection broke."""
    try:
        return call().status_code
    except requests.exceptions.RequestException:
        return None


ANSWERS = {
    "status": 503,
    "html": 200,
    "empty": 200,
    "garbage": 200,
    "json": 200,
    "redirect": 302,
    "truncated": None,
    "drop": None,
    "reset": None,
    "drip": 200,
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize(("when", "started"), [("before", 0), ("after", 1)])
def test_start_takes_effect_or_not_independently_of_the_response(
    team: SimulatorClient, kind: str, when: str, started: int
) -> None:
    team.fault("execute", kind, when=when, status=503 if kind == "status" else None)
    assert swallow(lambda: team.execute(allow_redirects=False)) == ANSWERS[kind]
    assert len(team.started()) == started
    (row,) = team.requests_of("execute")
    assert row["fault"] == kind
    assert (row["effect"] is not None) is bool(started)
    assert (row["status"] is None) is (kind in {"drop", "reset"})


@pytest.mark.parametrize("call", ["load", "load_tables", "cancel"])
@pytest.mark.parametrize(("when", "happened"), [("before", False), ("after", True)])
def test_other_posts_take_effect_or_not(team: SimulatorClient, call: str, when: str, happened: bool) -> None:
    table = world.table_id(world.MODEL_ID, "VBAK", world.ERP_SOURCE_ID)
    team.execute()
    team.fault(call, "drop", when=when)
    calls = {"load": team.load, "load_tables": lambda: team.load_tables([table]), "cancel": team.cancel}
    assert swallow(calls[call]) is None
    effects = {"cancel": team.job()["status"] == "CANCEL"}
    assert effects.get(call, len(team.loaded()) == 1) is happened


@pytest.mark.parametrize(("when", "started"), [("before", 0), ("after", 1)])
def test_delay_comes_before_or_after_the_effect(team: SimulatorClient, when: str, started: int) -> None:
    team.fault("execute", "delay", when=when, seconds=2)
    with pytest.raises(requests.exceptions.ReadTimeout):
        team.execute(timeout=0.1)
    if started:
        until(team.started, "the effect")
    assert len(team.started()) == started
    assert team.requests_of("execute") == []
    until(lambda: team.requests_of("execute"), "the end of the request")
    assert len(team.started()) == 1


def test_request_can_arrive_twice(team: SimulatorClient) -> None:
    team.fault("execute", "twice")
    assert team.execute().status_code == 200
    assert len(team.started()) == 2


def test_skip_and_count(team: SimulatorClient) -> None:
    team.fault("job", status=503, skip=2, count=2)
    assert [get_job(team).status_code for _ in range(5)] == [200, 200, 503, 503, 200]
    assert team.control("GET", "/faults").json() == []


def test_fault_can_last_until_it_is_taken_away(team: SimulatorClient) -> None:
    fault = team.fault("*", status=502, count=None)
    assert [get_job(team).status_code for _ in range(3)] == [502] * 3
    assert team.execute().status_code == 502
    assert team.control("DELETE", f"/faults/{fault['id']}").json() == {"removed": 1}
    assert team.control("DELETE", f"/faults/{fault['id']}").status_code == 404
    assert get_job(team).status_code == 200


def test_faults_strike_in_the_order_in_which_they_were_set(team: SimulatorClient) -> None:
    for status in (502, 503, 504):
        team.fault("job", status=status)
    assert [get_job(team).status_code for _ in range(4)] == [502, 503, 504, 200]


def test_all_faults_can_be_taken_away(team: SimulatorClient) -> None:
    team.fault("job")
    team.fault("load")
    assert team.control("DELETE", "/faults").json() == {"removed": 2}
    assert get_job(team).status_code == 200


def test_fault_can_aim_at_one_job(team: SimulatorClient) -> None:
    team.fault("job", status=500, target=world.CRM_JOB_ID)
    assert get_job(team).status_code == 200
    assert team.call("GET", f"{POOL}/jobs/{world.CRM_JOB_ID}").status_code == 500


def test_token_endpoint_can_fail_too(team: SimulatorClient) -> None:
    team.fault("token", status=503)
    assert team.sign_in().status_code == 503
    assert team.sign_in().status_code == 200


def test_unknown_paths_can_be_struck(team: SimulatorClient) -> None:
    team.fault("unknown", status=503)
    assert team.call("GET", "/somewhere").status_code == 503

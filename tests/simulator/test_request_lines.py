"""Requests that a real API refuses: odd request lines, methods, bodies and parameters get JSON answers."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.celonis import world
from tests.simulator.client import JOB, JOB_V2, MODEL, POOL, SimulatorClient

DATA_MODEL = f"{POOL}/data-models/{world.MODEL_ID}"
EXECUTIONS = f"{POOL}/logs/{world.ERP_JOB_ID}/executions"
TASKS = f"{POOL}/logs/executions"
LOG = f"{POOL}/logs/executions/detail"
DEPTH = 100_000
INVALID = {
    "deep list": b"[" * DEPTH,
    "deep object": b'{"a":' * DEPTH,
    "deep and complete": b"[" * 500 + b"]" * 500,
    "not a number": b"[NaN]",
    "not UTF-8": b"\xff",
    "long number": b"1" * 5000,
}


def send(url: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are and read one answer until the server closes the connection."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=5) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def request_line(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: x", f"Authorization: AppKey {world.APP_KEY}", *headers, "", ""]).encode(
        "latin-1"
    )


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://[ HTTP/1.1", 400),
        ("GET http://[::1 HTTP/1.1", 400),
        ("GET http://host:port/ HTTP/1.1", 400),
        ("GET http:///path HTTP/1.1", 400),
        ("GET ftp://host/path HTTP/1.1", 400),
        ("GET http://\xe2\x84\x80.example/ HTTP/1.1", 404),
        ("GET nothing HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("CONNECT host:443 HTTP/1.1", 400),
        ("GET //[ HTTP/1.1", 404),
        ("GET /% HTTP/1.1", 404),
        ("GET /\xff HTTP/1.1", 404),
        ("GET", 400),
        ("GET /", 400),
        (" ", 400),
        ("\xa0", 400),
        ("GET / nothing HTTP/1.1", 400),
        ("GET / HTTP/x", 400),
        ("GET / HTTP/2.0", 505),
        (f"GET /{'a' * 70_000} HTTP/1.1", 414),
        ("BREW / HTTP/1.1", 501),
        (f"BREW {JOB} HTTP/1.1", 501),
        (f"get {JOB} HTTP/1.1", 501),
        (f"TRACE {JOB} HTTP/1.1", 405),
        (f"OPTIONS {JOB} HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 404),
    ],
)
def test_odd_request_line_gets_a_json_error(team: SimulatorClient, line: str, status: int) -> None:
    answered, headers, body = send(team.simulator.url, request_line(line))
    assert (answered, headers["Content-Type"]) == (status, "application/json")
    record = json.loads(body)
    assert record["status"] == status
    assert set(record) == {"title", "status", "detail", "errorCode"}


@pytest.mark.parametrize("line", ["GET http://[ HTTP/1.1", "BREW /state HTTP/1.1", "GET"])
def test_controls_answer_an_odd_request_line(team: SimulatorClient, line: str) -> None:
    status, headers, body = send(team.simulator.control_url, request_line(line))
    assert (status in {400, 404, 405}, headers["Content-Type"]) == (True, "application/json")
    assert json.loads(body)


def test_absolute_form_is_served_like_a_path(team: SimulatorClient) -> None:
    status, _, body = send(team.simulator.url, request_line(f"GET http://host:80{JOB}?a=1 HTTP/1.1"))
    assert (status, json.loads(body)["id"]) == (200, world.ERP_JOB_ID)


def test_empty_line_before_the_request_line_is_ignored(team: SimulatorClient) -> None:
    assert send(team.simulator.url, b"\r\n" + request_line(f"GET {JOB} HTTP/1.1"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Content-Length: 2000000"], 413),
        (["Content-Length: " + "9" * 5000], 413),
        (["Content-Length: many"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: 10"], 400),
        (["Transfer-Encoding: chunked"], 413),
        (["X: y"] * 200, 431),
        ([f"X: {'a' * 70_000}"], 431),
    ],
)
def test_headers_that_cannot_be_served_get_a_json_error(
    team: SimulatorClient, headers: list[str], status: int
) -> None:
    line = f"POST {JOB_V2}/execute?mode=FULL HTTP/1.1"
    answered, answer_headers, body = send(team.simulator.url, request_line(line, *headers))
    assert (answered, json.loads(body)["status"]) == (status, status)
    assert answer_headers["Connection"] == "close"
    assert team.started() == []


def test_odd_requests_stand_in_the_ledger(team: SimulatorClient) -> None:
    send(team.simulator.url, request_line("GET http://[ HTTP/1.1"))
    send(team.simulator.url, request_line("BREW / HTTP/1.1"))
    rows = [(row["method"], row["path"], row["status"]) for row in team.requests_of("unknown")]
    assert rows == [("GET", "http://[", 400), ("BREW", "/", 501)]


@pytest.mark.parametrize(
    "path", [JOB, f"{MODEL}/tables", EXECUTIONS, "/integration/api/v9/nothing", f"{POOL}/jobs/none", "/login"]
)
def test_head_is_get_without_a_body(team: SimulatorClient, path: str) -> None:
    shown, head = team.call("GET", path), team.call("HEAD", path)
    assert (head.status_code, head.content) == (shown.status_code, b"")
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == shown.headers[name]
    assert team.call("GET", path).content == shown.content


def test_head_of_what_only_starts_is_not_allowed(team: SimulatorClient) -> None:
    answer = team.call("HEAD", f"{JOB_V2}/execute?mode=FULL")
    assert (answer.status_code, answer.headers["Allow"], answer.content) == (405, "POST", b"")
    assert team.started() == []


@pytest.mark.parametrize("kind", ["status", "html", "garbage", "drip"])
def test_head_has_no_body_with_any_fault(team: SimulatorClient, kind: str) -> None:
    team.fault("job", kind)
    assert team.call("HEAD", JOB).content == b""
    assert team.call("GET", JOB).json()["id"] == world.ERP_JOB_ID


def test_controls_answer_head(team: SimulatorClient) -> None:
    answer = team.control("HEAD", "/state")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("path", [f"{MODEL}/load/partial-sync", f"{JOB}/execute"])
def test_body_that_is_no_fit_json_is_refused(team: SimulatorClient, path: str, body: bytes) -> None:
    answer = team.call("POST", path, data=body)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert team.started() == team.loaded() == []


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/settings"), ("POST", "/faults"), ("PUT", f"/jobs/{world.ERP_JOB_ID}")]
)
def test_controls_refuse_deep_json(team: SimulatorClient, method: str, path: str, body: bytes) -> None:
    answer = team.session.request(method, team.simulator.control_url + path, data=body, timeout=5)
    assert (answer.status_code, answer.json()["field"]) == (400, "body")


def test_controls_refuse_a_text_that_cannot_be_sent(team: SimulatorClient) -> None:
    assert team.control("PUT", "/credentials", {"api_key": "\ud800"}).status_code == 400
    assert team.control("POST", "/faults", {"call": "job", "body": "\ud800"}).status_code == 400
    assert team.control("DELETE", f"/faults/{'9' * 5000}").status_code == 404
    assert team.call("GET", JOB).status_code == 200


@pytest.mark.parametrize("value", ["x", "", "1", "truefalse", "true&forceComplete=false", "%E2%82%AC"])
def test_force_complete_must_be_a_truth_value(team: SimulatorClient, value: str) -> None:
    answer = team.call("POST", f"{DATA_MODEL}/reload?forceComplete={value}")
    assert (answer.status_code, "forceComplete" in answer.json()["detail"]) == (400, True)
    assert team.loaded() == []


@pytest.mark.parametrize("value", ["x", "", "1"])
def test_full_reload_must_be_a_truth_value(team: SimulatorClient, value: str) -> None:
    answer = team.call("POST", f"{MODEL}/load?fullReload={value}")
    assert (answer.status_code, "fullReload" in answer.json()["detail"]) == (400, True)
    assert team.loaded() == []


def log_query(team: SimulatorClient, **query: str) -> dict[str, str]:
    execution_id = team.executions()[0]["executionId"]
    tasks = team.call("GET", f"{JOB}/tasks").json()
    return {"executionId": execution_id, "type": "TASK", "id": tasks[0]["id"], **query}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("x", "", "0", "-1", "1.5", "1,2", "9" * 5000)),
        *(("page", value) for value in ("x", "", "-1", "1.5", "9" * 5000)),
    ],
)
def test_page_and_limit_must_be_whole_numbers(team: SimulatorClient, name: str, value: str) -> None:
    listed: Any = team.call("GET", EXECUTIONS, params={name: value})
    logged: Any = team.call("GET", LOG, params=log_query(team, **{name: value}))
    for answer in (listed, logged):
        assert (answer.status_code, name in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("value", ["x", "", "task", "TASK,JOB"])
def test_type_of_a_log_must_be_known(team: SimulatorClient, value: str) -> None:
    query = log_query(team, type=value)
    assert team.call("GET", LOG, params=query).status_code == 400
    assert team.call("GET", TASKS, params={**query, "id": world.ERP_JOB_ID}).status_code == 400


def test_only_tasks_are_found_as_tasks(team: SimulatorClient) -> None:
    query = log_query(team, id=world.ERP_JOB_ID)
    assert len(team.call("GET", TASKS, params=query).json()) == 3
    assert team.call("GET", TASKS, params={**query, "type": "STEP"}).json() == []


@pytest.mark.parametrize("value", ["x", "", "LOUD", "ERROR,LOUD", "error"])
def test_log_levels_must_be_known(team: SimulatorClient, value: str) -> None:
    answer = team.call("GET", LOG, params=log_query(team, logLevels=value))
    assert (answer.status_code, "logLevels" in answer.json()["detail"]) == (400, True)


def test_credentials_in_other_characters_are_refused(team: SimulatorClient) -> None:
    for value in ("Basic \xe9", "Basic \xe9\xe9\xe9\xe9", "AppKey \xe9"):
        headers = {"Authorization": value.encode("latin-1")}
        assert team.call("GET", JOB, headers=headers).status_code == 401
        form = {"grant_type": "client_credentials"}
        assert team.call("POST", "/oauth2/token", data=form, headers=headers).status_code in {400, 401}

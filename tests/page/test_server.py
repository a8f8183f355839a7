"""What the server of the page answers, and what it refuses."""

from __future__ import annotations

import gc
import json
import mimetypes
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, TestResponse

from local.week.backend import HistoryBackend
from refresh_cli.page.backend import BackendError
from refresh_cli.page.guard import Guard
from refresh_cli.page.server import ALLOWED, NAME, RUN_ID, STATIC, create_app, is_allowed

PORT, TOKEN = 8460, "the-token"
OWN = f"http://127.0.0.1:{PORT}"
SIGNED = {"Authorization": f"Bearer {TOKEN}", "Host": f"127.0.0.1:{PORT}", "Origin": OWN}


@pytest.fixture
def client(backend: HistoryBackend) -> FlaskClient:
    return create_app(backend, Guard(PORT, TOKEN)).test_client()


def send(
    client: FlaskClient, method: str, path: str, headers: Mapping[str, str], body: object = None
) -> TestResponse:
    return client.open(path, method=method, headers=dict(headers), json=body, base_url=OWN, buffered=True)


def error_of(response: TestResponse) -> str:
    return str(json.loads(response.data)["error"])


@pytest.mark.parametrize("path", ["/api/runs", "/aws/about", "/aws/schedules"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": TOKEN}])
def test_data_needs_the_token_of_this_start(client: FlaskClient, path: str, headers: dict[str, str]) -> None:
    response = send(client, "GET", path, {"Host": f"127.0.0.1:{PORT}", **headers})
    assert (response.status_code, error_of(response)) == (403, "WrongToken")


def test_files_have_their_types_whatever_windows_says(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script of another type would not be executed."""
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_, **__: ("text/plain", None))
    for name, type_ in (
        ("main.js", "text/javascript"),
        ("page.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        response = send(client, "GET", f"/static/{name}", {"Host": f"127.0.0.1:{PORT}"})
        assert (response.status_code, response.mimetype) == (200, type_)


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", "[::1]:8460"]
)
@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/runs"])
def test_another_host_name_is_refused(client: FlaskClient, host: str, path: str) -> None:
    """A name of another site may resolve to 127.0.0.1 (DNS rebinding)."""
    response = send(client, "GET", path, {**SIGNED, "Host": host})
    assert (response.status_code, error_of(response)) == (421, "WrongHost")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{PORT + 1}"},
        {"Origin": f"https://127.0.0.1:{PORT}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_of_another_site_is_refused(
    client: FlaskClient, backend: HistoryBackend, method: str, headers: dict[str, str]
) -> None:
    response = send(client, method, "/api/runs", {**SIGNED, **headers}, {"pipeline": "inventory"})
    assert (response.status_code, error_of(response)) == (403, "ForeignOrigin")
    assert backend.requests == []


def test_a_change_without_an_origin_is_refused(client: FlaskClient) -> None:
    headers = {name: value for name, value in SIGNED.items() if name != "Origin"}
    response = send(client, "POST", "/api/runs", headers, {"pipeline": "inventory"})
    assert error_of(response) == "ForeignOrigin"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/webhooks/github"),
        ("POST", "/pipelines"),
        ("GET", "/runs/one/cancel"),
        ("GET", "/pipelines/../runs"),
        ("GET", "/runs/a%2Fb"),
        ("GET", "/anything"),
        ("POST", "/pipelines/inventory/delete"),
        ("GET", "/runs?x=1"),
        ("POST", "/pipelines/inventory/check"),
        ("GET", "/runs/one?wait=20"),
        ("GET", "/pipelines?before=a"),
        ("GET", "/pipelines?next=a"),
        ("GET", "/sources?next=a"),
    ],
)
def test_only_listed_requests_are_passed_on(
    client: FlaskClient, backend: HistoryBackend, method: str, path: str
) -> None:
    response = send(client, method, f"/api{path}", SIGNED)
    assert response.status_code in (404, 405)
    assert backend.requests == []


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
def test_other_methods_are_refused(client: FlaskClient, method: str) -> None:
    assert send(client, method, "/api/runs", SIGNED).status_code == 405


def script_requests() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield method, path and query parameters of each request that a script sends to the API."""
    names = {"id": "a-run-20260101T000000Z-00000000", "run.run_id": "a", "data.retried_by": "a"}
    call = r"""\b(get|post)\((['`])/api(/.*?)\2(?:, (\{[^{}]*\}))?"""
    for path in STATIC.rglob("*.js"):
        for method, _, address, fields in re.findall(call, path.read_text(encoding="utf-8")):
            filled = re.sub(r"\$\{([^}]+)\}", lambda found: names.get(found[1], "name"), address)
            query = re.findall(r"[{,]\s*(\w+)\s*(?=[:,}])", fields) if method == "get" else ()
            yield method.upper(), filled, frozenset(query)


def test_every_request_of_the_scripts_is_allowed() -> None:
    """The list and the scripts do not drift apart."""
    for method, path, query in script_requests():
        assert is_allowed(method, path, dict.fromkeys(query, "")), (method, path, query)


def allowed_requests() -> Iterator[tuple[str, re.Pattern[str], frozenset[str]]]:
    """Yield each allowed request; one with alternative ends is several."""
    for method, pattern, query in ALLOWED:
        start, bracket, ends = pattern.pattern.rpartition("(")
        for end in ends.rstrip(")").split("|") if bracket else [""]:
            yield method, re.compile(start + end if bracket else pattern.pattern), query


def shown(pattern: str) -> str:
    """Return a pattern for the name of a test: ``/runs/{id}``."""
    return pattern.replace(NAME, "{name}").replace(RUN_ID, "{id}")


@pytest.mark.parametrize(
    ("method", "pattern", "query"),
    [pytest.param(*each, id=f"{each[0]} {shown(each[1].pattern)}") for each in allowed_requests()],
)
def test_every_allowed_request_is_one_of_a_script(
    method: str, pattern: re.Pattern[str], query: frozenset[str]
) -> None:
    """Only what the page needs is passed on, with only the parameters that it needs."""
    sent = [found for by, path, found in script_requests() if by == method and pattern.fullmatch(path)]
    assert sent
    assert query == frozenset().union(*sent)


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/runs", "/missing"])
def test_every_answer_has_a_strict_policy(client: FlaskClient, path: str) -> None:
    headers = send(client, "GET", path, SIGNED).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


def test_static_files_load_nothing_from_elsewhere() -> None:
    for path in [*STATIC.rglob("*.js"), *STATIC.rglob("*.css"), *STATIC.rglob("*.html")]:
        text = path.read_text(encoding="utf-8")
        used = set(re.findall(r"https?://[\w./-]+", text)) - {"http://www.w3.org/"}
        assert not {url for url in used if "w3.org" not in url}, path
        assert not re.search(r"""(?:from|import)\s*["'](?![./])""", text), path


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py"]
)
def test_only_files_of_the_page_are_served(client: FlaskClient, path: str) -> None:
    response = send(client, "GET", path, SIGNED)
    assert b"def create_app" not in response.data
    assert response.status_code == 404


@pytest.mark.parametrize("path", ["/", "/static/icon.svg"])
def test_a_browser_that_leaves_before_the_answer_leaves_no_file_open(client: FlaskClient, path: str) -> None:
    """Then the server of werkzeug does not close the answer."""
    environ = EnvironBuilder(path, base_url=f"http://127.0.0.1:{PORT}").get_environ()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        answer = iter(client.application(environ, lambda *_: lambda _: None))
        assert b"<" in next(answer)
        del answer
        gc.collect()
    assert [str(each.message) for each in found] == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendError("credentials", "Expired.", "Sign in again.", 401), 401),
        (BackendError("unreachable", "No answer.", "Check the network.", 502), 502),
    ],
)
def test_errors_are_json_that_says_what_to_do(
    client: FlaskClient, backend: HistoryBackend, error: BackendError, status: int
) -> None:
    backend.error = error
    response = send(client, "GET", "/api/runs", SIGNED)
    assert response.status_code == status
    answer: dict[str, Any] = json.loads(response.data)
    assert answer == {"error": error.kind, "message": error.message, "action": error.action}


def test_a_large_body_is_refused(client: FlaskClient, backend: HistoryBackend) -> None:
    response = send(client, "POST", "/api/sources/github/test", SIGNED, {"body": "x" * 2_000_000})
    assert response.status_code == 413
    assert backend.requests == []

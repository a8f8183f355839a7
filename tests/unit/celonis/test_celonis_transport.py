"""One request, one response: what goes out, and what each failure proves."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import Callable

import pytest
import requests
from urllib3 import HTTPSConnectionPool
from urllib3 import exceptions as failures
from urllib3.connection import HTTPConnection

from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.celonis.transport import (
    MAX_BODY,
    MAX_IDLE,
    Answer,
    Call,
    Timeouts,
    Transport,
    cancel_job,
    execute_job,
    get_executions,
    get_job,
    get_last_load,
    get_tables,
    get_task_executions,
    get_task_log,
    load_model,
    load_tables,
)
from tests.unit.celonis.exchange import BASE, ExchangeClock, ScriptedCelonis, ScriptedResponse, session_to

START = execute_job("pool-1", "job-1", "FULL")
POLL = get_job("pool-1", "job-1")
POOL = HTTPSConnectionPool("team.eu-1.celonis.cloud")


def _wrapped(reason: Exception) -> requests.ConnectionError:
    """As requests wraps what urllib3 raises before a connection is established."""
    return requests.ConnectionError(failures.MaxRetryError(POOL, "/", reason))


REFUSED = _wrapped(
    failures.NewConnectionError(HTTPConnection("team.eu-1.celonis.cloud"), "Connection refused")
)
UNKNOWN_HOST = _wrapped(
    failures.NameResolutionError("team", HTTPConnection("team"), OSError("unknown"))  # type: ignore[arg-type]
)
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
SSL_UNTRUSTED = requests.exceptions.SSLError(failures.MaxRetryError(POOL, "/", failures.SSLError(UNTRUSTED)))
CONNECT_TIMEOUT = requests.ConnectTimeout(
    failures.MaxRetryError(POOL, "/", failures.ConnectTimeoutError(None, "timed out"))
)


def _transport(celonis: ScriptedCelonis, clock: ExchangeClock | None = None) -> Transport:
    return Transport(session_to(celonis), Timeouts(), "agent/1", clock or ExchangeClock())


def _send(*steps: ScriptedResponse | Exception, call: Call = START, seconds: float = 30.0) -> Answer:
    return _transport(ScriptedCelonis(*steps)).send(BASE, call, {}, seconds)


def _refused(call: Call, error: Exception) -> CelonisUnavailable:
    with pytest.raises(CelonisUnavailable) as caught:
        _send(error, call=call)
    return caught.value


def test_a_request_has_a_user_agent_and_accepts_json() -> None:
    celonis = ScriptedCelonis(ScriptedResponse(200, b"{}"))
    _transport(celonis).send(BASE, POLL, {"Authorization": "Bearer t"}, 30.0)
    (sent,) = celonis.sent
    assert sent.url == f"{BASE}{POLL.path}"
    assert sent.headers["User-Agent"] == "agent/1"
    assert sent.headers["Accept"] == "application/json"
    assert sent.headers["Accept-Encoding"] == "gzip, deflate"
    assert sent.headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(30.0, (3.05, 10.0)), (5.0, (3.05, 5.0)), (1.0, (1.0, 1.0))]
)
def test_no_timeout_is_longer_than_the_time_left(seconds: float, expected: tuple[float, float]) -> None:
    celonis = ScriptedCelonis(ScriptedResponse())
    _transport(celonis).send(BASE, POLL, {}, seconds)
    assert celonis.sent[0].timeout == expected


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_without_time_left_nothing_is_sent_and_so_nothing_started(seconds: float) -> None:
    celonis = ScriptedCelonis()
    with pytest.raises(CelonisUnavailable, match="no time was left") as caught:
        _transport(celonis).send(BASE, START, {}, seconds)
    assert celonis.sent == []
    assert caught.value.may_have_started is False


def test_an_answer_is_status_body_and_headers_in_lower_case() -> None:
    answer = _send(ScriptedResponse(418, b"short", {"X-RateLimit-Limit": "5"}))
    assert (answer.status, answer.body, answer.is_success) == (418, b"short", False)
    assert answer.headers["x-ratelimit-limit"] == "5"


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_answer_is_unpacked_and_its_length_is_the_unpacked_one(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    said = {"Content-Encoding": encoding}
    assert _send(ScriptedResponse(200, pack(b'{"id": 1}'), said)).body == b'{"id": 1}'
    assert len(_send(ScriptedResponse(200, pack(bytes(MAX_BODY)), said)).body) == MAX_BODY
    with pytest.raises(CelonisUnavailable, match="longer than"):
        _send(ScriptedResponse(200, pack(bytes(MAX_BODY + 1)), said))


def test_a_response_with_a_false_content_encoding_is_no_usable_response() -> None:
    with pytest.raises(CelonisUnavailable, match="the connection closed") as caught:
        _send(ScriptedResponse(200, b'{"id": 1}', {"Content-Encoding": "gzip"}))
    assert caught.value.may_have_started is True


def test_a_host_that_cannot_be_resolved_is_named() -> None:
    said = str(_refused(POLL, UNKNOWN_HOST))
    assert "the host name team.eu-1.celonis.cloud cannot be resolved" in said
    assert "no connection to team.eu-1.celonis.cloud" in str(_refused(POLL, REFUSED))


def test_what_an_answer_holds_is_not_printed() -> None:
    answer = _send(ScriptedResponse(200, b'{"access_token": "hidden"}', {"Set-Cookie": "hidden"}))
    assert "hidden" not in repr(answer)


def test_what_a_request_holds_is_not_printed() -> None:
    call = Call("POST", "/oauth2/token", "", "", "", body=b"client_secret=hidden")
    assert "hidden" not in repr(call)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    celonis = ScriptedCelonis(ScriptedResponse(302, b"", {"Location": "https://elsewhere.example/"}))
    assert _transport(celonis).send(BASE, START, {}, 30.0).status == 302
    assert len(celonis.sent) == 1


def test_a_body_of_the_longest_length_is_read_and_a_longer_one_is_not() -> None:
    assert len(_send(ScriptedResponse(200, b"x" * MAX_BODY)).body) == MAX_BODY
    with pytest.raises(CelonisUnavailable, match="longer than") as caught:
        _send(ScriptedResponse(200, b"x" * (MAX_BODY + 1)))
    assert caught.value.status == 200
    assert caught.value.may_have_started is True


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        UNKNOWN_HOST,
        CONNECT_TIMEOUT,
        SSL_UNTRUSTED,
        requests.exceptions.InvalidURL("no host"),
        failures.LocationParseError("label too long"),
    ],
    ids=["refused", "unknown host", "connect time-out", "certificate", "url", "host"],
)
def test_a_start_that_provably_never_left_has_not_started(error: Exception) -> None:
    assert _refused(START, error).may_have_started is False


LOST = [
    requests.ReadTimeout(failures.ReadTimeoutError(POOL, "/x", "Read timed out.")),
    failures.ReadTimeoutError(POOL, "/x", "Read timed out."),
    requests.ConnectionError(
        failures.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
    ),
    failures.ProtocolError("Connection broken", failures.IncompleteRead(3, 7)),
    failures.DecodeError("bad gzip"),
    requests.exceptions.SSLError(failures.SSLError(ssl.SSLEOFError(8, "EOF"))),
    requests.exceptions.InvalidHeader("two lengths"),
    ConnectionResetError(104, "raw"),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_start_whose_answer_was_lost_may_have_started_and_a_poll_never(error: Exception) -> None:
    assert _refused(START, error).may_have_started is True
    assert _refused(POLL, error).may_have_started is False


def test_the_proof_of_an_earlier_request_proves_nothing_about_this_one() -> None:
    earlier = REFUSED
    try:
        raise earlier
    except requests.RequestException:
        lost = _refused(START, LOST[2])
    assert lost.__cause__ is not None
    assert lost.__cause__.__context__ is earlier
    assert lost.may_have_started is True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CONNECT_TIMEOUT, "no connection within 3.05 s"),
        (LOST[0], "no complete answer within 10 s"),
        (LOST[1], "no complete answer within 10 s"),
        (LOST[2], "the connection closed"),
        (REFUSED, "the host refused it"),
        (SSL_UNTRUSTED, "certificate cannot be trusted"),
        (LOST[5], "the encrypted connection failed"),
    ],
)
def test_the_reason_is_reported_in_words(error: Exception, words: str) -> None:
    refused = _refused(START, error)
    assert words in str(refused)
    assert "starting data job job-1 of data pool pool-1" in str(refused)
    assert (refused.method, refused.path, refused.status) == ("POST", START.path, None)
    assert "base_url" in refused.hint


@pytest.mark.parametrize("error", [KeyError("a bug"), AssertionError()])
def test_a_fault_of_our_own_is_not_taken_for_one_of_celonis(error: Exception) -> None:
    with pytest.raises(type(error)):
        _send(error)


@pytest.mark.parametrize(
    ("pause", "closed"),
    [(MAX_IDLE, 0), (MAX_IDLE + 1, 1), (-MAX_IDLE - 1, 1)],
    ids=["short", "long", "clock set back"],
)
def test_a_connection_that_was_silent_for_long_is_not_used_again(pause: float, closed: int) -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(ScriptedResponse(), ScriptedResponse())
    transport = _transport(celonis, clock)
    transport.send(BASE, POLL, {}, 30.0)
    clock.now += pause
    transport.send(BASE, START, {}, 30.0)
    assert celonis.closed == closed


@pytest.mark.parametrize(
    ("build", "method", "path", "query", "body"),
    [
        (lambda: POLL, "GET", "/integration/api/pools/pool-1/jobs/job-1", [], ""),
        (
            lambda: START,
            "POST",
            "/integration/api/v2/data-pools/pool-1/data-jobs/job-1/execute",
            [("mode", "FULL")],
            "",
        ),
        (
            lambda: execute_job("pool-1", "job-1", "DELTA"),
            "POST",
            "/integration/api/v2/data-pools/pool-1/data-jobs/job-1/execute",
            [("mode", "DELTA")],
            "",
        ),
        (
            lambda: cancel_job("pool-1", "job-1"),
            "POST",
            "/integration/api/pools/pool-1/jobs/job-1/cancel",
            [],
            "",
        ),
        (
            lambda: load_model("pool-1", "model-1", from_cache=False),
            "POST",
            "/integration/api/v1/data-pools/pool-1/data-models/model-1/load",
            [],
            "",
        ),
        (
            lambda: load_model("pool-1", "model-1", from_cache=True),
            "POST",
            "/integration/api/v1/data-pools/pool-1/data-models/model-1/load",
            [("fullReload", "false")],
            "",
        ),
        (
            lambda: load_tables("pool-1", "model-1", ["t/1", "t2"]),
            "POST",
            "/integration/api/v1/data-pools/pool-1/data-models/model-1/load/partial-sync",
            [],
            '["t/1", "t2"]',
        ),
        (
            lambda: get_tables("pool-1", "model-1"),
            "GET",
            "/integration/api/v1/data-pools/pool-1/data-models/model-1/tables",
            [],
            "",
        ),
        (
            lambda: get_last_load("pool-1", "model-1"),
            "GET",
            "/integration/api/v1/data-pools/pool-1/data-models/model-1/last-load",
            [],
            "",
        ),
        (
            lambda: get_executions("pool-1", "job-1"),
            "GET",
            "/integration/api/pools/pool-1/logs/job-1/executions",
            [],
            "",
        ),
        (
            lambda: get_task_executions("pool-1", "job-1", "e&1"),
            "GET",
            "/integration/api/pools/pool-1/logs/executions",
            [("executionId", "e&1"), ("type", "TASK"), ("id", "job-1")],
            "",
        ),
        (
            lambda: get_task_log("pool-1", "job-1", "e1", "t&1"),
            "GET",
            "/integration/api/pools/pool-1/logs/executions/detail",
            [("executionId", "e1"), ("type", "TASK"), ("id", "t&1")],
            "",
        ),
    ],
)
def test_each_call_goes_out_as_celonis_documents_it(
    build: Callable[[], Call], method: str, path: str, query: list[tuple[str, str]], body: str
) -> None:
    celonis = ScriptedCelonis(ScriptedResponse())
    call = build()
    _transport(celonis).send(BASE, call, {}, 30.0)
    (sent,) = celonis.sent
    assert (sent.method, sent.path, sent.query, sent.body) == (method, path, query, body)
    assert sent.headers.get("Content-Type") == ("application/json" if body else None)
    assert call.acts is (method == "POST")


@pytest.mark.parametrize("value", ["key\r\nX-More: 1", "key\n folded", "key\r"])
def test_a_header_that_would_become_two_is_never_sent(value: str) -> None:
    celonis = ScriptedCelonis()
    with pytest.raises(ValueError, match="line break") as caught:
        _transport(celonis).send(BASE, START, {"Authorization": value}, 30.0)
    assert celonis.sent == []
    assert "key" not in str(caught.value)


def test_an_id_is_escaped_into_one_segment_of_the_path() -> None:
    celonis = ScriptedCelonis(ScriptedResponse())
    _transport(celonis).send(BASE, get_job("a%2Fb;c", "ä:@"), {}, 30.0)
    assert celonis.sent[0].path == "/integration/api/pools/a%252Fb%3Bc/jobs/%C3%A4%3A%40"


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a?b", "a#b", "a b", "x" * 129])
def test_an_id_that_could_leave_its_segment_is_never_sent(bad: str) -> None:
    with pytest.raises(ValueError, match="An id has"):
        get_job("pool-1", bad)
    with pytest.raises(ValueError, match="An id has"):
        load_tables(bad, "model-1", ["t"])


def test_a_mode_is_full_or_delta() -> None:
    with pytest.raises(ValueError, match="FULL, DELTA"):
        execute_job("pool-1", "job-1", "full")  # type: ignore[arg-type]


@pytest.mark.parametrize("tables", [[], (), "", "table-1"])
def test_a_partial_load_names_its_tables_in_a_list(tables: object) -> None:
    with pytest.raises(ValueError, match="one table at least"):
        load_tables("pool-1", "model-1", tables)  # type: ignore[arg-type]

"""The calls as methods: what they return, and what they never do."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, AppKey, Auth, Connection, OAuthClient
from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisError,
    CelonisRejected,
    CelonisThrottled,
    CelonisUnavailable,
    NotFound,
)
from celonis_refresh.celonis.records import (
    Job,
    JobExecution,
    Load,
    LoadHistory,
    ModelTable,
    StartAnswer,
    TaskFailure,
)
from celonis_refresh.celonis.transport import Call, RateLimit, Timeouts
from tests.unit.celonis.exchange import (
    BASE,
    KEY,
    OAUTH,
    ExchangeClock,
    ScriptedCelonis,
    ScriptedResponse,
    client_of,
    json_reply,
    session_to,
    token_reply,
)

HTML = ScriptedResponse(200, b"<!doctype html><title>Maintenance</title>", {"content-type": "text/html"})
Use = Callable[[CelonisClient], Any]

GETS: dict[str, Use] = {
    "job": lambda client: client.job("p", "j"),
    "tables": lambda client: client.tables("p", "m"),
    "last_load": lambda client: client.last_load("p", "m"),
    "executions": lambda client: client.executions("p", "j"),
}
POSTS: dict[str, Use] = {
    "execute_job": lambda client: client.execute_job("p", "j", "FULL"),
    "cancel_job": lambda client: client.cancel_job("p", "j"),
    "load_model": lambda client: client.load_model("p", "m"),
    "load_tables": lambda client: client.load_tables("p", "m", ["t"]),
}


def _each(uses: dict[str, Use]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("use", uses.values(), ids=uses.keys())


def test_a_job_is_read() -> None:
    celonis = ScriptedCelonis(json_reply({"id": "j", "status": "QUEUED", "currentExecutionId": "e"}))
    assert client_of(celonis).job("p", "j") == Job("j", status="QUEUED", current_execution_id="e")


def test_the_tables_of_a_model_are_read() -> None:
    celonis = ScriptedCelonis(json_reply([{"id": "t", "name": "VBAK", "aliasOrName": "Orders"}]))
    assert client_of(celonis).tables("p", "m") == [ModelTable("t", "VBAK", None, "Orders")]


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedResponse(204),
        ScriptedResponse(200),
        ScriptedResponse(200, b"null"),
        ScriptedResponse(200, b"{}"),
    ],
)
def test_a_model_that_was_never_loaded_has_no_last_load(reply: ScriptedResponse) -> None:
    assert client_of(ScriptedCelonis(reply)).last_load("p", "m") is None


def test_a_model_that_does_not_exist_is_not_one_that_was_never_loaded() -> None:
    with pytest.raises(NotFound, match="did not find data model m of data pool p"):
        client_of(ScriptedCelonis(ScriptedResponse(404))).last_load("p", "m")


def test_the_last_load_is_read() -> None:
    celonis = ScriptedCelonis(json_reply({"dataLoadId": "l", "loadStatus": "RUNNING", "startDate": 5}))
    assert client_of(celonis).last_load("p", "m") == Load("l", status="RUNNING", start_date=5)


@pytest.mark.parametrize("status", [403, 404, 405])
def test_executions_are_none_where_the_call_is_not_served(status: int) -> None:
    assert client_of(ScriptedCelonis(ScriptedResponse(status))).executions("p", "j") is None


@pytest.mark.parametrize(
    ("status", "kind"), [(400, CelonisRejected), (429, CelonisThrottled), (503, CelonisUnavailable)]
)
def test_executions_do_not_hide_other_failures(status: int, kind: type[CelonisError]) -> None:
    with pytest.raises(kind):
        client_of(ScriptedCelonis(ScriptedResponse(status))).executions("p", "j")


def test_executions_are_read() -> None:
    celonis = ScriptedCelonis(json_reply({"executionItems": [{"executionId": "e", "status": "SUCCESS"}]}))
    assert client_of(celonis).executions("p", "j") == [JobExecution("e", status="SUCCESS")]


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_load_history_is_none_where_the_call_is_not_served(status: int) -> None:
    assert client_of(ScriptedCelonis(ScriptedResponse(status))).load_history("p", "m") is None


def test_a_load_history_is_read_and_entries_that_cannot_be_read_are_left_out() -> None:
    load = {"dataLoadId": "l", "loadStatus": "SUCCESS", "loadType": "COMPLETE", "startDate": 5, "endDate": 9}
    averages = [
        {"type": "complete", "averageLoadingTime": 2000},
        *({"type": "PARTIAL", "averageLoadingTime": odd} for odd in (-1, "x", None, True, 10**400)),
        {"averageLoadingTime": 5},
        3,
    ]
    listed = [load, None, 7, {}, {"title": "x"}, {"dataLoadId": [1]}]
    document = {"loadHistory": {"dataLoadHistory": listed, "averageLoadTime": averages}}
    celonis = ScriptedCelonis(json_reply(document))
    history = client_of(celonis).load_history("p", "m")
    expected = Load("l", status="SUCCESS", kind="COMPLETE", start_date=5, end_date=9)
    assert history == LoadHistory((expected,), {"COMPLETE": 2.0})
    (sent,) = celonis.sent
    assert sent.path == "/integration/api/pools/p/data-models/m/load-history/load-info-sync"


@pytest.mark.parametrize("document", [None, [], {}, {"loadHistory": None}, {"loadHistory": []}, "x"])
def test_what_is_no_load_history_is_no_usable_answer(document: object) -> None:
    with pytest.raises(CelonisUnavailable):
        client_of(ScriptedCelonis(json_reply(document))).load_history("p", "m")


@pytest.mark.parametrize(
    "history",
    [{}, {"dataLoadHistory": 3, "averageLoadTime": "x"}, {"dataLoadHistory": None, "averageLoadTime": None}],
)
def test_a_load_history_without_lists_shows_nothing(history: object) -> None:
    client = client_of(ScriptedCelonis(json_reply({"loadHistory": history})))
    assert client.load_history("p", "m") == LoadHistory()


@_each(POSTS)
def test_a_start_answered_with_a_web_page_may_have_started(use: Use) -> None:
    celonis = ScriptedCelonis(HTML)
    with pytest.raises(CelonisUnavailable) as caught:
        use(client_of(celonis))
    assert caught.value.may_have_started


@pytest.mark.parametrize("body", [b'{"executionId": "e', b"[", b'"\xff'])
@_each(POSTS)
def test_a_start_whose_answer_breaks_off_may_have_started(use: Use, body: bytes) -> None:
    celonis = ScriptedCelonis(ScriptedResponse(200, body, {"content-type": "application/json;charset=UTF-8"}))
    with pytest.raises(CelonisUnavailable, match="truncated JSON") as caught:
        use(client_of(celonis))
    assert caught.value.may_have_started


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedResponse(200, b"OK"),
        ScriptedResponse(204),
        ScriptedResponse(200),
        json_reply(["e"]),
        json_reply(None),
        ScriptedResponse(202, b"\xff"),
    ],
)
@_each(POSTS)
def test_a_start_is_a_success_with_any_body_of_a_2xx(use: Use, reply: ScriptedResponse) -> None:
    assert use(client_of(ScriptedCelonis(reply))) in (None, StartAnswer(None))


@pytest.mark.parametrize("body", [b"OK", b"", b'{"executionId": "e"}', b'{"executionId": []}'])
@_each(POSTS)
def test_a_start_returns_its_arrival_time_with_any_response_body(use: Use, body: bytes) -> None:
    clock = ExchangeClock()
    date = {"date": "Tue, 14 Nov 2023 22:13:21 GMT"}  # one second later than the clock
    client = client_of(
        ScriptedCelonis(ScriptedResponse(200, body, date), clock=clock, costs=0.5), clock=clock
    )
    answer = use(client)
    assert client.requested_at == round((ExchangeClock().now + 1.0 - 0.5) * 1000)
    if isinstance(answer, StartAnswer):
        assert answer.answered_by == round((ExchangeClock().now + 2.0 + 0.5) * 1000)


def test_a_start_without_a_date_does_not_say_when_it_arrived() -> None:
    client = client_of(ScriptedCelonis(ScriptedResponse(200, b"")))
    assert client.execute_job("p", "j", "FULL") == StartAnswer()
    assert client.requested_at is None


def test_a_start_gives_the_id_that_its_answer_names() -> None:
    job = client_of(ScriptedCelonis(json_reply({"executionId": "e"}))).execute_job("p", "j", "DELTA")
    model = client_of(ScriptedCelonis(json_reply({"dataLoadId": "l"}))).load_model("p", "m", from_cache=True)
    tables = client_of(ScriptedCelonis(json_reply({"loadId": 7}))).load_tables("p", "m", ("t",))
    assert (job, model, tables) == (StartAnswer("e"), StartAnswer("l"), StartAnswer("7"))


@pytest.mark.parametrize(
    "reply",
    [HTML, ScriptedResponse(200, b"OK"), json_reply("text"), json_reply(7), json_reply([[]])],
    ids=repr,
)
@_each(GETS)
def test_a_response_of_an_unexpected_shape_is_no_usable_response(use: Use, reply: ScriptedResponse) -> None:
    with pytest.raises(CelonisUnavailable, match=r"not JSON|unexpected shape") as caught:
        use(client_of(ScriptedCelonis(reply)))
    assert caught.value.status == 200
    assert caught.value.may_have_started is False


@_each(GETS | POSTS)
def test_no_call_is_repeated_because_of_a_fault(use: Use) -> None:
    celonis = ScriptedCelonis(ScriptedResponse(503))
    with pytest.raises(CelonisUnavailable):
        use(client_of(celonis))
    assert len(celonis.sent) == 1


@_each(GETS | POSTS)
def test_every_call_has_timeouts_and_goes_to_the_right_host(use: Use) -> None:
    celonis = ScriptedCelonis(ScriptedResponse(500))
    with pytest.raises(CelonisUnavailable):
        use(client_of(celonis))
    assert celonis.sent[0].timeout == (3.05, 10.0)
    assert celonis.sent[0].url.startswith(f"{BASE}/integration/api/")


def test_the_budget_of_a_call_covers_signing_in_and_repeating() -> None:
    clock = ExchangeClock()
    steps = [token_reply(), json_reply({}, 401), token_reply(), json_reply({"id": "j", "status": None})]
    celonis = ScriptedCelonis(*steps, clock=clock, costs=1.5)
    client_of(celonis, OAUTH, clock).job("p", "j", timeout=5.0)
    expected = [(3.05, 5.0), (3.05, 3.5), (2.0, 2.0), (0.5, 0.5)]
    assert [sent.timeout for sent in celonis.sent] == [pytest.approx(one) for one in expected]


def test_a_budget_that_signing_in_used_up_starts_nothing() -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(token_reply(), clock=clock, costs=5.0)
    with pytest.raises(CelonisUnavailable, match="no time was left") as caught:
        client_of(celonis, OAUTH, clock).execute_job("p", "j", "FULL", timeout=5.0)
    assert caught.value.may_have_started is False
    assert [sent.path for sent in celonis.sent] == ["/oauth2/token"]


def test_without_a_budget_the_timeout_of_the_whole_call_applies() -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(token_reply(), json_reply({"id": "j", "status": None}), clock=clock, costs=4.0)
    timeouts = Timeouts(connect=9.0, read=9.0, whole=6.0)
    client = CelonisClient(
        Connection("main", BASE, OAUTH),
        session=session_to(celonis),
        clock=clock,
        monotonic=clock,
        timeout=timeouts,
    )
    client.job("p", "j")
    assert [sent.timeout for sent in celonis.sent] == [(6.0, 6.0), (2.0, 2.0)]


def test_the_rate_limit_is_read_from_responses_of_the_api_only() -> None:
    limits = {"x-ratelimit-limit": "6000", "x-ratelimit-remaining": "1"}
    ignored = ScriptedResponse(200, token_reply().body, {"x-ratelimit-limit": "7"})
    throttled = ScriptedResponse(429, b"", limits | {"x-ratelimit-reset": "4"})
    celonis = ScriptedCelonis(ignored, throttled, json_reply({"id": "j", "status": None}))
    rate_limiter = _BlockingRateLimiter()
    client = CelonisClient(
        Connection("main", BASE, OAUTH), session=session_to(celonis), rate_limiter=rate_limiter
    )
    unlimited = client.ignoring_rate_limit()
    with pytest.raises(CelonisThrottled):
        unlimited.job("p", "j")
    unlimited.job("p", "j")
    assert rate_limiter.reported == [(RateLimit(6000, 1, 4.0), 4.0), (None, None)]


def test_the_user_agent_can_be_set() -> None:
    celonis = ScriptedCelonis(json_reply({"id": "j", "status": None}))
    connection = Connection("main", BASE, ApiKey(KEY))
    CelonisClient(connection, session=session_to(celonis), user_agent="celonis-refresh/1.2").job("p", "j")
    assert celonis.sent[0].headers["User-Agent"] == "celonis-refresh/1.2"


def test_closing_a_client_closes_its_connections() -> None:
    celonis = ScriptedCelonis()
    client_of(celonis).close()
    assert celonis.closed == 1


TASKS = json_reply(
    [
        {"taskId": "t1", "name": "Extract VBAK", "status": "SUCCESS"},
        {"taskId": "t2", "name": "Extract VBAP", "status": "FAIL"},
        {"taskId": "t3", "name": "Transform", "status": "FAIL"},
    ]
)


def _log(*lines: tuple[str, str]) -> ScriptedResponse:
    return json_reply({"logMessages": [{"level": level, "logMessage": text} for level, text in lines]})


def test_the_reasons_of_a_failed_execution_are_reported_task_by_task() -> None:
    celonis = ScriptedCelonis(TASKS, _log(("INFO", "Start"), ("ERROR", "No table")), _log(("INFO", "Start")))
    found = client_of(celonis).failed_task_messages("p", "j", "e")
    assert found == [TaskFailure("Extract VBAP", "No table"), TaskFailure("Transform", "")]
    assert [dict(sent.query) for sent in celonis.sent] == [
        {"executionId": "e", "type": "TASK", "id": "j"},
        {"executionId": "e", "type": "TASK", "id": "t2"},
        {"executionId": "e", "type": "TASK", "id": "t3"},
    ]


def test_a_job_with_many_failed_tasks_costs_few_requests_and_has_a_short_message() -> None:
    tasks = json_reply([{"taskId": f"t{n}", "status": "FAIL"} for n in range(50)])
    log = _log(*(("ERROR", f"{n} " + "x" * 1000) for n in range(50)))
    celonis = ScriptedCelonis(tasks, log, log, log)
    found = client_of(celonis).failed_task_messages("p", "j", "e")
    assert len(celonis.sent) == 4
    assert len(found) == 9
    assert max(len(failure.message) for failure in found) == 300


@pytest.mark.parametrize(
    "step",
    [
        ScriptedResponse(404),
        ScriptedResponse(403),
        ScriptedResponse(405),
        ScriptedResponse(500),
        HTML,
        ConnectionError("lost"),
    ],
)
def test_reasons_that_cannot_be_had_are_none(step: ScriptedResponse | Exception) -> None:
    assert client_of(ScriptedCelonis(step)).failed_task_messages("p", "j", "e") == []


def test_reasons_that_were_found_before_a_fault_are_kept() -> None:
    celonis = ScriptedCelonis(TASKS, _log(("ERROR", "No table")), ScriptedResponse(502))
    found = client_of(celonis).failed_task_messages("p", "j", "e")
    assert found == [TaskFailure("Extract VBAP", "No table")]


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationFailed), (429, CelonisThrottled)])
def test_reading_failure_reasons_does_not_hide_other_errors(status: int, kind: type[CelonisError]) -> None:
    with pytest.raises(kind):
        client_of(ScriptedCelonis(ScriptedResponse(status))).failed_task_messages("p", "j", "e")


def test_reading_failure_reasons_stops_at_its_budget() -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(TASKS, _log(("ERROR", "No table")), clock=clock, costs=2.0)
    found = client_of(celonis, clock=clock).failed_task_messages("p", "j", "e", timeout=4.0)
    assert found == [TaskFailure("Extract VBAP", "No table")]


def _codes(*codes: str | None, **parameters: object) -> ScriptedResponse:
    given = [{"key": key, "value": value} for key, value in parameters.items()]
    lines = [
        {"level": "INFO", "logTranslationCode": code, "logTranslationParameters": given} for code in codes
    ]
    return json_reply({"logMessages": lines})


CANCELLED = json_reply(
    {
        "executionItems": [
            {"taskId": "t1", "status": "SUCCESS"},
            {"taskId": "t2", "status": "QUEUED"},
            {"taskId": "t3", "status": "CANCEL"},
        ]
    }
)


def test_the_log_of_the_execution_says_why_it_was_cancelled() -> None:
    celonis = ScriptedCelonis(_codes("STARTING_RUNNING_JOB_WITH_NAME", "DATA_CONSUMPTION_LIMIT_EXCEEDED"))
    assert client_of(celonis).why_ended("p", "j", "e", "CANCEL") == (
        "the data consumption limit of the Celonis team is exceeded"
    )
    (sent,) = celonis.sent
    assert dict(sent.query) == {"executionId": "e", "type": "JOB", "id": "j"}
    assert sent.path == "/integration/api/pools/p/logs/executions/detail"


def test_the_log_of_a_task_says_why_where_that_of_the_execution_does_not() -> None:
    code = "EXECUTION_AUTOMATICALLY_CANCELLED_AFTER_X_MINUTES"
    celonis = ScriptedCelonis(_codes(None), CANCELLED, _codes(code, minutes=1440))
    reason = client_of(celonis).why_ended("p", "j", "e", "CANCEL")
    assert reason == "Celonis cancels it automatically after 1440 minutes"
    assert [dict(sent.query)["id"] for sent in celonis.sent] == ["j", "j", "t3"]


@pytest.mark.parametrize(
    "step",
    [
        ScriptedResponse(404),
        ScriptedResponse(403),
        ScriptedResponse(405),
        ScriptedResponse(500),
        HTML,
        ConnectionError("lost"),
    ],
)
def test_a_log_that_is_not_served_gives_no_reason(step: ScriptedResponse | Exception) -> None:
    tasks = json_reply([{"taskId": f"t{n}", "status": "CANCEL"} for n in range(50)])
    celonis = ScriptedCelonis(step, tasks, *[step] * 3)
    assert client_of(celonis).why_ended("p", "j", "e", "CANCEL") == ""
    assert len(celonis.sent) <= 5


# A secret that no other text of a test holds by chance.
secrets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60).map("~Q7~".__add__)


def _echo(status: int, secret: str) -> ScriptedResponse:
    said = {"title": secret, "detail": f"{'x' * 290}{secret}", "errorCode": secret, "supportId": secret}
    return json_reply(said, status)


@pytest.mark.parametrize("kind", ["app", "api", "basic", "post"])
@given(secret=secrets, token=secrets, status=st.sampled_from([302, 400, 401, 403, 404, 409, 429, 500, 503]))
def test_no_secret_gets_into_an_error_even_if_celonis_repeats_it(
    kind: str, secret: str, token: str, status: int
) -> None:
    auths: dict[str, Auth] = {
        "app": AppKey(secret),
        "api": ApiKey(secret),
        "basic": OAuthClient("c", secret),
        "post": OAuthClient("c", secret, "client_secret_post"),
    }
    both = f"{secret} {token}"
    is_client = kind in ("basic", "post")
    granted = [token_reply(token)] if is_client else []
    said = _echo(status, both if is_client else secret)
    celonis = ScriptedCelonis(*granted, said, *granted, said)
    client = client_of(celonis, auths[kind])
    with pytest.raises(CelonisError) as caught:
        client.execute_job("p", "j", "FULL")
    error = caught.value
    shown = f"{error!s} {error!r} {vars(error)} {client!r} {vars(client)}"
    shown += "".join(traceback.format_exception(error))
    assert secret not in shown
    assert not is_client or token not in shown


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@given(secret=secrets, status=st.sampled_from([200, 302, 400, 401, 403, 404, 429, 500]))
def test_no_secret_gets_into_the_error_of_a_token_request(method: Any, secret: str, status: int) -> None:
    client = client_of(ScriptedCelonis(_echo(status, secret)), OAuthClient("c", secret, method))
    with pytest.raises(CelonisError) as caught:
        client.job("p", "j")
    error = caught.value
    assert secret not in f"{error!s} {error!r} {vars(error)}" + "".join(traceback.format_exception(error))


class _BlockingRateLimiter:
    """A rate limiter that lets nothing pass, and records what it learns."""

    def __init__(self) -> None:
        self.reported: list[tuple[RateLimit | None, float | None]] = []

    def enter(self, call: Call, seconds: float) -> None:
        raise CelonisThrottled("Shut.", retry_after=9.0, hint="", method=call.method, path=call.path)

    def answered(self, limit: RateLimit | None, retry_after: float | None) -> None:
        self.reported.append((limit, retry_after))


def test_a_client_that_ignores_the_rate_limit_still_reports_its_responses() -> None:
    refused = ScriptedResponse(429, b"", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "4"})
    celonis, rate_limiter = (
        ScriptedCelonis(json_reply({"id": "j", "status": None}), refused),
        _BlockingRateLimiter(),
    )
    client = CelonisClient(
        Connection("main", BASE, ApiKey(KEY)), session=session_to(celonis), rate_limiter=rate_limiter
    )
    assert client.ignoring_rate_limit().job("p", "j") == Job("j")
    with pytest.raises(CelonisThrottled, match="cancelling"):
        client.ignoring_rate_limit().cancel_job("p", "j")
    with pytest.raises(CelonisThrottled, match="Shut"):
        client.job("p", "j")
    assert len(celonis.sent) == 2
    assert rate_limiter.reported == [(None, None), (RateLimit(None, 0, 4.0), 4.0)]

"""Error responses of Celonis become typed errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.celonis.error_responses import (
    DEFAULT_RETRY_AFTER,
    MAX_CLOCK_WAIT,
    MAX_RETRY_AFTER,
    MIN_RETRY_AFTER,
    Signer,
    failure,
)
from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisError,
    CelonisRejected,
    CelonisThrottled,
    CelonisUnavailable,
    NotFound,
    PermissionDenied,
)
from celonis_refresh.celonis.transport import (
    Answer,
    Call,
    RateLimit,
    arrival,
    execute_job,
    get_job,
    load_model,
    rate_limit,
    read_json,
)

GET = get_job("pool-1", "job-1")
START = execute_job("pool-1", "job-1", "DELTA")
LOAD = load_model("pool-1", "model-1", from_cache=False)
SIGNER = Signer(
    "the API key of connection 'main'", "Check the key.", lambda text: text.replace("HIDDEN", "***")
)
NOW = 1_700_000_000.0
SUPPORT_ID = "671d3bdc-9feb-45ff-b367-7b47470d4680"


def _answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers or {}, raw)


def _failure(status: int, body: object = b"", call: Call = GET, **headers: str) -> CelonisError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(_answer(status, body, named), call, SIGNER, NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_2xx_is_no_failure(status: int) -> None:
    assert _answer(status).is_success


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, CelonisUnavailable),
        (302, CelonisUnavailable),
        (304, CelonisUnavailable),
        (400, CelonisRejected),
        (401, AuthenticationFailed),
        (403, PermissionDenied),
        (404, NotFound),
        (405, CelonisRejected),
        (408, CelonisUnavailable),
        (409, CelonisRejected),
        (422, CelonisRejected),
        (425, CelonisUnavailable),
        (429, CelonisThrottled),
        (500, CelonisUnavailable),
        (501, CelonisUnavailable),
        (502, CelonisUnavailable),
        (503, CelonisUnavailable),
        (504, CelonisUnavailable),
        (599, CelonisUnavailable),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>no</html>", b"\xff\xfe\xfa", b"null", b"[1]", b'"text"']
)
def test_each_status_has_one_error_with_any_body(status: int, kind: type, body: bytes) -> None:
    error = _failure(status, body)
    assert type(error) is kind
    assert (error.status, error.method, error.path) == (status, GET.method, GET.path)
    assert error.hint
    assert str(status) in str(error)


def test_the_envelope_of_celonis_is_kept_as_facts_and_shown() -> None:
    envelope = {"title": "Access Denied.", "status": 403, "detail": "No.", "errorCode": "ADMIN_ACCESS_ERROR"}
    error = _failure(403, envelope)
    assert (error.title, error.detail, error.error_code) == ("Access Denied.", "No.", "ADMIN_ACCESS_ERROR")
    assert "(403: ADMIN_ACCESS_ERROR, Access Denied, No)." in str(error)


def test_an_error_that_is_plain_text_is_shown_and_a_web_page_is_not() -> None:
    assert _failure(401, b"Invalid header format.\n").detail == "Invalid header format."
    assert _failure(502, b"  <!doctype html><h1>Bad gateway</h1>").detail is None


def test_a_401_names_the_credentials_and_what_to_check() -> None:
    error = _failure(401, {"error": "Unauthorized"})
    assert "the API key of connection 'main'" in str(error)
    assert error.hint == "Check the key."
    assert error.title == "Unauthorized"


@pytest.mark.parametrize(
    ("call", "permission"),
    [(GET, "view and manage the data pool"), (START, "view and manage"), (LOAD, "Edit on the data pool")],
)
def test_a_403_names_the_permission_that_this_call_needs(call: Call, permission: str) -> None:
    error = _failure(403, call=call)
    assert permission in error.hint
    assert "integration.data-pools" in error.hint
    assert call.doing in str(error)


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_a_403_without_a_body_says_that_the_api_is_disabled_for_the_team(body: bytes) -> None:
    error = _failure(403, body, call=START)
    assert isinstance(error, PermissionDenied)
    assert "API is disabled for this team" in error.message
    assert "enable" in error.hint
    assert "view and manage the data pool" in error.hint


@pytest.mark.parametrize("body", [b"{}", b"no", {"errorCode": "ADMIN_ACCESS_ERROR"}])
def test_a_403_with_a_body_does_not_mention_a_disabled_api(body: object) -> None:
    assert "disabled" not in str(_failure(403, body))


@pytest.mark.parametrize("code", ["LIMIT_NOTFOUND", "LIMIT_SIZE_NOTFOUND"])
def test_a_404_about_a_rate_limit_is_a_fault_and_no_missing_id(code: str) -> None:
    envelope = {"title": "Not found", "status": 404, "detail": "No limit.", "errorCode": code}
    poll, start = _failure(404, envelope), _failure(404, envelope, call=START)
    assert isinstance(poll, CelonisUnavailable)
    assert isinstance(start, CelonisUnavailable)
    assert (poll.may_have_started, start.may_have_started) == (False, True)
    assert (poll.status, poll.error_code) == (404, code)
    assert "rate limit" in poll.message
    assert "Check the ids" not in str(poll)


def test_any_other_404_is_a_missing_id() -> None:
    assert type(_failure(404, {"errorCode": "GENERAL_NOTFOUND_PATH"})) is NotFound


def test_a_409_says_that_something_else_is_running() -> None:
    assert "running" in _failure(409, call=START).hint
    assert "running" not in _failure(422, call=START).hint


def test_a_404_names_what_was_requested() -> None:
    assert "did not find data job job-1 of data pool pool-1" in str(_failure(404))
    assert "did not find data model model-1 of data pool pool-1" in str(_failure(404, call=LOAD))


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        (f"Please contact support. Celonis Support ID: {SUPPORT_ID}", SUPPORT_ID),
        ("Something broke (support-id=AB12-34).", "AB12-34"),
        ("supportId 'abc123def'", "abc123def"),
        (f"Unexpected: {SUPPORT_ID}.", SUPPORT_ID),
        ("x" * 400 + f" Support ID: {SUPPORT_ID}", SUPPORT_ID),
        ("Ask support.", None),
        ("", None),
    ],
)
def test_the_support_id_is_found_in_the_detail_of_a_500_and_shown(detail: str, found: str | None) -> None:
    error = _failure(500, {"title": "Unexpected error.", "detail": detail, "errorCode": "ADMIN_FATAL_ERROR"})
    assert error.support_id == found
    assert found is None or found in error.hint


def test_an_id_in_the_detail_of_a_refusal_is_no_support_id() -> None:
    assert _failure(404, {"detail": f"Job {SUPPORT_ID} not found"}).support_id is None


@pytest.mark.parametrize("status", [302, 408, 500, 502, 503, 504])
def test_a_start_that_met_a_fault_may_have_started_and_a_poll_never(status: int) -> None:
    start, poll = _failure(status, call=START), _failure(status, call=GET)
    assert isinstance(start, CelonisUnavailable)
    assert isinstance(poll, CelonisUnavailable)
    assert (start.may_have_started, poll.may_have_started) == (True, False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x_ratelimit_reset": "17"}, 17.0),
        ({"x_ratelimit_reset": "2.5", "retry_after": "99"}, 2.5),
        ({"x_ratelimit_reset": "soon", "retry_after": "9"}, 9.0),
        ({"retry_after": "0"}, MIN_RETRY_AFTER),
        ({"retry_after": "Tue, 14 Nov 2023 22:14:20 GMT"}, 60.0),
        ({"retry_after": "Tue, 14 Nov 2023 22:14:20 -0000"}, 60.0),
        ({"retry_after": "Tue, 14 Nov 2023 22:00:00 GMT"}, MIN_RETRY_AFTER),
        ({"retry_after": "tomorrow"}, DEFAULT_RETRY_AFTER),
        ({"x_ratelimit_reset": "0"}, MIN_RETRY_AFTER),
        ({"x_ratelimit_reset": "1700000060"}, 60.0),
        ({"retry_after": "7200"}, MAX_RETRY_AFTER),
        ({"x_ratelimit_reset": "-3"}, DEFAULT_RETRY_AFTER),
        ({"x_ratelimit_reset": "nan"}, DEFAULT_RETRY_AFTER),
        ({"x_ratelimit_reset": "inf"}, DEFAULT_RETRY_AFTER),
        ({}, DEFAULT_RETRY_AFTER),
    ],
)
def test_a_429_says_how_many_seconds_to_wait_within_bounds(headers: dict[str, str], seconds: float) -> None:
    error = _failure(429, {"errorCode": "LIMIT_RATE_EXCEEDED"}, START, **headers)
    assert isinstance(error, CelonisThrottled)
    assert error.retry_after == pytest.approx(seconds)


SERVED = "Tue, 14 Nov 2023 06:10:00 GMT"
"""Another moment than by our clock, which is 22:13:20 of the same day."""


@pytest.mark.parametrize(
    ("detail", "seconds"),
    [
        ("Rate limit exceeded, try again at 22:14:20 UTC.", 60.0),
        ("Try again at 22:15 GMT", 100.0),
        ("Try again after 22:13:50Z", 30.0),
        ("Try again at 22:13:50", 30.0),
        ("try again at 2023-11-14T22:14:20Z", 60.0),
        ("try again at 2023-11-14 23:14:20.5+01:00", 60.5),
        ("try again at 2023-11-14 22:14:20 UTC", 60.0),
        ("try again at 2023-11-15T22:14:20Z", MAX_CLOCK_WAIT),
        ("try again at 23:59:59 UTC", 6399.0),
        ("try again at 08:00:00 UTC", 35_200.0),
        ("try again at 22:13:19 UTC", MIN_RETRY_AFTER),
        ("try again at 22:14:20 CET", DEFAULT_RETRY_AFTER),
        ("try again at 25:61:00 UTC", DEFAULT_RETRY_AFTER),
        ("try again at 2023-13-41T22:14:20Z", DEFAULT_RETRY_AFTER),
        ("job 12:34:56:78 of 1:2", DEFAULT_RETRY_AFTER),
        ("Too many requests.", DEFAULT_RETRY_AFTER),
    ],
)
def test_a_429_is_waited_out_until_the_clock_time_in_its_detail(detail: str, seconds: float) -> None:
    error = _failure(429, {"errorCode": "LIMIT_RATE_EXCEEDED", "detail": detail})
    assert isinstance(error, CelonisThrottled)
    assert error.retry_after == pytest.approx(seconds)


def test_a_clock_time_after_midnight_is_tomorrows() -> None:
    before_midnight = "Tue, 14 Nov 2023 23:59:30 GMT"
    error = _failure(429, {"detail": "try again at 00:00:30 UTC"}, date=before_midnight)
    assert isinstance(error, CelonisThrottled)
    assert error.retry_after == pytest.approx(60.0)


def test_a_clock_time_is_compared_with_the_date_of_the_same_answer() -> None:
    error = _failure(429, {"detail": "try again at 06:10:41 UTC"}, date=SERVED)
    assert isinstance(error, CelonisThrottled)
    assert error.retry_after == pytest.approx(41.0)


@pytest.mark.parametrize(("reset", "seconds"), [("5", 60.0), ("90", 90.0)])
def test_the_longer_of_a_header_and_a_clock_time_is_waited_out(reset: str, seconds: float) -> None:
    error = _failure(429, {"detail": "try again at 22:14:20 UTC"}, x_ratelimit_reset=reset)
    assert isinstance(error, CelonisThrottled)
    assert error.retry_after == pytest.approx(seconds)


def test_a_429_in_plain_text_may_hold_a_clock_time() -> None:
    error = _failure(429, b"Too many requests, try again at 22:14:20 UTC")
    assert isinstance(error, CelonisThrottled)
    assert error.retry_after == pytest.approx(60.0)


def test_the_rate_limit_is_read_from_any_answer() -> None:
    headers = {"x-ratelimit-limit": "6000", "x-ratelimit-remaining": "12", "x-ratelimit-reset": "3.5"}
    assert rate_limit(_answer(200, headers=headers)) == RateLimit(6000, 12, 3.5)
    partial = rate_limit(_answer(200, headers={"x-ratelimit-remaining": "0", "x-ratelimit-limit": "?"}))
    assert partial == RateLimit(None, 0, None)
    assert rate_limit(_answer(200)) is None


DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize("took", [0.0, 0.25, 60.0])
def test_a_request_arrived_within_the_exchange_around_the_date_of_its_answer(took: float) -> None:
    """The date has whole seconds: it may be of the second's end."""
    expected = round((NOW - took) * 1000), round((NOW + 1 + took) * 1000)
    assert arrival(_answer(200, headers={"date": DATE}), took) == expected


@pytest.mark.parametrize("date", [None, "", "yesterday", "1700000000"])
def test_without_a_date_that_can_be_read_it_is_not_known_when_a_request_arrived(date: str | None) -> None:
    assert arrival(_answer(200, headers={} if date is None else {"date": date}), 0.1) == (None, None)


def test_a_date_without_a_zone_is_utc() -> None:
    earliest, _ = arrival(_answer(200, headers={"date": "Tue, 14 Nov 2023 22:13:20"}), 0.0)
    assert earliest == NOW * 1000


def test_a_text_of_an_answer_is_shown_without_credentials_on_one_line_and_not_too_long() -> None:
    error = _failure(400, {"title": "a\n\x1b[31mHIDDEN", "detail": "HIDDEN " * 200, "errorCode": 7})
    assert error.title == "a [31m***"
    assert error.error_code == "7"
    assert error.detail is not None
    assert len(error.detail) == 300
    assert "HIDDEN" not in f"{error} {vars(error)}"


@pytest.mark.parametrize(("body", "value"), [(b"", None), (b" \n", None), (b"null", None), (b"{}", {})])
def test_an_empty_body_reads_as_nothing(body: bytes, value: object) -> None:
    assert read_json(_answer(200, body)) == value


@pytest.mark.parametrize("body", [b"{", b"<html>", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(_answer(200, body))


envelopes = st.dictionaries(
    st.sampled_from(["title", "detail", "errorCode", "error", "message", "supportId", "error_description"]),
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.lists(st.text(), max_size=2),
)


@given(status=st.integers(100, 999).filter(lambda code: not 200 <= code < 300), body=envelopes | st.binary())
def test_any_answer_that_is_no_success_becomes_an_error_that_can_be_printed(status: int, body: Any) -> None:
    error = _failure(status, body, START)
    assert str(error).isprintable()


def test_what_an_answer_says_twice_is_reported_once() -> None:
    body = {"error": "invalid_client", "error_description": "invalid_client (Unauthorized)"}
    assert "(401: invalid_client (Unauthorized))" in str(_failure(401, body))

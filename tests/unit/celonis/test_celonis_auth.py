"""Signing requests: keys, tokens, and what happens when Celonis says 401."""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl

import pytest

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, AppKey, Connection, OAuthClient
from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisError,
    CelonisThrottled,
    CelonisUnavailable,
    NotFound,
)
from tests.unit.celonis.exchange import (
    BASE,
    CLIENT_SECRET,
    KEY,
    OAUTH,
    ExchangeClock,
    ScriptedCelonis,
    ScriptedResponse,
    Step,
    client_of,
    json_reply,
    session_to,
    token_reply,
)

JOB = json_reply({"id": "job-1", "status": "RUNNING"})
REFUSED = json_reply({"error": "Unauthorized"}, 401)


def _authorizations(celonis: ScriptedCelonis) -> list[str]:
    return [sent.headers["Authorization"] for sent in celonis.sent]


def test_an_application_key_goes_out_as_app_key() -> None:
    celonis = ScriptedCelonis(JOB)
    client_of(celonis, AppKey("app-key-1")).job("pool-1", "job-1")
    assert _authorizations(celonis) == ["AppKey app-key-1"]


def test_an_api_key_goes_out_as_bearer() -> None:
    celonis = ScriptedCelonis(JOB)
    client_of(celonis, ApiKey("api-key-1")).job("pool-1", "job-1")
    assert _authorizations(celonis) == ["Bearer api-key-1"]


def test_an_oauth_client_requests_a_token_by_client_secret_basic() -> None:
    celonis = ScriptedCelonis(token_reply("token-1"), JOB)
    client_of(celonis, OAuthClient("id:1", "se/cret+ 1", scope="a b")).job("pool-1", "job-1")
    token_request, sent = celonis.sent
    assert (token_request.method, token_request.url) == ("POST", f"{BASE}/oauth2/token")
    assert token_request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(token_request.body) == [("grant_type", "client_credentials"), ("scope", "a b")]
    scheme, _, pair = token_request.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"id%3A1:se%2Fcret%2B+1")
    assert sent.headers["Authorization"] == "Bearer token-1"


def test_an_oauth_client_requests_a_token_by_client_secret_post() -> None:
    celonis = ScriptedCelonis(token_reply(), JOB)
    client_of(celonis, OAuthClient("id-1", "se/cret", "client_secret_post")).job("pool-1", "job-1")
    form = dict(parse_qsl(celonis.sent[0].body))
    assert (form["client_id"], form["client_secret"]) == ("id-1", "se/cret")
    assert "Authorization" not in celonis.sent[0].headers


@pytest.mark.parametrize(
    ("expires_in", "kept_for"),
    [
        (899, 839),
        (10, 9),
        ("899", 839),
        (None, 839),
        ("soon", 839),
        (-1, 839),
        (0, 839),
        ([1], 839),
        (1e400, 839),
        (10**400, 839),
    ],
    ids=str,
)
def test_a_token_is_used_again_until_shortly_before_it_ends(expires_in: object, kept_for: int) -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(
        token_reply("token-1", expires_in=expires_in), JOB, JOB, token_reply("token-2"), JOB
    )
    client = client_of(celonis, OAUTH, clock)
    client.job("pool-1", "job-1")
    clock.now += kept_for - 0.5
    client.job("pool-1", "job-1")
    clock.now += 1
    client.job("pool-1", "job-1")
    assert [header for header in _authorizations(celonis) if header.startswith("Bearer")] == [
        "Bearer token-1",
        "Bearer token-1",
        "Bearer token-2",
    ]


def test_a_token_without_a_stated_life_is_taken_to_live_as_long_as_celonis_documents() -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(json_reply({"access_token": "token-1"}), JOB, JOB)
    client = client_of(celonis, OAUTH, clock)
    client.job("pool-1", "job-1")
    clock.now += 838
    client.job("pool-1", "job-1")
    assert len(celonis.sent) == 3


def test_a_clock_that_was_set_back_makes_no_token_live_longer() -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(token_reply("token-1"), JOB, token_reply("token-2"), JOB)
    client = client_of(celonis, OAUTH, clock)
    client.job("pool-1", "job-1")
    clock.now -= 3600
    client.job("pool-1", "job-1")
    assert _authorizations(celonis)[-1] == "Bearer token-2"


def test_the_lifetime_of_a_token_counts_from_its_request() -> None:
    clock = ExchangeClock()
    celonis = ScriptedCelonis(
        token_reply("token-1", expires_in=10), JOB, token_reply("token-2"), JOB, clock=clock, costs=5.0
    )
    client = client_of(celonis, OAUTH, clock)
    client.job("pool-1", "job-1")
    client.job("pool-1", "job-1")
    assert _authorizations(celonis)[-1] == "Bearer token-2"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_after_a_401_the_token_is_renewed_and_the_request_sent_once_more(method: str) -> None:
    celonis = ScriptedCelonis(token_reply("token-1"), REFUSED, token_reply("token-2"), JOB)
    client = client_of(celonis, OAUTH)
    if method == "GET":
        assert client.job("pool-1", "job-1").status == "RUNNING"
    else:
        client.execute_job("pool-1", "job-1", "DELTA")
    _, first, _, second = celonis.sent
    assert (first.method, first.url, first.body) == (second.method, second.url, second.body)
    assert (first.method, second.headers["Authorization"]) == (method, "Bearer token-2")


def test_a_renewed_token_is_kept() -> None:
    celonis = ScriptedCelonis(token_reply("token-1"), REFUSED, token_reply("token-2"), JOB, JOB)
    client = client_of(celonis, OAUTH)
    client.job("pool-1", "job-1")
    client.job("pool-1", "job-1")
    assert _authorizations(celonis)[-2:] == ["Bearer token-2", "Bearer token-2"]


def test_a_second_401_is_the_end() -> None:
    celonis = ScriptedCelonis(token_reply(), REFUSED, token_reply(), REFUSED)
    with pytest.raises(AuthenticationFailed) as caught:
        client_of(celonis, OAUTH).execute_job("pool-1", "job-1", "FULL")
    assert "the OAuth client of connection 'main'" in str(caught.value)
    assert "client_id and client_secret" in caught.value.hint
    assert "integration.data-pools" in caught.value.hint


@pytest.mark.parametrize(
    ("auth", "named"), [(AppKey(KEY), "the application key of"), (ApiKey(KEY), "the API key of")]
)
def test_a_key_that_is_refused_is_not_tried_again(auth: AppKey | ApiKey, named: str) -> None:
    celonis = ScriptedCelonis(REFUSED)
    with pytest.raises(AuthenticationFailed) as caught:
        client_of(celonis, auth).job("pool-1", "job-1")
    assert f"{named} connection 'main'" in str(caught.value)
    assert "key is complete" in caught.value.hint


class ChangedSecret:
    """A connection's secret that was changed in the meantime."""

    def __init__(self, auth: OAuthClient | ApiKey, base_url: str = BASE) -> None:
        self.connection = Connection("main", base_url, auth)
        self.read = 0

    def __call__(self) -> Connection:
        self.read += 1
        return self.connection


def _client_with(
    secret: ChangedSecret, celonis: ScriptedCelonis, auth: OAuthClient | ApiKey
) -> CelonisClient:
    connection = Connection("main", BASE, auth)
    return CelonisClient(connection, session=session_to(celonis), clock=ExchangeClock(), reload=secret)


def test_a_key_that_was_replaced_is_read_anew_and_kept() -> None:
    celonis = ScriptedCelonis(REFUSED, JOB, JOB)
    secret = ChangedSecret(ApiKey("new-key"), "https://moved.eu-1.celonis.cloud")
    client = _client_with(secret, celonis, ApiKey(KEY))
    client.job("pool-1", "job-1")
    client.job("pool-1", "job-1")
    assert _authorizations(celonis) == [f"Bearer {KEY}", "Bearer new-key", "Bearer new-key"]
    assert celonis.sent[-1].url.startswith("https://moved.eu-1.celonis.cloud/")
    assert secret.read == 1


def test_a_connection_that_changed_is_used_from_the_next_call_on_and_a_token_kept_where_it_did_not() -> None:
    celonis = ScriptedCelonis(token_reply("token-1"), JOB, JOB, token_reply("token-2"), JOB)
    client = client_of(celonis, OAUTH)
    client.job("pool-1", "job-1")
    client.use(Connection("main", BASE, OAuthClient("client-1", CLIENT_SECRET)))
    client.job("pool-1", "job-1")
    client.use(Connection("main", "https://moved.eu-1.celonis.cloud", OAUTH))
    client.job("pool-1", "job-1")
    hosts = [sent.url.split("/")[2].split(".")[0] for sent in celonis.sent]
    assert hosts == ["team"] * 3 + ["moved"] * 2
    assert _authorizations(celonis)[-1] == "Bearer token-2"


def test_a_client_secret_that_was_replaced_is_read_anew_when_there_is_no_token_for_it() -> None:
    celonis = ScriptedCelonis(json_reply({"error": "invalid_client"}, 401), token_reply("token-2"), JOB)
    client = _client_with(ChangedSecret(OAuthClient("client-1", "new-secret")), celonis, OAUTH)
    assert client.job("pool-1", "job-1").id == "job-1"
    assert _authorizations(celonis)[-1] == "Bearer token-2"


def test_a_post_is_sent_three_times_at_most_each_after_a_401() -> None:
    steps = [token_reply(), REFUSED, token_reply(), REFUSED, token_reply(), REFUSED]
    celonis = ScriptedCelonis(*steps)
    secret = ChangedSecret(OAUTH)
    with pytest.raises(AuthenticationFailed):
        _client_with(secret, celonis, OAUTH).execute_job("pool-1", "job-1", "FULL")
    assert [sent.path.rpartition("/")[2] for sent in celonis.sent] == ["token", "execute"] * 3
    assert secret.read == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 503])
def test_nothing_but_a_401_leads_to_a_second_request(status: int) -> None:
    celonis = ScriptedCelonis(ScriptedResponse(status))
    secret = ChangedSecret(ApiKey("new-key"))
    with pytest.raises(CelonisError):
        _client_with(secret, celonis, ApiKey(KEY)).execute_job("pool-1", "job-1", "FULL")
    assert len(celonis.sent) == 1
    assert secret.read == 0


def test_what_goes_wrong_when_the_secret_is_read_is_passed_on() -> None:
    def unreadable() -> Connection:
        raise LookupError("no secret")

    client = CelonisClient(
        Connection("main", BASE, ApiKey(KEY)), session=session_to(ScriptedCelonis(REFUSED)), reload=unreadable
    )
    with pytest.raises(LookupError, match="no secret"):
        client.job("pool-1", "job-1")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid_scope"), (400, "invalid_client"), (401, "invalid_client"), (403, "access_denied")],
)
def test_a_token_endpoint_that_refuses_the_client_is_a_failed_sign_in(status: int, code: str) -> None:
    reply = json_reply({"error": code, "error_description": "not this one"}, status)
    with pytest.raises(AuthenticationFailed) as caught:
        client_of(ScriptedCelonis(reply), OAUTH).job("pool-1", "job-1")
    assert (caught.value.status, caught.value.title) == (status, code)
    assert caught.value.path == "/oauth2/token"
    assert "the OAuth client of connection 'main'" in str(caught.value)
    assert "client_id and client_secret" in caught.value.hint


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (ScriptedResponse(500), CelonisUnavailable),
        (ScriptedResponse(302), CelonisUnavailable),
        (ScriptedResponse(429), CelonisThrottled),
        (ScriptedResponse(404), NotFound),
        (ConnectionResetError(104, "reset"), CelonisUnavailable),
        (ScriptedResponse(200, b"<html>Sign in</html>"), CelonisUnavailable),
        (ScriptedResponse(200, b""), CelonisUnavailable),
        (json_reply({"token": "x"}), CelonisUnavailable),
        (json_reply(["x"]), CelonisUnavailable),
        (token_reply("two\r\nlines: x"), CelonisUnavailable),
        (token_reply(""), CelonisUnavailable),
        (json_reply({"access_token": 7}), CelonisUnavailable),
    ],
)
def test_without_a_token_the_start_was_never_sent_and_so_nothing_started(step: Step, kind: type) -> None:
    celonis = ScriptedCelonis(step)
    with pytest.raises(CelonisError) as caught:
        client_of(celonis, OAUTH).execute_job("pool-1", "job-1", "FULL")
    assert type(caught.value) is kind
    assert caught.value.path == "/oauth2/token"
    assert getattr(caught.value, "may_have_started", False) is False
    assert len(celonis.sent) == 1


def test_a_token_that_could_not_be_renewed_is_requested_again_by_the_next_call() -> None:
    celonis = ScriptedCelonis(
        token_reply("token-1"), REFUSED, ScriptedResponse(503), token_reply("token-2"), JOB
    )
    client = client_of(celonis, OAUTH)
    with pytest.raises(CelonisUnavailable):
        client.execute_job("pool-1", "job-1", "FULL")
    client.job("pool-1", "job-1")
    assert _authorizations(celonis)[-1] == "Bearer token-2"


def test_the_secret_of_a_client_goes_to_the_token_endpoint_alone() -> None:
    celonis = ScriptedCelonis(token_reply(), JOB)
    client_of(celonis, OAUTH).job("pool-1", "job-1")
    assert CLIENT_SECRET not in f"{celonis.sent[1]}"

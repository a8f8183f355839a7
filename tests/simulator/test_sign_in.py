"""Signing in: tokens, keys, scopes, permissions, expiry, rotation."""

from __future__ import annotations

import json

import pytest
import requests

from local.celonis import world
from tests.simulator.client import JOB, SimulatorClient


def token_answer(team: SimulatorClient, **form: str) -> requests.Response:
    return team.call("POST", "/oauth2/token", data=form, headers={})


def status_with(team: SimulatorClient, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    return team.call("GET", JOB, headers=headers).status_code


def test_client_signs_in_with_basic(team: SimulatorClient) -> None:
    answer = team.sign_in()
    record = answer.json()
    assert (record["token_type"], record["expires_in"], record["scope"]) == ("Bearer", 899, world.SCOPE)
    assert status_with(team, f"Bearer {record['access_token']}") == 200


def test_client_signs_in_with_post(team: SimulatorClient) -> None:
    form = {"grant_type": "client_credentials", "scope": world.SCOPE}
    record = token_answer(team, **form, client_id=world.CLIENT_ID, client_secret=world.CLIENT_SECRET).json()
    assert status_with(team, f"Bearer {record['access_token']}") == 200


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_may_be_limited_to_one_method(team: SimulatorClient, method: str) -> None:
    team.set("/settings", client_auth_methods=[method])
    form = {"grant_type": "client_credentials", "scope": world.SCOPE}
    by_post = token_answer(team, **form, client_id=world.CLIENT_ID, client_secret=world.CLIENT_SECRET)
    allowed = {"client_secret_basic": team.sign_in().status_code, "client_secret_post": by_post.status_code}
    assert allowed.pop(method) == 200
    assert list(allowed.values()) == [401]


@pytest.mark.parametrize(("encoded", "status"), [(True, 401), (False, 200)])
def test_basic_secret_is_read_form_encoded_or_raw(team: SimulatorClient, encoded: bool, status: int) -> None:
    team.set("/credentials", client_secret="a+b%c")
    team.set("/settings", basic_is_form_encoded=encoded)
    assert team.sign_in(secret="a+b%c").status_code == status
    assert team.sign_in(secret="a%2Bb%25c").status_code == (200 if encoded else 401)


def test_keys_sign_in_without_a_token(team: SimulatorClient) -> None:
    assert status_with(team, f"AppKey {world.APP_KEY}") == 200
    assert status_with(team, f"Bearer {world.API_KEY}") == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {world.APP_KEY}",
        f"AppKey {world.API_KEY}",
        f"Basic {world.API_KEY}",
    ],
)
def test_anything_else_is_unauthorized(team: SimulatorClient, authorization: str | None) -> None:
    assert status_with(team, authorization) == 401


@pytest.mark.parametrize(
    ("shape", "body"), [("error", b'{"error": "Unauthorized"}'), ("plain", b"Unauthorized"), ("empty", b"")]
)
def test_unauthorized_comes_in_every_shape(team: SimulatorClient, shape: str, body: bytes) -> None:
    team.set("/settings", unauthorized_shape=shape)
    assert team.call("GET", JOB, headers={"Authorization": "Bearer wrong"}).content == body


def test_unauthorized_comes_in_the_envelope(team: SimulatorClient) -> None:
    team.set("/settings", unauthorized_shape="envelope", token_refusal_shape="envelope")
    assert team.call("GET", JOB, headers={}).json()["status"] == 401
    assert team.sign_in(secret="wrong").json()["errorCode"] == "GENERAL_UNAUTHORIZED"


def test_wrong_secret_is_an_invalid_client(team: SimulatorClient) -> None:
    answer = team.sign_in(secret="wrong")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "invalid_request"),
        ({"grant_type": "client_credentials", "client_id": "refresh"}, "invalid_request"),
    ],
)
def test_unusable_token_request_is_refused(team: SimulatorClient, form: dict[str, str], problem: str) -> None:
    answer = token_answer(team, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, problem)


@pytest.mark.parametrize("header", ["Basic %%%", "Basic bm9jb2xvbg=="])
def test_unreadable_basic_header_is_refused(team: SimulatorClient, header: str) -> None:
    form = {"grant_type": "client_credentials", "scope": world.SCOPE}
    answer = team.call("POST", "/oauth2/token", data=form, headers={"Authorization": header})
    assert answer.json()["error"] == "invalid_request"


def test_credentials_in_both_places_are_refused(team: SimulatorClient) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": world.CLIENT_ID,
        "client_secret": world.CLIENT_SECRET,
    }
    both = team.call(
        "POST", "/oauth2/token", data=form, headers={}, auth=(world.CLIENT_ID, world.CLIENT_SECRET)
    )
    assert both.json()["error"] == "invalid_request"


@pytest.mark.parametrize("scope", ["studio", "", f"{world.SCOPE} studio"])
@pytest.mark.parametrize(("setting", "status"), [("token_400", 400), ("token_403", 403)])
def test_wrong_scope_is_refused_at_the_token_endpoint(
    team: SimulatorClient, scope: str, setting: str, status: int
) -> None:
    team.set("/settings", wrong_scope=setting)
    answer = team.sign_in(scope)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_scope")


def test_wrong_scope_can_show_at_the_call(team: SimulatorClient) -> None:
    team.set("/settings", wrong_scope="api_403")
    token = team.sign_in("studio").json()["access_token"]
    assert status_with(team, f"Bearer {token}") == 403


def test_client_may_hold_more_scopes(team: SimulatorClient) -> None:
    team.set("/credentials", scopes=[world.SCOPE, "studio"])
    assert team.sign_in(f"studio {world.SCOPE}").json()["scope"] == f"studio {world.SCOPE}"


def test_token_expires(team: SimulatorClient) -> None:
    team.set("/settings", token_seconds=10)
    answer = team.sign_in().json()
    assert answer["expires_in"] == 10
    authorization = f"Bearer {answer['access_token']}"
    team.clock.pass_seconds(9.9)
    assert status_with(team, authorization) == 200
    team.clock.pass_seconds(0.1)
    assert status_with(team, authorization) == 401


def test_token_may_expire_before_its_stated_lifetime(team: SimulatorClient) -> None:
    team.set("/settings", token_lives_seconds=2, token_tells_expiry=False)
    answer = team.sign_in().json()
    assert "expires_in" not in answer
    team.clock.pass_seconds(2)
    assert status_with(team, f"Bearer {answer['access_token']}") == 401


def test_all_tokens_can_be_revoked(team: SimulatorClient) -> None:
    team.use_token()
    team.sign_in()
    assert team.control("GET", "/state").json()["valid_tokens"] == 2
    assert team.control("DELETE", "/tokens").json() == {"revoked": 2}
    assert team.call("GET", JOB).status_code == 401
    team.use_token()
    assert team.call("GET", JOB).status_code == 200


def test_rotated_credentials_replace_the_old_ones(team: SimulatorClient) -> None:
    team.use_token()
    team.set("/credentials", client_secret="new-secret", app_key="new-app-key", api_key="new-api-key")
    assert team.sign_in().status_code == 401
    assert team.sign_in(secret="new-secret").status_code == 200
    assert status_with(team, f"AppKey {world.APP_KEY}") == 401
    assert status_with(team, "AppKey new-app-key") == 200
    assert status_with(team, "Bearer new-api-key") == 200
    assert team.call("GET", JOB).status_code == 200


@pytest.mark.parametrize(("shape", "has_body"), [("envelope", True), ("empty", False)])
def test_missing_permission_is_forbidden_call_by_call(
    team: SimulatorClient, shape: str, has_body: bool
) -> None:
    team.set("/settings", forbidden_calls=["execute"], forbidden_shape=shape)
    answer = team.execute()
    assert answer.status_code == 403
    assert bool(answer.content) is has_body
    if has_body:
        assert answer.json()["errorCode"] == "ADMIN_ACCESS_ERROR"
    assert team.call("GET", JOB).status_code == 200
    assert team.started() == []


def test_ledger_holds_kinds_of_credentials_and_no_secret(team: SimulatorClient) -> None:
    team.use_token()
    team.call("GET", JOB)
    status_with(team, f"AppKey {world.APP_KEY}")
    status_with(team, f"Bearer {world.API_KEY}")
    status_with(team, "Bearer a-wrong-one")
    status_with(team, None)
    team.call("GET", f"{JOB}?access_token=leaked-in-a-query")
    ledger = team.control("GET", "/ledger")
    rows = ledger.json()["requests"]
    kinds = [row["credential"] for row in rows]
    assert kinds == ["client", "oauth", "app_key", "api_key", "refused", "none", "oauth"]
    assert [row["status"] for row in rows] == [200, 200, 200, 200, 401, 401, 200]
    used = team.headers["Authorization"].removeprefix("Bearer ")
    shown = ledger.text + json.dumps(team.control("GET", "/state").json())
    for secret in (
        used,
        world.APP_KEY,
        world.API_KEY,
        world.CLIENT_SECRET,
        "a-wrong-one",
        "leaked-in-a-query",
    ):
        assert secret not in shown


def test_ledger_numbers_the_tokens(team: SimulatorClient) -> None:
    for _ in range(2):
        team.use_token()
        team.call("GET", JOB)
    first, second = [row["token"] for row in team.requests_of("job")]
    assert second == first + 1

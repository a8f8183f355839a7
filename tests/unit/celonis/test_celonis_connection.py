"""Connections from the JSON of a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.celonis.connection import (
    PLACEHOLDER,
    ApiKey,
    AppKey,
    Connection,
    OAuthClient,
    parse_connection,
)
from celonis_refresh.celonis.errors import ConnectionInvalid

BASE = "https://team.eu-1.celonis.cloud"
VALUE = "s3cret-value-161803398"
CLIENT = {"type": "oauth_client", "client_id": "client-1", "client_secret": VALUE}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def _invalid(secret: Any) -> ConnectionInvalid:
    with pytest.raises(ConnectionInvalid) as caught:
        parse_connection("main", secret)
    return caught.value


def _fields(error: ConnectionInvalid) -> list[str]:
    return [problem.field for problem in error.problems]


def test_all_mistakes_of_a_secret_are_named_at_once_with_the_secrets_name() -> None:
    auth = {"type": "oauth_client", "client_id": PLACEHOLDER, "key": "x", "method": "jwt", "scope": ""}
    secret = {"base_url": "https://example.com", "allow_http": "yes", "realm": "eu-1", "auth": auth}
    with pytest.raises(ConnectionInvalid) as caught:
        parse_connection("main", secret, "refresh/connections/main")
    error = caught.value
    assert _fields(error) == [
        "realm",
        "allow_http",
        "base_url",
        "auth.client_id",
        "auth.key",
        "auth.method",
        "auth.scope",
        "auth.client_secret",
    ]
    assert str(error).startswith("The secret 'refresh/connections/main' of connection 'main' is not valid: ")
    for field in _fields(error):
        assert f"{field} " in str(error)
    assert "auth.client_id was never filled in" in str(error)


def test_a_base_url_and_an_auth_that_are_missing_are_both_named() -> None:
    assert _fields(_invalid({})) == ["base_url", "auth"]


def test_an_oauth_client_uses_basic_and_the_data_pools_scope_by_default() -> None:
    connection = parse_connection("main", {"base_url": BASE, "auth": CLIENT})
    expected = OAuthClient("client-1", VALUE, "client_secret_basic", "integration.data-pools")
    assert connection == Connection("main", BASE, expected)


def test_an_oauth_client_may_name_its_method_and_scopes() -> None:
    auth = CLIENT | {"method": "client_secret_post", "scope": "integration.data-pools other"}
    connection = parse_connection("main", {"base_url": BASE, "auth": auth})
    expected = OAuthClient("client-1", VALUE, "client_secret_post", "integration.data-pools other")
    assert connection.auth == expected


def test_both_kinds_of_key_are_understood() -> None:
    app = parse_connection("main", {"base_url": BASE, "auth": {"type": "app_key", "key": VALUE}})
    api = parse_connection("main", {"base_url": BASE, "auth": {"type": "api_key", "key": VALUE}})
    assert (app.auth, api.auth) == (AppKey(VALUE), ApiKey(VALUE))


def test_a_line_break_that_was_copied_along_is_cut_off() -> None:
    connection = parse_connection(
        "main", {"base_url": BASE, "auth": {"type": "app_key", "key": f"{VALUE}\n"}}
    )
    assert connection.auth == AppKey(VALUE)


@pytest.mark.parametrize("written", [BASE, f"{BASE}/", "HTTPS://Team.EU-1.Celonis.Cloud", f"{BASE}:443"])
def test_the_base_url_is_scheme_and_host(written: str) -> None:
    connection = parse_connection("main", {"base_url": written, "auth": CLIENT})
    assert (connection.base_url, connection.host) == (BASE, "team.eu-1.celonis.cloud")


@pytest.mark.parametrize(
    "written",
    [
        "http://team.eu-1.celonis.cloud",
        "https://celonis.cloud",
        "https://.celonis.cloud",
        "https://team..celonis.cloud",
        "https://team.celonis.cloud.example.com",
        "https://example.com",
        "https://example.com\\.celonis.cloud",
        "https://example.com/.celonis.cloud",
        "https://example.com#.celonis.cloud",
        "https://example.com?.celonis.cloud",
        f"{BASE}/integration/ui/pools/x/",
        f"{BASE}?a=b",
        f"{BASE}#a",
        "https://user:word@team.eu-1.celonis.cloud",
        f"{BASE}:x",
        f"{BASE}:99999",
        f"https://{'a' * 64}.celonis.cloud",
        "team.eu-1.celonis.cloud",
        "https://te am.celonis.cloud",
        "https://tëam.celonis.cloud",
        "https://[::1",
        "",
        None,
        7,
    ],
)
def test_a_base_url_that_is_not_a_team_at_celonis_is_refused(written: object) -> None:
    error = _invalid({"base_url": written, "auth": CLIENT})
    assert _fields(error) == ["base_url"]
    assert "https://{team}.{realm}.celonis.cloud" in str(error)


def test_plain_http_and_other_hosts_are_taken_only_when_both_are_allowed() -> None:
    secret = {"base_url": "http://localhost:8080", "auth": CLIENT}
    _invalid(secret | {"allow_http": True})
    _invalid(secret | {"allow_any_host": True})
    connection = parse_connection("main", secret | {"allow_http": True, "allow_any_host": True})
    assert connection.base_url == "http://localhost:8080"
    assert connection.host == "localhost:8080"


def test_permissions_are_true_or_false_and_no_text() -> None:
    assert (
        _invalid({"base_url": BASE, "auth": CLIENT, "allow_http": "true"}).problems[0].field == "allow_http"
    )


@pytest.mark.parametrize(
    ("secret", "field"),
    [
        ({"base_url": BASE, "auth": CLIENT, "realm": "eu-1"}, "realm"),
        ({"base_url": BASE, "auth": CLIENT | {"key": "x"}}, "auth.key"),
        ({"base_url": BASE, "auth": {"type": "app_key", "key": "x", "client_id": "y"}}, "auth.client_id"),
    ],
)
def test_an_unknown_field_is_refused_by_its_name(secret: object, field: str) -> None:
    error = _invalid(secret)
    assert _fields(error) == [field]
    assert f"{field} is an unknown field" in str(error)


def test_a_value_in_the_place_of_a_fields_name_is_not_shown() -> None:
    odd = f"{VALUE} {VALUE}"
    assert VALUE not in str(_invalid({"base_url": BASE, "auth": CLIENT, odd: ""}))


@pytest.mark.parametrize(
    ("secret", "field"),
    [
        ({"base_url": f"https://{PLACEHOLDER}.celonis.cloud", "auth": CLIENT}, "base_url"),
        ({"base_url": BASE, "auth": CLIENT | {"client_secret": PLACEHOLDER}}, "auth.client_secret"),
        ({"base_url": BASE, "auth": {"type": PLACEHOLDER}}, "auth.type"),
    ],
)
def test_a_secret_that_was_never_filled_in_is_reported(secret: object, field: str) -> None:
    error = _invalid(secret)
    assert _fields(error) == [field]
    assert "was never filled in" in str(error)


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (None, "auth"),
        ("x", "auth"),
        ({}, "auth.type"),
        ({"type": "password"}, "auth.type"),
        ({"type": ["app_key"]}, "auth.type"),
        ({"type": "app_key"}, "auth.key"),
        ({"type": "app_key", "key": ""}, "auth.key"),
        ({"type": "app_key", "key": 7}, "auth.key"),
        ({"type": "api_key", "key": "with a\nline break"}, "auth.key"),
        ({"type": "api_key", "key": "clé"}, "auth.key"),
        (CLIENT | {"client_id": None}, "auth.client_id"),
        (CLIENT | {"method": "private_key_jwt"}, "auth.method"),
        (CLIENT | {"method": []}, "auth.method"),
        (CLIENT | {"scope": ""}, "auth.scope"),
    ],
)
def test_an_auth_that_cannot_sign_in_is_refused_by_its_field(auth: object, field: str) -> None:
    assert _fields(_invalid({"base_url": BASE, "auth": auth}))[0] == field


@pytest.mark.parametrize("secret", [None, "text", [], {1: 2}])
def test_a_secret_that_is_no_json_object_is_refused(secret: object) -> None:
    error = _invalid(secret)
    assert [(one.field, one.expected) for one in error.problems] == [("the secret", "a JSON object")]
    assert "main" in str(error)


@pytest.mark.parametrize(
    "auth", [OAuthClient("client-1", VALUE), AppKey(VALUE), ApiKey(VALUE)], ids=["client", "app", "api"]
)
def test_no_secret_is_in_what_a_connection_prints(auth: OAuthClient | AppKey | ApiKey) -> None:
    assert VALUE not in repr(Connection("main", BASE, auth))
    assert VALUE not in str(auth)


@given(json_values)
def test_any_json_is_a_connection_or_says_what_was_expected(secret: Any) -> None:
    try:
        assert isinstance(parse_connection("main", secret), Connection)
    except ConnectionInvalid as error:
        problems = error.problems
        assert min(len(text) for problem in problems for text in problem) > 0


@given(
    key=st.sampled_from(["client_id", "client_secret", "method", "scope", "type", "base_url"]),
    bad=json_values,
)
def test_no_value_of_a_refused_secret_gets_into_the_error(key: str, bad: object) -> None:
    marked = json.loads(json.dumps({"value": [VALUE, bad]}))
    auth = CLIENT | ({key: marked} if key != "base_url" else {})
    error = _invalid({"base_url": marked if key == "base_url" else BASE, "auth": auth})
    assert VALUE not in f"{error} {error!r} {vars(error)}"

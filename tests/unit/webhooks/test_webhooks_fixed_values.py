from __future__ import annotations

import base64

import pytest

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.verification import (
    BasicAuth,
    Proof,
    Scheme,
    StaticToken,
    UrlToken,
    secret_problem,
    verify,
)

HEADER, URL, BASIC = StaticToken(header="x-token"), UrlToken(), BasicAuth()
SECRET = "user:s3cret"


def request(scheme: Scheme, value: str) -> WebhookRequest:
    if isinstance(scheme, UrlToken):
        return WebhookRequest({}, {scheme.parameter: value}, b"")
    assert isinstance(scheme, StaticToken | BasicAuth)
    return WebhookRequest({scheme.header: value}, {}, b"")


def basic(credentials: str, word: str = "Basic") -> str:
    return f"{word} {base64.b64encode(credentials.encode()).decode()}"


def check(scheme: Scheme, value: str, *secrets: str) -> Proof:
    return verify(scheme, request(scheme, value), secrets or (SECRET,), 0)


@pytest.mark.parametrize("scheme", [HEADER, URL])
def test_accepts_the_token_and_nothing_near_it(scheme: Scheme) -> None:
    assert check(scheme, SECRET) == Proof(secret_index=0)
    assert check(scheme, SECRET, "previous", SECRET).secret_index == 1
    near = [
        SECRET + " ",
        " " + SECRET,
        SECRET.upper(),
        SECRET[:-1],
        f"{SECRET},{SECRET}",
        "\ud800",
        "\0",
        "é",
    ]
    for value in near:
        with pytest.raises(NotAuthentic):
            check(scheme, value)


@pytest.mark.parametrize("stored", [f"{SECRET}\n", f" {SECRET}", f"\t{SECRET}\r\n"])
@pytest.mark.parametrize("scheme", [HEADER, URL, BASIC])
def test_white_space_around_a_secret_does_not_matter(scheme: Scheme, stored: str) -> None:
    value = basic(SECRET) if scheme is BASIC else SECRET
    assert secret_problem(scheme, stored) is None
    assert check(scheme, value, "other:secret", stored).secret_index == 1


def test_a_token_that_no_header_can_hold_is_known() -> None:
    problem = secret_problem(HEADER, "two\nlines")
    assert problem is not None
    assert "line break" in problem
    assert secret_problem(URL, "two\nlines") is None


def test_the_whole_secret_may_stand_in_a_header_where_the_sender_offers_both() -> None:
    scheme = BasicAuth(key_header="x-api-key")
    for secret in (SECRET, "a-key-without-colon"):
        assert secret_problem(scheme, secret) is None
        by_key = WebhookRequest({"x-api-key": secret}, {}, b"")
        assert verify(scheme, by_key, ["other", secret], 0).secret_index == 1
    assert check(scheme, basic(SECRET)).secret_index == 0
    refused: list[dict[str, str]] = [
        {},
        {"x-api-key": ""},
        {"x-api-key": "guess"},
        {"x-api-key": SECRET, "authorization": basic("user:guess")},
        {"authorization": basic("a-key-without-colon")},
    ]
    for headers in refused:
        with pytest.raises(NotAuthentic):
            verify(scheme, WebhookRequest(headers, {}, b""), [SECRET, "a-key-without-colon"], 0)


def test_an_api_key_may_stand_in_the_header_of_basic_credentials() -> None:
    scheme = BasicAuth(key_header="authorization")
    assert check(scheme, SECRET).secret_index == 0
    for value in ("guess", basic("user:guess")):
        with pytest.raises(NotAuthentic):
            check(scheme, value)


@pytest.mark.parametrize("scheme", [HEADER, URL, BASIC])
def test_refuses_an_empty_or_missing_value_with_any_secret(scheme: Scheme) -> None:
    for secret in ("", SECRET):
        with pytest.raises(NotAuthentic):
            check(scheme, "", secret)
        with pytest.raises(NotAuthentic):
            verify(scheme, WebhookRequest({}, {}, b""), [secret], 0)


@pytest.mark.parametrize("scheme", [HEADER, URL])
def test_a_token_may_be_any_text(scheme: Scheme) -> None:
    assert check(scheme, "pässwörd 🔑", "pässwörd 🔑").secret_index == 0


@pytest.mark.parametrize(
    "value", [basic(SECRET), basic(SECRET, "basic"), basic(SECRET, "BASIC "), basic(SECRET) + " "]
)
def test_accepts_basic_credentials(value: str) -> None:
    assert check(BASIC, value).secret_index == 0


def test_a_password_may_hold_colons_and_be_empty_of_ascii() -> None:
    assert check(BASIC, basic("user:a:b:ö"), "user:a:b:ö").secret_index == 0


@pytest.mark.parametrize(
    "value", [basic("user:other"), basic("user"), basic(""), basic(SECRET, "Bearer"), SECRET, "Basic"]
)
def test_refuses_other_credentials(value: str) -> None:
    with pytest.raises(NotAuthentic):
        check(BASIC, value)


@pytest.mark.parametrize(
    "value", ["Basic %%%", "Basic dXNlcg", f"{basic(SECRET)},{basic(SECRET)}", "Basic é"]
)
def test_credentials_that_cannot_be_decoded_are_malformed(value: str) -> None:
    with pytest.raises(Malformed):
        check(BASIC, value)


@pytest.mark.parametrize("secret", ["user", ":password", "user:", ":"])
def test_a_secret_that_is_no_user_and_password_fits_nothing(secret: str) -> None:
    assert secret_problem(BASIC, secret) == "expected user:password"
    with pytest.raises(NotAuthentic):
        check(BASIC, basic(secret), secret)


@pytest.mark.parametrize("secret", ["user", "", ":"])
def test_empty_credentials_do_not_fit_a_secret_that_is_unusable(secret: str) -> None:
    with pytest.raises(NotAuthentic):
        check(BASIC, "Basic ", secret)


def test_no_refusal_repeats_what_was_offered_or_expected() -> None:
    for scheme, value in ((HEADER, "offered-1"), (URL, "offered-1"), (BASIC, basic("offered-1:x"))):
        with pytest.raises(NotAuthentic) as refusal:
            check(scheme, value)
        assert not any(word in str(refusal.value) for word in ("offered-1", SECRET, value))

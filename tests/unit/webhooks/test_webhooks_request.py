from __future__ import annotations

import base64
from typing import Any

import pytest

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import MAX_BODY, MAX_QUERY_FIELDS, WebhookRequest, from_api_gateway


def event(**fields: Any) -> dict[str, Any]:
    return {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "headers": {}, **fields}


def test_takes_the_bytes_of_a_text_body() -> None:
    assert from_api_gateway(event(body="Grüße", isBase64Encoded=False)).body == "Grüße".encode()


def test_decodes_a_body_that_came_base64_encoded() -> None:
    raw = b"\xff\x00 bytes"
    encoded = base64.b64encode(raw).decode()
    assert from_api_gateway(event(body=encoded, isBase64Encoded=True)).body == raw


def test_does_not_decode_a_text_that_happens_to_be_base64() -> None:
    assert from_api_gateway(event(body="SGVsbG8=", isBase64Encoded=False)).body == b"SGVsbG8="


def test_a_request_without_body_headers_or_query_is_empty() -> None:
    request = from_api_gateway({"requestContext": {"http": {"method": "options"}}})
    assert (request.body, dict(request.headers), dict(request.query), request.method) == (
        b"",
        {},
        {},
        "OPTIONS",
    )


def test_header_names_are_lower_case_and_repeated_ones_joined() -> None:
    request = from_api_gateway(event(headers={"X-Token": "a", "x-token": "b"}))
    assert request.headers == {"x-token": "a,b"}


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        ("token=a%2Bb%3D&x=", {"token": "a+b=", "x": ""}),
        ("token=a+b", {"token": "a+b"}),
        ("token=a&token=b", {"token": "a,b"}),
        ("token", {"token": ""}),
        ("token=a=b&&", {"token": "a=b"}),
        ("t%C3%B6ken=%F0%9F%94%91", {"töken": "🔑"}),
    ],
)
def test_reads_the_raw_query_string(raw: str, query: dict[str, str]) -> None:
    given = event(rawQueryString=raw, queryStringParameters={"token": "not looked at"})
    assert from_api_gateway(given).query == query


@pytest.mark.parametrize(
    "broken",
    [
        event(body="%%%", isBase64Encoded=True),
        event(body="SGVsbG8", isBase64Encoded=True),
        event(body="\ud800", isBase64Encoded=False),
        event(body={"a": 1}),
        event(rawQueryString="token=%FF"),
        event(rawQueryString="&".join(f"a{n}=1" for n in range(MAX_QUERY_FIELDS + 1))),
        event(headers=["x"]),
        event(headers={"x": 1}),
        event(headers={"x": "\ud800"}),
        event(requestContext={}),
        event(requestContext=None),
        {},
    ],
)
def test_refuses_what_is_no_such_event(broken: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        from_api_gateway(broken)


def test_refuses_a_body_beyond_the_limit() -> None:
    encoded = base64.b64encode(b"x" * (MAX_BODY + 1)).decode()
    with pytest.raises(Malformed, match="larger"):
        from_api_gateway(event(body=encoded, isBase64Encoded=True))


def test_shows_nothing_but_the_method() -> None:
    request = WebhookRequest({"authorization": "s3cret"}, {"token": "s3cret"}, b"s3cret")
    assert repr(request) == "WebhookRequest(method='POST')"

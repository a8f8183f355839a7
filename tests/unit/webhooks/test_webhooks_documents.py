from __future__ import annotations

import json

import pytest

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import MAX_BODY, MAX_DEPTH, WebhookRequest, parse_json, read_form

FORM = {"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, "é🔑", [], {}, {"a": [1, {"b": None}]}, "[" * 1000, '"\\' * 500 + "{" * 500],
)
def test_reads_json(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_skips_a_byte_order_mark() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"hello",
        b"{} {}",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"[-1e999]",
        b"9" * 5000,
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "\\u0061": 1}}',
        b'"\xff"',
        '"é"'.encode("latin-1"),
        '{"a": 1}'.encode("utf-16"),
        b'"\\ud800"',
        b'{"\\uDFFF": 1}',
        b"x" * (MAX_BODY + 1),
    ],
)
def test_refuses_what_is_no_json_or_ambiguous(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_json(raw)


def test_reads_a_whole_surrogate_pair() -> None:
    assert parse_json(b'"\\ud83d\\udd11"') == "🔑"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_reads_as_deep_as_the_limit_and_no_deeper(opening: str, closing: str) -> None:
    parse_json(opening * (MAX_DEPTH - 1) + "[0]" + closing * (MAX_DEPTH - 1))
    with pytest.raises(Malformed, match="deeper"):
        parse_json(opening * MAX_DEPTH + "[0]" + closing * MAX_DEPTH)


@pytest.mark.parametrize(
    "raw", ["[" * 10**6, '{"a":' * 10**6, "[" * 10**6 + "]" * 10**6, '"' + '\\"' * 10**6]
)
def test_endless_nesting_and_endless_texts_are_refused_at_once(raw: str) -> None:
    with pytest.raises(Malformed):
        parse_json(raw)


def test_many_siblings_are_not_deep() -> None:
    assert parse_json(json.dumps([[]] * 1000)) == [[]] * 1000


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1&b=%C3%A9+x&c=", {"a": "1", "b": "é x", "c": ""}),
        ("a=é".encode(), {"a": "é"}),
    ],
)
def test_reads_a_form(body: bytes, fields: dict[str, str]) -> None:
    assert read_form(WebhookRequest(FORM, {}, body)) == fields


@pytest.mark.parametrize("body", [b"a", b"a=1&a=2", b"a=%FF", b"\xff=1", b"&".join([b"a=1"] * 101)])
def test_refuses_a_form_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_form(WebhookRequest(FORM, {}, body))


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}, {"content-type": ""}])
def test_what_does_not_say_that_it_is_a_form_is_none(headers: dict[str, str]) -> None:
    assert read_form(WebhookRequest(headers, {}, b"a=1")) is None

"""For any request: the proof is valid or is refused with one of two errors, which contain no secret."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest, from_api_gateway
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.verification import BasicAuth, Hmac, Scheme, Sns, StaticToken, UrlToken, verify
from tests.fakes.signing import sign

NOW = 1767225600
TOPIC = "arn:aws:sns:eu-central-1:123456789012:loads"
SCHEMES: dict[str, Scheme] = {name: sender.scheme for name, sender in SENDERS.items()}
SIGNING = {name: scheme for name, scheme in SCHEMES.items() if isinstance(scheme, Hmac)}
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, yes").decode()

signing = st.sampled_from(sorted(SIGNING)).map(SIGNING.__getitem__)
keys = st.binary(min_size=1, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
bodies = st.binary(max_size=200)
ids = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=40)
anything = st.text(st.characters(codec=None), max_size=80)


def signed(scheme: Hmac, secret: str, body: bytes, message_id: str, timestamp: int = NOW) -> dict[str, str]:
    return sign(scheme, secret, body, message_id=message_id, timestamp=timestamp)


def refusal(scheme: Scheme, request: WebhookRequest, secrets: list[str], now: float = NOW) -> str | None:
    """The text of the refusal; None if the request is accepted as authentic. Other errors are raised."""

    def fetch(_: str) -> bytes:
        return b"no certificate"

    try:
        verify(scheme, request, secrets, now, fetch=fetch)
    except (NotAuthentic, Malformed) as error:
        return f"{error} {error!r} {error.hint}"
    return None


@given(signing, keys, bodies, ids, st.integers(-300, 300))
def test_what_the_twin_signs_is_accepted(
    scheme: Hmac, secret: str, body: bytes, message_id: str, late: int
) -> None:
    headers = signed(scheme, secret, body, message_id, NOW - late)
    assert refusal(scheme, WebhookRequest(headers, {}, body), [secret]) is None
    assert refusal(scheme, WebhookRequest(headers, {}, body), ["", SECRET, secret]) is None


@given(signing, keys, st.binary(min_size=1, max_size=200), ids, st.data())
def test_one_bit_of_the_body_is_enough(
    scheme: Hmac, secret: str, body: bytes, message_id: str, data: st.DataObject
) -> None:
    headers = signed(scheme, secret, body, message_id)
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    tampered = bytearray(body)
    tampered[bit // 8] ^= 1 << bit % 8
    assert refusal(scheme, WebhookRequest(headers, {}, bytes(tampered)), [secret]) is not None


@given(signing, keys, bodies, ids, st.data())
def test_one_letter_of_any_header_is_enough(
    scheme: Hmac, secret: str, body: bytes, message_id: str, data: st.DataObject
) -> None:
    headers = signed(scheme, secret, body, message_id)
    name = data.draw(st.sampled_from(sorted(headers)))
    position = data.draw(st.integers(0, len(headers[name]) - 1))
    # Hex that is taken in either case is the same signature in the other.
    same = {
        headers[name][position],
        *(headers[name][position].upper() if scheme.encoding == "hex_any_case" else ""),
    }
    letter = data.draw(st.characters(codec=None).filter(lambda sign: sign not in same))
    headers[name] = headers[name][:position] + letter + headers[name][position + 1 :]
    assert refusal(scheme, WebhookRequest(headers, {}, body), [secret]) is not None


@given(signing, keys, keys, bodies, ids)
def test_another_secret_is_refused(
    scheme: Hmac, secret: str, other: str, body: bytes, message_id: str
) -> None:
    assume(secret != other)
    # HMAC fills short keys up with zeros, so keys that differ by those alone are one key.
    assume(base64.b64decode(secret[6:]).rstrip(b"\0") != base64.b64decode(other[6:]).rstrip(b"\0"))
    headers = signed(scheme, secret, body, message_id)
    assert refusal(scheme, WebhookRequest(headers, {}, body), [other]) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(signing, json_values)
def test_the_same_json_written_again_is_refused(scheme: Hmac, value: Any) -> None:
    body, again = json.dumps(value).encode(), json.dumps(value, indent=1, ensure_ascii=False)
    try:
        rewritten = again.encode()
    except UnicodeEncodeError:
        assume(False)
    assume(rewritten != body)
    headers = signed(scheme, SECRET, body, "m")
    assert refusal(scheme, WebhookRequest(headers, {}, rewritten), [SECRET]) is not None


@given(signing, bodies, ids, st.sampled_from([",", ", ", " ,"]), st.data())
def test_headers_joined_with_commas_are_refused(
    scheme: Hmac, body: bytes, message_id: str, glue: str, data: st.DataObject
) -> None:
    headers = signed(scheme, SECRET, body, message_id)
    name = data.draw(st.sampled_from(sorted(headers)))
    other = data.draw(st.sampled_from([headers[name], signed(scheme, "whsec_AAAA", body, "m")[name], "x"]))
    # Of ``t=…,v1=…`` a list is the form itself: there, nothing but a second pair of both is a second header.
    assume(scheme.layout != "pairs" or other != "x")
    pair = data.draw(st.permutations([headers[name], other]))
    headers[name] = glue.join(pair)
    assert refusal(scheme, WebhookRequest(headers, {}, body), [SECRET]) is not None


bad_times = st.one_of(
    st.floats().map(str),
    st.integers(max_value=-1).map(str),
    st.integers(min_value=10**11).map(str),
    st.text(st.characters(categories=["Nd", "No", "Nl", "Zs"], exclude_characters=string.digits), min_size=1),
    anything,
).filter(lambda text: not (text.isascii() and text.isdigit() and len(text) < 12))


@given(st.sampled_from(["standard_webhooks", "svix", "slack", "stripe"]), bad_times)
def test_a_time_that_is_no_number_of_seconds_is_refused(name: str, time: str) -> None:
    scheme = SIGNING[name]
    body = b"{}"
    headers = signed(scheme, SECRET, body, "m")
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = time
    else:
        headers[scheme.header] = headers[scheme.header].replace(f"t={NOW}", f"t={time}")
    assert refusal(scheme, WebhookRequest(headers, {}, body), [SECRET]) is not None


@given(
    st.sampled_from(["standard_webhooks", "slack", "stripe"]),
    st.integers(0, 10**11 - 1),
    st.integers(1, 86400),
)
def test_the_window_is_symmetric(name: str, time: int, tolerance: int) -> None:
    scheme = replace(SIGNING[name], tolerance=tolerance)
    request = WebhookRequest(signed(scheme, SECRET, b"", "m", time), {}, b"")
    assert (refusal(scheme, request, [SECRET]) is None) is (abs(NOW - time) <= tolerance)
    for distance in (-tolerance, 0, tolerance):
        assert refusal(scheme, request, [SECRET], time + distance) is None
    for distance in (-tolerance - 1, tolerance + 1):
        assert refusal(scheme, request, [SECRET], time + distance) is not None


@given(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_a_broken_clock_lets_nothing_through(now: float) -> None:
    for name in ("standard_webhooks", "slack", "stripe"):
        request = WebhookRequest(signed(SIGNING[name], SECRET, b"", "m"), {}, b"")
        assert refusal(SIGNING[name], request, [SECRET], now) is not None


def _looked_at(scheme: Scheme) -> list[str]:
    names = [getattr(scheme, field, "") for field in ("header", "id_header", "timestamp_header")]
    return [name for name in names if name]


shaped = st.one_of(
    anything,
    st.builds(
        "{}{}".format, st.sampled_from(["sha256=", "v0=", "v1,", "t=1,v1=", "Basic ", "t=,", "v1="]), anything
    ),
    st.binary(max_size=40).map(lambda raw: "Basic " + base64.b64encode(raw).decode()),
    st.binary(min_size=32, max_size=32).map(lambda raw: "v1," + base64.b64encode(raw).decode()),
    st.binary(min_size=32, max_size=32).map(lambda raw: "sha256=" + raw.hex()),
    st.integers().map(str),
)
FIXED: list[Scheme] = [StaticToken(header="x-t"), BasicAuth(), UrlToken(), Sns(topics=(TOPIC,))]


@given(
    st.sampled_from([*SIGNING.values(), *FIXED]),
    st.lists(shaped, min_size=3, max_size=3),
    st.dictionaries(st.just("token"), anything),
    st.binary(max_size=100),
    st.lists(st.sampled_from([SECRET, "user:password", "", "x"]), max_size=3),
)
def test_nothing_made_up_gets_through_and_only_two_errors_come_out(
    scheme: Scheme, values: list[str], query: dict[str, str], body: bytes, secrets: list[str]
) -> None:
    headers = dict(zip(_looked_at(scheme), values, strict=False))
    assume(not {*headers.values(), *query.values()} & set(secrets))
    text = refusal(scheme, WebhookRequest(headers, query, body), secrets)
    assert text is not None
    assert not any(secret in text for secret in secrets if len(secret) > 1)


envelope = st.fixed_dictionaries(
    {
        "Type": st.sampled_from(["Notification", "SubscriptionConfirmation", "Other"]) | json_values,
        "TopicArn": st.just(TOPIC) | json_values,
        "Timestamp": st.just("2026-01-01T00:00:00Z") | st.text(max_size=30),
        "SigningCertURL": st.just("https://sns.eu-central-1.amazonaws.com/a.pem") | st.text(max_size=60),
        "SignatureVersion": st.sampled_from(["1", "2", "3"]) | json_values,
        "Signature": st.just("AAAA") | json_values,
        "Message": st.text(max_size=20),
        "MessageId": st.text(max_size=20),
    }
)


@given(envelope)
def test_no_made_up_sns_message_gets_through(document: dict[str, Any]) -> None:
    try:
        body = json.dumps(document).encode()
    except UnicodeEncodeError:
        assume(False)
    assert refusal(Sns(topics=(TOPIC,)), WebhookRequest({}, {}, body), []) is not None


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_token_fits_only_itself(secret: str, offered: str) -> None:
    fits = bool(secret.strip()) and offered in (secret, secret.strip())
    for scheme, request in (
        (StaticToken(header="x-t"), WebhookRequest({"x-t": offered}, {}, b"")),
        (UrlToken(), WebhookRequest({}, {"token": offered}, b"")),
    ):
        assert (refusal(scheme, request, [secret]) is None) is fits


@given(bodies, st.booleans())
def test_a_request_through_api_gateway_keeps_its_bytes(body: bytes, encoded: bool) -> None:
    try:
        text = base64.b64encode(body).decode() if encoded else body.decode()
    except UnicodeDecodeError:
        assume(False)
    event = {"requestContext": {"http": {"method": "POST"}}, "body": text, "isBase64Encoded": encoded}
    assert from_api_gateway(event).body == body


@given(
    st.dictionaries(
        st.sampled_from(["headers", "body", "rawQueryString", "isBase64Encoded", "requestContext"]),
        json_values,
    )
)
def test_an_event_that_is_none_is_malformed(event: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        from_api_gateway(event)


@given(anything)
def test_any_query_string_is_read_or_malformed(raw: str) -> None:
    event = {"requestContext": {"http": {"method": "POST"}}, "rawQueryString": raw}
    try:
        query = from_api_gateway(event).query
    except Malformed:
        return
    assert all(isinstance(value, str) for value in query.values())

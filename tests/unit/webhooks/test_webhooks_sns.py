from __future__ import annotations

import json

import pytest

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sns_message import MAX_ENVELOPE, check_certificate_url, subscribe_url
from celonis_refresh.webhooks.verification import Proof, Sns, verify
from tests.unit.webhooks.sns_messages import CERTIFICATE_URL, NOW, TOPIC, body, certificate, message, signed

SCHEME = Sns(topics=(TOPIC,))


class FakeCertificates:
    """Records what is fetched, and returns one certificate."""

    def __init__(self, pem: bytes | None = None) -> None:
        self.pem = certificate() if pem is None else pem
        self.urls: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        return self.pem


def check(raw: bytes, fetch: FakeCertificates | None = None, *, now: float = NOW) -> Proof:
    return verify(SCHEME, WebhookRequest({}, {}, raw), [], now, fetch=fetch or FakeCertificates())


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["", "done"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_accepts_what_sns_signed(version: str, subject: str, kind: str) -> None:
    fetch = FakeCertificates()
    raw = body(SignatureVersion=version, Subject=subject if kind == "Notification" else "", Type=kind)
    assert check(raw, fetch) == Proof(id="m-1", timestamp=NOW)
    assert fetch.urls == [CERTIFICATE_URL]


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp"])
def test_refuses_a_change_to_anything_signed(name: str) -> None:
    tampered = {**signed(Subject="done"), name: "2026-01-01T00:00:01.000Z"}
    with pytest.raises(NotAuthentic, match="signature"):
        check(json.dumps(tampered).encode())


def test_refuses_the_signature_of_one_version_under_the_other() -> None:
    with pytest.raises(NotAuthentic, match="signature"):
        check(json.dumps({**signed(), "SignatureVersion": "1"}).encode())


@pytest.mark.parametrize("changes", [{"TopicArn": TOPIC + "2"}, {"TopicArn": TOPIC.upper()}])
def test_refuses_another_topic_without_fetching(changes: dict[str, str]) -> None:
    fetch = FakeCertificates()
    with pytest.raises(NotAuthentic, match="topic"):
        check(body(**changes), fetch)
    assert fetch.urls == []


BAD_URLS = [
    "http://sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com.evil.example/a.pem",
    "https://evil.example/sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com:443/a.pem",
    "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
    "https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
    "https://user@sns.eu-central-1.amazonaws.com/a.pem",
    "https://evil.example#sns.eu-central-1.amazonaws.com/a.pem",
    "https://evil.example\\@sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com./a.pem",
    "https://sns.s3.amazonaws.com/a.pem",
    "https://sns.s3-eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.s3.amazonaws.com/a.pem",
    "https://xsns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.amazonaws.com/a.pem",
    "https://SNS.eu-central-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com.cn.evil/a.pem",
    "https://sns.eu-central-1.amazonaws.com/../a.pem",
    "https://sns.eu-central-1.amazonaws.com/a.pem?x=1",
    "https://sns.eu-central-1.amazonaws.com/a.txt",
    "https://sns.eu-central-1.amazonaws.com/a.pem\n",
    " https://sns.eu-central-1.amazonaws.com/a.pem",
    "https://sns.zz-nowhere-99.amazonaws.com/a.pem",
    "https://sns.us-east-1.amazonaws.com/a.pem",
    "https://sns.eu-central-1.amazonaws.com.cn/a.pem",
    "https://sns.eu-central-11.amazonaws.com/a.pem",
    "https://sns.eu-central-١.amazonaws.com/a.pem",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_refuses_a_certificate_from_elsewhere_without_fetching(url: str) -> None:
    fetch = FakeCertificates()
    with pytest.raises((NotAuthentic, Malformed)):
        check(body(SigningCertURL=url), fetch)
    assert fetch.urls == []
    with pytest.raises(NotAuthentic):
        check_certificate_url(url, TOPIC)


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws-us-gov:sns:us-gov-west-1", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws:sns:ap-southeast-2", "sns.ap-southeast-2.amazonaws.com"),
    ],
)
def test_accepts_the_certificate_of_the_topics_own_region(arn: str, host: str) -> None:
    topic = f"{arn}:123456789012:loads"
    url = f"https://{host}/SimpleNotificationService-00.pem"
    request = WebhookRequest({}, {}, body(TopicArn=topic, SigningCertURL=url))
    verify(Sns(topics=(topic,)), request, [], NOW, fetch=FakeCertificates())
    confirmed = f"https://{host}/?Action=ConfirmSubscription&TopicArn={topic}&Token=t"
    confirmation = message(Type="SubscriptionConfirmation", TopicArn=topic, SubscribeURL=confirmed)
    assert subscribe_url(confirmation) == confirmed


@pytest.mark.parametrize("topic", ["loads", "arn:aws:sns:nowhere:1:x", "arn:aws:sqs:eu-central-1:1:x"])
def test_what_is_no_topic_has_no_certificate(topic: str) -> None:
    with pytest.raises(NotAuthentic):
        check_certificate_url(CERTIFICATE_URL, topic)


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:other&Token=t",
        f"https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&TopicArn={TOPIC}&Token=t",
        f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Action=x&TopicArn={TOPIC}",
        f"https://sns.eu-central-1.amazonaws.com/x?Action=ConfirmSubscription&TopicArn={TOPIC}",
        f"https://evil.example/?Action=ConfirmSubscription&TopicArn={TOPIC}",
        f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}#x",
        f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}",
        f"https://sns.eu-central-1.amazonaws.com.cn/?Action=ConfirmSubscription&TopicArn={TOPIC}",
    ],
)
def test_does_not_confirm_anything_but_its_topic(url: str) -> None:
    with pytest.raises(NotAuthentic):
        subscribe_url(message(Type="SubscriptionConfirmation", SubscribeURL=url))


@pytest.mark.parametrize("now", [NOW - 3901, NOW + 3901])
def test_refuses_a_message_outside_the_window_without_fetching(now: float) -> None:
    fetch = FakeCertificates()
    with pytest.raises(NotAuthentic, match="3900 s"):
        check(body(), fetch, now=now)
    assert fetch.urls == []


@pytest.mark.parametrize(
    "time", ["2026-01-01", "nan", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "٢026-01-01T00:00:00Z"]
)
def test_refuses_a_time_that_cannot_be_read(time: str) -> None:
    with pytest.raises(Malformed):
        check(body(Timestamp=time))


def test_accepts_a_time_without_fraction() -> None:
    assert check(body(Timestamp="2026-01-01T00:00:00Z")).timestamp == NOW


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"<html>",
        certificate()[:300],
        certificate(first_year=2027),
        certificate(first_year=2020, last_year=2025),
        certificate(elliptic=True),
    ],
    ids=["empty", "a page", "truncated", "not valid yet", "not valid any more", "elliptic"],
)
def test_refuses_a_certificate_that_does_not_count(pem: bytes) -> None:
    with pytest.raises(NotAuthentic, match="certificate"):
        check(body(), FakeCertificates(pem))


@pytest.mark.parametrize("changes", [{"SignatureVersion": "3"}, {"Signature": "%%"}, {"Signature": "é"}])
def test_refuses_a_signature_that_cannot_be_read(changes: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        check(json.dumps({**signed(), **changes}).encode())


@pytest.mark.parametrize(
    "name", ["Message", "MessageId", "TopicArn", "Timestamp", "Signature", "SigningCertURL", "Type"]
)
@pytest.mark.parametrize("value", [None, 1, ["x"], {}])
def test_refuses_a_message_without_one_of_its_keys(name: str, value: object) -> None:
    with pytest.raises(Malformed):
        check(json.dumps({**signed(), name: value}).encode())


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'"x"', b"{}", b'{"Type": "Other"}', b'{"Type": []}', b" " * (MAX_ENVELOPE + 1)]
)
def test_refuses_what_is_no_message(raw: bytes) -> None:
    with pytest.raises(Malformed):
        check(raw)


def test_explains_how_to_disable_raw_delivery() -> None:
    with pytest.raises(Malformed, match="turn it off"):
        check(b'{"rootTaskName": "x"}')


def test_a_line_break_cannot_move_from_one_key_into_another() -> None:
    shifted = {**signed(Subject="s"), "MessageId": "m-1\nSubject\ns"}
    del shifted["Subject"]
    with pytest.raises(Malformed):
        check(json.dumps(shifted).encode())


def test_a_repeated_key_is_refused() -> None:
    raw = body().replace(b'{"Type"', b'{"Message": "first", "Type"')
    with pytest.raises(Malformed):
        check(raw)


def test_a_fault_of_the_network_is_no_forgery() -> None:
    def broken(_: str) -> bytes:
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError):
        verify(SCHEME, WebhookRequest({}, {}, body()), [], NOW, fetch=broken)


def test_needs_a_way_to_fetch() -> None:
    with pytest.raises(TypeError, match="fetch"):
        verify(SCHEME, WebhookRequest({}, {}, body()), [], NOW)

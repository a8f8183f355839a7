"""The JSON of Amazon SNS messages, and the addresses that it may contain."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import parse_json

NOTIFICATION: Final = "Notification"
SUBSCRIPTION_CONFIRMATION: Final = "SubscriptionConfirmation"
_CONFIRMATION_KEYS: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED_KEYS: Final = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION_CONFIRMATION: _CONFIRMATION_KEYS,
    "UnsubscribeConfirmation": _CONFIRMATION_KEYS,
}
"""Signed keys in byte order; ``Subject`` only if the message has one."""

MAX_ENVELOPE: Final = 2 * 1024 * 1024
"""Bytes. SNS accepts 256 KiB; escaping can make it six times as long."""
_SIGNATURE_KEYS: Final = ("Signature", "SignatureVersion", "SigningCertURL")
# The region has its full pattern, because anyone could own the S3 bucket ``sns.s3.amazonaws.com``.
_TOPIC: Final = r"arn:(?P<partition>aws[a-z-]*):sns:(?P<region>[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}):.+"
_CERTIFICATE: Final = r"/[A-Za-z0-9_-]+\.pem"
_TIMESTAMP: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z"
_SUBSCRIBE: Final = r"/\?(?P<query>[A-Za-z0-9_.:/%&=+-]+)"


def read_envelope(body: bytes) -> dict[str, str]:
    """Return the signed keys and the keys of the signature. Raises ``Malformed``."""
    if len(body) > MAX_ENVELOPE:
        raise _malformed("is larger than SNS sends")
    document = parse_json(body)
    if not isinstance(document, dict):
        raise _malformed("is no object")
    signed = SIGNED_KEYS.get(str(document.get("Type")))
    if signed is None:
        raise _malformed("has no Type that is known")
    envelope: dict[str, str] = {}
    for key in (*signed, *_SIGNATURE_KEYS):
        value = document.get(key)
        if key == "Subject" and value is None:
            continue
        # A line break in a short value would make two different messages have the same signature.
        if not isinstance(value, str) or (key != "Message" and not value.isprintable()):
            raise _malformed(f"has no {key} that can be read")
        envelope[key] = value
    return envelope


def timestamp_of(envelope: dict[str, str]) -> float:
    """Return the signed time in epoch seconds. Raises ``Malformed``."""
    text = envelope["Timestamp"]
    try:
        if re.fullmatch(_TIMESTAMP, text):
            return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass
    raise Malformed("The Timestamp of the SNS message cannot be read.")


def check_certificate_url(url: str, topic: str) -> str:
    """Return the URL if it belongs to SNS in the topic's region. Raises ``NotAuthentic``."""
    if not re.fullmatch(_CERTIFICATE, _after_host(url, topic)):
        raise NotAuthentic("The certificate of the SNS message is not at an address of its topic's SNS.")
    return url


def subscribe_url(envelope: dict[str, str]) -> str:
    """Return the URL that confirms the subscription. Raises ``NotAuthentic`` unless it belongs to SNS."""
    match = re.fullmatch(_SUBSCRIBE, _after_host(envelope["SubscribeURL"], envelope["TopicArn"]))
    fields = parse_qs(match["query"]) if match else {}
    if fields.get("Action") != ["ConfirmSubscription"] or fields.get("TopicArn") != [envelope["TopicArn"]]:
        raise NotAuthentic(
            "The SubscribeURL of the SNS message does not confirm its topic at an address of SNS."
        )
    return envelope["SubscribeURL"]


def _after_host(url: str, topic: str) -> str:
    """Return the part of the URL after SNS's host in the topic's region; "" for any other host.

    The address is compared as text, so that no parser can read another user, port or path from it.
    """
    match = re.fullmatch(_TOPIC, topic)
    if match is None:
        return ""
    suffix = "amazonaws.com.cn" if match["partition"] == "aws-cn" else "amazonaws.com"
    host = f"https://sns.{match['region']}.{suffix}"
    return url.removeprefix(host) if url.startswith(host) else ""


def _malformed(what: str) -> Malformed:
    return Malformed(
        f"The SNS message {what}.",
        hint="Raw message delivery has no signature: turn it off for this subscription.",
    )

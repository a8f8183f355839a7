"""Verifying a message of Amazon SNS. The only module that needs RSA, and so the only one that loads it."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.sns_message import SIGNED_KEYS, check_certificate_url, read_envelope
from celonis_refresh.webhooks.verification import Fetch, Proof, Sns, check_window

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "1": hashes.SHA1(),  # noqa: S303 - this is what SignatureVersion 1 means
    "2": hashes.SHA256(),
}
_TIMESTAMP: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z"


def verify_sns(scheme: Sns, request: WebhookRequest, now: float, fetch: Fetch) -> Proof:
    """Raises ``NotAuthentic`` or ``Malformed``. Fetches nothing before topic, address and time are right."""
    envelope = read_envelope(request.body)
    if envelope["TopicArn"] not in scheme.topics:
        raise NotAuthentic("The SNS message comes from a topic that its source does not expect.")
    url = check_certificate_url(envelope["SigningCertURL"], envelope["TopicArn"])
    timestamp = _seconds(envelope["Timestamp"])
    check_window(timestamp, now, scheme.tolerance)
    _check_signature(envelope, _public_key(fetch(url), now))
    return Proof(id=envelope["MessageId"], timestamp=int(timestamp))


def canonical_string(envelope: dict[str, str]) -> bytes:
    """Return what SNS signs: name and value of each signed key on a line of its own."""
    keys = SIGNED_KEYS[envelope["Type"]]
    return "".join(f"{key}\n{envelope[key]}\n" for key in keys if key in envelope).encode("utf-8")


def _seconds(text: str) -> float:
    if not re.fullmatch(_TIMESTAMP, text):
        raise Malformed("The Timestamp of the SNS message cannot be read.")
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Malformed("The Timestamp of the SNS message cannot be read.") from None


def _public_key(pem: bytes, now: float) -> RSAPublicKey:
    try:
        certificate = load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise NotAuthentic("The certificate of the SNS message cannot be read.") from None
    valid_from, valid_to = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not valid_from.timestamp() <= now <= valid_to.timestamp() or not isinstance(key, RSAPublicKey):
        raise NotAuthentic(
            "The certificate of the SNS message has expired, is not valid yet, or is not for RSA."
        )
    return key


def _check_signature(envelope: dict[str, str], key: RSAPublicKey) -> None:
    algorithm = _HASHES.get(envelope["SignatureVersion"])
    if algorithm is None:
        raise Malformed("The SignatureVersion of the SNS message is not known.")
    try:
        signature = base64.b64decode(envelope["Signature"], validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("The Signature of the SNS message cannot be decoded.") from None
    try:
        key.verify(signature, canonical_string(envelope), PKCS1v15(), algorithm)
    except InvalidSignature:
        raise NotAuthentic("The signature of the SNS message does not match.") from None

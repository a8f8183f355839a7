"""Checks the signature of a message of Amazon SNS. Only this module loads RSA, so import it only for SNS."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.sns_message import SIGNED_KEYS

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "1": hashes.SHA1(),  # noqa: S303 - this is what SignatureVersion 1 means
    "2": hashes.SHA256(),
}


def check_signature(envelope: dict[str, str], pem: bytes, now: float) -> None:
    """Check the signature against a certificate. Raises ``NotAuthentic`` or ``Malformed``."""
    key = _public_key(pem, now)
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


def canonical_string(envelope: dict[str, str]) -> bytes:
    """Return the text that SNS signs: name and value of each signed key, on one line each."""
    keys = SIGNED_KEYS[envelope["Type"]]
    return "".join(f"{key}\n{envelope[key]}\n" for key in keys if key in envelope).encode("utf-8")


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

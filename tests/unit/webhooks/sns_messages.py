"""SNS messages signed as SNS signs them, with a key and a certificate made for the tests."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from celonis_refresh.webhooks.sns_signature import canonical_string

NOW = 1767225600
TOPIC = "arn:aws:sns:eu-central-1:123456789012:loads"
HOST = "https://sns.eu-central-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-0123456789abcdef.pem"
SUBSCRIBE_URL = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def certificate(*, first_year: int = 2025, last_year: int = 2030, elliptic: bool = False) -> bytes:
    signer = ec.generate_private_key(ec.SECP256R1()) if elliptic else key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(1)
        .not_valid_before(datetime(first_year, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(last_year, 1, 1, tzinfo=UTC))
        .sign(signer, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def message(**changes: str) -> dict[str, str]:
    """A message without its signature; an empty change leaves the key out."""
    plain = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": '{"rootTaskName": "DB.S.LOAD"}',
        "Timestamp": "2026-01-01T00:00:00.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
    }
    if changes.get("Type", "Notification") != "Notification":
        plain |= {"Token": "2336412f37", "SubscribeURL": SUBSCRIBE_URL}
    return {name: value for name, value in {**plain, **changes}.items() if value}


def signed(**changes: str) -> dict[str, str]:
    plain = message(**changes)
    algorithm = hashes.SHA1() if plain["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303
    signature = key().sign(canonical_string(plain), PKCS1v15(), algorithm)
    return {**plain, "Signature": base64.b64encode(signature).decode()}


def body(**changes: str) -> bytes:
    return json.dumps(signed(**changes)).encode()

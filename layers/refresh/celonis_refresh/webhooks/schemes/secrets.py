"""How a secret becomes the value that a scheme compares with."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from celonis_refresh.webhooks.schemes.models import BasicAuth, Hmac, Scheme
from celonis_refresh.webhooks.schemes.proofs import octets

WHSEC: Final = "whsec_"


def key_of(scheme: Hmac, secret: str) -> bytes:
    """The key in a secret; empty when there is none in it, which no signature ever fits."""
    if scheme.key == "text":
        return octets(secret)
    try:
        return base64.b64decode(secret.removeprefix(WHSEC), validate=True)
    except (binascii.Error, ValueError):
        return b""


def secret_problem(scheme: Scheme, secret: str) -> str | None:
    """Why no request can ever fit this secret, in words for its owner, without it; None if one can.

    ``verify`` treats such a secret as one that does not fit: a sender is not told how we are configured.
    """
    if not secret:
        return "it is empty"
    if isinstance(scheme, Hmac) and not key_of(scheme, secret):
        return f"expected {WHSEC} and then base64, as the sender shows it"
    if isinstance(scheme, BasicAuth) and not all(secret.partition(":")):
        return "expected user:password"
    return None

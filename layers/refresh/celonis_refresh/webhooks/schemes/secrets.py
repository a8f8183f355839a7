"""How a secret becomes the value that a scheme compares with.

White space around a secret is most often pasted along with it, so a secret counts with it and without.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final

from celonis_refresh.webhooks.schemes.models import BasicAuth, Hmac, Scheme, StaticToken
from celonis_refresh.webhooks.schemes.proofs import first_fitting, octets

WHSEC: Final = "whsec_"
_ED25519: Final = ("whpk_", "whsk_")


def fitting(offered: Sequence[bytes], secrets: Sequence[str], expected: Callable[[str], bytes]) -> int:
    """The index of the secret whose ``expected`` value one of the offered equals.

    Raises ``NotAuthentic``.
    """
    forms = [(index, form) for index, secret in enumerate(secrets) for form in _forms(secret)]
    return forms[first_fitting(offered, [expected(form) for _, form in forms])][0]


def _forms(secret: str) -> list[str]:
    """The secret as it is stored, and without the white space around it; none of a blank one."""
    stripped = secret.strip()
    return list(dict.fromkeys((secret, stripped))) if stripped else []


def key_of(scheme: Hmac, secret: str) -> bytes:
    """The key in a secret; empty when there is none in it, which no signature ever fits.

    Base64 may lack its padding and hold white space, as in the libraries of Standard Webhooks and Svix.
    """
    if scheme.key == "text":
        return octets(secret)
    text = "".join(secret.split()).removeprefix(WHSEC).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def secret_problem(scheme: Scheme, secret: str) -> str | None:
    """Why no request can ever fit this secret, in words for its owner, without it; None if one can.

    ``verify`` treats such a secret as one that does not fit: a sender is not told how we are configured.
    """
    if not secret.strip():
        return "it is empty"
    if isinstance(scheme, Hmac) and scheme.key == "whsec" and secret.strip().startswith(_ED25519):
        return "it is an Ed25519 key, and v1a signatures are not supported; expected a whsec_ secret"
    if isinstance(scheme, Hmac) and not key_of(scheme, secret):
        return f"expected {WHSEC} and then base64, as the sender shows it"
    if isinstance(scheme, BasicAuth) and not scheme.key_header and not is_credentials(secret):
        return "expected user:password"
    if isinstance(scheme, StaticToken) and not _fits_a_header(secret.strip()):
        return "a header cannot hold its control characters, such as a line break"
    return None


def is_credentials(secret: str) -> bool:
    """Whether it is a user and a password, with a colon between."""
    return all(secret.partition(":"))


def _fits_a_header(text: str) -> bool:
    return all(sign == "\t" or (sign >= " " and sign != "\x7f") for sign in text)

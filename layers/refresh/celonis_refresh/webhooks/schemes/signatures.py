"""What an HMAC signs, and the text that a signature becomes in a header. Shared by both directions."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Final

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.schemes.models import Hmac
from celonis_refresh.webhooks.schemes.proofs import octets

_PLACE: Final = r"(\{id\}|\{timestamp\}|\{body\})"
_HEX: Final = {"hex": "[0-9a-f]+", "hex_any_case": "[0-9a-fA-F]+"}


def content(scheme: Hmac, body: bytes, message_id: str, timestamp: str) -> bytes:
    """The bytes under the signature: the template with its places filled."""
    fill = {"{id}": octets(message_id), "{timestamp}": octets(timestamp), "{body}": body}
    return b"".join(fill.get(part, octets(part)) for part in re.split(_PLACE, scheme.template))


def digest(scheme: Hmac, key: bytes, signed: bytes) -> bytes:
    """The signature; empty for an empty key, so that nothing fits it."""
    return hmac.new(key, signed, scheme.algorithm).digest() if key else b""


def encode(scheme: Hmac, signature: bytes) -> str:
    return base64.b64encode(signature).decode("ascii") if scheme.encoding == "base64" else signature.hex()


def decode(scheme: Hmac, text: str) -> bytes:
    """The signature in a text of exactly the sender's form and length. Raises ``Malformed``."""
    try:
        signature = _decoded(scheme, text)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != hmac.new(b"", digestmod=scheme.algorithm).digest_size:
        raise Malformed(f"The signature in header {scheme.header!r} cannot be read.")
    return signature


def _decoded(scheme: Hmac, text: str) -> bytes:
    if scheme.encoding == "base64":
        signature = base64.b64decode(text, validate=True)
        # One signature, one text: the last sign has bits to spare, which a decoder does not look at.
        return signature if base64.b64encode(signature) == octets(text) else b""
    return bytes.fromhex(text) if re.fullmatch(_HEX[scheme.encoding], text) else b""

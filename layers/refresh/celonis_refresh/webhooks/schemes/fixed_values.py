"""Verifying values that are the same in every request: a token in a header or URL, a user and password."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.schemes.models import BasicAuth, StaticToken, UrlToken
from celonis_refresh.webhooks.schemes.proofs import Proof, header, octets
from celonis_refresh.webhooks.schemes.secrets import fitting, is_credentials


def verify_static_token(scheme: StaticToken, request: WebhookRequest, secrets: Sequence[str]) -> Proof:
    """The whole value counts, blanks included. Raises ``NotAuthentic``."""
    return _same_value(header(request, scheme.header), secrets)


def verify_url_token(scheme: UrlToken, request: WebhookRequest, secrets: Sequence[str]) -> Proof:
    """Raises ``NotAuthentic``."""
    offered = request.query.get(scheme.parameter)
    if not offered:
        raise NotAuthentic(f"The query string has no parameter {scheme.parameter!r}.")
    return _same_value(offered, secrets)


def verify_basic_auth(scheme: BasicAuth, request: WebhookRequest, secrets: Sequence[str]) -> Proof:
    """Raises ``NotAuthentic``, or ``Malformed`` where the header is no HTTP Basic."""
    if scheme.key_header == scheme.header or (scheme.key_header and scheme.header not in request.headers):
        return _same_value(header(request, scheme.key_header), secrets)
    word, _, encoded = header(request, scheme.header).partition(" ")
    if word.lower() != "basic":
        raise NotAuthentic(f"Header {scheme.header!r} holds no HTTP Basic credentials.")
    try:
        offered = base64.b64decode(encoded.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"The credentials in header {scheme.header!r} cannot be decoded.") from None
    index = fitting([offered], secrets, lambda secret: octets(secret) if is_credentials(secret) else b"")
    return Proof(secret_index=index)


def _same_value(offered: str, secrets: Sequence[str]) -> Proof:
    return Proof(secret_index=fitting([octets(offered)], secrets, octets))

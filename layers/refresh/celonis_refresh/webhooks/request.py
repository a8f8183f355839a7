"""The request as it arrived: bytes, headers, query."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from celonis_refresh.webhooks.errors import Malformed, TooLarge

MAX_BODY: Final = 1024 * 1024
"""Bytes. An event that says "finished" is small; a Lambda function takes 6 MB of request in all."""
MAX_QUERY_FIELDS: Final = 100


class WebhookRequest(Struct, frozen=True):
    """One HTTP request. Header names are lower case; a header that came twice has its values joined
    with commas, and so has a field of the query. Only the method is shown: anything else may be a secret.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    method: str = "POST"

    def __repr__(self) -> str:
        return f"WebhookRequest(method={self.method!r})"


def from_api_gateway(event: Mapping[str, Any]) -> WebhookRequest:
    """The request in an API Gateway HTTP API event, payload format 2.0.

    ``rawQueryString`` is read here, since ``queryStringParameters`` has lost what was sent twice.
    Raises ``Malformed`` for whatever is not of that format.
    """
    try:
        headers = event.get("headers") or {}
        method = event["requestContext"]["http"]["method"]
        query = event.get("rawQueryString") or ""
        body = event.get("body") or ""
        parts_are_text = all(isinstance(part, str) for part in (method, query, body))
        pairs = [(name.lower(), _storable(value)) for name, value in headers.items()]
    except (AttributeError, KeyError, TypeError, UnicodeError):
        parts_are_text, pairs = False, []
    if not parts_are_text:
        raise Malformed("The event is not an API Gateway request of payload format 2.0.")
    return WebhookRequest(
        headers=_joined(pairs),
        query=_joined(_fields(query)),
        body=_bytes(body, encoded=event.get("isBase64Encoded") is True),
        method=method.upper(),
    )


def _storable(value: str) -> str:
    """The header itself. Raises ``UnicodeEncodeError`` for half a surrogate pair, which is no text."""
    value.encode("utf-8")
    return value


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _fields(raw: str) -> list[tuple[str, str]]:
    """The fields of a query string. A plus sign stays one: tokens in base64 have it, few have blanks."""
    parts = [part for part in raw.split("&") if part]
    if len(parts) > MAX_QUERY_FIELDS:
        raise Malformed(f"The query string has more than {MAX_QUERY_FIELDS} fields.")
    try:
        return [(_unquoted(name), _unquoted(value)) for name, _, value in (p.partition("=") for p in parts)]
    except UnicodeError:
        raise Malformed("The query string is not percent-encoded UTF-8.") from None


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8")


def _bytes(body: str, *, encoded: bool) -> bytes:
    try:
        raw = base64.b64decode(body, validate=True) if encoded else body.encode("utf-8")
    except (binascii.Error, ValueError):
        raise Malformed("The body of the request cannot be decoded.") from None
    if len(raw) > MAX_BODY:
        raise TooLarge(f"The body is larger than {MAX_BODY} bytes.")
    return raw

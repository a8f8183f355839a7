"""A webhook request: headers, query and body, with parsers for JSON and forms."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

from msgspec import Struct

from celonis_refresh.webhooks.errors import Malformed, TooLarge

MAX_BODY: Final = 1024 * 1024
"""Bytes. Events are small; a Lambda request has at most 6 MB."""
MAX_QUERY_FIELDS: Final = 100


class WebhookRequest(Struct, frozen=True):
    """One HTTP request.

    Names of headers are in lower case. Values of a header or query field that appears twice are joined with
    commas. The ``repr`` only has the method, because the rest may contain secrets.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    method: str = "POST"

    def __repr__(self) -> str:
        return f"WebhookRequest(method={self.method!r})"


def from_api_gateway(event: Mapping[str, Any]) -> WebhookRequest:
    """Return the request of an API Gateway HTTP API event (payload format 2.0).

    Reads ``rawQueryString``, because ``queryStringParameters`` loses repeated fields. Raises ``Malformed``
    for any other event.
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
    """Return the value. Raises ``UnicodeEncodeError`` for an unpaired surrogate."""
    value.encode("utf-8")
    return value


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _fields(raw: str) -> list[tuple[str, str]]:
    """Return the fields of a query string. A plus sign is kept, because tokens in base64 have it."""
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


BodyKind = Literal["json", "list", "sns", "soap"]
FORM: Final = "application/x-www-form-urlencoded"

_JSON: Final = r"(?:application|text)/(?:[a-z0-9.-]+\+)?json"
_KINDS: Final = {
    "json": ("JSON or a form", rf"{_JSON}|{FORM}"),
    "list": ("JSON", _JSON),
    "sns": ("JSON, which SNS calls text/plain", rf"{_JSON}|text/plain"),
    "soap": ("XML", r"(?:application|text)/(?:[a-z0-9.-]+\+)?xml"),
}


def media_type(request: WebhookRequest) -> str:
    """Return the content type in lower case without parameters; "" if the request has none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_media_type(kind: BodyKind, request: WebhookRequest) -> None:
    """Raise ``Malformed`` for a content type that does not fit the kind of body; it may be missing."""
    sent = media_type(request)
    expected, pattern = _KINDS[kind]
    if sent and not re.fullmatch(pattern, sent):
        raise Malformed(f"The content type is not that of this sender: expected {expected}.")


Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

MAX_DEPTH: Final = 64
MAX_FORM_FIELDS: Final = 100
# An unclosed string matches as well; otherwise matching would start again at every quote.
_PIECE: Final = r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]'
_SURROGATE: Final = r"\\u[dD][89a-fA-F]"


def parse_json(raw: bytes | str) -> Json:
    """Return the JSON in a body. Raises only ``Malformed``."""
    text = text_of(raw) if isinstance(raw, bytes) else raw
    if _is_too_deep(text):
        raise Malformed(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    try:
        value: Json = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_doubles
        )
        if re.search(_SURROGATE, text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise Malformed("The body is not JSON, or a key appears twice in one of its objects.") from None
    return value


def read_form(request: WebhookRequest) -> dict[str, str] | None:
    """Return the fields of a form-encoded body; None for another content type.

    Raises ``Malformed``, also for a field that appears twice.
    """
    if media_type(request) != FORM:
        return None
    try:
        pairs = parse_qsl(
            text_of(request.body),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
        return _without_doubles(pairs)
    except ValueError:
        raise Malformed("The form in the body cannot be read.") from None


def text_of(raw: bytes) -> str:
    """Return a body as text without its byte order mark. Raises ``Malformed``."""
    if len(raw) > MAX_BODY:
        raise Malformed(f"The body is larger than {MAX_BODY} bytes.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None


def _is_too_deep(text: str) -> bool:
    """Return whether the JSON is nested too deeply for a recursive parser."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for piece in re.finditer(_PIECE, text, re.DOTALL):
        mark = piece.group()
        depth += 1 if mark in "[{" else -1 if mark in "]}" else 0
        if depth > MAX_DEPTH:
            return True
    return False


def _without_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number overflows")
    return number

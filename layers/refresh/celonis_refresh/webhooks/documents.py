"""Reading JSON that came from outside, within bounds.

Decisions: UTF-8 only (a byte order mark is skipped); at most ``MAX_DEPTH`` levels; NaN, Infinity and numbers
that overflow are refused, since they are no JSON; a name that stands twice in one object is refused, since
two readers could take different values for the truth; so is half a surrogate pair, which is no text and
could not be stored or logged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.media_types import FORM, media_type
from celonis_refresh.webhooks.request import MAX_BODY, WebhookRequest

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

MAX_DEPTH: Final = 64
MAX_FORM_FIELDS: Final = 100
# A string without its end still matches, at once: otherwise an unclosed one would be tried from every quote.
_PIECE: Final = r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]'
_SURROGATE: Final = r"\\u[dD][89a-fA-F]"


def parse_json(raw: bytes | str) -> Json:
    """The JSON in a body. Raises ``Malformed``, never anything else."""
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
    """The fields of a form-encoded body; None when the request does not say that it is one.

    Raises ``Malformed``, also for a field that stands twice.
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
    """A body as text, without its byte order mark. Raises ``Malformed``."""
    if len(raw) > MAX_BODY:
        raise Malformed(f"The body is larger than {MAX_BODY} bytes.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None


def _is_too_deep(text: str) -> bool:
    """Counted before parsing, so that a parser that recurses never sees it."""
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
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number overflows")
    return number

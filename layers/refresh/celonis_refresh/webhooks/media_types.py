"""The content types in which senders send. A body of another kind is not guessed at."""

from __future__ import annotations

import re
from typing import Final, Literal

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import WebhookRequest

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
    """In lower case, without parameters; empty where the request does not say."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_media_type(kind: BodyKind, request: WebhookRequest) -> None:
    """Raises ``Malformed`` for a body that is said to be of another kind; a request need not say."""
    found = media_type(request)
    expected, pattern = _KINDS[kind]
    if found and not re.fullmatch(pattern, found):
        raise Malformed(f"The content type is not that of this sender: expected {expected}.")

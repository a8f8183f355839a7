"""Verifying an HMAC signature."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.schemes.models import Hmac
from celonis_refresh.webhooks.schemes.proofs import Proof, check_window, header
from celonis_refresh.webhooks.schemes.secrets import fitting, key_of
from celonis_refresh.webhooks.schemes.signatures import content, decode, digest

MAX_SIGNATURES: Final = 16
"""Entries of one header; a sender in the middle of a rotation sends two or three."""
_SECONDS: Final = r"[0-9]{1,11}"
"""ASCII digits only: ``int`` and ``float`` would take signs, blanks, other scripts' digits, nan and inf."""


class _Claim(Struct, frozen=True):
    """What the headers say: signatures as text, the time as text (empty where none is signed)."""

    signatures: Sequence[str]
    time: str = ""


def verify_hmac(scheme: Hmac, request: WebhookRequest, secrets: Sequence[str], now: float) -> Proof:
    """Raises ``NotAuthentic`` or ``Malformed``. The window is looked at last: only its owner learns of it."""
    claim = _claim(scheme, header(request, scheme.header))
    if scheme.timestamp_header:
        claim = _Claim(claim.signatures, header(request, scheme.timestamp_header))
    message_id = header(request, scheme.id_header) if scheme.id_header else ""
    timestamp = _seconds(claim.time) if scheme.signs_time else None
    offered = [decode(scheme, text) for text in claim.signatures]
    signed = content(scheme, request.body, message_id, claim.time)
    index = fitting(offered, secrets, lambda secret: digest(scheme, key_of(scheme, secret), signed))
    if timestamp is not None:
        check_window(timestamp, now, scheme.tolerance)
    return Proof(id=message_id or None, timestamp=timestamp, secret_index=index)


def _claim(scheme: Hmac, value: str) -> _Claim:
    if scheme.layout == "pairs":
        claim = _pairs(scheme, value)
    elif scheme.layout == "versions":
        claim = _Claim(
            [text for version, text in _entries(scheme, value, " ", ",") if version == scheme.version]
        )
    else:
        claim = _Claim([_without_prefix(scheme, value)])
    if not claim.signatures:
        raise NotAuthentic(f"Header {scheme.header!r} holds no {scheme.version} signature.")
    return claim


def _pairs(scheme: Hmac, value: str) -> _Claim:
    """``t=…,v1=…``. A time that stands there twice means two headers in one: nobody knows which is signed."""
    entries = _entries(scheme, value, ",", "=")
    times = [text for name, text in entries if name == scheme.timestamp_key]
    if len(times) > 1:
        raise _unreadable(scheme)
    return _Claim([text for name, text in entries if name == scheme.version], "".join(times))


def _entries(scheme: Hmac, value: str, between: str, within: str) -> list[tuple[str, str]]:
    """The entries of a list. ``v1,a,v1,b`` is no list but two headers that were joined, and is refused."""
    entries = [entry.partition(within) for entry in value.split(between)]
    sound = all(name and text and "," not in text for name, _, text in entries)
    if len(entries) > MAX_SIGNATURES or not sound:
        raise _unreadable(scheme)
    return [(name.strip(" "), text) for name, _, text in entries]


def _without_prefix(scheme: Hmac, value: str) -> str:
    if not value.startswith(scheme.prefix):
        raise _unreadable(scheme)
    return value.removeprefix(scheme.prefix)


def _seconds(text: str) -> int:
    if not re.fullmatch(_SECONDS, text):
        raise Malformed("The time of the signature is not a number of seconds.")
    return int(text)


def _unreadable(scheme: Hmac) -> Malformed:
    return Malformed(f"Header {scheme.header!r} does not have the form that its sender gives it.")

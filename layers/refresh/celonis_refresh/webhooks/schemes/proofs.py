"""What a verified request has proven, and the comparison that all schemes share."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TypeAlias

from msgspec import Struct

from celonis_refresh.webhooks.errors import NotAuthentic
from celonis_refresh.webhooks.request import WebhookRequest

Fetch: TypeAlias = Callable[[str], bytes]
"""Gets a certificate by its URL, which has been checked. The caller caches; what it raises passes through,
so that a network fault is answered as one (and tried again by SNS), not as a forgery."""


class Proof(Struct, frozen=True):
    """``id`` and ``timestamp`` (whole seconds since 1970) where they are under the signature, else None.
    ``secret_index``: which of the secrets fitted, so that an owner sees when the previous one is out of use.
    """

    id: str | None = None
    timestamp: int | None = None
    secret_index: int | None = None


def octets(text: str) -> bytes:
    """The bytes of any text, lone surrogates included: a header must never end in a UnicodeEncodeError."""
    return text.encode("utf-8", "surrogatepass")


def same(one: bytes, other: bytes) -> bool:
    """Equality in constant time. Hashing first hides the lengths, too."""
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())


def first_fitting(offered: Sequence[bytes], expected: Iterable[bytes]) -> int:
    """The index of the expected value that one of the offered equals; all pairs are compared, always.

    An empty expected value fits nothing. Raises ``NotAuthentic``.
    """
    fits = []
    for index, value in enumerate(expected):
        equal = [same(candidate, value) for candidate in offered]
        if value and True in equal:
            fits.append(index)
    if not fits:
        raise NotAuthentic("The request does not match any secret of its source.")
    return fits[0]


def header(request: WebhookRequest, name: str) -> str:
    """A header that must be there. Raises ``NotAuthentic``."""
    value = request.headers.get(name)
    if not value:
        raise NotAuthentic(f"The request has no header {name!r}.")
    return value


def check_window(timestamp: float, now: float, tolerance: int) -> None:
    """A signed time may lie ``tolerance`` seconds before or after the clock. Raises ``NotAuthentic``."""
    if not abs(now - timestamp) <= tolerance:
        raise NotAuthentic(
            f"The request was signed more than {tolerance} s before or after now.",
            hint="Check the clock of the sender, or whether an old request was sent again.",
        )

"""Addresses at Amazon SNS where nothing is: they are not asked for again for a while.

A forger can name one address after another, but one forgery that is sent again and again costs one question.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct, field

from celonis_refresh.timing import Clock
from celonis_refresh.webhooks.errors import NotAuthentic

ABSENT_SECONDS: Final = 300.0
MAX_ABSENT: Final = 256


class SnsAddresses(Protocol):
    """What is fetched from Amazon SNS, at addresses that were checked."""

    def certificate(self, url: str) -> bytes: ...

    def confirm(self, url: str) -> None: ...


class KnownAbsent(Struct):
    """``pages`` fetches; a certificate that it says is not there is not there for ``ABSENT_SECONDS``."""

    pages: SnsAddresses
    clock: Clock
    _absent: dict[str, tuple[float, NotAuthentic]] = field(default_factory=dict)

    def certificate(self, url: str) -> bytes:
        """Raises what ``pages`` raises."""
        known = self._absent.get(url)
        if known is not None and self.clock() < known[0]:
            raise NotAuthentic(known[1].message)
        try:
            return self.pages.certificate(url)
        except NotAuthentic as error:
            if len(self._absent) >= MAX_ABSENT:
                self._absent.clear()
            self._absent[url] = (self.clock() + ABSENT_SECONDS, error)
            raise

    def confirm(self, url: str) -> None:
        """Raises what ``pages`` raises."""
        self.pages.confirm(url)

"""The two addresses of Amazon SNS that are ever fetched: a signing certificate, a confirmation.

Both were checked to be Amazon's before they come here (``webhooks``).
"""

from __future__ import annotations

from msgspec import Struct, field
from urllib3.exceptions import HTTPError

from celonis_refresh.celonis.wire import Pools, read_up_to
from celonis_refresh.errors import RefreshError
from celonis_refresh.timing import left_within
from celonis_refresh.webhooks.errors import NotAuthentic

TIMEOUT = (1.0, 1.5)
"""Seconds to connect, and for all, at most: what is left of the request's time bounds them too."""
LARGEST = 64 * 1024
OK = 200
MAX_KEPT = 16
NO_PAGE = frozenset({400, 403, 404, 410})
"""Statuses that say for good that nothing is there."""


class SnsUnavailable(RefreshError):
    """Amazon SNS did not answer: the message can be neither proven nor refused now."""

    def __init__(self) -> None:
        super().__init__("Amazon SNS did not answer.", hint="SNS sends the message again.")


class SnsPages(Struct):
    """Fetches, and keeps certificates: their address changes with their content."""

    pools: Pools = field(default_factory=Pools)
    _kept: dict[str, bytes] = field(default_factory=dict)

    def certificate(self, url: str) -> bytes:
        """The PEM behind a checked address.

        Raises ``SnsUnavailable``, and ``NotAuthentic`` where nothing is there: the address is a stranger's.
        """
        if url not in self._kept:
            status, page = self._get(url)
            if status in NO_PAGE:
                raise NotAuthentic("SNS has no certificate at the address that the message names.")
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[url] = _found(status, page)
        return self._kept[url]

    def confirm(self, url: str) -> None:
        """Confirms a subscription. Raises ``SnsUnavailable``."""
        _found(*self._get(url))

    def _get(self, url: str) -> tuple[int, bytes]:
        left = left_within()
        if not left:
            raise SnsUnavailable
        connect, read = (min(seconds, left) for seconds in TIMEOUT)
        try:
            with self.pools.exchange("GET", url, connect=connect, read=read, headers={}) as answer:
                return answer.status, read_up_to(answer, LARGEST)[:LARGEST]
        except (OSError, HTTPError):
            raise SnsUnavailable from None


def _found(status: int, page: bytes) -> bytes:
    if status != OK:
        raise SnsUnavailable
    return page

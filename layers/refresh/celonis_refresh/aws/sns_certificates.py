"""The two addresses of Amazon SNS that are ever fetched: a signing certificate, a confirmation.

Both were checked to be Amazon's before they come here (``webhooks``).
"""

from __future__ import annotations

from math import inf
from typing import TypeVar

from msgspec import Struct, field
from requests import RequestException, Session
from urllib3.exceptions import HTTPError

from celonis_refresh.celonis.transport import make_session, read_body
from celonis_refresh.errors import RefreshError
from celonis_refresh.timing import Clock, Deadline
from celonis_refresh.webhooks.errors import NotAuthentic

V = TypeVar("V")

TIMEOUT = (0.5, 1.0)
"""Seconds to connect and to read."""
LARGEST = 64 * 1024
OK = 200
MAX_KEPT = 16
MAX_ABSENT = 256
ABSENT_SECONDS = 300.0
NOTHING_THERE = "SNS has no certificate at the address that the message names."
NO_PAGE = frozenset({400, 403, 404, 410})
"""Statuses that say for good that nothing is there."""


class SnsUnavailable(RefreshError):
    """Amazon SNS did not answer: the message can be neither proven nor refused now."""

    def __init__(self) -> None:
        super().__init__("Amazon SNS did not answer.", hint="SNS sends the message again.")


class SnsCertificates(Struct):
    """Fetches, and keeps certificates: their address changes with their content.

    Where nothing is, it asks again after a while only. A forger can name one address after another, but one
    forgery that is sent again and again costs one question.
    """

    clock: Clock
    session: Session = field(default_factory=make_session)
    _kept: dict[str, bytes] = {}
    _absent: dict[str, float] = {}

    def certificate(self, url: str) -> bytes:
        """Return the PEM behind a checked address.

        Raises ``SnsUnavailable``, and ``NotAuthentic`` where nothing is there: the address is a stranger's.
        """
        if url not in self._kept:
            if self.clock() < self._absent.get(url, -inf):
                raise NotAuthentic(NOTHING_THERE)
            status, page = self._get(url)
            if status in NO_PAGE:
                _keep(self._absent, url, self.clock() + ABSENT_SECONDS, MAX_ABSENT)
                raise NotAuthentic(NOTHING_THERE)
            _keep(self._kept, url, _found(status, page), MAX_KEPT)
        return self._kept[url]

    def confirm(self, url: str) -> None:
        """Confirms a subscription. Raises ``SnsUnavailable``."""
        _found(*self._get(url))

    def _get(self, url: str) -> tuple[int, bytes]:
        deadline = Deadline.after(sum(TIMEOUT), self.clock)
        try:
            with self.session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as response:
                return response.status_code, read_body(response, LARGEST, deadline.left)[:LARGEST]
        except (OSError, RequestException, HTTPError):
            raise SnsUnavailable from None


def _keep(kept: dict[str, V], url: str, value: V, most: int) -> None:
    if len(kept) >= most:
        kept.clear()
    kept[url] = value


def _found(status: int, page: bytes) -> bytes:
    if status != OK:
        raise SnsUnavailable
    return page

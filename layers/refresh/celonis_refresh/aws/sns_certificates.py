"""Requests to Amazon SNS: fetches signing certificates and confirms subscriptions.

Callers check before that an address belongs to SNS.
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
MAX_PAGE = 64 * 1024
OK = 200
MAX_CERTIFICATES = 16
MAX_ABSENT = 256
ABSENT_SECONDS = 300.0
NO_CERTIFICATE = "SNS has no certificate at the address that the message names."
NOT_FOUND_STATUSES = frozenset({400, 403, 404, 410})
"""Statuses that mean that there is no certificate at an address."""


class SnsUnavailable(RefreshError):
    """Amazon SNS did not answer, so a message can be neither accepted nor refused."""

    def __init__(self) -> None:
        super().__init__("Amazon SNS did not answer.", hint="SNS sends the message again.")


class SnsCertificates(Struct):
    """Fetches and caches certificates. Their content never changes under the same address.

    An address without a certificate is not fetched again for ``ABSENT_SECONDS``, so that a forged message
    that is sent repeatedly costs one request.
    """

    clock: Clock
    session: Session = field(default_factory=make_session)
    _certificates: dict[str, bytes] = {}
    _absent: dict[str, float] = {}

    def certificate(self, url: str) -> bytes:
        """Return the certificate (PEM) at a checked address.

        Raises ``SnsUnavailable``, and ``NotAuthentic`` if there is no certificate.
        """
        if url not in self._certificates:
            if 0.0 < self._absent.get(url, -inf) - self.clock() <= ABSENT_SECONDS:
                raise NotAuthentic(NO_CERTIFICATE)
            status, page = self._get(url)
            if status in NOT_FOUND_STATUSES:
                _store(self._absent, url, self.clock() + ABSENT_SECONDS, MAX_ABSENT)
                raise NotAuthentic(NO_CERTIFICATE)
            _store(self._certificates, url, _page(status, page), MAX_CERTIFICATES)
        return self._certificates[url]

    def confirm(self, url: str) -> None:
        """Confirm a subscription. Raises ``SnsUnavailable``."""
        _page(*self._get(url))

    def _get(self, url: str) -> tuple[int, bytes]:
        deadline = Deadline.after(sum(TIMEOUT), self.clock)
        try:
            with self.session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as response:
                return response.status_code, read_body(response, MAX_PAGE, deadline.left)[:MAX_PAGE]
        except (OSError, RequestException, HTTPError):
            raise SnsUnavailable from None


def _store(cache: dict[str, V], url: str, value: V, limit: int) -> None:
    if len(cache) >= limit:
        cache.clear()
    cache[url] = value


def _page(status: int, page: bytes) -> bytes:
    if status != OK:
        raise SnsUnavailable
    return page

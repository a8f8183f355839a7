"""The two addresses of Amazon SNS that are ever fetched: a signing certificate, a confirmation.

Both were checked to be Amazon's before they come here (``webhooks``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import requests

from celonis_refresh.errors import RefreshError

TIMEOUT = (1.0, 1.5)
"""Seconds to connect, and to read: inside the 15 s that SNS waits, and inside the function's own time."""
LARGEST = 64 * 1024
MAX_KEPT = 16


class SnsUnavailable(RefreshError):
    """Amazon SNS did not answer: the message can be neither proven nor refused now."""

    def __init__(self) -> None:
        super().__init__("Amazon SNS did not answer.", hint="SNS sends the message again.")


@dataclass
class SnsPages:
    """Fetches, and keeps certificates: their address changes with their content."""

    session: requests.Session = field(default_factory=requests.Session)
    _kept: dict[str, bytes] = field(default_factory=dict)

    def certificate(self, url: str) -> bytes:
        """The PEM behind a checked address. Raises ``SnsUnavailable``."""
        if url not in self._kept:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[url] = self._get(url)
        return self._kept[url]

    def confirm(self, url: str) -> None:
        """Confirms a subscription. Raises ``SnsUnavailable``."""
        self._get(url)

    def _get(self, url: str) -> bytes:
        try:
            with self.session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as answer:
                if answer.status_code != requests.codes.ok:
                    raise SnsUnavailable
                return answer.raw.read(LARGEST, decode_content=True)
        except requests.RequestException:
            raise SnsUnavailable from None

"""Which requests the page's server answers, and the headers of every answer.

The server signs requests with the viewer's credentials, so that no other site, program or user may use it: it
listens on loopback, accepts only its own host name and origin, and requires the token of this start.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "localhost")
SAME_ORIGIN: Final = frozenset({"same-origin", "none"})
"""Values of ``Sec-Fetch-Site``: a request of the page itself, or of the address bar."""
READ_METHODS: Final = frozenset({"GET", "HEAD"})

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused. ``error`` names the kind for the page."""

    status: int
    error: str
    message: str


@dataclass(frozen=True)
class Guard:
    """``port``: where the server listens. ``token``: of this start."""

    port: int
    token: str

    def check(self, method: str, headers: Mapping[str, str], *, needs_token: bool) -> Refusal | None:
        """Return why a request is refused, or None. ``headers``: by names in title case."""
        if headers.get("Host", "").lower() not in self._hosts:
            return Refusal(421, "WrongHost", "This server answers only under its own address.")
        if not self._is_own_origin(method, headers):
            return Refusal(403, "ForeignOrigin", "Requests of other sites are refused.")
        if needs_token and not self._has_token(headers.get("Authorization", "")):
            return Refusal(
                403,
                "WrongToken",
                "Open the link that refresh page printed last; it has the token of this start.",
            )
        return None

    @property
    def _hosts(self) -> frozenset[str]:
        return frozenset(f"{host}:{self.port}" for host in LOOPBACK)

    def _is_own_origin(self, method: str, headers: Mapping[str, str]) -> bool:
        """Browsers send ``Origin`` with every request that is no read, so that one without it is refused."""
        if headers.get("Sec-Fetch-Site", "same-origin") not in SAME_ORIGIN:
            return False
        origin = headers.get("Origin")
        if origin is None:
            return method in READ_METHODS
        return origin.lower() in {f"http://{host}" for host in self._hosts}

    def _has_token(self, authorization: str) -> bool:
        return hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())

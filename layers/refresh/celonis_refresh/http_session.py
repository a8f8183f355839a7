"""HTTP sessions on requests: no retries, no redirects, no cookies, nothing from the environment."""

from __future__ import annotations

from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy

from requests import Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ReadTimeout

CHUNK_BYTES = 64 * 1024


class NoRedirectSession(Session):
    """A session for which a redirect is an answer like any other."""

    def get_redirect_target(self, resp: Response) -> None:
        """Return None: requests would otherwise read the whole body of a redirect, of any size."""


def make_session(ca_certs: str | None = None) -> Session:
    """Return a new session. ``ca_certs``: a file with the certificates to trust; certifi's by default.

    ``trust_env`` is off: a .netrc entry would replace the Authorization header, and proxies or certificate
    bundles from environment variables would see the secrets.
    """
    session = NoRedirectSession()
    session.trust_env = False
    session.verify = ca_certs or True
    session.headers.clear()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=0))
    return session


def read_body(response: Response, limit: int, seconds_left: Callable[[], float]) -> bytes:
    """Return the decoded body; of one longer than ``limit`` bytes, some more than that.

    The response must be streamed. Raises ReadTimeout once no seconds are left, and urllib3's HTTPError where
    the connection breaks.
    """
    body = bytearray()
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > limit:
            break
        if seconds_left() <= 0:
            raise ReadTimeout("the body was not complete in time")
    return bytes(body)

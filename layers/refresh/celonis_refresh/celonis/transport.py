"""One request, one answer, inside a time budget. Repeats nothing, follows nothing."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlencode

from msgspec import Struct
from requests import RequestException, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidURL, ReadTimeout, SSLError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    ReadTimeoutError,
)

from celonis_refresh.celonis.calls import Call
from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.timing import Deadline

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


FIRST_FINAL_STATUS = 200
MAX_BODY = 8 * 1024 * 1024
# NAT gateways forget a silent connection after minutes, and a function may have been frozen in between. A
# POST into such a connection is lost in a way that cannot be distinguished from one that was carried out.
MAX_IDLE = 20.0


class Timeouts(Struct, frozen=True):
    """Seconds.

    ``connect``: until a connection stands. ``read``: until one exchange is over, connecting included.
    ``whole``: until a call is over, with the token request and the repeated requests that may be part of
    it.
    """

    connect: float = 3.05
    read: float = 10.0
    whole: float = 30.0


class Answer(Struct, frozen=True):
    """An answer as it came. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status})"  # the body may hold a token

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Transport:
    """Sends requests over connections that are kept open.

    The read timeout of requests holds for each read of the socket. A server that sends the headers of its
    answer byte by byte is therefore ended by the timeout of the function that waits for it.
    """

    def __init__(
        self, session: Session, timeouts: Timeouts, user_agent: str, clock: Callable[[], float]
    ) -> None:
        self._session = session
        self._timeouts = timeouts
        self._user_agent = user_agent
        # Not a monotonic clock: it may stand still while the function is frozen.
        self._clock = clock
        self._last_used = clock()

    def send(self, base_url: str, call: Call, headers: Mapping[str, str], seconds: float) -> Answer:
        """Send ``call`` once and read its answer, whatever its status, in ``seconds`` at most.

        Raises CelonisUnavailable where there is no whole answer; ValueError for a header with a line break.
        """
        if seconds <= 0:
            raise _unavailable(call, "there was no time left to send the request", never_left=True)
        self._forget_idle_connections()
        limits = (min(self._timeouts.connect, seconds), min(self._timeouts.read, seconds))
        try:
            return self._exchange(base_url, call, headers, limits)
        except (OSError, RequestException, HTTPError) as error:
            reason = _reason(error, limits, base_url)
            raise _unavailable(call, reason, never_left=_never_left(error)) from error
        finally:
            self._last_used = self._clock()

    def close(self) -> None:
        self._session.close()

    def _exchange(
        self, base_url: str, call: Call, headers: Mapping[str, str], limits: tuple[float, float]
    ) -> Answer:
        url = base_url + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        sent = self._headers(call, headers)
        deadline = Deadline.after(limits[1], time.monotonic)
        with self._session.request(
            call.method, url, headers=sent, data=call.body, timeout=limits, allow_redirects=False, stream=True
        ) as response:
            if response.status_code < FIRST_FINAL_STATUS:
                self.close()  # what follows an interim answer would be read as the answer to the next request
                raise _unavailable(call, "the answer is an interim one", status=response.status_code)
            body = read_body(response, MAX_BODY, deadline.left)
        if len(body) > MAX_BODY:
            reason = f"the answer is longer than {MAX_BODY} bytes"
            raise _unavailable(call, reason, status=response.status_code)
        return Answer(
            response.status_code, {name.lower(): value for name, value in response.headers.items()}, body
        )

    def _headers(self, call: Call, headers: Mapping[str, str]) -> dict[str, str]:
        own = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": self._user_agent,
        }
        if call.content_type is not None:
            own["Content-Type"] = call.content_type
        if any(sign in value for value in headers.values() for sign in "\r\n"):
            raise ValueError("a header has a line break")
        return {**own, **headers}

    def _forget_idle_connections(self) -> None:
        if abs(self._clock() - self._last_used) > MAX_IDLE:
            self.close()


def _unavailable(
    call: Call, reason: str, *, never_left: bool = False, status: int | None = None
) -> CelonisUnavailable:
    return CelonisUnavailable(
        f"No usable answer from Celonis while {call.doing}: {reason}.",
        hint="If this lasts, check the base_url of the connection, and that it can be reached from here.",
        may_have_started=call.acts and not never_left,
        method=call.method,
        path=call.path,
        status=status,
    )


def _reason(error: Exception, limits: tuple[float, float], base_url: str) -> str:
    connect, read = limits
    chain = list(_causes(error))
    host = base_url.partition("://")[2]
    if any(isinstance(one, NameResolutionError) for one in chain):
        return f"the host name {host} cannot be resolved"
    if isinstance(error, ConnectTimeout):
        return f"no connection within {connect:g} s"
    if any(isinstance(one, ReadTimeout | ReadTimeoutError | TimeoutError) for one in chain):
        return f"no whole answer within {read:g} s"
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain):
        return "its certificate cannot be trusted"
    if isinstance(error, SSLError):
        return "the encrypted connection failed"
    if _never_left(error):
        return f"no connection to {host}: nothing listens there, or it is no host"
    return "the connection broke before the whole answer had come"


def _never_left(error: Exception) -> bool:
    """Whether the request provably did not get to Celonis."""
    # urllib3's NewConnectionError is a ConnectTimeoutError, too.
    early = (InvalidURL, ConnectTimeoutError, LocationValueError, ssl.SSLCertVerificationError)
    return any(isinstance(one, early) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors it wraps.

    Not by ``__context__``: that may hold an error of an earlier request, whose proof is none for this one.
    """
    current: object = error
    while isinstance(current, BaseException):
        yield current
        # requests wraps urllib3's MaxRetryError, which has its cause as ``reason``.
        current = getattr(current, "reason", None) or (current.args[0] if current.args else None)

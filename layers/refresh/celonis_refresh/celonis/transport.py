"""One request, one answer, inside a time budget. Repeats nothing, follows nothing."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlencode

from msgspec import Struct
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from celonis_refresh.celonis.calls import Call
from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.wire import Pools, read_up_to

MAX_BODY = 8 * 1024 * 1024
# NAT gateways forget a silent connection after minutes, and a function may have been frozen in between. A
# POST into such a connection is lost in a way that cannot be told from one that was carried out.
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


class Deadline:
    """What is left of a budget of seconds."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    def remaining(self) -> float:
        return self._end - self._monotonic()


class Transport:
    """Sends requests over connections that are kept open."""

    def __init__(self, pools: Pools, timeouts: Timeouts, user_agent: str, clock: Callable[[], float]) -> None:
        self._pools = pools
        self._timeouts = timeouts
        self._user_agent = user_agent
        # Not a monotonic clock: it may stand still while the function is frozen.
        self._clock = clock
        self._last_used = clock()

    def send(self, base_url: str, call: Call, headers: Mapping[str, str], seconds: float) -> Answer:
        """Send ``call`` once and read its answer, whatever its status, in ``seconds`` at most.

        Raises CelonisUnavailable where there is no whole answer.
        """
        if seconds <= 0:
            raise _unavailable(call, "there was no time left to send the request", never_left=True)
        self._forget_idle_connections()
        limits = (min(self._timeouts.connect, seconds), min(self._timeouts.read, seconds))
        try:
            return self._exchange(base_url, call, headers, limits)
        except (OSError, HTTPError) as error:
            reason = _reason(error, limits, base_url)
            raise _unavailable(call, reason, never_left=_never_left(error)) from error
        finally:
            self._last_used = self._clock()

    def close(self) -> None:
        self._pools.clear()

    def _exchange(
        self, base_url: str, call: Call, headers: Mapping[str, str], limits: tuple[float, float]
    ) -> Answer:
        connect, read = limits
        url = base_url + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        sent = self._headers(call, headers)
        with self._pools.exchange(
            call.method, url, connect=connect, read=read, headers=sent, body=call.body
        ) as response:
            body = read_up_to(response, MAX_BODY)
        if len(body) > MAX_BODY:
            raise _unavailable(call, f"the answer is longer than {MAX_BODY} bytes", status=response.status)
        # Looked up by its name, a header that came twice is one, with both values.
        named = {name.lower(): response.headers[name] for name in response.headers}
        return Answer(response.status, named, body)

    def _headers(self, call: Call, headers: Mapping[str, str]) -> dict[str, str]:
        own = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": self._user_agent,
        }
        if call.content_type is not None:
            own["Content-Type"] = call.content_type
        return {**own, **headers}

    def _forget_idle_connections(self) -> None:
        if abs(self._clock() - self._last_used) > MAX_IDLE:
            self._pools.clear()


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
    chain = list(_inner(error))
    host = base_url.partition("://")[2]
    if any(isinstance(one, NameResolutionError) for one in chain):
        return f"the host name {host} cannot be resolved"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"no connection within {connect:g} s"
    if any(isinstance(one, ReadTimeoutError | TimeoutError) for one in chain):
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
    early = (ConnectTimeoutError, LocationValueError, ssl.SSLCertVerificationError)
    return any(isinstance(one, early) for one in _inner(error))


def _inner(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors it wraps.

    Not by ``__context__``: that may hold an error of an earlier request, whose proof is none for this one.
    """
    current: object = error
    while isinstance(current, BaseException):
        yield current
        current = current.args[0] if current.args else None

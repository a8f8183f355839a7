"""The requests session that this service speaks HTTP with.

The read time-out of requests is a time-out per read: a server that sends one byte now and then is never late.
Here it bounds the whole answer, headers and body, and the connecting before it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from socket import socket
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection


def new_session() -> requests.Session:
    """A session whose time-outs bound the whole exchange, and that takes nothing from its surroundings."""
    session = requests.Session()
    # With trust_env a .netrc entry for the host would replace the Authorization header. Without it there
    # is no proxy and no certificate bundle from environment variables either.
    session.trust_env = False
    # The API is signed per request. A session cookie of an earlier answer could only speak against that.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = WholeExchangeAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class WholeExchangeAdapter(HTTPAdapter):
    """Takes ``timeout=(connect, read)``, seconds; read bounds all, from connecting to the last byte.

    Looking up a host name is left to the system's resolver and its own time-outs.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        whole = Timeout(connect=connect, read=read, total=read)
        # requests takes urllib3's Timeout as it is; the type stubs do not say so.
        return super().send(request, stream, cast(Any, whole), verify, cert, proxies)


class _UntilDeadline(io.RawIOBase):
    """The bytes of a socket until a moment; then TimeoutError."""

    def __init__(self, sock: socket, raw: io.RawIOBase, seconds: float) -> None:
        super().__init__()
        self._socket = sock
        self._raw = raw
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out before the whole answer had come")
        self._socket.settimeout(remaining)
        return cast("int | None", cast(Any, self._raw).readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    """Reads its answer within the time-out that the socket has when the reading begins."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_UntilDeadline(sock, raw, seconds))


class _FreshTimeout:
    """The socket of a connection that is used again still has what was left of the last answer's time."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        connection = cast(HTTPConnection, self)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        super().request(*args, **kwargs)  # type: ignore[misc]


class _HTTPConnection(_FreshTimeout, HTTPConnection):
    response_class = _BoundedResponse


class _HTTPSConnection(_FreshTimeout, HTTPSConnection):
    response_class = _BoundedResponse


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection

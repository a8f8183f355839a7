"""The connections that this service speaks HTTP over.

The read time-out of urllib3 is a time-out per read: a server that sends one byte now and then is never late.
Here it bounds the whole answer, headers and body, and the connecting before it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from functools import cache
from http.client import BadStatusLine, HTTPResponse
from socket import socket
from ssl import CERT_REQUIRED, SSLContext
from typing import Any, cast

import certifi
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

_CHUNK = 64 * 1024
FIRST_FINAL = 200


class Pools(PoolManager):
    """Connections that are used again, host by host. They take nothing from their surroundings.

    There is no proxy and no certificate bundle from environment variables, no .netrc, whose entry would
    replace the Authorization header, and no cookie: each request is signed by itself, and a session of an
    earlier answer could only speak against that. ``ca_certs``: the file with the certificates to trust,
    certifi's unless one is given.
    """

    def __init__(self, ca_certs: str | None = None) -> None:
        super().__init__(ca_certs=ca_certs)
        bounded(self)

    def exchange(
        self,
        method: str,
        url: str,
        *,
        connect: float,
        read: float,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> BaseHTTPResponse:
        """Send one request once; follow no redirect. The answer comes with its body still to be read.

        ``connect``: seconds until a connection stands. ``read``: seconds for everything, from connecting to
        the last byte of the body; looking up the host's name is left to the system's resolver and its own
        time-outs. Use the answer in a ``with`` block: one that is not read to its end gives up its
        connection there. Raises urllib3's HTTPError, also while the body is read; ValueError for a header
        that would become two.
        """
        if any(sign in value for value in headers.values() for sign in "\r\n"):
            raise ValueError("a header has a line break")  # http.client lets some pass, as folded lines
        return self.urlopen(
            method,
            url,
            body=body,
            headers=dict(headers),
            timeout=Timeout(connect=connect, read=read, total=read),
            retries=False,
            redirect=False,
            preload_content=False,
        )


def bounded(manager: PoolManager) -> PoolManager:
    """Its read time-outs are for the whole answer from now on, and an interim answer is none."""
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager


def read_up_to(answer: BaseHTTPResponse, limit: int) -> bytes:
    """The decoded body of an answer; of one that is longer than ``limit`` bytes, some more than that."""
    body = bytearray()
    for chunk in answer.stream(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


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
    """Reads its one answer within the time-out that the socket has when the reading begins."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_UntilDeadline(sock, raw, seconds))

    def begin(self) -> None:
        super().begin()
        if self.status < FIRST_FINAL:  # what follows it would be taken for the answer to the next request
            raise BadStatusLine(f"{self.status}: an interim answer that nobody asked for")


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

    def __init__(self, host: str, port: int, *, ca_certs: str | None = None, **more: Any) -> None:
        super().__init__(host, port, ssl_context=trusting(ca_certs or certifi.where()), **more)


@cache
def trusting(ca_certs: str) -> SSLContext:
    """Trusts the certificates of a file. Kept for all: reading them takes as long as connecting does."""
    context = create_urllib3_context(cert_reqs=CERT_REQUIRED)
    context.load_verify_locations(ca_certs)
    return context

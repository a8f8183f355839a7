"""The server of the local stack, byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from local.aws.http_server import HttpRequest, HttpResponse, LoopbackServer

HEAD = b"POST /path HTTP/1.1\r\nHost: local\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SECONDS = 20


class Served:
    """A server that answers 200. ``requests``: what it has handled."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.server = LoopbackServer(self._handle, name="test")

    def _handle(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return HttpResponse(200)

    def response(self, sent: bytes) -> bytes:
        """Send these bytes and nothing more; return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.server.port), SECONDS) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while part := client.recv(4096):
                received += part
            return received


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    made.server.start()
    yield made
    made.server.stop()


@pytest.mark.parametrize(
    "sent",
    [HEAD + b"Content-Length: 5\r\n\r\nwhole", CHUNKED + b"3\r\nwho\r\n2\r\nle\r\n0\r\n\r\n"],
    ids=["length", "chunks"],
)
def test_a_whole_request_is_handled(served: Served, sent: bytes) -> None:
    assert served.response(sent).startswith(b"HTTP/1.1 200")
    assert [request.body for request in served.requests] == [b"whole"]


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 5\r\n\r\nwho",
        CHUNKED,
        CHUNKED + b"3\r\nwh",
        CHUNKED + b"3\r\nwho\r\n",
        CHUNKED + b"3\r\nwho\r\n0\r\n",
    ],
    ids=["length", "no chunk", "part of a chunk", "no last chunk", "no end"],
)
def test_a_request_whose_sender_died_changes_nothing(served: Served, sent: bytes) -> None:
    assert served.response(sent) == b""
    assert served.requests == []

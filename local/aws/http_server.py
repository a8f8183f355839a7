"""A small threaded HTTP/1.1 server on loopback: keep-alive, no Nagle delay, one handler for every request."""

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class HttpRequest:
    """One request: `target` is path and query as sent; header names keep the case they were sent with."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str = _LOOPBACK

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        lower_name = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower_name), None)


@dataclass(frozen=True)
class HttpResponse:
    """One response; the server adds Content-Length."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


Handle = Callable[[HttpRequest], HttpResponse]


class LoopbackServer:
    """Serves `handle` on 127.0.0.1 from its own thread, a thread per connection.

    `max_body` is the largest body read (bytes); a longer one is answered with 413 unread. The server
    listens from construction on, so that its address can be handed out before it serves.
    """

    def __init__(self, handle: Handle, *, name: str, port: int = 0, max_body: int = 64 * 1024 * 1024) -> None:
        handler = type("Handler", (_Handler,), {"handle_request": staticmethod(handle), "max_body": max_body})
        self._server = _Server((_LOOPBACK, port), handler)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True, name=name)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{_LOOPBACK}:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting; open connections end when their clients close them."""
        self._stopping.set()
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                # A connection wakes accept(), which then stops.
                socket.create_connection((_LOOPBACK, self.port), timeout=1).close()
            self._thread.join(timeout=5)
        self._server.server_close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, address = self._server.get_request()
            except OSError:
                # Out of file descriptors, or the client disconnected before it was accepted.
                log.exception("a connection could not be accepted")
                self._stopping.wait(0.05)
                continue
            if self._stopping.is_set():
                connection.close()
                return
            self._server.process_request(connection, address)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's name
        """Ignore disconnected clients; report other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("the connection of %s broke", client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    handle_request: Handle
    max_body: int

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            self.close_connection = True
            self._send(HttpResponse(413, b'{"message":"Request Entity Too Large"}'))
            return
        request = HttpRequest(
            self.command, self.path, list(self.headers.items()), body, self.client_address[0]
        )
        try:
            response = self.handle_request(request)
        except Exception:
            log.exception("%s %s could not be answered", request.method, request.path)
            response = HttpResponse(500, b'{"message":"Internal Server Error"}')
        self._send(response)

    def _read_body(self) -> bytes | None:
        """Return the body, None if it is too large. Raises ``ConnectionAbortedError``."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        length = int(self.headers.get("Content-Length") or 0)
        return None if length > self.max_body else self._read(length)

    def _read_chunks(self) -> bytes | None:
        parts: list[bytes] = []
        total = 0
        while size := int(self._read_line().split(b";")[0], 16):
            total += size
            if total > self.max_body:
                return None
            parts.append(self._read(size))
            self._read_line()
        while self._read_line().strip():
            continue
        return b"".join(parts)

    def _read(self, length: int) -> bytes:
        """Read exactly so many bytes: what a sender that died has sent in part is no request."""
        found = self.rfile.read(length)
        if len(found) < length:
            raise ConnectionAbortedError(f"{len(found)} of {length} bytes have arrived")
        return found

    def _read_line(self) -> bytes:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            raise ConnectionAbortedError("a line has not arrived to its end")
        return line

    def _send(self, response: HttpResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in response.headers):
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not logged: the functions' own logs say what happened."""

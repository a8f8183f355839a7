"""HTTP on sockets: a threaded server with keep-alive, which can damage its responses."""

from __future__ import annotations

import contextlib
import http
import socket
import ssl
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.celonis.answers import ApiResponse, error
from local.celonis.dispatcher import DispatchedResponse, RawRequest
from local.celonis.faults import RequestFault

MAX_BODY_BYTES = 1_000_000
MAX_LINE_BYTES = 65_536
MISSING_BYTES = 64  # Content-Length of a truncated response without a body
MAX_DIGITS = 9  # of a Content-Length
DRIPS = 20
EMPTY_LINES = (b"\r\n", b"\n")
NO_BODY = frozenset({204, 304})
WORDS = 3  # of a request line: method, target, version
Serve = Callable[[RawRequest], DispatchedResponse]


def no_headers() -> dict[str, str]:
    """No further headers."""
    return {}


def raw_answer(answer: ApiResponse, missing: int = 0) -> tuple[bytes, bytes]:
    """Return head and body to send; Content-Length is ``missing`` bytes larger than the body."""
    phrase = http.HTTPStatus(answer.status).phrase if answer.status in set(http.HTTPStatus) else "Unknown"
    headers = {"Server": "celonis-simulator", **answer.headers}
    if answer.content_type is not None:
        headers.setdefault("Content-Type", answer.content_type)
    if answer.status not in NO_BODY or missing:
        headers["Content-Length"] = str(len(answer.body) + missing)
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n" + "".join(
        f"{key}: {value}\r\n" for key, value in headers.items()
    )
    return head.encode() + b"\r\n", b"" if answer.status in NO_BODY else answer.body


class Handler(BaseHTTPRequestHandler):
    """Reads requests from one connection and writes the answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server
    raw_requestline: bytes

    def parse_request(self) -> bool:
        """Read the request line and the headers. False when they were refused or the connection ended."""
        if self.raw_requestline in EMPTY_LINES:  # one may come before a request line (RFC 9112)
            self.raw_requestline = self.rfile.readline(MAX_LINE_BYTES)
        if self.raw_requestline and len(str(self.raw_requestline, "iso-8859-1").split()) < WORDS:
            self.command = ""
            self.send_error(http.HTTPStatus.BAD_REQUEST)
            return False
        return super().parse_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Reject an unreadable request with the JSON error format, and close the connection."""
        self.close_connection = True
        refused = error(int(code))
        self._write(replace(refused, headers={"Connection": "close"}))

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve every method: the base class calls ``do_`` and the method's name."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            self.send_error(http.HTTPStatus.BAD_REQUEST)
            return
        is_long = len(length) > MAX_DIGITS or int(length) > MAX_BODY_BYTES
        if is_long or "Transfer-Encoding" in self.headers:
            self.send_error(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.send_error(http.HTTPStatus.BAD_REQUEST)
            return
        reply = self.server.serve(
            RawRequest(self.command, self.path, self.headers.get("Authorization"), body)
        )
        self._send(reply.answer, reply.fault)

    def _send(self, answer: ApiResponse, fault: RequestFault | None) -> None:
        kind = fault.kind if fault is not None else None
        self.close_connection = self.close_connection or kind in {"drop", "reset", "truncated"}
        if kind == "drop":
            return
        if kind == "reset":
            self.server.reset(self.connection)
        elif kind == "truncated":
            cut = len(answer.body) // 2
            kept, missing = answer.body[:cut], len(answer.body) - cut
            self._write(replace(answer, body=kept), missing or MISSING_BYTES)
        elif fault is not None and kind == "drip":
            self._drip(self._raw(answer), fault.seconds)
        else:
            self._write(answer)

    def _write(self, answer: ApiResponse, missing: int = 0) -> None:
        self.wfile.write(self._raw(answer, missing))

    def _raw(self, answer: ApiResponse, missing: int = 0) -> bytes:
        headers = {**self.server.headers(), **answer.headers}
        head, body = raw_answer(replace(answer, headers=headers), missing)
        return head if self.command == "HEAD" else head + body

    def _drip(self, raw: bytes, seconds: float) -> None:
        step = max(1, len(raw) // DRIPS)
        for start in range(0, len(raw), step):
            self.wfile.write(raw[start : start + step])
            self.wfile.flush()
            self.server.wait(seconds / DRIPS)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base's
        """Log nothing: the ledger holds every request."""


class Server(ThreadingHTTPServer):
    """Serves on a thread of its own until :meth:`stop`. ``serve`` handles one request and is thread-safe.

    ``headers``: returns default headers of all responses.
    """

    daemon_threads = False
    block_on_close = True
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        serve: Serve,
        context: ssl.SSLContext | None = None,
        headers: Callable[[], dict[str, str]] = no_headers,
    ) -> None:
        self.serve = serve
        self.headers = headers
        self._context = context
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._resets: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name=f"http {self.server_port}"
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, wake all waiting threads, close all connections and join all threads."""
        self._stopping.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def wait(self, seconds: float) -> None:
        """Sleep real seconds, or until the server stops."""
        if seconds > 0:
            self._stopping.wait(seconds)

    def reset(self, connection: socket.socket) -> None:
        """End ``connection`` with a TCP reset when its handler is done."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._open_lock:
            self._resets.add(connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; the TLS handshake is left to the connection's own thread."""
        connection, address = super().get_request()
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self._open_lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, with a reset if :meth:`reset` was called."""
        with self._open_lock:
            is_reset = request in self._resets
            self._resets.discard(request)
            self._open.discard(request)
        if is_reset:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the base's signature
        """A disconnected client is not reported; everything else is an error of the simulator."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()

"""HTTP on sockets: a threaded server that keeps connections alive, and answers that arrive spoiled."""

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

from local.celonis.answers import Answer
from local.celonis.faults import Fault
from local.celonis.front import Incoming, Reply

MAX_BODY_BYTES = 1_000_000
MISSING_BYTES = 64  # so many bytes an answer without a body promises when it is truncated
DRIPS = 20
Serve = Callable[[Incoming], Reply]


def raw_answer(answer: Answer, missing: int = 0) -> bytes:
    """The answer as it goes over the wire; Content-Length promises ``missing`` bytes more than there are."""
    phrase = http.HTTPStatus(answer.status).phrase if answer.status in set(http.HTTPStatus) else "Unknown"
    headers = {"Server": "celonis-simulator", **answer.headers}
    if answer.content_type is not None:
        headers.setdefault("Content-Type", answer.content_type)
    if answer.status not in {204, 304} or missing:
        headers["Content-Length"] = str(len(answer.body) + missing)
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n" + "".join(
        f"{key}: {value}\r\n" for key, value in headers.items()
    )
    return head.encode() + b"\r\n" + answer.body


class Handler(BaseHTTPRequestHandler):
    """Reads requests from one connection and writes the answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.wfile.write(raw_answer(Answer(413 if length.isdecimal() else 400)))
            return
        body = self.rfile.read(int(length))
        reply = self.server.serve(Incoming(self.command, self.path, self.headers.get("Authorization"), body))
        self._send(reply.answer, reply.fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve  # noqa: N815  names of http.server

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else None
        self.close_connection = self.close_connection or kind in {"drop", "reset", "truncated"}
        if kind == "drop":
            return
        if kind == "reset":
            self.server.reset(self.connection)
        elif kind == "truncated":
            cut = len(answer.body) // 2
            kept, missing = answer.body[:cut], len(answer.body) - cut
            self.wfile.write(raw_answer(replace(answer, body=kept), missing or MISSING_BYTES))
        elif fault is not None and kind == "drip":
            self._drip(raw_answer(answer), fault.seconds)
        else:
            self.wfile.write(raw_answer(answer))

    def _drip(self, raw: bytes, seconds: float) -> None:
        step = max(1, len(raw) // DRIPS)
        for start in range(0, len(raw), step):
            self.wfile.write(raw[start : start + step])
            self.wfile.flush()
            self.server.wait(seconds / DRIPS)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base's
        """Stay quiet: the ledger holds every request."""


class Server(ThreadingHTTPServer):
    """Serves on a thread of its own until :meth:`stop`. ``serve`` handles one request and is thread-safe."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], serve: Serve, context: ssl.SSLContext | None = None) -> None:
        self.serve = serve
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
        """Stop serving, wake whoever waits, close all connections and join all threads."""
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
        """Let ``connection`` end with a TCP reset when its handler is done."""
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
        """Close a connection: in order, or with a reset if that was asked for."""
        with self._open_lock:
            is_reset = request in self._resets
            self._resets.discard(request)
            self._open.discard(request)
        if is_reset:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the base's signature
        """A client that went away is nothing to report; everything else is a fault of the simulator."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()

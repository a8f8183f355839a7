"""A receiver of webhooks on this machine, which can misbehave; ``make receiver`` prints what it receives.

A request to ``/{name}`` is recorded under that name. ``behave`` says how the next requests are answered; all
others are answered as ``default`` says.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args

from celonis_refresh.notifications.payloads import SIGNATURE, signed_headers
from celonis_refresh.webhooks.verification import key_of
from local.stop_request import StopRequest

Behaviour = Literal["ok", "500", "429", "404", "redirect", "slow", "drip", "close", "close after"]
"""``slow``: no answer for a long time. ``drip``: an answer byte by byte. ``close``: the connection is closed
before the request is read; ``close after``: once it was recorded."""
STATUSES = {"ok": 200, "500": 500, "429": 429, "404": 404, "redirect": 302}
SLOW_SECONDS, DRIP_SECONDS = 30.0, 0.5
PORT = 8765
"""Where ``make receiver`` listens."""
SHOWN_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True)
class ReceivedRequest:
    """``headers``: names in lower case. ``query``: of its address, without the question mark."""

    name: str
    headers: dict[str, str]
    body: bytes
    query: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    def is_signed_with(self, secret: str) -> bool:
        """Whether a signature of Standard Webhooks fits the secret (``whsec_`` and base64)."""
        message_id, timestamp, offered = (self.headers.get(name, "") for name in SHOWN_HEADERS)
        if not timestamp.isdecimal():
            return False
        expected = signed_headers(secret, message_id, int(timestamp), self.body)
        return expected["webhook-signature"] in offered.split()

    def text(self, secret: str = "") -> str:
        """What ``make receiver`` prints: the address, the signature, the body as it was sent and indented.

        ``secret``: with which signatures are checked, if there is one.
        """
        headers = [f"{name}: {self.headers[name]}" for name in SHOWN_HEADERS if name in self.headers]
        if "webhook-signature" in self.headers:
            if secret:
                headers.append(
                    f"signature {'fits' if self.is_signed_with(secret) else 'DOES NOT FIT'} the secret"
                )
            headers.append(f"body as sent: {self.body.decode('utf-8', 'replace')}")
        try:
            body = json.dumps(self.document, indent=2, ensure_ascii=False)
        except ValueError:
            body = self.body.decode("utf-8", "replace")
        target = f"{self.name}?{self.query}" if self.query else self.name
        return "\n".join([f"POST /{target}", *headers, body, ""])


@dataclass
class Receiver:
    """``url``: where it listens, without a slash at the end. ``on_request``: is called for each request."""

    url: str = ""
    default: Behaviour = "ok"
    on_request: Callable[[ReceivedRequest], None] = lambda _: None
    _requests: list[ReceivedRequest] = field(default_factory=list)
    _behaviours: dict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def behave(self, name: str, *behaviours: Behaviour) -> None:
        """Answer the next requests of a name like this, in order."""
        with self._lock:
            self._behaviours[name] = deque(behaviours)

    def requests(self, name: str) -> list[ReceivedRequest]:
        """The requests to a name so far."""
        with self._lock:
            return [request for request in self._requests if request.name == name]

    def next_behaviour(self, name: str) -> Behaviour:
        with self._lock:
            behaviours = self._behaviours[name]
            return behaviours.popleft() if behaviours else self.default

    def record(self, request: ReceivedRequest) -> None:
        with self._lock:
            self._requests.append(request)
            self.on_request(request)

    def wait(self, seconds: float) -> None:
        """Wait; shorter if the receiver stops."""
        self._stopped.wait(seconds)

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        path, _, query = self.path.partition("?")
        receiver, name = self.server.receiver, path.strip("/")
        behaviour = receiver.next_behaviour(name)
        if behaviour == "close":
            self.close_connection = True
            return
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died
            self.close_connection = True
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        receiver.record(ReceivedRequest(name, headers, body, query))
        if behaviour == "close after":
            self.close_connection = True
        elif behaviour == "slow":
            receiver.wait(SLOW_SECONDS)
        elif behaviour == "drip":
            self._drip()
        else:
            self.send_response(STATUSES[behaviour])
            if behaviour == "redirect":
                self.send_header("Location", f"{receiver.url}/redirected")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _drip(self) -> None:
        end = time.monotonic() + SLOW_SECONDS
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while time.monotonic() < end and not self.server.receiver.is_stopped:
            self.wfile.write(b"x")
            self.server.receiver.wait(DRIP_SECONDS)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@contextmanager
def receiver(
    port: int = 0,
    default: Behaviour = "ok",
    on_request: Callable[[ReceivedRequest], None] = lambda _: None,
) -> Iterator[Receiver]:
    """A receiver that listens until the end of the block. ``port``: 0 takes a free one."""
    server = _Server(("127.0.0.1", port), _Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}", default, on_request)
    server.receiver = made
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        server.shutdown()
        server.server_close()
        thread.join()


def _secret(text: str) -> str:
    """Return a secret that is valid. Raises ArgumentTypeError."""
    if not key_of(SIGNATURE, text):
        raise argparse.ArgumentTypeError("it is not base64. Copy the secret of the channel")
    return text


def main() -> int:
    """``make receiver``: prints what arrives until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make receiver", description="Prints the webhooks that arrive.")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument(
        "--answer", choices=get_args(Behaviour), default="ok", help="how requests are answered"
    )
    parser.add_argument("--secret", type=_secret, help="of the webhook, whsec_…: checks its signatures")
    arguments = parser.parse_args()
    stop = StopRequest()
    try:
        with receiver(
            arguments.port,
            arguments.answer,
            lambda request: print(request.text(arguments.secret or ""), flush=True),
        ) as listening:
            print(f"Listening on {listening.url}. Ctrl-C stops it.\n", flush=True)
            stop.wait()
    except OSError as error:
        print(
            f"make receiver: port {arguments.port} cannot be used ({error.strerror}). Name another one: "
            "make receiver PORT=8766, and export RECEIVER_URL=http://127.0.0.1:8766",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

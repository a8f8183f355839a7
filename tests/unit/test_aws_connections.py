"""Requests of botocore over real connections on the loopback: time-outs, certificates, proxies."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from urllib3 import Timeout

from celonis_refresh.aws.clients import Patience
from celonis_refresh.aws.connections import Connections
from celonis_refresh.aws.in_time import InTime
from celonis_refresh.timing import Deadline, within
from local.celonis.tls import make_certificate
from tests.fakes.slowness import hung_up

pytestmark = pytest.mark.enable_socket

SOON = Timeout(total=5.0, connect=1.0, read=2.0)


class Server(ThreadingHTTPServer):
    """Answers every POST with ``status`` after the next of ``takes`` seconds. ``asked``: path and body.

    ``drips``: seconds before each byte of the body; ``interim``: bytes that come before the answer.
    """

    daemon_threads = True

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.takes: list[float] = []
        self.status, self.cut, self.drips, self.connections = 200, False, 0.0, 0
        self.interim = b""
        self.asked: list[tuple[str, bytes]] = []
        self.scheme = "https" if trust else "http"
        if trust:
            self.socket = trust.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        server = self.server
        server.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        if server.takes and hung_up(self.connection, server.takes.pop(0)):
            self.close_connection = True
            return
        if server.cut:
            self.close_connection = True
            return
        body = json.dumps({"Parameter": {"Value": "found"}}).encode()
        self.wfile.write(server.interim)
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for piece in [bytes([byte]) for byte in body] if server.drips else [body]:
            if server.drips and hung_up(self.connection, server.drips):
                self.close_connection = True
                return
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextlib.contextmanager
def serving(trust: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(trust)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def request(url: str, body: bytes = b"{}") -> AWSPreparedRequest:
    headers = {"X-Amz-Target": b"AmazonSSM.GetParameter", "Content-Length": str(len(body))}
    return AWSPreparedRequest("POST", url, headers, body, stream_output=False)


def test_an_answer_that_drips_is_given_up_as_a_whole(server: Server) -> None:
    server.drips = 0.1  # each byte comes in time, all of them do not
    with pytest.raises(ReadTimeoutError):
        Connections().send(request(server.url), Timeout(total=1.0, connect=0.5, read=0.5))


def test_an_interim_answer_is_no_answer_and_not_the_next_ones(server: Server) -> None:
    connections = Connections()
    server.interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    with pytest.raises(ConnectionClosedError):
        connections.send(request(server.url), SOON)
    server.interim, server.status = b"", 404
    assert connections.send(request(server.url), SOON).status_code == 404
    assert server.connections == 2


def test_answers_are_read_whole_and_connections_used_again(server: Server) -> None:
    connections = Connections()
    for number in range(3):
        answer = connections.send(request(server.url, str(number).encode()), SOON)
        assert (answer.status_code, json.loads(answer.content)) == (200, {"Parameter": {"Value": "found"}})
    assert server.asked == [("/", b"0"), ("/", b"1"), ("/", b"2")]
    assert server.connections == 1


def test_an_error_of_the_server_is_an_answer(server: Server) -> None:
    server.status = 503
    assert Connections().send(request(server.url), SOON).status_code == 503


@pytest.mark.parametrize("timeout", [Timeout(total=0.1, read=2.0), Timeout(total=5.0, read=0.1)])
def test_the_time_out_is_that_of_the_request(server: Server, timeout: Timeout) -> None:
    connections = Connections()
    connections.send(request(server.url), SOON)
    server.takes = [1.5]
    began = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        connections.send(request(server.url), timeout)
    assert time.monotonic() - began < 1.0
    assert connections.send(request(server.url), SOON).status_code == 200


def test_what_keeps_an_answer_away_is_told_as_botocore_tells_it(server: Server) -> None:
    server.cut = True
    with pytest.raises(ConnectionClosedError):
        Connections().send(request(server.url), SOON)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EndpointConnectionError):
        Connections().send(request(f"http://127.0.0.1:{port}/"), SOON)


def test_a_certificate_is_trusted_where_its_bundle_is_named_and_nowhere_else(tmp_path: Path) -> None:
    trust, bundle = make_certificate(tmp_path)
    with serving(trust) as server:
        assert Connections(str(bundle)).send(request(server.url), SOON).status_code == 200
        with pytest.raises(HTTPClientError, match="CERTIFICATE_VERIFY_FAILED"):
            Connections().send(request(server.url), SOON)
        assert len(server.asked) == 1


def test_a_proxy_of_the_environment_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    answer = Connections().send(request("http://ssm.eu-central-1.amazonaws.com/"), SOON)
    assert answer.status_code == 200
    assert server.asked == [("http://ssm.eu-central-1.amazonaws.com/", b"{}")]


def test_a_client_asks_again_what_was_answered_too_late(server: Server) -> None:
    client = botocore.session.get_session().create_client(
        "ssm",
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url=server.url,
    )
    InTime(Patience(0.5, 0.2, 3, bounded=True), Connections().send).bind(client.meta.events)
    server.takes = [1.0]
    with within(Deadline.after(5.0, time.time)):
        assert client.get_parameter(Name="n")["Parameter"]["Value"] == "found"
    (first, again) = server.asked
    assert first == again
    server.asked.clear()
    with within(Deadline.after(0.0, time.time)), pytest.raises(ConnectTimeoutError):
        client.get_parameter(Name="n")
    assert server.asked == []

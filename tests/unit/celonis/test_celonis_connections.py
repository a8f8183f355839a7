"""The client over real connections on the loopback: slow, cut and refused answers, connections used again."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, Connection
from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.celonis.transport import MAX_BODY, MAX_IDLE, Timeouts, Transport, get_job, make_session
from tests.fakes.slow_servers import hung_up

pytestmark = pytest.mark.enable_socket

BODY = b'{"id": "j", "status": "RUNNING"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
TIMEOUTS = Timeouts(connect=1.0, read=0.3, whole=5.0)
ROOMY = Timeouts(connect=1.0, read=0.7, whole=5.0)
"""For a response that comes late, but in time also on a busy machine."""
PATIENT = Timeouts(connect=10.0, read=10.0, whole=20.0)
"""Where time is not what is tested."""
Serve = Callable[[socket.socket], None]


class ScriptedServer:
    """Answers each request on each connection with the next of ``answers``, in one thread."""

    def __init__(self, *answers: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = self._listener.getsockname()[1]
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        with contextlib.suppress(OSError):  # wakes the thread that waits for a connection
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join(5)
        self._listener.close()

    def _run(self) -> None:
        while not self._done.is_set():
            plain, _ = self._listener.accept()
            with contextlib.suppress(OSError), plain, self._wrapped(plain) as connection:
                connection.settimeout(2)
                self._talk(connection)

    def _wrapped(self, plain: socket.socket) -> socket.socket:
        plain.settimeout(2)
        return self._tls.wrap_socket(plain, server_side=True) if self._tls else plain

    def _talk(self, connection: socket.socket) -> None:
        self.connections += not self._done.is_set()
        while self._answers and not self._done.is_set():
            request = connection.recv(65536)
            if not request:
                return
            self.requests.append(request)
            self._answers.pop(0)(connection)


@contextlib.contextmanager
def _serving(
    *answers: Serve, timeouts: Timeouts = TIMEOUTS
) -> Iterator[tuple[ScriptedServer, CelonisClient]]:
    server = ScriptedServer(*answers)
    client = _client(server.port, timeouts)
    try:
        yield server, client
    finally:
        client.close()
        server.stop()


def _client(port: int, timeouts: Timeouts = TIMEOUTS) -> CelonisClient:
    connection = Connection("main", f"http://127.0.0.1:{port}", ApiKey("key"))
    return CelonisClient(connection, timeout=timeouts)


def _whole(connection: socket.socket) -> None:
    connection.sendall(HEAD + BODY)


def _cut(connection: socket.socket) -> None:
    connection.sendall(HEAD + BODY[:7])
    connection.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _silent(connection: socket.socket) -> None:
    connection.recv(1)


def _dripping(first: bytes, rest: bytes) -> Serve:
    """Sends ``first`` and then ``rest`` byte by byte: each comes in time, the whole does not."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(first)
        for byte in rest:
            if hung_up(connection, 0.05):
                return
            connection.sendall(bytes([byte]))

    return drip


SLOW = {
    "body": _dripping(HEAD, BODY),
    "chunks": _dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n" * 9),
    "silent": _silent,
}


def test_an_answer_is_read_and_its_connection_used_again() -> None:
    with _serving(_whole, _whole) as (server, client):
        assert client.job("p", "j").status == "RUNNING"
        client.execute_job("p", "j", "FULL")
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /integration/api/pools/p/jobs/j HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer key\r\n" in server.requests[0]
    assert server.requests[1].startswith(
        b"POST /integration/api/v2/data-pools/p/data-jobs/j/execute?mode=FULL HTTP/1.1\r\n"
    )


@pytest.mark.parametrize("serve", SLOW.values(), ids=SLOW.keys())
def test_a_server_that_answers_slowly_does_not_hold_the_call(serve: Serve) -> None:
    with _serving(serve) as (_, client):
        begun = time.monotonic()
        with pytest.raises(CelonisUnavailable, match=r"no complete answer within 0\.3 s") as caught:
            client.execute_job("p", "j", "FULL")
        took = time.monotonic() - begun
    assert 0.25 < took < 0.8
    assert caught.value.may_have_started is True


def test_a_server_that_falls_silent_in_the_middle_has_twice_the_time_at_most() -> None:
    """The timeout of requests holds for each read; the time of the whole body is checked between them."""

    def late_and_silent(connection: socket.socket) -> None:
        if not hung_up(connection, 0.5):
            connection.sendall(HEAD)
            connection.recv(1)

    with _serving(late_and_silent, timeouts=ROOMY) as (_, client):
        begun = time.monotonic()
        with pytest.raises(CelonisUnavailable):
            client.job("p", "j")
        assert time.monotonic() - begun < 2 * ROOMY.read


def test_an_endless_response_is_abandoned_at_the_size_limit() -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(HEAD.replace(b"%d" % len(BODY), b"%d" % (10 * MAX_BODY)))
        connection.sendall(b" " * (MAX_BODY + 65536))
        connection.recv(1)

    with (
        _serving(endless, timeouts=PATIENT) as (_, client),
        pytest.raises(CelonisUnavailable, match="longer than"),
    ):
        client.job("p", "j")


def test_the_time_for_an_answer_begins_anew_on_a_connection_that_is_used_again() -> None:
    def late(connection: socket.socket) -> None:
        if not hung_up(connection, 0.3):
            _whole(connection)

    with _serving(late, late, late, timeouts=ROOMY) as (server, client):
        for _ in range(3):
            client.job("p", "j")
    assert server.connections == 1


@pytest.mark.parametrize("body", [b"", BODY], ids=["empty", "with a body"])
def test_a_redirect_is_not_followed_and_its_connection_used_again(body: bytes) -> None:
    def elsewhere(connection: socket.socket) -> None:
        head = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)

    with _serving(elsewhere, _whole, timeouts=PATIENT) as (server, client):
        with pytest.raises(CelonisUnavailable, match="redirected"):
            client.execute_job("p", "j", "FULL")
        assert client.job("p", "j").status == "RUNNING"
    assert [request.split(b" ")[0] for request in server.requests] == [b"POST", b"GET"]
    assert server.connections == 1


def test_a_response_without_a_body_is_accepted_and_an_empty_post_sends_length_zero() -> None:
    def nothing(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with _serving(nothing, nothing, timeouts=PATIENT) as (server, client):
        client.cancel_job("p", "j")
        client.cancel_job("p", "j")
    assert server.connections == 1
    assert all(b"\r\nContent-Length: 0\r\n" in request for request in server.requests)


def _chunked(head: bytes, body: bytes) -> bytes:
    lines = b"".join(b"%x\r\n%b\r\n" % (len(body[at:][:5]), body[at:][:5]) for at in range(0, len(body), 5))
    return b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, lines)


PACKED = {
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(gzip.compress(BODY)), gzip.compress(BODY)),
    "chunks": _chunked(b"", BODY),
    "gzip in chunks": _chunked(b"Content-Encoding: gzip\r\n", gzip.compress(BODY)),
}


@pytest.mark.parametrize("answer", PACKED.values(), ids=PACKED.keys())
def test_an_answer_is_read_however_it_is_packed_and_its_connection_used_again(answer: bytes) -> None:
    def packed(connection: socket.socket) -> None:
        connection.sendall(answer)

    with _serving(packed, _whole, timeouts=PATIENT) as (server, client):
        assert client.job("p", "j").status == "RUNNING"
        assert client.job("p", "j").status == "RUNNING"
    assert server.connections == 1


@pytest.mark.parametrize("encoding", [b"", b"Content-Encoding: gzip\r\n"], ids=["plain", "gzip"])
def test_endless_chunks_are_abandoned_at_the_size_limit(encoding: bytes) -> None:
    data = gzip.compress(bytes(4 * MAX_BODY)) if encoding else bytes(MAX_BODY + 65536)

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % encoding)
        connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        connection.recv(1)

    with _serving(endless, _whole, timeouts=PATIENT) as (server, client):
        with pytest.raises(CelonisUnavailable, match="longer than"):
            client.job("p", "j")
        assert client.job("p", "j").status == "RUNNING"
    assert server.connections == 2


def test_headers_of_the_same_name_are_one_and_the_case_of_a_name_does_not_count() -> None:
    def twice(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Two: 1\r\nx-two: 2\r\n\r\n")

    with _serving(twice, timeouts=PATIENT) as (server, _):
        transport = Transport(make_session(), PATIENT, "agent/1", time.time)
        answer = transport.send(f"http://127.0.0.1:{server.port}", get_job("p", "j"), {}, 10.0)
    assert answer.headers["x-two"] == "1, 2"


@pytest.mark.parametrize("by", ["closing", "a long pause"])
def test_an_abandoned_connection_is_closed_and_the_next_call_opens_its_own(by: str) -> None:
    now = [1_700_000_000.0]
    with _serving(_whole, _whole) as (server, _):
        connection = Connection("main", f"http://127.0.0.1:{server.port}", ApiKey("key"))
        client = CelonisClient(connection, timeout=PATIENT, clock=lambda: now[0])
        client.job("p", "j")
        if by == "closing":
            client.close()
        now[0] += MAX_IDLE + 1
        client.job("p", "j")  # the server serves one connection at a time: the first has ended
        client.close()
    assert server.connections == 2


@pytest.mark.parametrize("serve", [_cut, _reset], ids=["cut", "reset"])
def test_a_start_whose_answer_broke_off_may_have_started(serve: Serve) -> None:
    with _serving(serve) as (_, client), pytest.raises(CelonisUnavailable, match="closed before") as caught:
        client.execute_job("p", "j", "FULL")
    assert caught.value.may_have_started is True


def test_after_an_answer_that_broke_off_the_next_call_has_a_connection_of_its_own() -> None:
    with _serving(_cut, _whole) as (server, client):
        with pytest.raises(CelonisUnavailable):
            client.job("p", "j")
        assert client.job("p", "j").id == "j"
    assert server.connections == 2


def test_a_start_with_a_refused_connection_has_not_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(CelonisUnavailable, match="the host refused it") as caught:
        _client(port).execute_job("p", "j", "FULL")
    assert caught.value.may_have_started is False


def test_a_cookie_of_an_answer_is_not_sent_back() -> None:
    def cookie(connection: socket.socket) -> None:
        connection.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\n\r\n") + BODY)

    with _serving(cookie, _whole) as (server, client):
        client.job("p", "j")
        client.job("p", "j")
    assert b"cookie" not in server.requests[1].lower()


def test_a_netrc_file_and_proxies_of_the_surroundings_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with _serving(_whole) as (server, client):
        client.job("p", "j")
    assert b"\r\nAuthorization: Bearer key\r\n" in server.requests[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + signed.public_bytes(Encoding.PEM))
    return file


@contextlib.contextmanager
def _serving_tls(
    certificate: Path, *answers: Serve, trust: Path | None, timeouts: Timeouts = TIMEOUTS
) -> Iterator[tuple[ScriptedServer, CelonisClient]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ScriptedServer(*answers, tls=context)
    session = make_session(str(trust) if trust else None)
    connection = Connection("main", f"https://127.0.0.1:{server.port}", ApiKey("key"))
    client = CelonisClient(connection, session=session, timeout=timeouts)
    try:
        yield server, client
    finally:
        client.close()
        server.stop()


def test_an_answer_is_read_over_an_encrypted_connection(certificate: Path) -> None:
    with _serving_tls(certificate, _whole, trust=certificate) as (_, client):
        assert client.job("p", "j").status == "RUNNING"


def test_an_encrypted_server_that_answers_slowly_does_not_hold_the_call(certificate: Path) -> None:
    with _serving_tls(certificate, SLOW["body"], trust=certificate) as (_, client):
        begun = time.monotonic()
        with pytest.raises(CelonisUnavailable, match=r"no complete answer within 0\.3 s"):
            client.job("p", "j")
        assert time.monotonic() - begun < 0.8


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_surroundings_cannot_say_what_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    untrusted = pytest.raises(CelonisUnavailable, match="certificate cannot be trusted")
    with _serving_tls(certificate, _whole, trust=None, timeouts=PATIENT) as (_, client), untrusted:
        client.job("p", "j")


def test_a_start_at_a_server_with_an_untrusted_certificate_has_not_started(certificate: Path) -> None:
    untrusted = pytest.raises(CelonisUnavailable, match="certificate cannot be trusted")
    with _serving_tls(certificate, _whole, trust=None) as (server, client), untrusted as caught:
        client.execute_job("p", "j", "FULL")
    assert caught.value.may_have_started is False
    assert server.requests == []


def _interim(connection: socket.socket) -> None:
    """An unsolicited response, and then the real one."""
    connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + BODY)


def test_an_interim_answer_is_none_and_what_follows_it_is_not_the_next_ones() -> None:
    with _serving(_interim, _whole, timeouts=PATIENT) as (server, client):
        with pytest.raises(CelonisUnavailable) as reported:
            client.execute_job("p", "j", "FULL")
        assert reported.value.may_have_started
        assert client.job("p", "j").status == "RUNNING"
        assert server.connections == 2

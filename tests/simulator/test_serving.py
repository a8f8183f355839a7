"""The servers: TLS, connections that stay open, many at once, stopping, and the command line."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from local.celonis import world
from local.celonis.dispatcher import DispatchedResponse, RawRequest
from local.celonis.http_server import Server
from local.celonis.server import CelonisSimulator
from local.wait import until
from tests.simulator.client import JOB, SimulatorClient

ROOT = Path(__file__).parents[2]
HEADERS = {"Authorization": f"AppKey {world.APP_KEY}"}


def test_tls_is_trusted_by_the_certificate_given_and_by_nothing_else() -> None:
    with CelonisSimulator(tls=True) as simulator, requests.Session() as session:
        session.trust_env = False
        assert simulator.url.startswith("https://")
        path = simulator.ca_path
        assert path is not None
        answer = session.get(simulator.url + JOB, headers=HEADERS, verify=str(path), timeout=5)
        assert answer.json()["status"] == "SUCCESS"
        with pytest.raises(requests.exceptions.SSLError):
            session.get(simulator.url + JOB, headers=HEADERS, timeout=5)
        assert [one.name for one in path.parent.iterdir()] == ["certificate.pem"]
    assert not path.exists()


def test_connection_stays_open(team: SimulatorClient) -> None:
    connection = http.client.HTTPConnection(urlsplit(team.simulator.url).netloc, timeout=5)
    ports = set()
    for _ in range(5):
        connection.request("GET", JOB, headers=HEADERS)
        assert connection.getresponse().read()
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_answers_come_at_once(team: SimulatorClient) -> None:
    """Not the slowest of them: a delay of the protocol, 40 ms, is the same in all."""
    took = []
    for _ in range(50):
        began = time.monotonic()
        team.call("GET", JOB)
        took.append(time.monotonic() - began)
    assert sorted(took)[12] < 0.02


def test_many_starts_at_once_are_all_counted(team: SimulatorClient) -> None:
    team.set_job(while_running="refuse")
    statuses: list[int] = []

    def start() -> None:
        answer = requests.post(
            f"{team.simulator.url}/integration/api/v2/data-pools/{world.POOL_ID}/data-jobs/{world.ERP_JOB_ID}/execute",
            params={"mode": "FULL"},
            headers=HEADERS,
            timeout=5,
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 15
    assert len(team.started()) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": "2000000"}, 413),
        ({"Content-Length": "many"}, 400),
        ({"Content-Length": "0", "Transfer-Encoding": "chunked"}, 413),
    ],
)
def test_unreadable_body_ends_the_connection(
    team: SimulatorClient, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(urlsplit(team.simulator.url).netloc, timeout=5)
    connection.putrequest("POST", "/oauth2/token")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_stopping_ends_waiting_answers_and_open_connections() -> None:
    with CelonisSimulator() as simulator:
        requests.post(
            f"{simulator.control_url}/faults", json={"call": "job", "kind": "delay", "seconds": 60}, timeout=5
        )
        host, _, port = urlsplit(simulator.url).netloc.partition(":")
        idle = socket.create_connection((host, int(port)), timeout=5)
        waiting = socket.create_connection((host, int(port)), timeout=5)
        waiting.sendall(
            f"GET {JOB} HTTP/1.1\r\nHost: x\r\nAuthorization: AppKey {world.APP_KEY}\r\n\r\n".encode()
        )
        struck = f"{simulator.control_url}/faults"
        until(lambda: requests.get(struck, timeout=5).json() == [], "the delay of the request")
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert idle.recv(1) == b""
    idle.close()
    waiting.close()


def test_defect_of_the_simulator_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def defect(_: RawRequest) -> DispatchedResponse:
        raise ZeroDivisionError

    server = Server(("127.0.0.1", 0), defect)
    server.start()
    try:
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"http://127.0.0.1:{server.server_port}/", timeout=5)
    finally:
        server.stop()
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_simulator_that_was_never_started_can_be_stopped() -> None:
    CelonisSimulator(tls=True).stop()


def test_command_line_serves_until_interrupted() -> None:
    command = [sys.executable, "-m", "local.celonis", "--port", "0", "--control-port", "0", "--no-history"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.endswith("Purchase to Pay\n"):
                break
        urls = re.findall(r"http://\S+", "".join(lines))
        answer = requests.get(urls[0] + JOB, headers=HEADERS, timeout=5)
        state = requests.get(f"{urls[1]}/state", timeout=5)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
        assert process.stdout.read() == "Stopping.\n"
    assert answer.json()["status"] is None
    assert state.status_code == 200

"""The receiver of ``make receiver``: what it answers and what it prints."""

from __future__ import annotations

import socket

import pytest
import requests

from local import receiver as module
from local.receiver import ReceivedRequest, receiver

SECONDS = 10


@pytest.mark.parametrize(("default", "status"), [("ok", 200), ("500", 500), ("404", 404)])
def test_requests_are_answered_as_the_default_says_and_shown(default: module.Behaviour, status: int) -> None:
    shown: list[ReceivedRequest] = []
    with receiver(default=default, on_request=shown.append) as listening:
        listening.behave("teams", "429")
        answers = [
            requests.post(f"{listening.url}/teams?token=1", json={"number": number}, timeout=SECONDS)
            for number in range(2)
        ]
    assert [answer.status_code for answer in answers] == [429, status]
    assert [request.document["number"] for request in shown] == [0, 1]


def test_a_port_that_is_used_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "StopRequest", object)
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        monkeypatch.setattr("sys.argv", ["local.receiver", "--port", str(used.getsockname()[1])])
        assert module.main() == 1
    assert "make receiver PORT=8766" in capsys.readouterr().err


def test_a_request_whose_sender_died_has_not_arrived() -> None:
    shown: list[ReceivedRequest] = []
    with receiver(on_request=shown.append) as listening:
        port = int(listening.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(b"POST /teams HTTP/1.1\r\nHost: local\r\nContent-Length: 5\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    assert shown == []


def test_a_request_is_shown_with_its_query() -> None:
    shown: list[ReceivedRequest] = []
    with receiver(on_request=shown.append) as listening:
        for number in (1, 2):
            requests.post(f"{listening.url}/callback?activity={number}", json={}, timeout=SECONDS)
    assert [request.name for request in shown] == ["callback"] * 2
    assert [request.text().splitlines()[0] for request in shown] == [
        "POST /callback?activity=1",
        "POST /callback?activity=2",
    ]

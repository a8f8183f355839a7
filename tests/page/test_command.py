"""The command ``refresh page`` as a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from refresh_cli.app import App
from refresh_cli.commands.page import open_again
from refresh_cli.errors import CliError
from refresh_cli.stack import resolve
from tests.cli.conftest import KEYS
from tests.cli.fake_api import FakeApi, Tool, environment, serving

SECONDS = 20


def with_default_interrupt() -> None:
    """Let Ctrl-C interrupt the child, also where the tests run in the background, in which it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def ended_at_last(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kill a process that a failing test has left, so that nothing waits for it."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_it_serves_until_ctrl_c(tmp_path: Path) -> None:
    api = FakeApi()
    api.answer("GET /runs", (200, {"runs": [], "before": None}))
    with serving(api.take) as url:
        command = [sys.executable, "-m", "refresh_cli", "page", "--port", "0", "--no-browser", "--json"]
        given = {**environment(tmp_path), **KEYS, "REFRESH_API_URL": url, "PYTHONUNBUFFERED": "1"}
        with ended_at_last(
            subprocess.Popen(
                command, env=given, stdout=subprocess.PIPE, text=True, preexec_fn=with_default_interrupt
            )
        ) as process:
            assert process.stdout is not None
            link = json.loads("".join(process.stdout.readline() for _ in range(3)))["link"]
            own, token = link.split("/#token=")
            headers = {"Authorization": f"Bearer {token}"}
            page = requests.get(own, timeout=SECONDS)
            answer = requests.get(f"{own}/api/runs", headers=headers, timeout=SECONDS)
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
    assert "Celonis Refresh" in page.text
    assert answer.json() == {"runs": [], "before": None}
    assert len(token) >= 40


def app_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ports: list[int]) -> App:
    """The tool without options, next to a local stack that listens on these ports."""
    (tmp_path / "celonis-refresh").mkdir()
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    facts = {
        "api_url": urls[0],
        "aws_endpoint_url": urls[1],
        "outputs": {},
        "stack_name": "local",
        "region": "eu-central-1",
    }
    keys = {"access_key_id": "key", "secret_access_key": "secret"}
    (tmp_path / "celonis-refresh" / "local.json").write_text(json.dumps(facts | keys), encoding="utf-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("REFRESH_API_URL", raising=False)
    return App()


def test_a_page_of_the_local_stack_never_becomes_one_of_a_stack_in_aws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        app = app_of(monkeypatch, tmp_path, [port, port])
        assert app.stack.is_local
        assert open_again(app).is_local
    with pytest.raises(CliError, match=r"The local stack has stopped: .* Run make local again\."):
        open_again(app)


def test_a_page_of_a_stack_in_aws_never_becomes_one_of_the_local_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        app = app_of(monkeypatch, tmp_path, [1, 1])
        assert not app.stack.is_local
        document = tmp_path / "celonis-refresh" / "local.json"
        document.write_text(document.read_text().replace(':1"', f':{port}"'))
        assert resolve(None, None, None).is_local
        assert not open_again(app).is_local


@pytest.fixture
def no_aws(tmp_path: Path) -> Tool:
    return Tool(tmp_path, environment(tmp_path))


def test_without_a_stack_it_does_not_start(no_aws: Tool) -> None:
    ended = no_aws("page", "--no-browser", "--region", "eu-central-1")
    assert ended.code == 2
    assert "There are no AWS credentials" in ended.err


def test_a_port_that_is_in_use_is_reported(no_aws: Tool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = no_aws(
            "page", "--no-browser", "--port", str(port), **KEYS, REFRESH_API_URL="http://127.0.0.1:9"
        )
    assert ended.code == 2
    assert "The port is in use" in ended.err

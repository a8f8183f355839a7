"""Ctrl-C and SIGTERM end the commands that run until then, however often a signal arrives."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.wait import until
from tests.stack.test_local_shutdown import alive

ROOT = Path(__file__).parents[2]
SECONDS = 30
SIGNALS, ROUNDS = 500, 5


@contextmanager
def started(*command: str, variables: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process with a group of its own, in which signals have their usual handlers."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT}/layers/refresh:{ROOT}/cli",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
        **(variables or {}),
    }
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def signal_often(process: subprocess.Popen[str], times: int) -> None:
    """Send signals so fast that one arrives while another is handled."""
    for number in range(times):
        os.killpg(process.pid, signal.SIGINT if number % 2 else signal.SIGTERM)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("-m", "local.receiver", "--port", "0"), id="receiver"),
        pytest.param(("-m", "local.celonis", "--port", "0", "--control-port", "0"), id="celonis"),
    ],
)
def test_many_signals_end_a_process_once(command: tuple[str, ...]) -> None:
    for _ in range(ROUNDS):
        with started(*command) as process:
            assert process.stdout
            process.stdout.readline()
            signal_often(process, SIGNALS)
            assert process.wait(SECONDS) == 0
            assert "Traceback" not in process.stdout.read()


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, int(port))) == 0


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in found.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM] * SIGNALS],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM twice", "many"],
)
def test_make_local_leaves_no_process_port_or_file(tmp_path: Path, numbers: list[signal.Signals]) -> None:
    tool = tmp_path / "celonis-refresh" / "local.json"
    command = ("-m", "local.serve", "--state", str(tmp_path / "state"))
    with started(*command, variables={"XDG_STATE_HOME": str(tmp_path)}) as process:
        until(tool.exists, "the file of the tool", 60)
        facts = json.loads(tool.read_text(encoding="utf-8"))
        urls = [facts[name] for name in facts if name.endswith("_url")]
        assert len(urls) == 5
        assert all(map(listens, urls))
        workers = children(process.pid)
        for number in numbers:
            os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "The stack has stopped." in output
    assert "Traceback" not in output
    assert not any(map(listens, urls))
    assert not any(map(alive, workers))
    assert not tool.exists()
    left = {path.name for path in (tmp_path / "state").iterdir()}
    assert left.isdisjoint({"stack.json", "env.sh", "connection.json"})

"""What ``make local`` leaves for other programs, and that a clone runs one stack at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import local.serve
from local import state_files
from local.help_text import SCHEDULES, help_text
from local.stop_request import StopRequest
from refresh_cli import local_stack

ADDRESSES = {"api_url": "http://127.0.0.1:1"}
ENVIRONMENT = {"AWS_ENDPOINT_URL": "http://127.0.0.1:2", "AWS_SECRET_ACCESS_KEY": "it's a key"}


def write(state: Path) -> None:
    state_files.write(state, ADDRESSES, ENVIRONMENT, {"base_url": "http://127.0.0.1:3"})


def test_a_shell_reads_the_environment(tmp_path: Path) -> None:
    write(tmp_path)
    script = '. ./env.sh; echo "$AWS_SECRET_ACCESS_KEY|$AWS_ENDPOINT_URL|$AWS_PROFILE|$AWS_SESSION_TOKEN"'
    mine = {"PATH": os.environ["PATH"], "AWS_PROFILE": "prod", "AWS_SESSION_TOKEN": "t"}
    read = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=mine, capture_output=True, text=True, check=True
    )
    assert read.stdout == "it's a key|http://127.0.0.1:2||\n"
    document = json.loads((tmp_path / "stack.json").read_text(encoding="utf-8"))
    assert document == {**ADDRESSES, "environment": ENVIRONMENT}


@pytest.mark.parametrize("installed", [False, True])
def test_a_shell_without_the_tool_gets_that_of_the_clone(tmp_path: Path, installed: bool) -> None:
    write(tmp_path)
    own = tmp_path / "bin"
    own.mkdir()
    if installed:
        (own / "refresh").write_text("#!/bin/sh\n")
        (own / "refresh").chmod(0o755)
    script = 'PATH="$1"; . ./env.sh; echo "$PATH"'
    shell = shutil.which("sh") or "sh"
    read = subprocess.run(
        [shell, "-c", script, "sh", str(own)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = str(own) if installed else f"{own}:{state_files.PROGRAMS}"
    assert read.stdout == f"{expected}\n"


def test_a_second_stack_is_refused_and_the_files_of_the_first_stay(tmp_path: Path) -> None:
    with state_files.only_one(tmp_path):
        write(tmp_path)
        before = (tmp_path / "stack.json").read_bytes()
        with pytest.raises(state_files.AlreadyRunningError) as refused, state_files.only_one(tmp_path):
            pass
        assert (tmp_path / "stack.json").read_bytes() == before
    assert refused.value.pid == str(os.getpid())
    assert "a local stack is already running in this clone" in str(refused.value)
    assert str(tmp_path / "stack.json") in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["local.lock"]


def test_files_of_a_process_that_was_killed_are_replaced(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "local.lock").write_text("12345\n", encoding="utf-8")
    with state_files.only_one(tmp_path):
        assert not (tmp_path / "stack.json").exists()
        assert (tmp_path / "local.lock").read_text(encoding="utf-8") == f"{os.getpid()}\n"


KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
SHOWN = {
    "stack_name": "celonis-refresh",
    "region": "eu-central-1",
    "api_url": "http://127.0.0.1:1",
    "aws_endpoint_url": "http://127.0.0.1:2",
    "outputs": {"ApiUrl": "http://127.0.0.1:1"},
}


def test_the_tool_reads_the_file_while_the_stack_is_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_stack, "_listens", lambda _: True)
    path = state_files.tool_file({"XDG_STATE_HOME": str(tmp_path)})
    with state_files.announced(path, SHOWN, KEYS):
        assert path.stat().st_mode & 0o777 == 0o600
        found = local_stack.find_local_stack(path)
        keys = {"access_key_id": "key", "secret_access_key": "secret"}
        assert found == local_stack.LocalStackFile(**SHOWN, **keys)  # type: ignore[arg-type]
    assert list(path.parent.iterdir()) == []
    assert local_stack.find_local_stack(path) is None


def test_the_file_of_another_stack_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "local.json"
    with state_files.announced(path, SHOWN, KEYS):
        path.write_text("{}", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("environment", [{}, {"XDG_STATE_HOME": "/state"}])
def test_the_tool_and_make_local_name_the_same_file(environment: dict[str, str]) -> None:
    assert state_files.tool_file(environment) == local_stack.local_file(environment)


def test_make_local_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["local.serve"])
    monkeypatch.setattr(local.serve, "StopRequest", object)

    def refuse(schedules: str, stop: StopRequest, week: int | None, state: Path) -> None:
        raise state_files.AlreadyRunningError(tmp_path, "7")

    monkeypatch.setattr(local.serve, "serve", refuse)
    assert local.serve.main() == 1
    assert "a local stack is already running in this clone (process 7)" in capsys.readouterr().err


@pytest.mark.parametrize("schedules", list(SCHEDULES))
def test_the_help_says_what_differs(schedules: str) -> None:
    text = help_text("the-stack", schedules, "http://127.0.0.1:8460/#token=abc")
    for word in (
        ". .local/env.sh",
        ".local/logs/",
        "the-stack-reconcile",
        "twice_ratio",
        "http://127.0.0.1:8460/#token=abc",
        "local/aws/README.md",
    ):
        assert word in text
    assert "<" not in text
    assert max(map(len, text.splitlines())) <= 120

"""Without python3.13, `make build` and `make bench` say what to install and install nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import local.build
from local.bench.__main__ import main as bench


@pytest.fixture
def without_python(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No python3.13 is found; returns the commands that are run nevertheless."""
    commands: list[Any] = []
    monkeypatch.setattr(local.build, "_find", lambda: None)
    monkeypatch.setattr(subprocess, "run", lambda *given, **_: commands.append(given))
    return commands


def test_build_says_in_two_lines_what_to_install(
    without_python: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["build"])
    assert local.build.main() == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "apt install python3.13" in said[1]
    assert without_python == []


def test_bench_says_the_same_before_it_measures(
    without_python: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "cold"])
    assert bench() == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert without_python == []


def test_the_folder_of_a_python_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local.build, "_find", lambda: Path("/opt/python/bin"))
    monkeypatch.setattr(sys, "argv", ["build", "--find"])
    assert local.build.main() == 0
    assert capsys.readouterr().out == "/opt/python/bin\n"


def test_no_system_package_is_installed() -> None:
    makefile = Path("Makefile").read_text(encoding="utf-8")
    assert "apt" not in makefile.replace("apart", "")

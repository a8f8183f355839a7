"""The commands of README and docs are found, and fail where they cannot work."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.template import documents
from tests.template.commands import MAKE, NOT_RUN, commands, files, runnable, split

MAKEFILE = (documents.ROOT / "Makefile").read_text(encoding="utf-8")
ALL = [each.text for each in commands()]

VERSION_1 = """#!/bin/sh
case "$1 $2" in
  "configure export-credentials") echo "aws: error: argument subcommand: Invalid choice" >&2; exit 2 ;;
  "cloudformation describe-stacks")
    case "$*" in *Unknown*) ;; *) echo arn:aws:states:eu-central-1:1:stateMachine:m ;; esac ;;
esac
"""
"""An AWS CLI that knows the stack, and has no export-credentials."""
CURL = """#!/bin/sh
echo "$@" >> "$CALLS"
"""


def test_a_block_is_split_into_its_commands() -> None:
    block = "A=1\n# why\nf() { echo a | \\\n  cat; }\n\nf 'one\ntwo' &&\n  f  # end\n"
    assert list(split(block)) == [
        "A=1",
        "# why",
        "f() { echo a | \\\n  cat; }",
        "f 'one\ntwo' &&\n  f  # end",
    ]
    with pytest.raises(AssertionError, match="no shell"):
        list(split("echo 'open\n"))


def test_commands_of_all_kinds_are_found() -> None:
    texts = [each.text for each in runnable()]
    for start in ("aws cloudformation", "output() {", "signed() {", "signed -G", "curl -i", "aws scheduler"):
        assert any(text.startswith(start) or start in text for text in texts), start
    assert set(files()) == {"connection.json", "billing.json"}


def test_what_is_not_run_is_in_the_documents() -> None:
    assert set(NOT_RUN) - {each.bare for each in commands()} == set()


def test_every_target_of_make_exists() -> None:
    named = {each.bare.split()[1] for each in commands() if each.text.startswith(MAKE)}
    assert len(named) > 8
    assert named - set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) == set()


def shell(folder: Path, script: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Runs a script with the two stand-ins; returns its result, and the arguments of curl."""
    calls = folder / "calls"
    calls.touch()
    for name, text in (("aws", VERSION_1), ("curl", CURL)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls), "STACK": "s"}
    ended = subprocess.run(
        ["bash"], input=script, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return ended, calls.read_text(encoding="utf-8")


OUTPUT = next(text for text in ALL if text.startswith("output() {"))
SIGNED = [each.text for each in runnable() if each.page == "docs/runs.md"]


def test_without_credentials_nothing_is_sent(tmp_path: Path) -> None:
    ended, calls = shell(tmp_path, "\n".join([OUTPUT, *SIGNED]))
    assert ended.returncode != 0
    assert "AWS CLI, version 2" in ended.stderr
    assert "AWS_ACCESS_KEY_ID: is not set" in ended.stderr
    assert calls == ""


@pytest.mark.parametrize("token", ["", "a token"])
def test_with_credentials_of_the_environment_it_is_sent(tmp_path: Path, token: str) -> None:
    keys = f"AWS_ACCESS_KEY_ID=id AWS_SECRET_ACCESS_KEY=key AWS_SESSION_TOKEN='{token}'"
    ended, calls = shell(tmp_path, "\n".join([f"export {keys}", OUTPUT, *SIGNED]))
    assert ended.returncode == 0
    assert len(calls.splitlines()) == 3
    assert ("-Hx-amz-security-token: a token" in calls) == bool(token)


def test_an_output_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    ended, _ = shell(tmp_path, f"{OUTPUT}\noutput Unknown")
    assert ended.returncode == 1
    assert ended.stderr == "Output Unknown of stack s not found\n"

"""The commands of README and docs, unchanged and in order, against the stack of ``make local``."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local import aws_cli, state_files
from local.receiver import Receiver, receiver
from local.serve import ROOT, SAMPLE, STACK_NAME, LocalService, published, slow_down
from local.wait import until
from tests.stack.environment import TIME_FACTOR
from tests.template.commands import LOCAL, DocumentedCommand, files, runnable

FILLED_IN = {
    "SECRET='the value of current'": "SECRET=$(aws secretsmanager get-secret-value --query SecretString "
    '--secret-id "$STACK/webhooks/github" --output text | sed \'s/.*"current": *"//; s/".*//\')',
}
"""What a reader replaces, by what."""
SECONDS = 900
JOB_SECONDS = 1.0
"""Seconds of each job and load, with shorter waits: long enough to be seen running."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. ``output``: both streams, without white space at the end."""

    command: DocumentedCommand
    status: int
    output: str


@pytest.fixture(scope="module")
def listening() -> Iterator[Receiver]:
    """What ``make receiver`` runs, on a free port."""
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def local_service(tmp_path_factory: pytest.TempPathFactory, listening: Receiver) -> Iterator[LocalService]:
    state = tmp_path_factory.mktemp("clone") / ".local"
    tool_file = state_files.tool_file({"XDG_STATE_HOME": str(state / "state")})
    with published(state, listening.url, tool_file, TIME_FACTOR) as made:
        slow_down(made.celonis, JOB_SECONDS, JOB_SECONDS)
        install_tool(state / "bin")
        yield made


def install_tool(folder: Path) -> None:
    """A ``refresh`` that is the code of this folder, as ``pip install`` makes one."""
    folder.mkdir()
    paths = f"{ROOT / 'layers' / 'refresh'}:{ROOT / 'cli'}"
    command = f'PYTHONPATH="{paths}" exec "{sys.executable}" -m refresh_cli "$@"'
    (folder / "refresh").write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    (folder / "refresh").chmod(0o755)


AWS = """#!/bin/sh
if [ "$1 $2" = "cloudformation describe-stacks" ]; then
  answer="$(dirname "$0")/answer-$(printf %s "$*" | cksum | tr ' ' -)"
  [ -f "$answer" ] || {{ {command} "$@" > "$answer.new" && mv "$answer.new" "$answer"; }} && cat "$answer"
else
  exec {command} "$@"
fi
"""
"""The AWS CLI. The outputs of a stack do not change, and most commands ask for one: each is read once."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the AWS CLI. Skips the tests where a program is missing, but not in CI."""
    missing = [name for name in ("bash", "curl", "openssl") if shutil.which(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"the documents' commands need {', '.join(missing)}")
    assert not missing
    command = aws_cli.find()
    if command is None:
        assert not aws_cli.can_unpack(), "make test sets up .awscli, with the AWS CLI"
        pytest.skip("there is no AWS CLI, version 2.13 or later")
    folder = tmp_path_factory.mktemp("programs")
    (folder / "aws").write_text(AWS.format(command=shlex.quote(str(command.resolve()))), encoding="utf-8")
    (folder / "aws").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def results(local_service: LocalService, programs: Path) -> list[CommandResult]:
    """Runs every command but those that remove something."""
    folder = local_service.stack.state_dir.parent
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return run([each for each in runnable() if not each.is_last()], folder, programs)


def run(commands: list[DocumentedCommand], folder: Path, programs: Path) -> list[CommandResult]:
    """Runs commands in one shell, in the folder that has ``.local``, without AWS credentials of the user."""
    script = ["exec 2>&1"]
    for number, each in enumerate(commands):
        script += [f"echo '@@ {number}'", FILLED_IN.get(each.text, each.text), 'printf "\\n@@ ended $?\\n"']
    path = f"{folder / '.local' / 'bin'}:{programs}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    shell = ["bash", "-c", "\n".join(script)]
    ended = subprocess.run(
        shell, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    found = re.findall(r"^@@ (\d+)\n(.*?)^@@ ended (\d+)$", ended.stdout, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _, _ in found] == list(range(len(commands))), ended.stdout
    return [
        CommandResult(commands[int(number)], int(status), output.rstrip()) for number, output, status in found
    ]


def outputs(results: list[CommandResult], start: str) -> list[str]:
    """The output of the commands with this prefix, those of LOCAL left out."""
    found = [
        result.output
        for result in results
        if result.command.text.startswith(start) and result.command.page != LOCAL
    ]
    assert found, start
    return found


def test_every_command_succeeds(results: list[CommandResult]) -> None:
    assert [result for result in results if result.status != 0] == []


def test_commands_of_the_api_are_answered_with_what_the_documents_say(results: list[CommandResult]) -> None:
    started, listed, paged, *others = (json.loads(text) for text in outputs(results, "signed "))
    assert started["runs"][0]["pipeline"] == SAMPLE
    assert started["runs"][0]["status"] in ("started", "joined")
    assert {run["pipeline"] for run in listed["runs"]} == {SAMPLE}
    assert paged["runs"]
    assert all({"runs", "pipelines", "paused", "events"} & answer.keys() for answer in others)
    (webhook,) = outputs(results, "curl -i")
    assert "HTTP/1.1 202" in webhook
    assert '"run_id"' in webhook


def test_outputs_are_the_addresses_on_this_machine(
    local_service: LocalService, results: list[CommandResult]
) -> None:
    (address,) = outputs(results, "output WebhookUrl")
    assert address == f"{local_service.stack.api_url}/webhooks/github"
    assert local_service.addresses()["outputs"]["ApiUrl"] == local_service.stack.api_url
    described = local_service.stack.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    shown = {each["OutputKey"]: each["OutputValue"] for each in described[0]["Outputs"]}
    assert shown == local_service.stack.local_outputs


def test_the_receiver_shows_a_failure_and_the_recovery_in_each_channel_and_the_callback(
    listening: Receiver, results: list[CommandResult]
) -> None:
    (failed,) = [each.output for each in results if each.command.text.startswith("until signed")]
    run_id = json.loads(failed)["run_id"]

    def texts(name: str) -> list[str]:
        """What differs: the event of an end may come twice."""
        return list({request.body.decode(): None for request in listening.requests(name)})

    def has_two(name: str) -> bool:
        return len(texts(name)) >= 2

    for name in ("slack", "teams", "pagerduty", "webhook"):
        until(partial(has_two, name), f"two notifications in {name}")
        failure, recovery = texts(name)
        for needed in (run_id, "Column VBELN is missing", f"retry {run_id}"):
            assert needed in failure, (name, needed)
        assert ("resolve" if name == "pagerduty" else "recovered") in recovery
    until(lambda: listening.requests("callback"), "the callback")
    assert listening.requests("callback")[0].document["StatusCode"] == "200"


def runs(local_service: LocalService) -> list[dict[str, Any]]:
    table = local_service.stack.client("dynamodb").scan(TableName=local_service.stack.outputs["TableName"])[
        "Items"
    ]
    return [item for item in table if item["pk"]["S"].startswith("run#")]


def test_what_the_commands_made_works(local_service: LocalService, results: list[CommandResult]) -> None:
    assert (local_service.stack.state_dir / "env.sh").exists()
    local_service.stack.fire_schedule("billing-nightly")

    def statuses() -> list[str] | None:
        found = [str(item["status"]["S"]) for item in runs(local_service)]
        names = {item["pipeline"]["S"] for item in runs(local_service)}
        return (
            found
            if names == {SAMPLE, "billing", "invoices"} and not {"OPENING", "RUNNING"} & set(found)
            else None
        )

    ends = until(statuses, "the end of all runs")
    assert set(ends) == {"SUCCEEDED", "FAILED"}
    assert ends.count("FAILED") == 2  # those that the documents let fail: README, and docs/local.md
    assert local_service.stack.settle()


def test_what_removes_the_secrets_succeeds(
    local_service: LocalService, programs: Path, results: list[CommandResult]
) -> None:
    environment = [each.command for each in results if each.command.text.startswith((". ", "STACK="))]
    removing = [each for each in runnable() if each.is_last()]
    ended = run([*environment, *removing], local_service.stack.state_dir.parent, programs)
    assert [result for result in ended if result.status != 0] == []
    left = local_service.stack.client("secretsmanager").list_secrets()["SecretList"]
    channels = [f"local-{kind}" for kind in ("pagerduty", "slack", "teams", "webhook")]
    yours = [f"{STACK_NAME}/channels/{name}" for name in (*channels, "slack-team")]
    yours += [f"{STACK_NAME}/webhooks/{name}" for name in ("adf", "dbt")]
    assert sorted(secret["Name"] for secret in left) == yours

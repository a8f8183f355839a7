"""The commands of README and docs, unchanged and in order, against the stack of ``make local``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local import aws_cli
from local.serve import SAMPLE, STACK_NAME, LocalService, published
from local.wait import until
from tests.template.commands import DocumentedCommand, files, runnable

FILLED_IN = {
    "SECRET='the value of current'": "SECRET=$(aws secretsmanager get-secret-value --query SecretString "
    '--secret-id "$STACK/webhooks/github" --output text | sed \'s/.*"current": *"//; s/".*//\')',
}
"""What a reader replaces, by what."""
SECONDS = 300


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. ``output``: both streams, without white space at the end."""

    command: DocumentedCommand
    status: int
    output: str


@pytest.fixture(scope="module")
def local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with published(tmp_path_factory.mktemp("clone") / ".local") as made:
        yield made


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the AWS CLI. Skips the tests where a program is missing, but not in CI."""
    missing = [name for name in ("bash", "curl", "openssl") if shutil.which(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"the documents' commands need {', '.join(missing)}")
    assert not missing
    command = aws_cli.find()
    if command is None:
        assert not aws_cli.can_unpack(), "make test sets up .awscli, with the AWS CLI"
        pytest.skip("there is no AWS CLI, version 2.13 or later")
    return command.parent


@pytest.fixture(scope="module")
def results(local_service: LocalService, programs: Path) -> list[CommandResult]:
    """Runs every command but those that remove something."""
    folder = local_service.stack.state_dir.parent
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return run([each for each in runnable() if not each.is_last()], folder, programs)


def run(commands: list[DocumentedCommand], folder: Path, programs: Path) -> list[CommandResult]:
    """Runs commands in one shell, in the folder that has ``.local``, without AWS credentials of the user."""
    script = ["exec 2>&1"]
    for number, each in enumerate(commands):
        script += [f"echo '@@ {number}'", FILLED_IN.get(each.text, each.text), 'printf "\\n@@ ended $?\\n"']
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
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
    """The output of the commands with this prefix."""
    found = [result.output for result in results if result.command.text.startswith(start)]
    assert found, start
    return found


def test_every_command_succeeds(results: list[CommandResult]) -> None:
    assert [result for result in results if result.status != 0] == []


def test_commands_of_the_api_are_answered_with_what_the_documents_say(results: list[CommandResult]) -> None:
    started, listed, paged = (json.loads(text) for text in outputs(results, "signed "))
    assert started["runs"][0]["pipeline"] == SAMPLE
    assert started["runs"][0]["status"] in ("started", "joined")
    assert {run["pipeline"] for run in listed["runs"]} == {SAMPLE}
    assert paged["runs"]
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
        return found if names == {SAMPLE, "billing"} and not {"OPENING", "RUNNING"} & set(found) else None

    assert set(until(statuses, "the end of all runs")) == {"SUCCEEDED"}
    assert local_service.stack.settle()


def test_what_removes_the_secrets_succeeds(
    local_service: LocalService, programs: Path, results: list[CommandResult]
) -> None:
    environment = [each.command for each in results if each.command.text.startswith((". ", "STACK="))]
    removing = [each for each in runnable() if each.is_last()]
    ended = run([*environment, *removing], local_service.stack.state_dir.parent, programs)
    assert [result for result in ended if result.status != 0] == []
    left = local_service.stack.client("secretsmanager").list_secrets()["SecretList"]
    assert [secret["Name"] for secret in left] == [f"{STACK_NAME}/webhooks/dbt"]

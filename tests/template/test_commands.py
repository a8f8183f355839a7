"""The commands of README and docs are found, and fail where they cannot work."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import get_session

from tests.template import documents, pages
from tests.template.commands import NOT_RUN, commands, files, runnable, split

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
    assert set(files()) == {"config/pipelines/invoices.yaml", "connection.json", "billing.json"}


def test_what_is_not_run_is_in_the_documents() -> None:
    assert set(NOT_RUN) - {each.bare for each in commands()} == set()


DEFINITIONS = {
    "STACK": (r"\$STACK\b", "STACK=", "docs/deployment.md", "Without the command line tool"),
    "output": (r"\$\(output ", "output() {", "docs/deployment.md", "Without the command line tool"),
    "signed": (r"\bsigned ", "signed() {", "docs/runs.md", "The runs API"),
}
"""What commands use: how it is used, how it is defined, in which page and section."""


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_is_in_the_section_that_pages_link(name: str) -> None:
    _, definition, page, heading = DEFINITIONS[name]
    section = re.split(r"^## ", pages.page(page), flags=re.MULTILINE)
    (found,) = [each for each in section if each.startswith(f"{heading}\n")]
    assert re.search(rf"^{re.escape(definition)}", found, re.MULTILINE)


@pytest.mark.parametrize("path", pages.pages())
def test_a_page_links_what_its_commands_use(path: str) -> None:
    text = "\n".join(each.text for each in commands() if each.page == path)
    links = re.findall(r"\]\(([^)]+)\)", pages.page(path))
    targets = {os.path.normpath(Path(path).parent / link) for link in links if "://" not in link}
    for name, (use, _, page, heading) in DEFINITIONS.items():
        if re.search(use, text) and path != page:
            assert f"{page}#{heading.lower().replace(' ', '-')}" in targets, name


@pytest.mark.parametrize("path", [path for path in pages.pages() if path.startswith("docs/runbooks/")])
def test_a_runbook_has_the_commands_of_the_tool_first(path: str) -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", pages.page(path), re.MULTILINE | re.DOTALL)
    if any("signed " in block for block in blocks):
        assert blocks[0].startswith("refresh ")


NAMED_IN = (
    *pages.pages(),
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "local/aws/README.md",
    "local/celonis/README.md",
)
"""The documents that name commands of make."""
SETTING = re.compile(r"([A-Z]+)=")


def recipes() -> dict[str, str]:
    """What the Makefile says of each target: its line, and its commands."""
    return {
        found[1]: found[0] for found in re.finditer(r"^([a-z-]+):[^=].*\n(?:\t.*\n)*", MAKEFILE, re.MULTILINE)
    }


def make_commands() -> list[tuple[str, str]]:
    """Each command of make in a document: the target, and what is after it.

    In a table, the settings in the row of a command belong to it.
    """
    found = []
    for path in NAMED_IN:
        text = pages.page(path)
        found += re.findall(r"(?:`|^|&& )make ([a-z-]+)([^`&\n]*)", text, re.MULTILINE)
        found += re.findall(r"^\| `make ([a-z-]+)(.*)", text, re.MULTILINE)
    return found


def test_every_target_of_make_and_every_setting_of_it_exists() -> None:
    targets, named = recipes(), make_commands()
    assert {target for target, _ in named} >= {"local", "test", "worlds-all", "receiver"}
    assert len({(target, name) for target, rest in named for name in SETTING.findall(rest)}) > 8
    for target, rest in named:
        assert target in targets
        assert [name for name in SETTING.findall(rest) if f"$({name})" not in targets[target]] == [], target


def test_every_setting_in_the_help_of_make_exists() -> None:
    for target, recipe in recipes().items():
        head, _, commands_of_it = recipe.partition("\n")
        for name in SETTING.findall(head.partition("##")[2]):
            assert re.search(rf"\$\((?:or \$\(|if \$\()?{name}\)", commands_of_it), (target, name)


AWS = re.compile(r"(?:^|\$\(|&& |\{ )aws ([a-z]+) ([a-z-]+)", re.MULTILINE)
OPTION = re.compile(r"(?<=\s)--([a-z-]+)")
OF_THE_CLI = {"query", "output", "profile", "region"}
NO_OPERATION = {("sso", "login"), ("configure", "export-credentials")}
"""Commands that the AWS CLI has without an API."""
RENAMED = {("sns", "subscribe"): {"notification-endpoint"}}
"""Options that the AWS CLI names in another way than the API."""


def aws_problems(text: str) -> list[str]:
    """What AWS does not know of the commands in a text: services, operations, parameters."""
    problems, session = [], get_session()
    calls = list(AWS.finditer(text))
    for call, following in zip(calls, [*calls[1:], None], strict=True):
        service, operation = call.groups()
        if (service, operation) in NO_OPERATION:
            continue
        if service not in session.get_available_services():
            problems.append(f"service {service}")
            continue
        model = session.get_service_model(service)
        names = {xform_name(name, "-"): name for name in model.operation_names}
        if operation not in names:
            problems.append(f"{service} {operation}")
            continue
        shape = model.operation_model(names[operation]).input_shape
        known = {xform_name(member, "-") for member in shape.members} if shape else set()
        flags = {f"no-{name}" for name in known}
        given = set(OPTION.findall(text[call.end() : following.start() if following else None]))
        problems += [
            f"{service} {operation} --{name}"
            for name in sorted(given - known - flags - OF_THE_CLI - RENAMED.get((service, operation), set()))
        ]
    return problems


def test_aws_knows_every_command_of_its_own() -> None:
    texts = [each.text for each in commands() if AWS.search(each.text)]
    assert len(texts) > 25
    assert [problem for text in texts for problem in aws_problems(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "aws sqq list-queues",
        "aws sqs list-queue",
        "aws sqs list-queues --prefix a",
        "X=$(aws sns publish --x 1)",
    ],
)
def test_what_aws_does_not_know_is_a_problem(text: str) -> None:
    assert len(aws_problems(text)) == 1


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

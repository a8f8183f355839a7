"""Every command of the tool that a document, a message or a page of this repository names can be parsed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from celonis_refresh.notifications import messages
from refresh_cli.app import RefreshCommand
from refresh_cli.main import cli
from tests.template import pages
from tests.template.commands import BLOCK, SHELL
from tests.template.documents import ROOT

DOCUMENTS = (
    *pages.pages(),
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "local/aws/README.md",
    "local/celonis/README.md",
)
CODE = ("cli", "layers/refresh/celonis_refresh", "functions", "local")
IN_LINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
IN_SHELL = re.compile(r"(?:^|[|;&(]|\bxargs -n 1)\s*refresh ([^|;&)>\n]+)", re.MULTILINE)
IN_PROSE = re.compile(r"\brefresh ((-|[a-z]+).*)")
"""In a message, nothing says where the command ends."""
END_OF_SENTENCE = re.compile(r"[.,;:)](?=[\s\"]|$)|[<\"`”]|\s{2,}|\n")
ENGLISH = {"and", "it", "needs", "once", "with"}
"""What follows the word "refresh" where it is no command."""
PLACEHOLDERS = {"COMMAND": "runs", "SHELL": "bash", "FILES\\|FOLDER": "FILES"}
"""Those that stand for one of a few words."""


class WrittenCommand(NamedTuple):
    """``text``: what is after ``refresh``. ``is_exact``: no words of a sentence follow.

    ``may_be_name``: it is part of a text, which may only name a command.
    """

    place: str
    text: str
    is_exact: bool = True
    may_be_name: bool = False


def in_documents() -> Iterator[WrittenCommand]:
    """The commands in blocks, those in a line of text, and those of the table of commands."""
    for path in DOCUMENTS:
        text = pages.page(path)
        for block in BLOCK.finditer(text):
            lines = block["text"].replace("\\\n", " ")
            for found in IN_SHELL.finditer(lines):
                piped = " ITEM" if "xargs" in found[0] else ""
                is_picture = block["language"] != SHELL
                yield WrittenCommand(path, found[1].split("  ")[0] + piped, may_be_name=is_picture)
        for found in IN_LINE.finditer(BLOCK.sub("", text)):
            for command in IN_SHELL.finditer(found[1]):
                yield WrittenCommand(path, command[1], may_be_name=found[1] == f"refresh {command[1]}")
    for row in pages.table("docs/refresh.md", "Commands"):
        for usage in (re.sub(r" \[[^]]*\]", "", row), re.sub(r"[][]", "", row)):
            yield WrittenCommand("docs/refresh.md", usage)


def in_code() -> Iterator[WrittenCommand]:
    """The commands in strings of Python, in the page, and in the template."""
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for text in _strings(path):
                yield from _in_prose(path, text)
    for path in [*sorted((ROOT / "cli").rglob("*.js")), ROOT / "template.yaml"]:
        if "vendor" not in path.parts:
            yield from _in_prose(path, path.read_text(encoding="utf-8"))


def _in_prose(path: Path, text: str) -> Iterator[WrittenCommand]:
    for found in IN_PROSE.finditer(text):
        if found[2] not in ENGLISH:
            yield WrittenCommand(str(path.relative_to(ROOT)), END_OF_SENTENCE.split(found[1])[0], False, True)


def _strings(path: Path) -> Iterator[str]:
    """Every string of a module, and every command that it makes. Values that it computes are placeholders."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=values):
                parts.update(values)
                yield "".join(
                    str(each.value) if isinstance(each, ast.Constant) else _placeholder(each)
                    for each in values
                )
            case ast.Constant(value=str(text)) if node not in parts:
                yield text
            case ast.Call(
                func=ast.Attribute(attr="command", value=ast.Name("app") | ast.Name("self")),
                args=[ast.Constant(), *_] as arguments,
            ):
                if not any(isinstance(each, ast.Starred) for each in arguments):
                    yield "refresh " + " ".join(_word(each) for each in arguments)


def _word(argument: ast.expr) -> str:
    return str(argument.value) if isinstance(argument, ast.Constant) else "VALUE"


def _placeholder(value: ast.expr) -> str:
    """A word for a value; that of ``name`` in a command is one of several commands."""
    shown = ast.unparse(value)
    return "show" if shown == "{name}" else "VALUE"


def words(text: str) -> list[str]:
    """The arguments of a command; ``{name}`` and ``…`` are values like any other."""
    return [PLACEHOLDERS.get(word, word) for word in shlex.split(text, comments=True)]


def problem(command: WrittenCommand) -> str | None:
    """Why a command cannot be parsed; of a sentence, its beginning up to the last option has to be one.

    A text may also name a command, or a group of them, without its arguments.
    """
    given = words(command.text if command.is_exact else command.text.replace("'", ""))
    if command.may_be_name and _is_name(given):
        return None
    options = [number for number, word in enumerate(given) if word.startswith("-")]
    least = len(given) if command.is_exact else max([0, *options]) + 1
    problems = [_parse(given[:length]) for length in range(least, len(given) + 1)]
    return None if None in problems else problems[0]


def _is_name(given: list[str]) -> bool:
    """Whether the words are the name of a command or of a group, and nothing else."""
    group: click.Command | None = cli
    for word in given:
        group = group.commands.get(word) if isinstance(group, click.Group) else None
    return group is not None


def _parse(arguments: list[str]) -> str | None:
    try:
        cli.main(arguments, prog_name="refresh", standalone_mode=False)
    except click.UsageError as error:
        return error.format_message()
    return None


@pytest.fixture(autouse=True)
def parsed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command is executed, and the files that it names need not exist."""

    def as_it_is(_self: click.Path, value: Any, _param: object, _context: object) -> Any:
        return value

    monkeypatch.setattr(RefreshCommand, "invoke", lambda _self, _context: None)
    monkeypatch.setattr(click.Path, "convert", as_it_is)


@pytest.mark.parametrize(
    "text",
    [
        "unknown",
        "start",
        "start a b",
        "start a --wait",
        "runs --limit many",
        "runs --status DONE",
        "completion tcsh",
        "secret",
        "secret webhooks dbt",
        "sources test dbt",
    ],
)
def test_what_the_tool_does_not_accept_is_a_problem(text: str) -> None:
    assert problem(WrittenCommand("", text))


def test_of_a_sentence_only_the_beginning_is_a_command() -> None:
    assert problem(WrittenCommand("", "runs shows what ran", False)) is None
    assert problem(WrittenCommand("", "check FOLDER --online says why", False)) is None
    assert problem(WrittenCommand("", "check FOLDER --deep says why", False))
    assert problem(WrittenCommand("", "list shows what ran", False))


def test_the_tool_accepts_every_command_in_the_documents() -> None:
    found = list(in_documents())
    assert len(found) > 240
    assert len({each.place for each in found}) > 45
    assert {each: why for each in found if (why := problem(each))} == {}


def test_the_tool_accepts_every_command_in_messages_and_descriptions() -> None:
    found = list(in_code())
    assert len(found) > 30
    assert {each.place.rsplit(".")[-1] for each in found} == {"py", "js", "yaml"}
    assert {each: why for each in found if (why := problem(each))} == {}


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("name", ["RETRY", "START", "SHOW", "CANCEL", "RESUME", "DELIVERIES"])
def test_the_tool_accepts_every_command_of_a_notification(name: str, is_local: bool) -> None:
    place = messages.Place("celonis-refresh", "123456789012", "eu-central-1", is_local)
    command = place.command(getattr(messages, name), "billing")
    assert problem(WrittenCommand("a notification", command.removeprefix("refresh "))) is None

"""The page about the tool matches the tool."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from refresh_cli.main import cli
from tests.template import pages

PAGE = "docs/refresh.md"


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(cli))


def described() -> dict[str, list[str]]:
    """The rows of the table, by the command without its arguments."""
    rows = pages.table(PAGE, "Commands").items()
    return {" ".join(word for word in name.split() if word.islower()): row for name, row in rows}


def test_every_command_is_described() -> None:
    assert set(described()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_named(name: str) -> None:
    shared = {"--stack", "--profile", "--region", "--json", "--help"}
    options = {
        option
        for param in COMMANDS[name].params
        if isinstance(param, click.Option)
        for option in param.opts
        if option.startswith("--")
    }
    assert options - shared <= {word.strip("`,;.") for word in described()[name][1].split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_global_options(name: str) -> None:
    options = {option for param in COMMANDS[name].params for option in param.opts}
    assert {"--stack", "--profile", "--region", "--json"} <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_line_of_the_help_is_a_short_sentence(name: str) -> None:
    first = (COMMANDS[name].help or "").splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 60

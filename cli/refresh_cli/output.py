"""What a command returns, and how it is printed: for people, or as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    Group,
    RenderableType,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from refresh_cli.errors import CliError

WIDTH_WITHOUT_TERMINAL = 10_000
"""Columns of a file or a pipe, so that nothing is cut off, and no line of a difference is folded."""
STYLES = {
    "SUCCEEDED": "green", "FAILED": "red", "TIMED_OUT": "red", "ABORTED": "magenta",
    "RUNNING": "cyan", "OPENING": "cyan", "WAITING": "yellow",
    "ok": "green", "warning": "yellow", "error": "red", "FRESH": "green", "AT_RISK": "yellow", "STALE": "red",
}  # fmt: skip
"""Styles of statuses and levels, the same in all commands."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Result:
    """What a command found or changed.

    ``data``: for ``--json``. ``view``: for people; without it, they get the data as JSON. ``exit_code``: 0,
    or 1 if what the command found is not good. ``errors``: what kept the command from finding the rest.
    """

    data: Any
    view: RenderableType | None = None
    exit_code: int = 0
    errors: Sequence[CliError] = ()


def console(*, stderr: bool = False) -> Console:
    """Return a console that does not cut off what goes into a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    has_width = stream.isatty() or "COLUMNS" in os.environ
    width = None if has_width else WIDTH_WITHOUT_TERMINAL
    made = Console(file=stream, width=width, highlight=False, soft_wrap=False)
    made.push_render_hook(_Harmless())
    return made


def harmless(text: str) -> str:
    """Return a text without control characters, with which others could control the terminal."""
    return _CONTROL.sub("", text)


class _Harmless(RenderHook):
    """Makes all texts harmless, but not the colours that rich adds later."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_HarmlessView(each) for each in renderables]


@dataclass(frozen=True)
class _HarmlessView:
    view: ConsoleRenderable

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> RenderResult:
        for segment in screen.render(self.view, options):
            if segment.control:
                yield segment
            else:
                yield Segment(harmless(segment.text), segment.style)


def show(result: Result, *, as_json: bool) -> None:
    """Print a result on stdout."""
    if as_json or result.view is None:
        click.echo(to_json(result.data))
    else:
        _print(result.view)


def _print(view: RenderableType) -> None:
    """Print without the white space that fills the lines of a table, if it goes into a file or a pipe."""
    screen = console()
    if screen.is_terminal:
        screen.print(view, crop=False)
        return
    with screen.capture() as captured:
        screen.print(view, crop=False)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_error(error: CliError, *, as_json: bool) -> None:
    """Print an error on stderr."""
    if as_json:
        click.echo(to_json(error.document()), err=True)
    else:
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {harmless(error.sentence)}", err=True)


def to_json(data: Any) -> str:
    """Return JSON for people and programs, with all control characters escaped."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def table(heads: Sequence[str], rows: Iterable[Sequence[str | Text]], *, empty: str = "") -> RenderableType:
    """Return a table; the text ``empty`` if it has no rows. Cells are text, never markup.

    The first column, which has ids or names to copy, is never wrapped.
    """
    columns = [Column(head, overflow="fold", no_wrap=number == 0) for number, head in enumerate(heads)]
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made if made.row_count else Text(empty or "Nothing found.")


def facts(pairs: Iterable[tuple[str, str | Text]]) -> RenderableType:
    """Return names and values in two columns. Pairs without a value are left out."""
    made = Table(Column(style="bold", no_wrap=True), Column(overflow="fold"), box=None, pad_edge=False)
    made.show_header = False
    for name, value in pairs:
        if value:
            made.add_row(name, value if isinstance(value, Text) else Text(value))
    return made


def status(text: str) -> Text:
    """Return a status or level in its colour."""
    return Text(text, style=STYLES.get(text, ""))


def unwrapped(text: str, style: str = "") -> Text:
    """Return a line that ends with a command: a terminal may wrap it, but it is copied as one line."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def lines(*parts: str | RenderableType | None) -> RenderableType:
    """Return the parts below each other; None is left out."""
    return Group(*(Text(part) if isinstance(part, str) else part for part in parts if part is not None))

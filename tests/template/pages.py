"""README and docs as tables below headings."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from itertools import takewhile

from tests.template import documents

HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")
FOLDERS = ("runbooks", "senders")
"""Folders of docs/ that have an index page outside."""

Row = list[str]


@functools.cache
def page(path: str) -> str:
    return (documents.ROOT / path).read_text(encoding="utf-8")


def pages() -> list[str]:
    """README and everything in docs/, its folders last, as paths."""
    folders = [documents.ROOT / "docs" / name for name in ("", *FOLDERS)]
    found = [
        documents.ROOT / "README.md",
        *(page for folder in folders for page in sorted(folder.glob("*.md"))),
    ]
    return [path.relative_to(documents.ROOT).as_posix() for path in found]


def section(path: str, title: str) -> str:
    """The text below a heading, up to the next one."""
    headings = list(HEADING.finditer(_without_code(page(path))))
    (number,) = [at for at, heading in enumerate(headings) if heading["title"].replace("`", "") == title]
    end = headings[number + 1].start() if number + 1 < len(headings) else None
    return _without_code(page(path))[headings[number].end() : end]


def _without_code(text: str) -> str:
    """A shell comment is not a heading."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def tables(path: str, title: str) -> list[dict[str, Row]]:
    """The tables of a section, each with its rows by the first name in them."""
    lines = iter(section(path, title).splitlines())
    found: list[dict[str, Row]] = []
    for line in lines:
        if line.startswith("|"):
            next(lines)  # the line under the head
            found.append(rows(takewhile(lambda each: each.startswith("|"), lines)))
    return found


def rows(lines: Iterable[str]) -> dict[str, Row]:
    """The rows of a table, by the first name in each. None may occur twice."""
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    found: dict[str, Row] = {}
    for row in cells:
        name = _first_name(row[0])
        assert name not in found, f"twice: {name}"
        found[name] = row
    return found


def _first_name(cell: str) -> str:
    name = NAME.search(cell)
    return name[1] if name else cell


def table(path: str, title: str) -> dict[str, Row]:
    """The first table of a section."""
    return tables(path, title)[0]


def anchors(path: str) -> set[str]:
    """The anchors of a page, as GitHub makes them from headings."""
    titles = (heading["title"] for heading in HEADING.finditer(_without_code(page(path))))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

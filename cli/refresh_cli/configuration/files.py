"""Reads configuration files and checks them offline with the readers of the service.

A folder of a configuration has ``pipelines/NAME.yaml`` and ``sources/NAME.yaml``; ``.yml`` and ``.json`` work
as well. ``channels/`` and ``connections/`` hold secrets: they are checked, but never read from a folder that
is pushed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from celonis_refresh.celonis.connection import parse_connection
from celonis_refresh.celonis.errors import ConnectionInvalid
from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.names import NAME_RULE, is_name
from celonis_refresh.notifications.channels import ChannelUnusable, parse_channel
from celonis_refresh.pipelines.definition import Definition, parse_definition
from celonis_refresh.pipelines.errors import InvalidInput
from celonis_refresh.webhooks.errors import InvalidSource
from celonis_refresh.webhooks.sources import Source, parse_source
from refresh_cli.configuration.documents import (
    SUFFIXES,
    Document,
    UnreadableDocumentError,
    read_file,
)
from refresh_cli.configuration.items import FOLDERS, Item, Key, Kind
from refresh_cli.configuration.schedules import Schedule, read_schedules

MAX_PARAMETER: Final = 8192
"""Bytes of a parameter of the advanced tier."""
SCHEDULES: Final = "schedules"
NO_FOLDERS: Final = f"expected a folder {' or '.join(f'{folder}/' for folder in FOLDERS.values())} in it"


class Severity(StrEnum):
    """What a finding means: the file is not used at all, it is wrong, or it is only noticeable."""

    UNUSABLE = "unusable"
    MISTAKE = "mistake"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong in a file, where, and what was expected."""

    file: str
    line: int
    field: str
    expected: str
    severity: Severity = Severity.MISTAKE

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"

    @property
    def place(self) -> str:
        """The file with the line; a folder has none."""
        return self.file if Path(self.file).is_dir() else f"{self.file}:{self.line}"

    @property
    def problem(self) -> str:
        """What was expected, after the name of the field if it is about one."""
        return self.expected if self.field == WHOLE else f"{self.field}: {self.expected}"


class FileKind(StrEnum):
    """What a file describes; the value is the name of its folder."""

    PIPELINE = "pipelines"
    SOURCE = "sources"
    CHANNEL = "channels"
    CONNECTION = "connections"


SECRET_KINDS: Final = (FileKind.CHANNEL, FileKind.CONNECTION)
_TELLING: Final = (
    ("data_pool", FileKind.PIPELINE),
    ("sender", FileKind.SOURCE),
    ("rules", FileKind.SOURCE),
    ("base_url", FileKind.CONNECTION),
    ("type", FileKind.CHANNEL),
)
"""Fields that only one kind of file has, for a file outside of the folders."""


@dataclass
class Configuration:
    """What was read.

    ``files``: kind and path of every file; ``documents``: by path; ``kinds``: those whose folder exists;
    ``definitions``, ``sources``: those that are valid, by name.
    """

    items: dict[Key, Item] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    files: list[tuple[FileKind, Path]] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    kinds: set[Kind] = field(default_factory=set)
    definitions: dict[str, Definition] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def mistakes(self) -> list[Finding]:
        return [each for each in self.findings if each.severity is not Severity.WARNING]

    @property
    def exit_code(self) -> int:
        """2 if a file is not used at all, 1 if there are mistakes."""
        severities = {each.severity for each in self.findings}
        return 2 if Severity.UNUSABLE in severities else int(Severity.MISTAKE in severities)


def read_configuration(paths: Sequence[Path], *, with_secrets: bool = True) -> Configuration:
    """Read and check files and folders. ``with_secrets``: also channels and connections."""
    found = Configuration()
    for path in paths:
        if path.is_dir():
            found.files += _files_of_folder(path, found, with_secrets=with_secrets)
        else:
            found.files += [(kind, path) for kind in _kind_of_file(path, found)]
    for (kind, _), same_name in _named(found.files).items():
        _read_named(kind, same_name, found)
    _check_rules(found, is_folder=any(path.is_dir() for path in paths))
    found.findings.sort()
    return found


def _report(
    found: Configuration, path: Path, problem: Problem, line: int = 1, severity: Severity = Severity.MISTAKE
) -> None:
    found.findings.append(Finding(str(path), line, problem.field, problem.expected, severity))


def _files_of_folder(
    root: Path, found: Configuration, *, with_secrets: bool
) -> Iterable[tuple[FileKind, Path]]:
    """Yield the files of a configuration's folder, or of one of its subfolders."""
    if root.resolve().name in list(FileKind):
        folders = [(FileKind(root.resolve().name), root)]
    else:
        folders = [(kind, root / kind) for kind in FileKind if (root / kind).is_dir()]
    if not folders:
        _report(found, root, Problem(WHOLE, NO_FOLDERS), severity=Severity.UNUSABLE)
    for kind, folder in folders:
        found.kinds |= {each for each, name in FOLDERS.items() if name == kind}
        if with_secrets or kind not in SECRET_KINDS:
            yield from ((kind, path) for path in _files_directly_in(folder, found))


def _files_directly_in(folder: Path, found: Configuration) -> Iterable[Path]:
    """Yield the YAML and JSON files; a subfolder is a mistake, because its files would be missed."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            _report(found, path, Problem(WHOLE, "files in subfolders are not read; move them up"))
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _kind_of_file(path: Path, found: Configuration) -> list[FileKind]:
    """Return the kind of a single file, by its folder, else by its fields."""
    folder = path.resolve().parent.name
    if folder in list(FileKind):
        return [FileKind(folder)]
    try:
        value = read_file(path).value
    except UnreadableDocumentError as error:
        _report(found, path, Problem(WHOLE, error.expected), error.line, Severity.UNUSABLE)
        return []
    fields = value if isinstance(value, dict) else {}
    kinds = [kind for name, kind in _TELLING if name in fields]
    if not kinds:
        expected = (
            "expected a pipeline (with data_pool), a source (with sender and rules) or a channel (with type)"
        )
        _report(found, path, Problem(WHOLE, expected))
    return kinds[:1]


def _named(files: Iterable[tuple[FileKind, Path]]) -> dict[tuple[FileKind, str], list[Path]]:
    """Return the paths of each kind and name; a path that was given twice counts once."""
    named: dict[tuple[FileKind, str], dict[Path, Path]] = {}
    for kind, path in files:
        named.setdefault((kind, path.stem), {}).setdefault(path.resolve(), path)
    return {key: list(paths.values()) for key, paths in named.items()}


def _read_named(kind: FileKind, same_name: Sequence[Path], found: Configuration) -> None:
    """Read the file of one name; several are an error, and none of them is used."""
    path, *others = same_name
    if others:
        paths = ", ".join(map(str, same_name))
        expected = f"{path.stem} is defined more than once: {paths}; keep one of them"
        _report(found, path, Problem(WHOLE, expected), severity=Severity.UNUSABLE)
        return
    try:
        document = read_file(path)
    except UnreadableDocumentError as error:
        _report(found, path, Problem(WHOLE, error.expected), error.line, Severity.UNUSABLE)
        return
    if not isinstance(document.value, dict):
        expected = "expected an object: names of fields and their values"
        _report(found, path, Problem(WHOLE, expected), severity=Severity.UNUSABLE)
        return
    found.documents[str(path)] = document
    for problem in _READERS[kind](path, document, found):
        _report(found, path, problem, document.line(problem.field))


# ------------------------------------------------------------------------------------------------ readers


def _read_pipeline(path: Path, document: Document, found: Configuration) -> list[Problem]:
    name, problems = path.stem, _name_problems(path.stem)
    content = {key: value for key, value in document.value.items() if key != SCHEDULES}
    definition: Definition | None = None
    try:
        definition = parse_definition(name, to_text(content))
        found.definitions[name] = definition
    except InvalidInput as error:
        problems += error.problems
    problems += _size_problems(content)
    schedules: list[Schedule] = []
    if SCHEDULES in document.value:
        try:
            schedules = read_schedules(name, document.value[SCHEDULES], definition)
        except InvalidInput as error:
            problems += error.problems
    found.items[Key(Kind.PIPELINE, name)] = Item(Key(Kind.PIPELINE, name), str(path), content)
    for schedule in schedules:
        key = Key(Kind.SCHEDULE, schedule.full_name)
        found.items[key] = Item(key, str(path), schedule.to_entry(), schedule)
    return problems


def _read_source(path: Path, document: Document, found: Configuration) -> list[Problem]:
    name, problems = path.stem, _name_problems(path.stem)
    try:
        found.sources[name] = parse_source(name, to_text(document.value))
    except InvalidSource as error:
        problems += error.problems
    problems += _size_problems(document.value)
    key = Key(Kind.SOURCE, name)
    found.items[key] = Item(key, str(path), document.value)
    return problems


def _read_channel(path: Path, document: Document, _found: Configuration) -> list[Problem]:
    return secret_problems(lambda: parse_channel(path.stem, document.value))


def _read_connection(path: Path, document: Document, _found: Configuration) -> list[Problem]:
    return secret_problems(lambda: parse_connection(path.stem, document.value))


def secret_problems(read: Callable[[], object]) -> list[Problem]:
    """Return the problems of a channel or a connection, without values."""
    try:
        read()
    except ChannelUnusable as error:
        pairs = [each.partition(": ") for each in error.problem.split("; ")]
        return [Problem(name, text) if text else Problem(WHOLE, name) for name, _, text in pairs]
    except ConnectionInvalid as error:
        return [Problem(each.field, f"{each.problem}; expected {each.expected}") for each in error.problems]
    return []


_READERS: Final[Mapping[FileKind, Callable[[Path, Document, Configuration], list[Problem]]]] = {
    FileKind.PIPELINE: _read_pipeline,
    FileKind.SOURCE: _read_source,
    FileKind.CHANNEL: _read_channel,
    FileKind.CONNECTION: _read_connection,
}


def to_text(content: Mapping[str, Any]) -> str:
    """Return the text of a parameter."""
    return json.dumps(content, ensure_ascii=False)


def _name_problems(name: str) -> list[Problem]:
    return (
        [] if is_name(name) else [Problem(WHOLE, f"the name of the file is not valid: expected {NAME_RULE}")]
    )


def _size_problems(content: Mapping[str, Any]) -> list[Problem]:
    size = len(to_text(content).encode(errors="replace"))
    if size <= MAX_PARAMETER:
        return []
    return [
        Problem(WHOLE, f"expected at most {MAX_PARAMETER} bytes, the limit of a parameter; it has {size}")
    ]


def _check_rules(found: Configuration, *, is_folder: bool) -> None:
    """Warn of rules whose pipeline has no file, in a folder that has pipelines."""
    names = {key.name for key in found.items if key.kind is Kind.PIPELINE}
    if not is_folder or not names:
        return
    for name, source in found.sources.items():
        path = Path(found.items[Key(Kind.SOURCE, name)].path)
        for index, rule in enumerate(source.rules):
            if rule.pipeline not in names:
                field_name = f"rules.{index}.pipeline"
                expected = f"pipeline {rule.pipeline} has no file here; the stack must have it"
                line = found.documents[str(path)].line(field_name)
                _report(found, path, Problem(field_name, expected), line, Severity.WARNING)

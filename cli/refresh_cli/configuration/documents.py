"""Reads YAML and JSON with the line of every field, and writes YAML that reads back as the same value.

YAML is read as YAML 1.2 reads it: ``yes``, ``on`` and ``06:30`` are texts. Everything that JSON cannot
express is refused: tags, keys that are not texts, keys that appear twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from math import isfinite
from pathlib import Path
from typing import Any, Final

import yaml

from celonis_refresh.errors import WHOLE

Place = tuple[str | int, ...]
Lines = Mapping[Place, int]

MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
"""Values of a document, counting those of an alias each time."""
MAX_BYTES: Final = 1024 * 1024
SUFFIXES: Final = (".yaml", ".yml", ".json")
_TAG: Final = "tag:yaml.org,2002:"
_SHOWN_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,40}")


class UnreadableDocumentError(ValueError):
    """A text that is not YAML or JSON. ``line`` counts from 1."""

    def __init__(self, line: int, expected: str) -> None:
        self.line = line
        self.expected = expected
        super().__init__(f"line {line}: {expected}")


@dataclass(frozen=True)
class Document:
    """A value, and the line of each of its fields by place, counted from 1."""

    value: Any
    lines: Lines

    def line(self, field: str) -> int:
        """Return the line of a field such as ``jobs.0.mode``; of its parent if the field is missing."""
        if field == WHOLE:
            return self.lines.get((), 1)
        best, depth = self.lines.get((), 1), 0
        parts = field.split(".")
        for place, line in self.lines.items():
            names = [_shown(part) for part in place]
            if len(names) > depth and names == parts[: len(names)]:
                best, depth = line, len(names)
        return best


def _shown(part: str | int) -> str:
    """Return the name of a field as the errors of the service show it."""
    return str(part) if _SHOWN_NAME.fullmatch(str(part)) else "(unnamed)"


def read_file(path: Path) -> Document:
    """Return the document in a YAML or JSON file. Raises ``UnreadableDocumentError``."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableDocumentError(1, "expected a text file in UTF-8") from None
    except OSError as error:
        raise UnreadableDocumentError(1, f"the file cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise UnreadableDocumentError(1, f"expected at most {MAX_BYTES} bytes")
    return read_json(text) if path.suffix.lower() == ".json" else read_yaml(text)


# ---------------------------------------------------------------------------------------------- JSON


def read_json(text: str) -> Document:
    """Raises ``UnreadableDocumentError``."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise UnreadableDocumentError(error.lineno, f"not JSON: {error.msg}") from None
    except RecursionError:
        raise UnreadableDocumentError(1, f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise UnreadableDocumentError(1, f"not JSON: {error}") from None
    return Document(value, dict(_JsonPlaces(text).places()))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError("a number is too large")
    return number


class _JsonPlaces:
    """Finds the line of each value in a text that is known to be JSON."""

    _SPACE: Final = re.compile(r"[ \t\n\r]*")
    _SCALAR: Final = re.compile(r"[^ \t\n\r,\]}]+")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self._counted = 0

    def places(self) -> Iterator[tuple[Place, int]]:
        return self._value((), 0)

    def _skip(self) -> int:
        """Go to the next token and return its line."""
        match = self._SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        self.line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self.line

    def _value(self, place: Place, depth: int) -> Iterator[tuple[Place, int]]:
        line = self._skip()
        if depth > MAX_DEPTH:
            raise UnreadableDocumentError(line, f"nested deeper than {MAX_DEPTH} levels")
        if not place:
            yield place, line
        character = self.text[self.at]
        if character == "{":
            yield from self._members(place, depth)
        elif character == "[":
            yield from self._entries(place, depth)
        elif character == '"':
            _, self.at = scanstring(self.text, self.at + 1, True)
        else:
            match = self._SCALAR.match(self.text, self.at)
            self.at = match.end() if match else self.at + 1

    def _members(self, place: Place, depth: int) -> Iterator[tuple[Place, int]]:
        self.at += 1
        names: set[str] = set()
        while self._next("}"):
            line = self._skip()
            name, self.at = scanstring(self.text, self.at + 1, True)
            if name in names:
                raise UnreadableDocumentError(line, f"the field {_shown(name)} appears twice")
            names.add(name)
            yield (*place, name), line
            self._skip()
            self.at += 1  # the colon
            yield from self._value((*place, name), depth + 1)

    def _entries(self, place: Place, depth: int) -> Iterator[tuple[Place, int]]:
        self.at += 1
        index = 0
        while self._next("]"):
            yield (*place, index), self._skip()
            yield from self._value((*place, index), depth + 1)
            index += 1

    def _next(self, end: str) -> bool:
        """Go behind a comma or the end; return whether there is another entry."""
        self._skip()
        if self.text[self.at] == end:
            self.at += 1
            return False
        if self.text[self.at] == ",":
            self.at += 1
        return True


# ---------------------------------------------------------------------------------------------- YAML


class _Loader(yaml.SafeLoader):
    """Composes nodes with the plain scalars of JSON only."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in PyYAML


_SCALARS: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
)
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), list(_first))


def read_yaml(text: str) -> Document:
    """Raises ``UnreadableDocumentError``."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        expected = f"not YAML: {_without_values(str(error.problem))}"
        raise UnreadableDocumentError(mark.line + 1 if mark else 1, expected) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise UnreadableDocumentError(line, "not YAML: a character is not allowed") from None
    except RecursionError:
        raise UnreadableDocumentError(1, f"nested deeper than {MAX_DEPTH} levels") from None
    if node is None:
        raise UnreadableDocumentError(1, "the file is empty")
    builder = _Builder()
    return Document(builder.value(node, (), 0), builder.lines)


_QUOTED: Final = re.compile(r"""\s*('[^']*'|"[^"]*")""")
_TOKEN: Final = re.compile(r"'(?:<[a-z ]+>|[^\w])'")
"""What errors of PyYAML may quote: the name of a token, or one punctuation mark."""


def _without_values(problem: str) -> str:
    """Return an error of PyYAML without what it quotes from the file, which may be part of a secret."""
    return _QUOTED.sub(lambda found: found[0] if _TOKEN.fullmatch(found[1]) else "", problem)


class _Builder:
    """Builds the value of a node and notes the lines."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self._count = 0

    def value(self, node: yaml.Node, place: Place, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_NODES:
            raise UnreadableDocumentError(line, f"nested deeper than {MAX_DEPTH} levels, or too many values")
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            values = enumerate(node.value)
            return [self.value(each, (*place, index), depth + 1) for index, each in values]
        return _scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str":
                raise UnreadableDocumentError(
                    line, "expected a text as the name of a field; put it in quotes"
                )
            name = str(key.value)
            if name in mapping:
                raise UnreadableDocumentError(line, f"the field {_shown(name)} appears twice")
            self.lines.setdefault((*place, name), line)
            mapping[name] = self.value(value, (*place, name), depth + 1)
        return mapping


def _scalar(node: yaml.Node, line: int) -> Any:
    read = _READERS.get(node.tag.removeprefix(_TAG))
    if read is None or not isinstance(node, yaml.ScalarNode):
        raise UnreadableDocumentError(
            line, "the tag is not supported; put a text that begins with ! in quotes"
        )
    try:
        return read(node.value)
    except ValueError:
        raise UnreadableDocumentError(line, "the number is not valid, or too large") from None


def _integer(text: str) -> int:
    return int(text)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
    "int": _integer,
    "float": _finite,
}


class _Dumper(yaml.SafeDumper):
    """Writes texts in quotes if YAML 1.1 or 1.2 would read them as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_plain = all(
        resolver.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
        == f"{_TAG}str"
        for resolver in (_LOADER_RESOLVER, dumper)
    )
    style = "|" if _is_block(value) else None if is_plain and value.isprintable() else '"'
    return dumper.represent_scalar(f"{_TAG}str", value, style=style)


def _is_block(value: str) -> bool:
    """Return whether a text of several lines can be a literal block."""
    lines = value.split("\n")
    return len(lines) > 1 and all(line and line.isprintable() and line == line.strip() for line in lines)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_scalar(f"{_TAG}float", repr(value) if "." in repr(value) else _dotted(value))


def _dotted(value: float) -> str:
    """Return a number such as 1e+20 with a dot, without which YAML 1.1 reads a text."""
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}.0e{exponent}"


class _Resolver(yaml.resolver.BaseResolver):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


_LOADER_RESOLVER: Final = _Resolver()
_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def to_yaml(value: Any) -> str:
    """Return YAML that ``read_yaml`` reads back as the same value."""
    return str(
        yaml.dump(
            value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False
        )
    )


def canonical(value: Any) -> str:
    """Return a text that is the same for equal JSON values only: 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)

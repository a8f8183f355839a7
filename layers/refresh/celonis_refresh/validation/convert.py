"""Converts a document to a typed value; if it is not valid, converts value by value to find all problems.

Each value is checked by msgspec, so both ways agree. The messages of msgspec are not used, because they
repeat values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import inspect, structs

from celonis_refresh.errors import WHOLE, Problem

M = TypeVar("M", bound=msgspec.Struct)
C = TypeVar("C", bound="ValidatedType")


class InvalidField(ValueError):
    """Valid fields that do not go together; raised by a model's ``__post_init__``.

    ``field``: relative to the model; empty for the whole model.
    """

    def __init__(self, expected: str, field: str = "") -> None:
        self.expected = expected
        self.field = field
        super().__init__(f"{field}: {expected}" if field else expected)


class ValidatedType(str):
    """A text with a check of its own, as the type of a field."""

    __slots__ = ()

    @classmethod
    def checked(cls, text: str) -> str:
        """Return the text to be stored. Raises ValueError with what was expected, without the text."""
        return text

    @classmethod
    def read(cls: type[C], value: object) -> C:
        """Return the value of a field. Raises ValueError as ``checked`` does."""
        if not isinstance(value, str):
            raise ValueError("expected a text")  # noqa: TRY004 - msgspec takes a ValueError for a refusal
        return cls(cls.checked(value))

    def to_json(self) -> str | int:
        """Return the JSON value that ``read`` reads back."""
        return str(self)


class PatternType(ValidatedType):
    """A text that matches ``PATTERN`` as a whole. ``EXPECTED``: the error message."""

    PATTERN: ClassVar[str]
    EXPECTED: ClassVar[str]

    @classmethod
    def checked(cls, text: str) -> str:
        if not re.fullmatch(cls.PATTERN, text):
            raise ValueError(cls.EXPECTED)
        return text


def convert(model: type[M], document: object, refusal: Callable[[Sequence[Problem]], Exception]) -> M:
    """Return the document as a model. Raises ``refusal(problems)`` with all problems in the model's order."""
    try:
        result = msgspec.convert(document, model, dec_hook=lambda kind, value: kind.read(value))
        is_fine = is_text(document)
    except (ValueError, RecursionError):
        is_fine = False
    if is_fine:
        return result
    result, problems = walk(model, document)
    if problems:
        raise refusal(problems)
    return result


def to_json(model: msgspec.Struct) -> str:
    """Return the JSON text that ``convert`` reads back as an equal model."""
    return msgspec.json.encode(model, enc_hook=_as_json).decode()


def _as_json(value: object) -> str | int:
    return value.to_json() if isinstance(value, ValidatedType) else str(value)


def is_text(document: object) -> bool:
    """Return whether all texts are valid Unicode: an unpaired surrogate cannot be stored or logged."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def expected(annotation: Any) -> str:
    """Return ``expected a whole number from 1 to 3600``, or the type's ``Meta(description=…)``."""
    *others, last = _alternatives(inspect.type_info(annotation))
    return f"expected {', '.join(others)} or {last}" if others else f"expected {last}"


def _alternatives(info: inspect.Type) -> list[str]:
    match info:
        case inspect.Metadata():
            description = (info.extra_json_schema or {}).get("description")
            return [description] if description else _alternatives(info.type)
        case inspect.UnionType():
            types_ = [each for each in info.types if not isinstance(each, inspect.NoneType)]
            return [named for each in types_ for named in _alternatives(each)]
        case inspect.LiteralType(values) | inspect.EnumType(cls=values):
            return [json.dumps(each) for each in values]
    return [_named(info)]


def _named(info: inspect.Type) -> str:
    match info:
        case inspect.IntType():
            return _bounded("a whole number", info.ge, info.le, "from ", "")
        case inspect.StrType():
            return _bounded("a text", info.min_length, info.max_length, "of ", " characters")
        case inspect.CustomType():
            return "a text"
        case inspect.VarTupleType():
            return _bounded("a list", info.min_length, info.max_length, "of ", " entries")
        case inspect.BoolType():
            return "true or false"
    return "a JSON object"


def _bounded(what: str, minimum: int | None, maximum: int | None, between: str, unit: str) -> str:
    if minimum is None and maximum is None:
        return what
    if maximum is None:
        return f"{what} of {minimum} or more{unit}"
    return (
        f"{what} of at most {maximum}{unit}"
        if minimum is None
        else f"{what} {between}{minimum} to {maximum}{unit}"
    )


Place = tuple[object, ...]
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,40}")


def walk(model: Any, document: object) -> tuple[Any, list[Problem]]:
    """Return the model and all problems of the document; the model is only valid without problems."""
    path = _Walk()
    result = path.read(model, document, ())
    return result, path.problems


class _Walk:
    """Converts values and records their problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, annotation: Any, value: object, place: Place) -> Any:
        annotation = _branch(annotation, value)
        core = _bare(annotation)
        if _is_model(core) and isinstance(value, dict):
            return self._fields(core, value, place)
        if get_origin(core) is tuple and isinstance(value, list | tuple) and _fits(annotation, len(value)):
            entry, _ = get_args(core)
            return tuple(self.read(entry, each, (*place, index)) for index, each in enumerate(value))
        if get_origin(core) is dict and isinstance(value, dict):
            key, entry = get_args(core)
            there = [(name, (*place, name)) for name in value]
            return {self.read(key, name, at): self.read(entry, value[name], at) for name, at in there}
        return self._single(annotation, core, value, place)

    def _fields(self, model: Any, value: dict[str, Any], place: Place) -> Any:
        before, fields = len(self.problems), structs.fields(model)
        fields_read = {}
        for field in fields:
            there = (*place, field.encode_name)
            if field.encode_name in value:
                fields_read[field.name] = self.read(field.type, value[field.encode_name], there)
            elif field.required:
                self._report(there, "is required")
        if model.__struct_config__.forbid_unknown_fields:
            names = {field.encode_name for field in fields}
            for name in (name for name in value if name not in names):
                self._report((*place, name), "is not a known field")
        if len(self.problems) > before:
            return None
        try:
            return model(**fields_read)
        except InvalidField as error:
            self._report((*place, *filter(None, error.field.split("."))), error.expected)

    def _single(self, annotation: Any, core: Any, value: object, place: Place) -> Any:
        if not is_text(value):
            return self._report(place, "contains an unpaired surrogate, or is nested too deeply")
        if core is Any:
            return value
        if isinstance(core, type) and issubclass(core, ValidatedType):
            try:
                return core.read(value)
            except ValueError as error:
                return self._report(place, str(error))
        try:
            return msgspec.convert(value, annotation)
        except ValueError:
            return self._report(place, expected(annotation))

    def _report(self, place: Place, sentence: str) -> None:
        where = ".".join(map(_shown, place)) or WHOLE
        self.problems.append(Problem(where, sentence[:1].lower() + sentence[1:]))


def _shown(part: object) -> str:
    """Return the name of a field, unless it may be a misplaced secret."""
    return str(part) if _FIELD_NAME.fullmatch(str(part)) else "(unnamed)"


def _bare(annotation: Any) -> Any:
    """Return the type without ``Annotated``."""
    return annotation.__origin__ if get_origin(annotation) is Annotated else annotation


def _is_model(core: Any) -> bool:
    return isinstance(core, type) and issubclass(core, msgspec.Struct)


def _branch(annotation: Any, value: object) -> Any:
    """Return the member of a union for this value: the only one beside null, or the one of its JSON type."""
    core = _bare(annotation)
    if get_origin(core) not in (Union, UnionType):
        return annotation
    types = [each for each in get_args(core) if each is not msgspec.UnsetType]
    types_ = [each for each in types if each is not NoneType]
    if value is None and len(types_) < len(types):
        return NoneType
    fitting = types_ if len(types_) == 1 else [each for each in types_ if _is_kind(_bare(each), value)]
    if fitting:
        return fitting[0]
    return annotation if len(types) == len(get_args(core)) else Union[tuple(types)]  # noqa: UP007


def _is_kind(core: Any, value: object) -> bool:
    if isinstance(value, dict):
        return _is_model(core) or get_origin(core) is dict
    return isinstance(value, list | tuple) and get_origin(core) is tuple


def _fits(annotation: Any, length: int) -> bool:
    limits = [(meta.min_length, meta.max_length) for meta in getattr(annotation, "__metadata__", ())]
    return all(
        (minimum or 0) <= length <= (length if maximum is None else maximum) for minimum, maximum in limits
    )

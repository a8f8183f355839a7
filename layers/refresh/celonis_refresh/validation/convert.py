"""Converting a document as a whole, and what a model may say beyond the types of its fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from celonis_refresh.errors import Problem

M = TypeVar("M", bound=msgspec.Struct)
C = TypeVar("C", bound="ValidatedType")


class InvalidField(ValueError):
    """Fields that are right one by one do not go together; raised by a model's ``__post_init__``.

    ``field``: where it shows, relative to the model; empty: the model as a whole.
    """

    def __init__(self, expected: str, field: str = "") -> None:
        self.expected = expected
        self.field = field
        super().__init__(f"{field}: {expected}" if field else expected)


class ValidatedType(str):
    """A text with a check of its own, as the type of a field. Made from a document, it has been checked."""

    __slots__ = ()

    @classmethod
    def checked(cls, text: str) -> str:
        """The text as it is kept. Raises ValueError with what was expected, without the text."""
        return text

    @classmethod
    def read(cls: type[C], value: object) -> C:
        """The value of a field. Raises ValueError as ``checked`` does."""
        if not isinstance(value, str):
            raise ValueError("expected a text")  # noqa: TRY004 - msgspec takes a ValueError for a refusal
        return cls(cls.checked(value))


class PatternType(ValidatedType):
    """A text that ``PATTERN`` fits as a whole. ``EXPECTED``: what is said where it does not."""

    PATTERN: ClassVar[str]
    EXPECTED: ClassVar[str]

    @classmethod
    def checked(cls, text: str) -> str:
        if not re.fullmatch(cls.PATTERN, text):
            raise ValueError(cls.EXPECTED)
        return text


def convert(model: type[M], document: object, refusal: Callable[[Sequence[Problem]], Exception]) -> M:
    """The document as a model. Raises what ``refusal`` makes of the problems: all, in the model's order."""
    try:
        made = msgspec.convert(document, model, dec_hook=read_own)
        is_fine = is_text(document)
    except (ValueError, RecursionError):
        is_fine = False
    if is_fine:
        return made
    from celonis_refresh.validation.walk import walk

    made, problems = walk(model, document)
    if problems:
        raise refusal(problems)
    return made


def to_json(model: msgspec.Struct) -> str:
    """The JSON text that ``convert`` reads back as an equal model."""
    return msgspec.json.encode(model, enc_hook=str).decode()


def read_own(kind: type[Any], value: object) -> object:
    """What ``msgspec`` calls for a type that it does not know."""
    return kind.read(value)


def is_text(document: object) -> bool:
    """Whether all texts in the document are: half a surrogate pair could be neither stored nor logged."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True

"""A document becomes a model, or all its problems are reported."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType, field

from celonis_refresh.errors import Problem
from celonis_refresh.validation.convert import InvalidField, ValidatedType, convert, expected, to_json


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class EvenNumber(ValidatedType):
    @classmethod
    def checked(cls, text: str) -> str:
        if len(text) % 2:
            raise ValueError("Expected an even number of signs")
        return text.lower()


class InnerDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    low: int = 0
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise InvalidField("low must not be greater than high")
        if self.low == 7:
            raise InvalidField("expected anything but 7", "low")


Words = Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1, max_length=2)]


class OuterDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    flag: bool
    number: Annotated[int, Meta(ge=1, le=9)] = 1
    even: EvenNumber | None = None
    colour: Colour = Colour.RED
    word: Annotated[str, Meta(max_length=3)] = ""
    inner: InnerDocument = InnerDocument()
    several: Annotated[tuple[InnerDocument | Words, ...], Meta(max_length=3)] = ()
    either: Words | Literal["all"] | InnerDocument | None = None
    values: dict[str, str | int] = {}
    anything: Any = None
    given: Literal["a", "b"] | UnsetType = field(default=UNSET, name="maybe")


class Rejected(Exception):
    def __init__(self, problems: Any) -> None:
        self.problems = list(problems)
        super().__init__()


def problems(document: object) -> list[Problem]:
    with pytest.raises(Rejected) as refusal:
        convert(OuterDocument, document, Rejected)
    assert refusal.value.__context__ is None
    return refusal.value.problems


def test_a_document_that_fits_becomes_the_model() -> None:
    several = [{"low": 1}, ["x", "y"]]
    made = convert(OuterDocument, {"flag": True, "even": "ABCD", "several": several, "maybe": "b"}, Rejected)
    assert made == OuterDocument(
        flag=True, even=EvenNumber("abcd"), several=(InnerDocument(low=1), ("x", "y")), given="b"
    )
    assert isinstance(made.even, EvenNumber)


def test_the_text_of_a_model_is_read_back_as_the_same() -> None:
    made = convert(OuterDocument, {"flag": False, "even": "ab", "inner": {"low": 3}, "maybe": "a"}, Rejected)
    assert json.loads(to_json(made)) == {
        "flag": False,
        "even": "ab",
        "inner": {"low": 3, "high": 9},
        "maybe": "a",
    }
    assert convert(OuterDocument, json.loads(to_json(made)), Rejected) == made


def test_everything_is_reported_at_once_in_the_order_of_the_model() -> None:
    document = {
        "extra": 1,
        "number": 10,
        "even": "odd",
        "colour": "green",
        "word": "word",
        "inner": {"low": "1", "lower": 1},
        "several": [{"low": 10}, [], ["x", ""]],
        "either": "some",
        "values": {"a": 1.5, "b": 2, "a key": True},
        "maybe": None,
    }
    assert problems(document) == [
        ("flag", "is required"),
        ("number", "expected a whole number from 1 to 9"),
        ("even", "expected an even number of signs"),
        ("colour", 'expected "red" or "blue"'),
        ("word", "expected a text of at most 3 characters"),
        ("inner.low", "expected a whole number"),
        ("inner.lower", "is not a known field"),
        ("several.0", "low must not be greater than high"),
        ("several.1", "expected a list of 1 to 2 entries"),
        ("several.2.1", "expected a text of 1 or more characters"),
        ("either", 'expected a list of 1 to 2 entries, "all" or a JSON object'),
        ("values.a", "expected a text or a whole number"),
        ("values.(unnamed)", "expected a text or a whole number"),
        ("maybe", 'expected "a" or "b"'),
        ("extra", "is not a known field"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("flag", 1, "flag"),
        ("flag", "true", "flag"),
        ("flag", None, "flag"),
        ("number", True, "number"),
        ("number", 2.0, "number"),
        ("number", "2", "number"),
        ("number", 10**30, "number"),
        ("even", 12, "even"),
        ("even", ["ab"], "even"),
        ("colour", None, "colour"),
        ("inner", [1, 2], "inner"),
        ("inner", {"low": 7}, "inner.low"),
        ("several", {"low": 1}, "several"),
        ("several", [{}] * 4, "several"),
        ("several", [None], "several.0"),
        ("either", {"low": 1, "x": 1}, "either.x"),
        ("either", ["x", 1], "either.1"),
        ("values", [], "values"),
        ("values", {"a": None}, "values.a"),
        ("values", {"a": "\ud800"}, "values.a"),
        ("values", {"\udfff": 1}, "values.(unnamed)"),
        ("word", "\ud800", "word"),
        ("colour", "\ud800", "colour"),
        ("anything", [{"deep": ["\ud800"]}], "anything"),
        ("\ud800", 1, "(unnamed)"),
    ],
)
def test_a_wrong_value_is_reported_with_its_place(field: str, value: object, place: str) -> None:
    assert [problem.field for problem in problems({"flag": True, field: value})] == [place]


def test_what_is_nested_too_deeply_for_python_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert [problem.field for problem in problems({"flag": True, "anything": deep})] == ["anything"]
    while deep:  # taken apart by hand: freeing it would recurse as deeply
        deep = deep.pop()


@pytest.mark.parametrize("document", [None, 5, "x", [], [{"flag": True}]])
def test_what_is_no_object_is_reported_of_the_whole(document: object) -> None:
    assert problems(document) == [("(the whole document)", "expected a JSON object")]


def test_a_description_takes_the_place_of_the_type() -> None:
    assert expected(Annotated[str, Meta(description="a name")] | None) == "expected a name"
    assert expected(Literal["a", "b"] | InnerDocument | None) == 'expected "a", "b" or a JSON object'
    assert expected(str | int | bool) == "expected a text, a whole number or true or false"

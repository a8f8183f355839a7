"""JSON values as attribute values and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.pipelines.definition import Mode
from celonis_refresh.runs.table import from_attribute, from_item, to_attribute, to_item

numbers = st.integers(-(10**37), 10**37) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1, max_size=6), values, max_size=4))
def test_a_document_comes_back_as_it_was(document: dict[str, Any]) -> None:
    assert from_item(to_item(document)) == document


@given(values)
def test_a_value_keeps_its_type(value: Any) -> None:
    assert repr(from_attribute(to_attribute(value))) == repr(value)


@given(st.floats(-1e15, 1e15))
def test_a_number_is_the_same_however_the_table_writes_it(value: float) -> None:
    written = f"{Decimal(repr(value)):f}"
    assert from_attribute({"N": written}) == value


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        (None, {"NULL": True}),
        (True, {"BOOL": True}),
        (1, {"N": "1"}),
        (0.5, {"N": "0.5"}),
        ("", {"S": ""}),
        (Mode.FULL, {"S": "FULL"}),
        (("a", 1), {"L": [{"S": "a"}, {"N": "1"}]}),
        ({"a": {}}, {"M": {"a": {"M": {}}}}),
    ],
)
def test_each_kind_has_its_attribute(value: Any, attribute: dict[str, Any]) -> None:
    assert to_attribute(value) == attribute


def test_a_word_out_of_an_enumeration_is_written_as_plain_text() -> None:
    assert type(to_attribute(Mode.FULL)["S"]) is str


@pytest.mark.parametrize("value", [b"a", {1}, object(), Decimal(1)])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="has no attribute value"):
        to_attribute([value])


@pytest.mark.parametrize("kind", ["B", "SS", "NS", "BS"])
def test_a_kind_of_attribute_that_is_not_used_is_refused(kind: str) -> None:
    with pytest.raises(TypeError, match="not used in this table"):
        from_attribute({kind: "x"})

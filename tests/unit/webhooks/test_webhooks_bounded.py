"""JMESPath expressions that grow too large are aborted; those of real events are not."""

from __future__ import annotations

import pytest

from celonis_refresh.webhooks.expressions import MAX_EXPRESSION, PathError, search

ROWS = [{"name": f"TABLE_{number}", "rows": number, "tags": ["a", "b"]} for number in range(5000)]
EVENT = {"tables": ROWS, "text": "x" * 100_000, "status": "success"}


@pytest.mark.parametrize(
    ("expression", "document"),
    [
        ("|".join(["[@,@]"] * 150), 1),
        ("|".join(["[@,@][]"] * 120), [1]),
        ("|".join(["{a:@,b:@}"] * 90), 1),
        ("|".join(["map(&[@,@],[@,@])"] * 50), 1),
        ("|".join(["to_string([@])"] * 60), '"'),
        ("|".join(["join('',[@,@])"] * 60), "x"),
        ("|".join(["[@,@]"] * 70) + "==" + "|".join(["[@,@]"] * 70), 1),
        ("join(text, tables[].name)", {**EVENT, "text": "x" * 1_000_000}),
        ("|".join(["merge({a:@},{b:@})"] * 40), 1),
        ("|".join(["values({a:@,b:@})"] * 50), 1),
    ],
)
def test_exponential_growth_is_stopped(expression: str, document: object) -> None:
    assert len(expression) <= MAX_EXPRESSION
    with pytest.raises(PathError, match="too much work"):
        search(expression, document)


@pytest.mark.parametrize(
    ("expression", "size"),
    [
        ("tables[].name", 5000),
        ("tables[?rows > `4000`].name", 999),
        ("tables[*].[name, rows]", 5000),
        ("tables[*].{name: name, first: tags[0]}", 5000),
        ("sort_by(tables, &rows)[*].name", 5000),
        ("tables[].tags[]", 10_000),
        ("map(&to_string(rows), tables)", 5000),
        ("join(',', tables[].name)", 53_889),
    ],
)
def test_the_largest_event_that_makes_sense_is_read(expression: str, size: int) -> None:
    assert len(search(expression, EVENT)) == size


def test_a_comparison_with_the_whole_event_is_read() -> None:
    assert search("contains(to_string(@), 'TABLE_4999') && status == 'success'", EVENT) is True


def test_the_next_search_has_its_own_allowance() -> None:
    for _ in range(3):
        assert search("length(tables[*].[name, rows])", EVENT) == 5000


def test_functions_answer_as_they_do_without_bounds() -> None:
    assert search("join('-', ['a', 'b'])", {}) == "a-b"
    assert search("not_null(a, b, 'c')", {"b": 0}) == 0
    assert search("max_by(@, &n).n", [{"n": 1}, {"n": 3}]) == 3
    with pytest.raises(PathError, match="cannot be applied"):
        search("join('-', 'ab')", {})

"""The state machine through validators, and that they would notice what people get wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonata.jexception import JException
from jsonata.jsonata import Jsonata
from statelint.linter import Linter

from tests.template import documents

EXPRESSION = re.compile(r"\{%(.*)%\}", re.DOTALL)
VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
BOUND = re.compile(r"\$([A-Za-z_]\w*) :=")
"""A variable of one expression alone."""
STEP_FUNCTIONS = {"states", "parse", "partition", "range", "hash", "random", "uuid"}
"""What Step Functions itself binds besides the functions of JSONata."""


def problems(definition: Any) -> list[str]:
    """What statelint says. It does not know that ``Seconds`` of a Wait may be an expression: a number stands
    in for it, which `test_expressions_parse` makes up for.
    """
    found: list[str] = Linter.validate(_with_whole_seconds(documents.substituted(definition)))
    return found


def _with_whole_seconds(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: 1 if name == "Seconds" and isinstance(value, str) else _with_whole_seconds(value)
            for name, value in node.items()
        }
    return [_with_whole_seconds(value) for value in node] if isinstance(node, list) else node


def expressions() -> list[str]:
    found = (EXPRESSION.fullmatch(text) for text in documents.strings(documents.machine()))
    return sorted({match[1].strip() for match in found if match})


def paths(node: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """The place of every value in a document."""
    pairs: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from paths(value, *path, key)


def places(*keys: str) -> list[tuple[str | int, ...]]:
    return [path for path in paths(documents.machine()) if path[-1] in keys]


def changed(path: tuple[str | int, ...], name: str | int, value: object) -> documents.Document:
    """The definition with one value replaced, perhaps under another name."""
    definition = documents.machine()
    holder: Any = definition
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    holder[name] = value
    return definition


def shown(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


def test_the_validator_finds_nothing_wrong() -> None:
    assert problems(documents.machine()) == []


def test_it_is_jsonata_throughout() -> None:
    definition = documents.machine()
    assert definition["QueryLanguage"] == "JSONata"
    assert all("QueryLanguage" not in state for _, state in documents.states(definition))
    names = {str(path[-1]) for path in paths(definition)}
    assert not {name for name in names if name.endswith((".$", "Path"))}


def test_seconds_of_every_wait_come_from_the_task_before() -> None:
    waits = [state for _, state in documents.states(documents.machine()) if state["Type"] == "Wait"]
    assert [state["Seconds"] for state in waits] == ["{% $openWait %}", *["{% $wait %}"] * 2]


@pytest.mark.parametrize("expression", expressions())
def test_expressions_parse(expression: str) -> None:
    Jsonata(expression)


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_that_is_broken_does_not_parse(expression: str) -> None:
    with pytest.raises(JException):
        Jsonata(f"({expression}")


def test_every_variable_of_an_expression_is_assigned_somewhere() -> None:
    assigned = {name for place in places("Assign") for name in _at(place)}
    known = assigned | STEP_FUNCTIONS | set(Jsonata.static_frame.bindings)
    used = {
        name
        for expression in expressions()
        for name in {*VARIABLE.findall(expression)} - {*BOUND.findall(expression)}
    }
    assert used <= known
    assert assigned <= used, "a variable is assigned that nobody reads"


def _at(path: tuple[str | int, ...]) -> Any:
    found: Any = documents.machine()
    for key in path:
        found = found[key]
    return found


@pytest.mark.parametrize("place", places("Next", "Default", "StartAt"), ids=shown)
def test_a_state_that_leads_nowhere_is_noticed(place: tuple[str | int, ...]) -> None:
    assert problems(changed(place, place[-1], "Nowhere")) != []


@pytest.mark.parametrize(
    "place",
    places("Next", "Default", "Assign", "Output", "Retry", "Catch", "Arguments", "TimeoutSeconds", "End"),
    ids=shown,
)
def test_a_misspelt_field_is_noticed(place: tuple[str | int, ...]) -> None:
    assert problems(changed(place, f"{place[-1]}s", _at(place))) != []


def test_every_failure_ends_in_a_fail_state() -> None:
    """Nothing that failed ends green: outcomes of a Map fail the run in the Choice behind it."""
    definition = documents.machine()
    top = definition["States"]
    assert {name for name, state in top.items() if state["Type"] == "Fail"} == {"RunFailed"}
    assert {name for name, state in top.items() if state["Type"] == "Succeed"} == {"RunSucceeded", "Joined"}
    for name, state in top.items():
        if state["Type"] == "Map":
            behind = top[state["Next"]]
            assert behind["Choices"][0]["Next"] == "RunFailed", name
            assert "failure" in state["Assign"], name


def test_the_file_is_plain_json() -> None:
    assert json.loads(documents.machine_text())["StartAt"] == "OpenRun"

"""How configuration errors are reported."""

from __future__ import annotations

import pytest

from celonis_refresh.errors import Problem
from celonis_refresh.pipelines.errors import (
    InvalidDefinition,
    InvalidInput,
    InvalidTrigger,
    UnknownPipeline,
)


@pytest.mark.parametrize("kind", [InvalidDefinition, InvalidTrigger])
def test_every_field_is_reported_with_what_was_expected(kind: type[InvalidInput]) -> None:
    error = kind("The trigger", [Problem("mode", "is required"), Problem("tables", "expected a list")])
    assert str(error) == "The trigger is not valid: mode: is required; tables: expected a list."
    assert error.name == kind.__name__
    assert (error.what, error.problems[1].field) == ("The trigger", "tables")


def test_what_to_do_comes_after_what_happened() -> None:
    error = InvalidTrigger("The input", [Problem("a", "is required")], hint="Mend the schedule.")
    assert (error.message, error.hint) == ("The input is not valid: a: is required.", "Mend the schedule.")
    assert str(error) == "The input is not valid: a: is required. Mend the schedule."


def test_an_unknown_pipeline_is_reported_with_where_it_should_be() -> None:
    error = UnknownPipeline("otc", where="/stack/pipelines/otc")
    assert (error.name, error.pipeline) == ("UnknownPipeline", "otc")
    assert str(error) == (
        "There is no pipeline named 'otc'. "
        "Define it as the parameter /stack/pipelines/otc, or check the name."
    )


def test_an_unknown_pipeline_names_the_known_ones_the_nearest_first() -> None:
    error = UnknownPipeline("order-to-csah", where="/s/pipelines/order-to-csah")
    known = ["accounts", "order-to-cash", "procure-to-pay", "Order-To-Ship"]
    assert str(error.among(known)).endswith(
        "Known pipelines: order-to-cash, Order-To-Ship, accounts, procure-to-pay."
    )
    assert str(error.among([])).endswith("No pipeline is defined yet.")
    many = [f"p{number:02}" for number in range(25)]
    assert str(error.among(many)).endswith(", p18, p19 and 5 more.")
    assert error.among(known).pipeline == "order-to-csah"

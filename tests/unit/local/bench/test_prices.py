"""What runs and idle months cost: worked out by hand for figures that are easy to follow."""

from __future__ import annotations

import pytest

from local.bench import prices
from local.bench.transitions import transitions_for


def test_a_run_costs_what_its_parts_cost() -> None:
    run = prices.run(polls=10, transitions_run=42)
    assert run.usd["Step Functions"] == pytest.approx(72 * 0.000025)  # 10 more polls, 3 transitions each
    assert run.usd["Lambda"] == pytest.approx(26 * (0.0000002 + 0.5 * 0.0000133334))
    assert run.usd["API"] == pytest.approx(0.000001)
    assert run.usd["logs"] == pytest.approx(26 * 2048 * 0.5e-9)
    assert run.total == pytest.approx(sum(run.usd.values()))


def test_more_looks_cost_more() -> None:
    few, many = prices.run(5, 42), prices.run(50, 42)
    assert all(many.usd[part] >= cost for part, cost in few.usd.items())
    assert many.total > few.total


def test_an_idle_month_is_what_stands_in_the_template_and_a_round_every_five_minutes() -> None:
    idle = prices.idle_month()
    assert idle.usd["secrets"] == pytest.approx(0.80)
    assert idle.usd["alarms"] == pytest.approx(2.00)
    assert idle.usd["scheduler"] == pytest.approx(8760e-6)
    assert idle.usd["Lambda"] == pytest.approx(8760 * (0.0000002 + 0.5 * 0.0000133334))


def test_the_peers() -> None:
    assert prices.airflow_month() == pytest.approx(357.7)
    assert prices.fargate_run(2.0) == pytest.approx(2 * (0.25 * 0.03238 + 0.5 * 0.00356))


def test_transitions_grow_by_three_a_look() -> None:
    assert transitions_for(42, 10) == 42
    assert transitions_for(42, 21.78) == pytest.approx(42 + 3 * 11.78)

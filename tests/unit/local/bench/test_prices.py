"""What runs and idle months cost: worked out by hand for figures that are easy to follow."""

from __future__ import annotations

import pytest

from local.bench import prices
from local.bench.goals import GOALS
from local.bench.transitions import transitions_for


def test_a_run_costs_what_its_parts_cost() -> None:
    run = prices.run(polls=10, transitions_run=42)
    assert run.usd["Step Functions"] == pytest.approx(72 * 0.000025)  # 10 more polls, 3 transitions each
    assert run.usd["Lambda"] == pytest.approx(26 * (0.0000002 + 0.5 * 0.0000133334))
    assert run.usd["API"] == pytest.approx(0.000001)
    assert run.usd["logs"] == pytest.approx(26 * 3072 * 0.5e-9)
    assert run.total == pytest.approx(sum(run.usd.values()))


def test_a_run_includes_its_events_and_the_writes_of_outbox_and_deliveries() -> None:
    run = prices.run(polls=10, transitions_run=42)
    assert run.usd["events"] == pytest.approx(6e-6)
    writes = 14 + 28 + 4 + 4 * (8 + 20)
    assert run.usd["DynamoDB"] == pytest.approx(0.625e-6 * writes + 0.125e-6 * 26)


def test_the_goal_of_a_run_is_met_without_custom_metrics() -> None:
    goal = GOALS["usd_per_1000_runs"]
    assert goal.is_met(1000 * prices.run(polls=10.9, transitions_run=41).total)
    assert not goal.is_met(3.01)
    assert 1000 * prices.metrics_of_a_run() == pytest.approx(8.22, abs=0.01)


def test_more_polls_cost_more() -> None:
    few, many = prices.run(5, 42), prices.run(50, 42)
    assert all(many.usd[part] >= cost for part, cost in few.usd.items())
    assert many.total > few.total


def test_an_idle_month_costs_the_template_resources_and_a_round_every_five_minutes() -> None:
    idle = prices.idle_month()
    assert idle.usd["secrets"] == pytest.approx(0.80)
    assert idle.usd["alarms"] == pytest.approx(2.50)
    assert (idle.usd["dashboards"], idle.usd["metrics"]) == (3.00, 0.30)
    assert idle.usd["scheduler"] == pytest.approx(8760e-6)
    assert idle.usd["Lambda"] == pytest.approx(8760 * (0.0000002 + 0.5 * 0.0000133334))


def test_the_peers() -> None:
    assert prices.airflow_month() == pytest.approx(357.7)
    assert prices.fargate_run(2.0) == pytest.approx(2 * (0.25 * 0.03238 + 0.5 * 0.00356))


def test_transitions_grow_by_three_a_poll() -> None:
    assert transitions_for(42, 10) == 42
    assert transitions_for(42, 21.78) == pytest.approx(42 + 3 * 11.78)

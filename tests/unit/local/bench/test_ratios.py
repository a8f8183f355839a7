"""Pairs, medians and goals."""

from __future__ import annotations

from collections import Counter

import pytest

from local.bench.crowd import Burst, ConcurrentPipelines
from local.bench.goals import GOALS
from local.bench.ratios import measure_pairs, median_ratio
from local.bench.tables import unmet
from local.concurrent_senders import SenderResult


def test_who_goes_first_changes_from_pair_to_pair() -> None:
    order: list[str] = []

    def measure(who: str) -> str:
        order.append(who)
        return who

    pairs = measure_pairs(lambda: measure("ours"), lambda: measure("theirs"), 3)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert pairs == [("ours", "theirs")] * 3


def test_a_disturbed_pair_does_not_move_the_median() -> None:
    assert median_ratio([(1.0, 2.0), (1.1, 2.0), (50.0, 2.0), (1.2, 2.4), (0.9, 2.0)]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "met", "missed"),
    [("polls_known", 11.0, 11.1), ("vs_fixed_steady", 6.0, 5.9), ("budget_429_pct", 0.99, 1.0)],
)
def test_a_goal_has_the_right_side(name: str, met: float, missed: float) -> None:
    assert GOALS[name].is_met(met)
    assert not GOALS[name].is_met(missed)


def test_a_figure_without_a_goal_is_always_met() -> None:
    assert GOALS["slowest_answer_s"].is_met(1e9)
    assert str(GOALS["slowest_answer_s"]) == ""


def test_goals_that_are_not_met_are_named() -> None:
    assert unmet({"polls_known": 10.0, "events_72h": 25000.0}) == "Not met: events_72h."
    assert unmet({"polls_known": 10.0}) == "Every goal is met."


def test_a_burst_is_right_if_all_are_covered_by_two_executions() -> None:
    reported = [
        SenderResult(202, {"runs": [{"run_id": "a"}]}, 1.0, (), 0.5),
        SenderResult(503, {}, 2.0, (503,), 2.5),
    ]
    assert reported[0].run_id == "a"
    assert reported[1].run_id == ""
    assert Burst(reported, covered=2, executions=2).figures() == {"burst_ok": 1.0, "slowest_answer_s": 2.5}
    assert Burst(reported, covered=1, executions=2).figures()["burst_ok"] == 0.5
    assert Burst(reported, covered=2, executions=3).figures()["burst_ok"] == 0.0


def test_answers_that_ask_for_fewer_requests_are_a_share_of_all() -> None:
    found = ConcurrentPipelines(200, Counter(SUCCEEDED=199, FAILED=1), Counter({200: 990, 429: 10}))
    assert found.figures() == {"parallel_runs": 200, "budget_429_pct": 1.0, "budget_failed": 1}

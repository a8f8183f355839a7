"""The simulated week: the same for a seed, and of the shapes that the stack itself writes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.runs.pipeline_state import PipelineState
from celonis_refresh.runs.records import Run, RunStatus, item_size
from celonis_refresh.timing import epoch
from celonis_refresh.webhooks.sources import parse_source
from celonis_refresh.workflow.listing import shown
from local.week.fill import items_of, parameters_of
from local.week.history import History, make_history
from local.week.plans import PLANS

NOW = 1_789_634_460.0
WEEK = 7 * 86_400


@pytest.fixture(scope="module")
def history() -> History:
    return make_history(1, NOW)


def test_a_seed_has_one_week(history: History) -> None:
    assert make_history(1, NOW) == history
    assert make_history(2, NOW) != history


def test_it_is_a_believable_week(history: History) -> None:
    assert {record["pipeline"] for record in history.records} == {plan.name for plan in PLANS}
    statuses = [record["status"] for record in history.records]
    assert 0 < statuses.count(RunStatus.FAILED) < 0.15 * len(statuses)
    assert {one["result"] for one in history.deliveries} == {"started", "merged", "ignored", "duplicate"}
    waits = [step for record in history.records for step in record["steps"].values() if "waiting_for" in step]
    assert waits
    assert "workforce" in history.pending
    assert any("retry_of" in record for record in history.records)


def test_a_pipeline_has_one_run_at_a_time(history: History) -> None:
    for plan in PLANS:
        mine = [record for record in history.records if record["pipeline"] == plan.name]
        assert all(first["ended_at"] <= second["created_at"] for first, second in pairwise(mine)), plan.name


def test_a_job_runs_once_at_a_time(history: History) -> None:
    spans: dict[str, list[tuple[float, float]]] = {}
    for record in history.records:
        for step in record["steps"].values():
            target = step.get("job") or step["data_model"]
            spans.setdefault(target, []).append((epoch(step["noted_at"]), epoch(step["ended_at"])))
    for target, times in spans.items():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(times))), target


def test_records_are_those_of_the_service(history: History) -> None:
    for record in history.records:
        run = Run(json.loads(json.dumps(record)))
        assert NOW - WEEK <= epoch(record["created_at"]) <= epoch(record["ended_at"]) <= NOW
        assert run.definition
        assert run.options.reasons
        assert shown(run)["steps"]
        assert item_size(run.item) < 20_000


def test_items_have_keys_of_their_own(history: History) -> None:
    items = list(items_of(history, PLANS, NOW))
    assert len({item["pk"] for item in items}) == len(items)
    for item in items:
        if item["pk"].startswith("pipeline#"):
            state = PipelineState(json.loads(json.dumps(item)))
            assert state.seconds is None or state.seconds > 0


def test_parameters_are_valid() -> None:
    for name, value in parameters_of("stack", PLANS):
        *_, kind, own = name.split("/")
        if kind == "pipelines":
            assert read_definition(name, Definition, value)
        else:
            assert parse_source(own, value).rules


def test_a_live_history_has_runs_that_run_and_wait() -> None:
    history = make_history(1, NOW, live=True)
    assert {record["pipeline"] for record in history.running} >= {"purchase-to-pay", "accounts-payable"}
    waiting = next(one for one in history.running if one["pipeline"] == "accounts-payable")
    assert waiting["steps"]["job-0"]["waiting_for"].startswith("run purchase-to-pay-")
    assert "order-to-cash" in history.pending

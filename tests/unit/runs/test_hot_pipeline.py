"""One pipeline that receives 100 deliveries a second, over a table with the conflicts of DynamoDB."""

from __future__ import annotations

import pytest

from celonis_refresh.workflow.webhook import RESPONSE_SECONDS
from local.bench.goals import GOALS
from tests.fakes.hot_pipeline import EXPECTED_RUNS, TRANSACTIONS, HotPipeline


def test_all_deliveries_to_a_hot_pipeline_are_accepted_in_time_by_two_runs() -> None:
    hot = HotPipeline(seed=1).run()
    assert len(hot.answers) == pytest.approx(3000, rel=0.1)
    assert set(hot.statuses) == {"started", "joined"}
    assert (hot.statuses["started"], len(hot.runs)) == (1, EXPECTED_RUNS)
    assert max(answer.seconds for answer in hot.answers) <= RESPONSE_SECONDS
    limit = GOALS["hot_transactions"].limit
    assert limit is not None
    assert hot.per_delivery(TRANSACTIONS) <= limit
    assert hot.dynamodb.throttled == 0


def test_three_times_as_many_deliveries_are_accepted_too() -> None:
    hot = HotPipeline(a_second=300.0, seconds=3.0).run()
    assert set(hot.statuses) == {"started", "joined"}
    assert len(hot.runs) == EXPECTED_RUNS

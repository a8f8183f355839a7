"""Waiting for the end of a run: ``GET /runs/{run_id}?wait=20``."""

from __future__ import annotations

import pytest

from celonis_refresh.pipelines.errors import InvalidTrigger
from celonis_refresh.runs.errors import RunNotFound
from tests.fakes.service import RUN
from tests.unit.workflow.commands_harness import CommandsHarness
from tests.unit.workflow.test_commands import cancelled

FUNCTION_SECONDS = 26.0
"""What the Api function has, less what its answer needs."""


@pytest.fixture
def harness() -> CommandsHarness:
    return CommandsHarness()


def status_after(
    harness: CommandsHarness, wait: str, run_id: str = RUN, seconds: float = FUNCTION_SECONDS
) -> str:
    """The status in the answer to ``?wait=…``, with the calls to DynamoDB since then."""
    harness.service.dynamodb.calls.clear()
    document = harness.requests.show(run_id, {"wait": wait}, harness.service.deadline(seconds))
    return str(document["status"])


def test_a_run_that_ends_is_returned_at_the_next_read(harness: CommandsHarness) -> None:
    harness.while_sleeping[3] = harness.fail
    assert status_after(harness, "20") == "FAILED"
    assert harness.slept == [1.0, 1.0, 1.0]


def test_a_run_that_does_not_end_is_returned_when_the_time_is_up(harness: CommandsHarness) -> None:
    assert status_after(harness, "20") == "RUNNING"
    assert sum(harness.slept) == pytest.approx(20)
    *reads, durations = harness.service.dynamodb.calls
    assert (len(reads), durations) == (21, "TransactGetItems"), "one read a second"


def test_a_run_that_has_ended_is_returned_at_once(harness: CommandsHarness) -> None:
    harness.fail()
    assert status_after(harness, "25") == "FAILED"
    assert harness.slept == []
    assert harness.service.dynamodb.calls == ["GetItem", "GetItem"], "the run, and whether it was retried"


@pytest.mark.parametrize("query", [{}, {"wait": "0"}])
def test_without_a_wait_the_run_is_returned_as_it_is(harness: CommandsHarness, query: dict[str, str]) -> None:
    deadline = harness.service.deadline(FUNCTION_SECONDS)
    assert harness.requests.show(RUN, query, deadline)["status"] == "RUNNING"
    assert harness.slept == []


@pytest.mark.parametrize(("left", "waits"), [(10.0, 9.0), (1.5, 0.5), (0.5, 0.0)])
def test_the_answer_never_comes_after_the_end_of_the_function(
    harness: CommandsHarness, left: float, waits: float
) -> None:
    assert status_after(harness, "25", seconds=left) == "RUNNING"
    assert sum(harness.slept) == pytest.approx(waits)


def test_a_pending_run_is_followed_to_its_end(harness: CommandsHarness) -> None:
    pending = harness.start()["runs"][0]["run_id"]
    harness.while_sleeping[2] = lambda: harness.end("SUCCEEDED")
    harness.while_sleeping[4] = lambda: harness.fail(pending)
    assert status_after(harness, "20", pending) == "FAILED"
    assert harness.slept == [1.0] * 4


def test_a_pending_run_that_stays_pending_costs_one_read_a_second(harness: CommandsHarness) -> None:
    pending = harness.start()["runs"][0]["run_id"]
    assert status_after(harness, "20", pending) == "WAITING"
    assert len(harness.service.dynamodb.calls) == 2 + 20


def test_a_pending_run_that_is_dropped_is_not_found(harness: CommandsHarness) -> None:
    pending = harness.start()["runs"][0]["run_id"]
    harness.while_sleeping[2] = lambda: cancelled(harness, pending)
    with pytest.raises(RunNotFound):
        status_after(harness, "20", pending)
    assert harness.slept == [1.0, 1.0]


@pytest.mark.parametrize("wait", ["26", "-1", "1.5", "soon", "", "1,2", "9999999999", "٢"])
def test_a_wait_out_of_range_is_refused_with_the_field_named(harness: CommandsHarness, wait: str) -> None:
    with pytest.raises(InvalidTrigger, match="from 0 to 25") as reported:
        status_after(harness, wait)
    assert [problem.field for problem in reported.value.problems] == ["wait"]
    assert harness.service.dynamodb.calls == []


def test_an_unknown_parameter_is_refused(harness: CommandsHarness) -> None:
    with pytest.raises(InvalidTrigger) as reported:
        harness.requests.show(RUN, {"waits": "1"}, harness.service.deadline())
    assert [problem.field for problem in reported.value.problems] == ["waits"]

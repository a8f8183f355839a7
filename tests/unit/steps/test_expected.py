"""How long a run is expected to take, from the durations of its steps."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.pipelines.plan import AS_DEFINED, Plan, make_plan
from celonis_refresh.runs.records import data_from
from celonis_refresh.runs.table import job_durations, model_durations
from celonis_refresh.steps.expected import (
    duration_keys,
    expected_end,
    is_waiting,
    known_seconds_left,
    seconds_left,
    with_resolved_loads,
)
from celonis_refresh.steps.polling.durations import usual_seconds
from celonis_refresh.timing import iso
from tests.fakes.clock import START
from tests.fakes.service import job_definition

A, B, C = (job_durations(job, "FULL") for job in "abc")
M, N = model_durations("m", "complete"), model_durations("n", "by_job")
USUAL = {A: 100.0, B: 300.0, C: 50.0, M: 600.0, N: 20.0}


def plan() -> Plan:
    """Two stages of jobs, then two loads."""
    jobs = [[{"job": "a"}, {"job": "b"}], {"job": "c"}]
    loads = [{"data_model": "m"}, {"data_model": "n", "started_by": "job"}]
    return make_plan(job_definition(jobs=jobs, loads=loads), AS_DEFINED)


def left(states: dict[str, Any], usual: dict[str, float] | None = None) -> float | None:
    return seconds_left(plan(), USUAL if usual is None else usual, states, START)


def started(seconds_ago: float) -> dict[str, Any]:
    return {"noted_at": iso(START - seconds_ago), "sent_by": START - seconds_ago + 1}


def test_the_durations_of_all_steps_are_read() -> None:
    assert duration_keys(plan()) == [A, B, C, M, N]


@pytest.mark.parametrize(
    ("states", "seconds"),
    [
        ({}, 300 + 50 + 600),
        ({"job-0": {"outcome": "SUCCEEDED"}}, 300 + 50 + 600),
        ({"job-1": {"outcome": "SUCCEEDED"}}, 100 + 50 + 600),
        ({"job-0": {"outcome": "SUCCEEDED"}, "job-1": started(200)}, 100 + 50 + 600),
        ({"job-0": {"outcome": "SUCCEEDED"}, "job-1": started(340)}, 40 + 50 + 600),
        ({"job-1": {"waiting_for": "run other-1"}}, 300 + 50 + 600),
        # queued in Celonis: the usual duration counts from when it runs
        ({"job-1": {**started(200), "status": "QUEUED"}}, 300 + 50 + 600),
        (
            {"job-1": {**started(200), "status": "RUNNING", "started_date": (START - 20) * 1000}},
            280 + 50 + 600,
        ),
        # a start that Celonis refused is repeated
        ({"job-1": {**started(200), "refused": True}}, 300 + 50 + 600),
    ],
)
def test_stages_follow_each_other_and_steps_of_a_stage_are_parallel(
    states: dict[str, Any], seconds: float
) -> None:
    assert left(states) == pytest.approx(seconds)


def test_a_step_without_durations_counts_as_nothing_and_none_at_all_as_unknown() -> None:
    assert left({"job-0": started(10_000)}, {B: 300.0}) == 300.0
    assert left({}, {}) is None
    assert left({}, {A: 0.0}) is None


def test_without_the_duration_of_a_step_that_has_not_ended_no_end_is_known() -> None:
    without_c = {key: seconds for key, seconds in USUAL.items() if key != C}
    assert known_seconds_left(plan(), without_c, {}, START) is None
    assert known_seconds_left(plan(), without_c, {"job-2": {"outcome": "SUCCEEDED"}}, START) == 300 + 600
    assert known_seconds_left(plan(), {}, {}, START) is None
    ended = {step: {"outcome": "SUCCEEDED"} for step in ("job-0", "job-1", "job-2", "load-0", "load-1")}
    assert known_seconds_left(plan(), {}, ended, START) == 0
    assert expected_end(plan(), without_c, {}, START) is None


@pytest.mark.parametrize(
    ("state", "waits"),
    [
        ({}, False),
        ({"began": START}, True),
        ({"began": START, "waiting_for": "run other-1"}, True),
        ({"last_error": "The host was not found.", "began": START}, True),
        # it waited before its start
        ({"began": START, "waiting_for": "run other-1", **started(20)}, False),
        ({"began": START, **started(20), "refused": True}, True),
        # Celonis does not answer, so its end cannot be seen
        ({"began": START, **started(20), "last_error": "The host was not found."}, True),
        ({"began": START, **started(20), "outcome": "SUCCEEDED", "last_error": "It ended late."}, False),
    ],
)
def test_while_a_step_waits_no_end_is_expected(state: dict[str, Any], waits: bool) -> None:
    states = {"job-0": state}
    assert is_waiting(plan(), states) is waits
    assert (expected_end(plan(), USUAL, states, START) is None) is waits
    assert known_seconds_left(plan(), USUAL, states, START) is not None


def test_an_end_is_expected_after_what_remains() -> None:
    assert expected_end(plan(), USUAL, {"job-1": started(200)}, START) == START + 100 + 50 + 600


def test_loads_count_as_they_were_resolved() -> None:
    """Requested tables make a partial load of a complete one."""
    loads = {"load-0": {"kind": "partial", "tables": {}}, "load-1": {"kind": "complete", "tables": {}}}
    assert duration_keys(with_resolved_loads(plan(), loads)) == [A, B, C, model_durations("m", "partial"), N]
    assert with_resolved_loads(plan(), None) == plan()


def test_a_usual_duration_is_that_of_the_stored_successes() -> None:
    item = {"pk": A, "successes": [100.0] * 5, "expires": START + 1}
    assert usual_seconds(item, START) == pytest.approx(100.0)
    assert usual_seconds(item, START + 2) == 0.0
    assert usual_seconds(None, START) == 0.0
    assert usual_seconds({**item, "successes": ["x"]}, START) == 0.0


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, "2026-01-01T00:00:10.000Z"),
        ({"started_at": "2026-01-01T00:00:20.000Z"}, "2026-01-01T00:00:20.000Z"),
        (
            # the webhook started the job before the execution opened the run
            {
                "started_at": "2026-01-01T00:00:20.000Z",
                "steps": {"job-0": {"noted_at": "2026-01-01T00:00:11.000Z"}, "load-0": {}},
            },
            "2026-01-01T00:00:11.000Z",
        ),
        (
            {"started_at": "2026-01-01T00:00:20.000Z", "data_from": "2025-12-31T00:00:00.000Z"},
            "2025-12-31T00:00:00.000Z",
        ),
    ],
)
def test_data_is_as_old_as_its_first_job(record: dict[str, Any], expected: str) -> None:
    assert data_from({"created_at": "2026-01-01T00:00:10.000Z", **record}) == expected

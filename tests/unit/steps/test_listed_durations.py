"""Durations of earlier executions that Celonis shows: the prior of first runs."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis import errors
from celonis_refresh.runs.records import size_of
from celonis_refresh.runs.table import to_item
from celonis_refresh.steps.polling.durations import ENOUGH_RUNS, KEPT_DAYS, REMEMBERED
from celonis_refresh.steps.start import start_claimed
from celonis_refresh.steps.target import MAX_LISTED_SECONDS, PastRun, listed_durations
from tests.fakes.celonis import FakeTarget, ShownFields, throttled, unavailable
from tests.fakes.service import JOB, MODEL, ServiceHarness, job_definition, load_definition

DAY = 86_400.0
HOUR = 3_600.0
NOW = 1_800_000_000_000
MAX_BYTES = 300
"""Of the record of a step, for the listed durations."""


def past_run(seconds: float, status: str | None = "SUCCESS", ago: float = DAY) -> PastRun:
    start = NOW - round(ago * 1000)
    return PastRun(status, start, start + round(seconds * 1000))


def add_history(target: FakeTarget, seconds: float, runs: int = REMEMBERED, **fields: Any) -> None:
    for day in range(runs, 0, -1):
        target.add_past_start(ago=day * DAY, seconds=seconds, **fields)


def first_run(service: ServiceHarness, target: FakeTarget, step: str = "job-0") -> tuple[int, float]:
    """Polls, and seconds until the end was seen."""
    definition = job_definition(settle=2) if step == "job-0" else load_definition(settle=2)
    service.open(definition)
    assert service.run_step(step) == "SUCCEEDED"
    return int(str(service.state(step)["polls"])), service.clock.now - target.mine[-1].ended_at


def job_that_ran(seconds: float, listed: float | None, **fields: Any) -> tuple[ServiceHarness, FakeTarget]:
    service = ServiceHarness()
    target = service.job(seconds=seconds, **fields)
    target.add_past_start(ago=100 * DAY, outcome="CANCEL")
    if listed is not None:
        add_history(target, listed)
    return service, target


def test_successes_and_failures_are_apart_and_the_newest_count() -> None:
    old = [past_run(5000.0, ago=(100 + day) * DAY) for day in range(30)]
    new = [
        past_run(100.0 + day, "FAIL" if day % 5 == 0 else "SUCCESS", ago=day * DAY) for day in range(1, 21)
    ]
    known = listed_durations([*old, *new], by=NOW)
    assert known is not None
    assert known["failures"] == [120.0, 115.0, 110.0, 105.0]
    assert known["successes"] == [100.0 + day for day in range(20, 0, -1) if day % 5]
    assert known["failure_rate"] == 0.2


@pytest.mark.parametrize(
    "odd",
    [
        past_run(100.0, "CANCEL"),
        past_run(100.0, "SKIPPED"),
        past_run(100.0, "RUNNING"),
        past_run(100.0, "DONE"),
        past_run(100.0, None),
        past_run(-5.0),
        past_run(0.0),
        past_run(0.5),
        past_run(MAX_LISTED_SECONDS + 1.0, ago=30 * DAY),
        past_run(100.0, ago=50.0),
        past_run(100.0, ago=-DAY),
        PastRun("SUCCESS", None, NOW - 1000),
        PastRun("SUCCESS", NOW - 5000, None),
        PastRun("SUCCESS", -1, 5000),
        PastRun("SUCCESS", 0, 5000),
    ],
)
def test_what_shows_no_plausible_duration_is_left_out(odd: PastRun) -> None:
    assert listed_durations([odd], by=NOW) is None
    known = listed_durations([odd, past_run(60.0, ago=2 * DAY)], by=NOW)
    assert known == {"successes": [60.0], "failures": [], "failure_rate": 0.0}


def test_a_long_list_is_read_in_one_pass_and_stays_small() -> None:
    known = listed_durations((past_run(12_345.6 + run, ago=DAY * run) for run in range(1, 100_001)), by=NOW)
    assert known is not None
    assert len(known["successes"]) == REMEMBERED
    assert size_of(known) < MAX_BYTES


def test_a_first_run_is_polled_as_the_list_suggests() -> None:
    unknown, late_unknown = first_run(*job_that_ran(HOUR, None))
    known, late_known = first_run(*job_that_ran(HOUR, HOUR))
    assert known < unknown / 3
    assert late_known < late_unknown
    assert late_known < 0.02 * HOUR


def test_only_executions_in_the_same_mode_count() -> None:
    service, target = job_that_ran(HOUR, None)
    add_history(target, 600.0, detail="DELTA")
    add_history(target, HOUR, runs=5, detail="FULL")
    service.open(job_definition(settle=2))
    service.start("job-0")
    listed: Any = service.state("job-0")["listed_durations"]
    assert listed["successes"] == [HOUR] * 5


def test_time_in_a_queue_is_not_listed_as_duration() -> None:
    service, target = job_that_ran(HOUR, None)
    past = target.add_past_start(ago=2 * DAY, seconds=HOUR)
    past.queue = 5 * HOUR
    service.open(job_definition(settle=2))
    service.start("job-0")
    listed: Any = service.state("job-0")["listed_durations"]
    assert listed["successes"] == [HOUR]


def test_a_start_by_a_webhook_notes_the_list_and_makes_no_further_request() -> None:
    service, _ = job_that_ran(HOUR, HOUR)
    run = service.open(job_definition(settle=2))
    before = len(service.celonis.sent)
    start_claimed(service.context, run, "job-0", service.deadline(), {"loads": {}})
    assert service.celonis.names()[before:] == ["job", "executions", "execute_job"]
    state = service.state("job-0")
    assert size_of(state["listed_durations"]) < MAX_BYTES
    assert "durations" not in str(state["baseline"])
    assert service.run_step("job-0") == "SUCCEEDED"
    assert int(str(service.state("job-0")["polls"])) < 15
    assert "listed_durations" not in service.state("job-0")


def test_once_enough_is_learned_the_list_is_not_used() -> None:
    service, _ = job_that_ran(600.0, HOUR)
    know(service, f"durations#job#{JOB}#FULL", [600.0] * ENOUGH_RUNS)
    service.open(job_definition(settle=2))
    service.wait(service.start("job-0"))
    service.check("job-0")
    assert "listed_durations" not in service.state("job-0")


@pytest.mark.parametrize("shows", [ShownFields(listing=False, latest="same"), ShownFields(dates=False)])
def test_a_list_that_is_not_served_or_has_no_dates_changes_nothing(shows: ShownFields) -> None:
    without = first_run(*job_that_ran(HOUR, None, shows=shows))
    assert first_run(*job_that_ran(HOUR, 600.0, shows=shows)) == without


@pytest.mark.parametrize("factor", [5.0, 0.2])
def test_a_list_that_misleads_costs_little(factor: float) -> None:
    """The end is seen within the bounds of the schedule, which the simulation of polling measures."""
    unknown, late_unknown = first_run(*job_that_ran(HOUR, None))
    misled, late = first_run(*job_that_ran(HOUR, factor * HOUR))
    assert misled <= 1.25 * unknown
    assert late <= (HOUR if factor > 1 else 2 * late_unknown)


def model_that_was_loaded(seconds: float, **fields: Any) -> tuple[ServiceHarness, FakeTarget]:
    service = ServiceHarness()
    target = service.model(seconds=seconds)
    add_history(target, seconds, **fields)
    return service, target


def know(service: ServiceHarness, key: str, successes: list[float]) -> None:
    facts = {"rev": 1, "expires": int(service.clock.now + KEPT_DAYS * DAY), "successes": successes}
    service.dynamodb.items[key] = to_item({"pk": key, **facts})


def test_a_first_load_is_polled_as_the_load_history_suggests_with_one_request() -> None:
    service, target = model_that_was_loaded(HOUR)
    polls, late = first_run(service, target, "load-0")
    assert service.celonis.names().count("load_history") == 1
    assert polls < 15
    assert late < 0.02 * HOUR


def test_without_a_load_history_the_last_load_counts() -> None:
    service, target = model_that_was_loaded(HOUR)
    service.celonis.load_history_served = False
    polls, _ = first_run(service, target, "load-0")
    assert service.celonis.names().count("load_history") == 1
    assert polls < 20


def test_only_loads_of_the_same_type_count() -> None:
    service, _ = model_that_was_loaded(HOUR, detail="PARTIAL")
    service.celonis.average_seconds = {"PARTIAL": 5.0, "COMPLETE": 700.0}
    service.open(load_definition(settle=2))
    service.wait(service.start("load-0"))
    service.check("load-0")
    listed: Any = service.state("load-0")["listed_durations"]
    assert listed["successes"] == [700.0]


def test_a_load_of_which_enough_is_known_makes_no_request_for_its_history() -> None:
    service, target = model_that_was_loaded(HOUR)
    know(service, f"durations#model#{MODEL}#complete", [HOUR] * ENOUGH_RUNS)
    first_run(service, target, "load-0")
    assert "load_history" not in service.celonis.names()


def test_a_run_with_several_loads_reads_one_history() -> None:
    service = ServiceHarness()
    for model in (MODEL, "model-b"):
        add_history(service.model(model, seconds=HOUR), HOUR)
    service.open(load_definition(settle=2, loads=[{"data_model": MODEL}, {"data_model": "model-b"}]))
    assert [service.run_step(step) for step in ("load-0", "load-1")] == ["SUCCEEDED"] * 2
    assert [target for name, target, _ in service.celonis.sent if name == "load_history"] == [MODEL]


@pytest.mark.parametrize(
    "error",
    [
        unavailable(),
        throttled(30.0),
        errors.CelonisRejected("No.", hint="", method="GET", path="/", status=400),
        errors.AuthenticationFailed("No.", hint="", method="GET", path="/", status=401),
    ],
    ids=lambda error: error.name,
)
def test_an_unreadable_load_history_ends_nothing_and_is_not_read_again(
    error: errors.CelonisError,
) -> None:
    service, target = model_that_was_loaded(HOUR)
    service.celonis.faults["load_history"] = [error, error]
    polls, _ = first_run(service, target, "load-0")
    assert len(service.celonis.faults["load_history"]) == 1
    assert polls < 20

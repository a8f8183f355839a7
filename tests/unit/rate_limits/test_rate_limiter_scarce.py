"""Little is left of a day's requests: what stops a run, and the look at a time-out, take no turn."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.celonis.transport import RateLimit, get_job
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.rate_limits.limiter import SharedRateLimiter
from celonis_refresh.runs.records import RunStatus
from tests.fakes.celonis import throttled
from tests.fakes.service import JOB, MODEL, RUN, ServiceHarness, job_definition, load_definition
from tests.unit.steps.outgoing import cancels, holder
from tests.unit.workflow.close_harness import CLOSE_SECONDS, Exit

FOREVER = 1e9
HOUR = {"job": JOB, "timeout": 3600}


@dataclass
class Day:
    """A limit of 6000 requests a day, of which ``left`` are left for ten hours more."""

    bench: ServiceHarness
    left: float = 500

    def __post_init__(self) -> None:
        bench = self.bench
        self.ends = bench.clock.now + 36_000
        bench.celonis.rate_limiter = SharedRateLimiter(bench.table, "default", bench.clock, bench.clock.sleep)
        bench.celonis.limit = self.report

    def report(self) -> RateLimit:
        self.left -= 1
        return RateLimit(6000, int(self.left), self.ends - self.bench.clock.now)

    def pause(self, seconds: float) -> None:
        """Celonis refuses somebody for so long."""
        self.bench.celonis.rate_limiter.answered(self.report(), seconds)

    def is_held_back(self) -> bool:
        other = SharedRateLimiter(self.bench.table, "default", self.bench.clock, self.bench.clock.sleep)
        try:
            other.enter(get_job("pool-1", JOB), 12.0)
        except CelonisThrottled:
            return True
        return False


def under_way(definition: Definition, step: str = "job-0", seconds: float = FOREVER) -> Exit:
    leave = Exit(definition)
    for lane in (leave.bench.celonis.jobs[JOB], leave.bench.celonis.models[MODEL]):
        lane.seconds = seconds
    leave.bench.start(step)
    leave.bench.clock.sleep(5.0)
    leave.bench.check(step)
    return leave


@pytest.mark.parametrize("pause", [700.0, 36_000.0])
def test_a_stop_stops_at_once_while_everybody_else_waits(pause: float) -> None:
    leave = under_way(job_definition())
    day = Day(leave.bench)
    day.pause(pause)
    began = leave.bench.clock.now
    assert leave.end("ABORTED").status is RunStatus.ABORTED
    assert "was cancelled (CANCEL)" in leave.outcome()
    assert leave.bench.clock.now - began < 15.0
    assert (cancels(leave.bench), holder(leave.bench)) == ([JOB], None)
    assert day.is_held_back()


def test_a_stop_that_celonis_itself_refuses_goes_on_asking_and_tells_everybody() -> None:
    leave = under_way(job_definition())
    day = Day(leave.bench)
    leave.bench.celonis.faults["job"] = [throttled(2.0)]
    leave.end("ABORTED")
    assert cancels(leave.bench) == [JOB]
    assert [day.is_held_back() for _ in range(3)] == [False, True, True], "the others take turns"


def test_the_look_at_the_time_out_finds_a_job_that_ended_in_the_pause() -> None:
    leave = under_way(job_definition(jobs=[HOUR]), seconds=3000.0)
    bench, day = leave.bench, Day(leave.bench)
    bench.clock.sleep(2900.0)
    day.pause(1500.0)
    progress = bench.check("job-0")
    assert progress["status"] == "RUNNING"
    began = float(str(bench.state("job-0")["began"]))
    assert bench.clock.now + progress["wait"] <= began + 3600.0 + 1.0
    assert go_on(bench) == "SUCCEEDED"


@pytest.mark.parametrize("left", [500, 60, 2])
def test_a_job_past_its_time_out_is_cancelled_in_a_pause(left: int) -> None:
    leave = under_way(job_definition(jobs=[HOUR]))
    bench = leave.bench
    began = float(str(bench.state("job-0")["began"]))
    Day(bench, left).pause(10_000.0)
    assert go_on(bench) == "JobTimedOut"
    assert "It was cancelled (CANCEL)." in str(bench.state("job-0")["message"])
    assert bench.clock.now <= began + 3600.0 + 30.0
    assert (cancels(bench), holder(bench)) == ([JOB], None)


def test_a_load_past_its_time_out_is_looked_at_in_a_pause() -> None:
    timed = load_definition(loads=[{"data_model": MODEL, "timeout": 3600}])
    leave = under_way(timed, "load-0", seconds=3590.0)
    leave.bench.clock.sleep(3500.0)
    Day(leave.bench).pause(2000.0)
    assert go_on(leave.bench, "load-0") == "SUCCEEDED"


def go_on(bench: ServiceHarness, step: str = "job-0") -> str:
    """Looks as the state machine does until the step has ended: how."""
    for _ in range(400):
        try:
            progress = bench.check(step)
        except RefreshError as error:
            return error.name
        if progress["status"] == "SUCCEEDED":
            return "SUCCEEDED"
        bench.clock.sleep(progress["wait"])
    raise AssertionError(bench.state(step, RUN))


def test_a_stop_of_a_load_says_that_it_runs_on_without_a_turn() -> None:
    leave = under_way(load_definition(), "load-0")
    Day(leave.bench).pause(700.0)
    began = leave.bench.clock.now
    leave.end("ABORTED")
    assert "runs on: no call is known that cancels a load." in leave.outcome()
    assert leave.bench.clock.now - began < CLOSE_SECONDS / 4

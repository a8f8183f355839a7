"""Few of a day's requests are left: cancels, and the poll at a timeout, bypass the rate limiter."""

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
from tests.unit.workflow.close_harness import CLOSE_SECONDS, CloseHarness

FOREVER = 1e9
HOUR = {"job": JOB, "timeout": 3600}


@dataclass
class DailyLimit:
    """A limit of 6000 requests a day, of which ``left`` are left for ten hours more."""

    service: ServiceHarness
    left: float = 500

    def __post_init__(self) -> None:
        service = self.service
        self.ends = service.clock.now + 36_000
        service.celonis.rate_limiter = SharedRateLimiter(
            service.table, "default", service.clock, service.clock.sleep
        )
        service.celonis.limit = self.report

    def report(self) -> RateLimit:
        self.left -= 1
        return RateLimit(6000, int(self.left), self.ends - self.service.clock.now)

    def pause(self, seconds: float) -> None:
        """Celonis refuses a request for this long."""
        self.service.celonis.rate_limiter.answered(self.report(), seconds)

    def is_held_back(self) -> bool:
        other = SharedRateLimiter(self.service.table, "default", self.service.clock, self.service.clock.sleep)
        try:
            other.enter(get_job("pool-1", JOB), 12.0)
        except CelonisThrottled:
            return True
        return False


def running(definition: Definition, step: str = "job-0", seconds: float = FOREVER) -> CloseHarness:
    harness = CloseHarness(definition)
    for target in (harness.service.celonis.jobs[JOB], harness.service.celonis.models[MODEL]):
        target.seconds = seconds
    harness.service.start(step)
    harness.service.clock.sleep(5.0)
    harness.service.check(step)
    return harness


@pytest.mark.parametrize("pause", [700.0, 36_000.0])
def test_a_cancel_is_sent_at_once_during_a_pause(pause: float) -> None:
    harness = running(job_definition())
    day = DailyLimit(harness.service)
    day.pause(pause)
    began = harness.service.clock.now
    assert harness.end("ABORTED").status is RunStatus.ABORTED
    assert "was cancelled" in harness.outcome()
    assert harness.service.clock.now - began < 15.0
    assert (cancels(harness.service), holder(harness.service)) == ([JOB], None)
    assert day.is_held_back()


def test_a_throttled_cancel_is_retried_and_pauses_other_requests() -> None:
    harness = running(job_definition())
    day = DailyLimit(harness.service)
    harness.service.celonis.faults["job"] = [throttled(2.0)]
    harness.end("ABORTED")
    assert cancels(harness.service) == [JOB]
    assert [day.is_held_back() for _ in range(3)] == [False, True, True], "the others take turns"


def test_the_poll_at_the_timeout_finds_a_job_that_ended_in_the_pause() -> None:
    harness = running(job_definition(jobs=[HOUR]), seconds=3000.0)
    service, day = harness.service, DailyLimit(harness.service)
    service.clock.sleep(2900.0)
    day.pause(1500.0)
    progress = service.check("job-0")
    assert progress["status"] == "RUNNING"
    began = float(str(service.state("job-0")["began"]))
    assert service.clock.now + progress["wait"] <= began + 3600.0 + 1.0
    assert go_on(service) == "SUCCEEDED"


@pytest.mark.parametrize("left", [500, 60, 2])
def test_a_job_past_its_timeout_is_cancelled_in_a_pause(left: int) -> None:
    harness = running(job_definition(jobs=[HOUR]))
    service = harness.service
    began = float(str(service.state("job-0")["began"]))
    DailyLimit(service, left).pause(10_000.0)
    assert go_on(service) == "JobTimedOut"
    assert "It was cancelled." in str(service.state("job-0")["message"])
    assert service.clock.now <= began + 3600.0 + 30.0
    assert (cancels(service), holder(service)) == ([JOB], None)


def test_a_load_past_its_timeout_is_polled_in_a_pause() -> None:
    timed = load_definition(loads=[{"data_model": MODEL, "timeout": 3600}])
    harness = running(timed, "load-0", seconds=3590.0)
    harness.service.clock.sleep(3500.0)
    DailyLimit(harness.service).pause(2000.0)
    assert go_on(harness.service, "load-0") == "SUCCEEDED"


def go_on(service: ServiceHarness, step: str = "job-0") -> str:
    """Polls as the state machine does until the step has ended; returns its result."""
    for _ in range(400):
        try:
            progress = service.check(step)
        except RefreshError as error:
            return error.name
        if progress["status"] == "SUCCEEDED":
            return "SUCCEEDED"
        service.clock.sleep(progress["wait"])
    raise AssertionError(service.state(step, RUN))


def test_a_cancelled_load_is_reported_as_still_running_without_a_request() -> None:
    harness = running(load_definition(), "load-0")
    DailyLimit(harness.service).pause(700.0)
    began = harness.service.clock.now
    harness.end("ABORTED")
    assert "keeps running: no call is known that cancels a load." in harness.outcome()
    assert harness.service.clock.now - began < CLOSE_SECONDS / 4

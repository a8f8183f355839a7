"""CloseRun dies at one of its calls; the event comes again, or a round of reconcile does."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from tests.stack.crashes.matrix import (
    Call,
    Death,
    await_end,
    deaths,
    died,
    left_over,
    reconcile,
    runs_of,
    together,
)
from tests.stack.ground import Ground

DEATHS = deaths(
    Call("describing the execution", "DescribeExecution"),
    Call("reading the record", "GetItem"),
    Call("asking whether the pipeline is paused", "GetParameter"),
    Call("writing the end", "TransactWriteItems"),
    Call("freeing the lease", "DeleteItem"),
    Call("starting what waited", "StartExecution"),
    Call("telling of it", r"POST http://[^/]*/$"),
    Call("noting that it was told", "TransactWriteItems", 2),
)


class Case(NamedTuple):
    """A death, and whether the event comes again or is lost."""

    death: Death
    comes_again: bool

    def __str__(self) -> str:
        return f"{self.death}, then {'the event again' if self.comes_again else 'reconcile'}"


CASES = [Case(death, again) for death in DEATHS for again in (True, False)]


class Played(NamedTuple):
    pipeline: str
    job: str
    first: str
    follow_up: str
    died: bool


@pytest.fixture(scope="module")
def played(ground: Ground) -> dict[Case, Played]:
    """No event is heard: each end is told by the test, to a function that dies of it."""
    service = ground.service
    service.stack.warm("OpenRun", 1)
    with service.unheard():
        outcomes: dict[Case, Played] = together(lambda case: _play(ground, case), CASES)
    reconcile(service)
    await_end(service, [one.pipeline for one in outcomes.values()])
    reconcile(service)  # who waited was started, and its own end is told by nobody either
    ground.settled()
    return outcomes


def _play(ground: Ground, case: Case) -> Played:
    """A run fails while a trigger waits that came meanwhile."""
    service, job = ground.service, ground.celonis.job(seconds=60)
    pipeline = service.pipeline(jobs=[job])
    first = service.execute({"pipeline": pipeline})
    service.running(first)
    follow_up = service.call("POST", "/runs", {"pipeline": pipeline}).json()["runs"][0]["run_id"]
    ground.celonis.set_job(job, seconds=0.5)
    ground.celonis.finish(job, "FAIL")
    assert service.ended(first)["status"] == "FAILED"
    event = json.dumps({"detail": {"name": first, "executionArn": service.arn(first)}}).encode()
    service.stack.arm("CloseRun", case.death.call.fault(case.death.moment, rf'"name": ?"{first}"'))
    assert service.stack.invoke("CloseRun", event).failed
    if case.comes_again:
        assert not service.stack.invoke("CloseRun", event).failed
    return Played(pipeline, job, first, follow_up, died(service, "CloseRun", case.death, first))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_its_end_is_written_told_and_followed_once(
    ground: Ground, played: dict[Case, Played], case: Case
) -> None:
    one = played[case]
    assert one.died
    first, other = runs_of(ground.service, one.pipeline)
    assert (first["run_id"]["S"], first["status"]["S"]) == (one.first, "FAILED")
    assert (other["run_id"]["S"], other["status"]["S"]) == (one.follow_up, "SUCCEEDED")
    assert first["error"]["S"] == "JobFailed"
    assert first["follow_up"]["S"] == one.follow_up
    assert "told_at" in first
    assert ground.service.item(f"notice#{one.first}") == {}
    told = ground.service.notices_about(one.first)
    assert len(told) == (2 if str(case.death) in TOLD_TWICE else 1)
    assert [execution["outcome"] for execution in ground.celonis.executions(one.job)] == ["FAIL", "SUCCESS"]
    assert left_over(ground.service, one.pipeline, one.job) == []


TOLD_TWICE = {"after telling of it", "before noting that it was told"}
"""Better twice than never: whoever died between telling and noting it left no trace of having told."""

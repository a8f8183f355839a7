"""The trigger dies at one of its calls; the same delivery comes again, or a round of reconcile does.

Row by row the table "Crash by crash" of the design: claim, look, note, start, hand over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.stack.crashes.matrix import (
    Call,
    Death,
    await_end,
    deaths,
    died,
    ground_of_its_own,
    left_over,
    reconcile,
    runs_of,
    together,
)
from tests.stack.ground import Ground

SECRET = "secret-of-a-case-0123456789"
READING = (
    Call("reading the source", "GetParameter"),
    Call("reading its secret", "GetSecretValue"),
    Call("reading the pipeline", "GetParameter", 2),
)
CLAIM = Call("the claim", "TransactWriteItems")
AFTER_THE_CLAIM = (
    Call("reading the connection", "GetSecretValue", 2),
    Call("signing in", r"POST .*/oauth2/token"),
    Call("the look at the job", r"GET .*/jobs/[^/]+$"),
    Call("the look at its executions", r"GET .*/executions"),
    Call("noting the baseline", "UpdateItem"),
    Call("starting the job", r"POST .*/execute"),
    Call("handing over", "StartExecution"),
)
STARTING = AFTER_THE_CLAIM[-2]

UNCLAIMED = [Death(call, "before") for call in (*READING, CLAIM)]
CLAIMED = [Death(CLAIM, "after"), *deaths(*AFTER_THE_CLAIM), Death(STARTING, "sent")]


class Case(NamedTuple):
    """A death, and whether the delivery comes again or is left to reconcile."""

    death: Death
    comes_again: bool

    def __str__(self) -> str:
        return f"{self.death}, then {'the delivery again' if self.comes_again else 'reconcile'}"


CASES = [Case(death, again) for death in (*UNCLAIMED, *CLAIMED) for again in (True, False)]


class Played(NamedTuple):
    """``first`` and ``second``: how the delivery was answered; 0 where it did not come again."""

    pipeline: str
    job: str
    died: bool
    first: int
    second: int
    told: dict[str, Any]


@pytest.fixture(scope="module")
def played(ground: Ground) -> dict[Case, Played]:
    """All cases at once: first the deliveries that meet their faults, then what finishes them."""
    outcomes: dict[Case, Played] = together(lambda case: _play(ground, case), CASES)
    reconcile(ground.service)
    await_end(ground.service, [one.pipeline for one in outcomes.values()])
    ground.settled()
    return outcomes


def _play(ground: Ground, case: Case) -> Played:
    service, job = ground.service, ground.celonis.job(seconds=1)
    pipeline = ground_of_its_own(ground, jobs=[job])
    secret = service.secret("webhooks", {"current": SECRET})
    source = service.source({"pipeline": pipeline}, secret=secret)
    service.stack.arm("Trigger", case.death.call.fault(case.death.moment, rf'"source": ?"{source}"'))
    first = service.webhook(source, delivery="one", secret=SECRET)
    met = died(service, "Trigger", case.death, source)
    if not case.comes_again:
        return Played(pipeline, job, met, first.status_code, 0, {})
    second = service.webhook(source, delivery="one", secret=SECRET)
    return Played(pipeline, job, met, first.status_code, second.status_code, second.json())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_leads_to_one_run_and_one_execution(
    ground: Ground, played: dict[Case, Played], case: Case
) -> None:
    one = played[case]
    assert one.died
    assert one.first >= 500
    runs = runs_of(ground.service, one.pipeline)
    executions = ground.celonis.executions(one.job)
    if case.death in UNCLAIMED and not case.comes_again:
        # Nothing was accepted, and the sender knows it.
        assert (runs, executions) == ([], [])
        return
    assert [run["status"]["S"] for run in runs] == ["SUCCEEDED"]
    assert [execution["outcome"] for execution in executions] == ["SUCCESS"]
    assert left_over(ground.service, one.pipeline, one.job) == []
    if case.comes_again:
        duplicate = case.death in CLAIMED
        assert one.second == (200 if duplicate else 202)
        assert one.told.get("duplicate", False) == duplicate
        assert one.told["runs"][0]["run_id"] == runs[0]["run_id"]["S"]

"""For any job: waits keep within the bounds, and every duration is recorded at most once."""

from __future__ import annotations

from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from celonis_refresh.runs.table import from_item
from celonis_refresh.steps.polling.durations import REMEMBERED
from celonis_refresh.steps.step import Progress
from local.celonis import setups
from tests.fakes.fleet import Fleet
from tests.fakes.service import JOB, ServiceHarness, job_definition

KEY = f"durations#job#{JOB}#FULL"
TIMEOUT = 15_000
"""Polls a minute apart are always within the budget: a ceiling of that or more always holds."""
EARLY = 2
"""Until the start is seen, a wait may be this short, below the floor."""

seconds = st.one_of(st.integers(1, 60), st.integers(60, 8_000)).map(float)
runs = st.lists(st.tuples(seconds, st.sampled_from(["SUCCESS", "SUCCESS", "FAIL", "CANCEL"])), max_size=6)
bounds = st.tuples(st.integers(1, 300), st.none() | st.integers(60, 3_000))
Moment = Literal["before", "after"]


class WaitRecorder(ServiceHarness):
    """Records the waits that tasks returned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.waits: list[int] = []

    def check(self, step: str, run_id: str = "") -> Progress:
        progress = super().check(step, run_id)
        self.waits += [progress["wait"]] if progress["status"] == "RUNNING" else []
        return progress


def learned(service: ServiceHarness) -> tuple[int, int]:
    item = service.dynamodb.items.get(KEY)
    found = from_item(item) if item else {}
    return len(found.get("successes", [])), len(found.get("failures", []))


@settings(deadline=None, max_examples=30)
@given(runs, bounds, st.floats(0.0, 2_000.0))
def test_waits_keep_to_the_bounds_and_every_end_is_learned_once(
    history: list[tuple[float, str]], limits: tuple[int, int | None], queue: float
) -> None:
    floor, ceiling = limits[0], None if limits[1] is None else limits[0] + limits[1]
    service = WaitRecorder()
    target = service.job(queue=queue)
    target.add_past_start(ago=1_000_000.0)
    job = {"job": JOB, "timeout": TIMEOUT}
    for number, (took, outcome) in enumerate(history):
        target.seconds, target.outcome = took, outcome
        poll = {"floor": floor, "ceiling": ceiling}
        service.open(job_definition(jobs=[job], settle=2, poll=poll), f"run-{number}", f"pipeline-{number}")
        service.run_step("job-0", f"run-{number}")
    assert all(wait >= min(floor, EARLY) for wait in service.waits)
    assert ceiling is None or all(wait <= ceiling for wait in service.waits)
    good = sum(outcome == "SUCCESS" for _, outcome in history)
    bad = sum(outcome == "FAIL" for _, outcome in history)
    assert learned(service) == (min(good, REMEMBERED), min(bad, REMEMBERED))


@settings(deadline=None, max_examples=30)
@given(
    seconds,
    st.sampled_from(["SUCCESS", "FAIL"]),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["before", "after"])), max_size=4),
)
def test_no_crash_makes_an_end_count_twice(
    took: float, outcome: str, crashes: list[tuple[int, Moment]]
) -> None:
    service = ServiceHarness()
    service.job(seconds=took, outcome=outcome).add_past_start(ago=1_000_000.0)
    service.open(job_definition(jobs=[{"job": JOB, "timeout": TIMEOUT}], settle=2))
    service.crash(crashes)
    service.run_step("job-0")
    assert sum(learned(service)) <= 1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(5, 60), st.floats(1.0, 10.0), st.integers(0, 10_000))
def test_a_crowd_keeps_within_the_limit(processes: int, runs: int, within: float, seed: int) -> None:
    fleet = Fleet(setups.RateLimitSetup(20, 1), processes, seed)
    fleet.run(runs, within, polls=2)
    needed = runs * (3 + 2 * 2)
    assert sum(refused for _, refused in fleet.answers) <= 10 + needed * 0.01
    assert len(fleet.answers) <= needed * 1.05 + 20

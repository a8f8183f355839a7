"""Simultaneous triggers for one pipeline, or for two that share a job or a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, ok
from local.faults.scenario import CaseScenario


def cases() -> Iterator[FaultCase]:
    yield from _one_pipeline()
    yield from _two_pipelines()
    yield _keeps_a_model()
    yield _never_answers()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run the actions in threads that start at one barrier; return their results."""
    barrier, results = threading.Barrier(len(acts)), [object()] * len(acts)

    def run(number: int) -> None:
        barrier.wait()
        results[number] = acts[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _deliveries(number: int, *, same: bool = False) -> Callable[[CaseScenario], None]:
    def start(scenario: CaseScenario) -> None:
        scenario.listen()
        names = ["same" if same else str(each) for each in range(number)]
        answers = at_once(*(lambda name=name: scenario.deliver(name) for name in names))
        bad = [
            answer for answer in answers if isinstance(answer, dict) and answer["status"] not in (200, 202)
        ]
        scenario.complaints += [f"a delivery was answered with {answer}" for answer in bad]

    return start


def _one_pipeline() -> Iterator[FaultCase]:
    yield job_case("two deliveries at once: a run and one that follows", ok(2, runs=2), start=_deliveries(2))
    yield job_case(
        "ten deliveries at once: a run and one that follows",
        ok(2, runs=2),
        job={"seconds": 40},  # the last one arrives while the first run is running
        start=_deliveries(10),
    )
    yield job_case("one delivery twice at once: one run", start=_deliveries(2, same=True))
    yield job_case("one delivery six times at once: one run", start=_deliveries(6, same=True))
    yield job_case(
        "two executions by hand at once: a run and one that follows",
        ok(2, runs=2),
        start=lambda scenario: _started(scenario, scenario.name, scenario.name),
    )
    yield job_case(
        "a delivery and an execution at once: a run and one that follows", ok(2, runs=2), start=_both_ways
    )


def _started(scenario: CaseScenario, *pipelines: str) -> None:
    at_once(*(lambda name=name: scenario.start(name) for name in pipelines))


def _both_ways(scenario: CaseScenario) -> None:
    scenario.listen()
    at_once(scenario.deliver, scenario.start)


def _two_pipelines() -> Iterator[FaultCase]:
    """Each run gets its own execution or load."""

    def second(scenario: CaseScenario) -> None:
        scenario.define(f"{scenario.name}-b")

    def by_hand(scenario: CaseScenario) -> None:
        _started(scenario, scenario.name, f"{scenario.name}-b")

    def by_one_event(scenario: CaseScenario) -> None:
        scenario.listen(scenario.name, f"{scenario.name}-b")
        scenario.deliver()

    def by_two_events(scenario: CaseScenario) -> None:
        other = f"{scenario.name}-b"
        scenario.listen()
        scenario.listen(other, source=other)
        at_once(scenario.deliver, lambda: scenario.deliver("2", other))

    for what, case, expected in (
        ("a job", job_case, ok(2, runs=2)),
        ("a model", load_case, ok(0, 2, runs=2)),
    ):
        yield case(f"two pipelines that share {what}, at once", expected, before=second, start=by_hand)
        yield case(
            f"two pipelines that share {what}, by one event", expected, before=second, start=by_one_event
        )
        yield case(
            f"two pipelines that share {what}, by two events", expected, before=second, start=by_two_events
        )
        yield case(
            f"two pipelines that share {what}, at once, all stale for 4 s",
            expected,
            job={"stale": 4} if what == "a job" else None,
            model={"stale": 4} if what == "a model" else None,
            before=second,
            start=by_hand,
        )
    yield job_case(
        "two pipelines that share a job, when_busy fail",
        ExpectedOutcome(("SUCCEEDED", "FAILED JobBusy"), 1, 0),
        job={"seconds": 90},
        definition={"when_busy": "fail"},
        before=second,
        start=by_hand,
        says=("is busy with run ",),
    )


def _keeps_a_model() -> FaultCase:
    """The runs must not wait for each other: one has the model, and both need the job that loads it."""

    def two_jobs(scenario: CaseScenario) -> None:
        second, inner = scenario.new_job(seconds=3), {"data_model": scenario.model, "started_by": "job"}
        scenario.team.control("PUT", f"/jobs/{second}", loads_model=scenario.model)
        scenario.define(scenario.name, loads=[inner])
        scenario.define(f"{scenario.name}-b", jobs=[{"job": second}], loads=[inner])

    def both(scenario: CaseScenario) -> None:
        scenario.start()
        scenario.until_started()
        scenario.start(f"{scenario.name}-b")

    def loaded_twice(scenario: CaseScenario) -> Iterator[str]:
        loads = scenario.team.started(scenario.model)
        if [one["by"] for one in loads] != [f"job {scenario.jobs[1]}"] * 2:
            yield f"the model was loaded by {[one['by'] for one in loads]}"

    return FaultCase(
        "a run that keeps a model for its second job, and one that needs both",
        ok(3, runs=2),
        job={"seconds": 8},
        model={"seconds": 2},
        before=two_jobs,
        start=both,
        also=loaded_twice,
    )


def _never_answers() -> FaultCase:
    """A run that cannot reach Celonis holds no lease that another run needs."""

    def mistyped(scenario: CaseScenario) -> None:
        connection = f"mistyped-{scenario.name[:4]}"
        document = {**scenario.team.document(), "base_url": "http://127.0.0.1:9"}
        scenario.environment.store_secret(f"connections/{connection}", document)
        jobs: list[dict[str, Any]] = [{"job": scenario.job, "timeout": 120}]
        scenario.define(f"{scenario.name}-b", connection=connection, jobs=jobs)

    def mistyped_first(scenario: CaseScenario) -> None:
        scenario.start(f"{scenario.name}-b")
        scenario.until(
            lambda: any("last_error" in state for state in scenario.first_steps()), "an error in the record"
        )
        scenario.start()

    def healthy_first(scenario: CaseScenario) -> Iterator[str]:
        ends = {run["pipeline"]: run["ended_at"] for run in scenario.runs()}
        if ends[scenario.name] >= ends[f"{scenario.name}-b"]:
            yield "the healthy pipeline waited for the other one"

    return job_case(
        "a pipeline beside one whose base URL never answers",
        ExpectedOutcome(("FAILED JobTimedOut", "SUCCEEDED"), 1, 0),
        before=mistyped,
        start=mistyped_first,
        also=healthy_first,
        max_wait=300,
    )

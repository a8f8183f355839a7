"""Triggers at the same instant, for one pipeline or for two that share a job or a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from local.faults.case import Case, Expected, job_case, load_case, ok
from local.faults.scene import Scene


def cases() -> Iterator[Case]:
    yield from _one_pipeline()
    yield from _two_pipelines()
    yield _keeps_a_model()
    yield _never_answers()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Real threads that start from one barrier; what each gave."""
    barrier, given = threading.Barrier(len(acts)), [object()] * len(acts)

    def run(number: int) -> None:
        barrier.wait()
        given[number] = acts[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def _deliveries(number: int, *, same: bool = False) -> Callable[[Scene], None]:
    def start(scene: Scene) -> None:
        scene.listen()
        names = ["same" if same else str(each) for each in range(number)]
        answers = at_once(*(lambda name=name: scene.deliver(name) for name in names))
        bad = [
            answer for answer in answers if isinstance(answer, dict) and answer["status"] not in (200, 202)
        ]
        scene.complaints += [f"a delivery was answered with {answer}" for answer in bad]

    return start


def _one_pipeline() -> Iterator[Case]:
    yield job_case("two deliveries at once: a run and one that follows", ok(2, runs=2), start=_deliveries(2))
    yield job_case(
        "ten deliveries at once: a run and one that follows",
        ok(2, runs=2),
        job={"seconds": 25},  # the last of them arrives while the first run is under way
        start=_deliveries(10),
    )
    yield job_case("one delivery twice at once: one run", start=_deliveries(2, same=True))
    yield job_case("one delivery six times at once: one run", start=_deliveries(6, same=True))
    yield job_case(
        "two executions by hand at once: a run and one that follows",
        ok(2, runs=2),
        start=lambda scene: _started(scene, scene.name, scene.name),
    )
    yield job_case(
        "a delivery and an execution at once: a run and one that follows", ok(2, runs=2), start=_both_ways
    )


def _started(scene: Scene, *pipelines: str) -> None:
    at_once(*(lambda name=name: scene.start(name) for name in pipelines))


def _both_ways(scene: Scene) -> None:
    scene.listen()
    at_once(scene.deliver, scene.start)


def _two_pipelines() -> Iterator[Case]:
    """Each gets an execution, or a load, of its own."""

    def second(scene: Scene) -> None:
        scene.define(f"{scene.name}-b")

    def by_hand(scene: Scene) -> None:
        _started(scene, scene.name, f"{scene.name}-b")

    def by_one_event(scene: Scene) -> None:
        scene.listen(scene.name, f"{scene.name}-b")
        scene.deliver()

    def by_two_events(scene: Scene) -> None:
        other = f"{scene.name}-b"
        scene.listen()
        scene.listen(other, source=other)
        at_once(scene.deliver, lambda: scene.deliver("2", other))

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
        Expected(("SUCCEEDED", "FAILED JobBusy"), 1, 0),
        job={"seconds": 25},
        definition={"when_busy": "fail"},
        before=second,
        start=by_hand,
        says=("is busy with run ",),
    )


def _keeps_a_model() -> Case:
    """Neither run may wait for the other: one has the model, and both need the job that loads it."""

    def two_jobs(scene: Scene) -> None:
        second, inner = scene.new_job(seconds=3), {"data_model": scene.model, "started_by": "job"}
        scene.team.control("PUT", f"/jobs/{second}", loads_model=scene.model)
        scene.define(scene.name, loads=[inner])
        scene.define(f"{scene.name}-b", jobs=[{"job": second}], loads=[inner])

    def both(scene: Scene) -> None:
        scene.start()
        scene.until_started()
        scene.start(f"{scene.name}-b")

    def loaded_twice(scene: Scene) -> Iterator[str]:
        loads = scene.team.started(scene.model)
        if [one["by"] for one in loads] != [f"job {scene.jobs[1]}"] * 2:
            yield f"the model was loaded by {[one['by'] for one in loads]}"

    return Case(
        "a run that keeps a model for its second job, and one that needs both",
        ok(3, runs=2),
        job={"seconds": 8},
        model={"seconds": 2},
        before=two_jobs,
        start=both,
        also=loaded_twice,
    )


def _never_answers() -> Case:
    """A run that cannot reach Celonis holds nothing that another one needs."""

    def mistyped(scene: Scene) -> None:
        connection = f"mistyped-{scene.name[:4]}"
        document = {**scene.team.document(), "base_url": "http://127.0.0.1:9"}
        scene.ground.store_secret(f"connections/{connection}", document)
        jobs: list[dict[str, Any]] = [{"job": scene.job, "timeout": 40}]
        scene.define(f"{scene.name}-b", connection=connection, jobs=jobs)

    def mistyped_first(scene: Scene) -> None:
        scene.start(f"{scene.name}-b")
        scene.until(lambda: any("trouble" in state for state in scene.first_steps()), "the trouble")
        scene.start()

    def healthy_first(scene: Scene) -> Iterator[str]:
        ends = {run["pipeline"]: run["ended_at"] for run in scene.runs()}
        if ends[scene.name] >= ends[f"{scene.name}-b"]:
            yield "the healthy pipeline waited for the other one"

    return job_case(
        "a pipeline beside one whose base URL never answers",
        Expected(("FAILED JobTimedOut", "SUCCEEDED"), 1, 0),
        before=mistyped,
        start=mistyped_first,
        also=healthy_first,
    )

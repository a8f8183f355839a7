"""For a while after a start, Celonis shows the state before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local.faults.case import FaultCase, job_case, load_case, ok, red

ASSUMED = 6
"""Maximum staleness of polls in seconds that the pipelines of the cases allow (``settle``)."""
LONG = {"settle": 24}
LATE: dict[str, Any] = {"definition": LONG, "max_wait": 210}


def cases() -> Iterator[FaultCase]:
    for seconds in (0.05, 2, 20):
        yield from _status(seconds)
    yield from _aspects()
    yield job_case(
        "job: all stale for longer than settle",
        red("OutcomeUnproven"),
        job={"stale": 20},
        definition={"settle": 2},
        holds=frozenset({"job"}),
        says=("no poll within 2 s proves",),
    )


def _status(seconds: float) -> Iterator[FaultCase]:
    """The status alone, which a script that reads only the status would use."""
    more: dict[str, Any] = LATE if seconds > ASSUMED else {}
    stale = {"seconds": 1.5, "stale": {"status": seconds}}
    for kind, create_case, bad, error, good in (
        ("job", job_case, "FAIL", "JobFailed", ok()),
        ("load", load_case, "ERROR", "LoadFailed", ok(0, 1)),
    ):
        name = f"{kind}: status stale for {seconds:g} s"
        yield create_case(
            f"{name}, success after failure", good, **{kind_of(kind): stale}, ran="FAIL", **more
        )
        broken = red(error, executions=good.executions, loads=good.loads)
        knobs = {**stale, "outcome": bad}
        yield create_case(f"{name}, failure after success", broken, **{kind_of(kind): knobs}, **more)


def kind_of(kind: str) -> str:
    return "model" if kind == "load" else kind


def _aspects() -> Iterator[FaultCase]:
    for aspect in ("ids", "list"):
        yield job_case(f"job: {aspect} stale for 3 s", job={"stale": {aspect: 3}})
    for aspect in ("ids", "dates"):
        yield load_case(f"load: {aspect} stale for 3 s", model={"stale": {aspect: 3}})
    yield job_case(
        "job: all stale for 3 s, failure after success", red("JobFailed"), job={"stale": 3, "outcome": "FAIL"}
    )
    yield load_case("load: all stale for 3 s, success after failure", model={"stale": 3}, ran="FAIL")
    yield job_case("job: all stale for 20 s, success after failure", job={"stale": 20}, ran="FAIL", **LATE)
    broken = red("LoadFailed", executions=0, loads=1)
    failing = {"stale": 20, "outcome": "ERROR"}
    yield load_case("load: all stale for 20 s, failure after success", broken, model=failing, **LATE)
    yield job_case(
        "job: two stale reads after the start", job={"stale_reads": 2}, ran="FAIL", definition=LONG
    )
    yield load_case(
        "load: two stale reads after the start", model={"stale_reads": 2}, ran="FAIL", definition=LONG
    )

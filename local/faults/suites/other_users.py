"""Another user starts the same job or model around ours: their result never counts as ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from local.faults.case import FaultCase, job_case, load_case, ok, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import another_user
from local.faults.suites.record_shapes import NO_LIST, NULL_IDS

HELD_JOB, HELD_MODEL = frozenset({"job"}), frozenset({"model"})


def cases() -> Iterator[FaultCase]:
    yield from _before()
    yield from _during()
    yield from _after()
    yield from _cancels()


def while_ours_runs(**fields: object) -> Callable[[CaseScenario], None]:
    """Let another user start the target while ours is running and proven."""

    def act(scenario: CaseScenario) -> None:
        scenario.until_proven()
        another_user(scenario, **fields)

    return act


AHEAD = 10
"""Seconds between theirs and ours: several polls of the run."""


def first(scenario: CaseScenario) -> None:
    another_user(scenario, seconds=0.1, outcome="FAIL" if scenario.jobs else "ERROR")
    time.sleep(AHEAD)


def _before() -> Iterator[FaultCase]:
    """Theirs has just ended, and a poll still shows the state before it."""
    stale = {"stale": 2 * AHEAD + 5}
    more: dict[str, Any] = {"before": first, "definition": {"settle": 3 * AHEAD}}
    name = "job: theirs just before, seen late, no id in the answer"
    yield job_case(name, job=stale, **more)  # by its dates, theirs is older than the baseline
    yield job_case(
        "job: theirs just before, seen late, id in the answer",
        job={**stale, "execute_answer": "execution_id"},
        **more,
    )
    yield load_case(
        "load: theirs just before, seen late, id in the answer",
        model={**stale, "load_answer": "load_id"},
        **more,
    )


def _during() -> Iterator[FaultCase]:
    failing = while_ours_runs(seconds=4, outcome="FAIL")
    for policy, listed in (("queue", ok()), ("parallel", ok()), ("restart", red("JobCanceled"))):
        knobs = {"while_running": policy, "seconds": 90 if policy == "restart" else 25}
        yield job_case(f"job: theirs during ours, {policy}", listed, job=knobs, during=failing)
        yield job_case(
            f"job: theirs during ours, {policy}, no list",
            red("TakenOver"),
            job=knobs,
            during=while_ours_runs(seconds=20, outcome="FAIL"),
            faults=(NO_LIST,),
            holds=HELD_JOB,
            runs_on=None,
        )
    yield job_case(
        "job: theirs during ours is refused", job={"while_running": "refuse", "seconds": 20}, during=failing
    )
    taken = red("TakenOver", executions=0, loads=1)
    for policy in ("queue", "parallel", "restart"):
        theirs = while_ours_runs(seconds=20, outcome="ERROR")
        knobs = {"while_running": policy, "seconds": 25}
        name = f"load: theirs during ours, {policy}"
        yield load_case(name, taken, model=knobs, during=theirs, holds=HELD_MODEL, runs_on=None)


def _after() -> Iterator[FaultCase]:
    """Theirs starts at the moment in which ours ends."""
    job = {"when": "when_idle", "seconds": 20, "outcome": "FAIL"}
    yield job_case("job: theirs right after ours", during=while_ours_runs(**job), job={"seconds": 20})
    yield job_case(
        "job: theirs right after ours, no list",
        red("TakenOver"),
        job={"seconds": 20},
        during=while_ours_runs(**job),
        faults=(NO_LIST,),
        holds=HELD_JOB,
    )
    # The record has no ids and shows theirs running; only the list shows that ours has ended.
    yield job_case(
        "job: theirs right after ours, ids null",
        during=while_ours_runs(**{**job, "seconds": 120}),
        job={**NULL_IDS, "seconds": 20},
        job_step={"timeout": 60},
        also=_not_cancelled,
    )
    load = {**job, "outcome": "ERROR"}
    yield load_case(
        "load: theirs right after ours",
        red("TakenOver", executions=0, loads=1),
        model={"seconds": 20},
        during=while_ours_runs(**load),
        holds=HELD_MODEL,
    )
    yield _followed_unseen()


def _not_cancelled(scenario: CaseScenario) -> Iterator[str]:
    if scenario.team.requests("cancel", scenario.job):
        yield "another user's execution was cancelled"


def _followed_unseen() -> FaultCase:
    """Documented: without the list, an execution that follows ours before the first poll counts as ours."""
    failing_polls: dict[str, Any] = {"call": "job", "status": 503, "skip": 1, "count": 4}
    return job_case(
        "job: theirs before our first poll, no list (assumption: taken for ours)",
        red("JobFailed"),
        job={"seconds": 1},
        during=_right_after,
        faults=(NO_LIST, failing_polls),
        assumption=True,
    )


def _right_after(scenario: CaseScenario) -> None:
    scenario.until_started()
    another_user(scenario, when="when_idle", seconds=3, outcome="FAIL")


def _cancels() -> Iterator[FaultCase]:
    def cancelled(scenario: CaseScenario) -> None:
        scenario.until_started()
        target = f"/jobs/{scenario.job}" if scenario.jobs else f"/models/{scenario.model}"
        scenario.team.control("POST", f"{target}/cancel")

    long = {"seconds": 30}
    yield job_case("job: another user cancels ours", red("JobCanceled"), job=long, during=cancelled)
    yield load_case(
        "load: another user cancels ours",
        red("LoadCanceled", executions=0, loads=1),
        model=long,
        during=cancelled,
    )

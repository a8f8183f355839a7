"""Random worlds end well; the fake keeps to the model; and the invariants find services that are wrong."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import pytest

from celonis_refresh.celonis.errors import CelonisError
from tests.fakes.clock import FakeClock
from tests.worlds.__main__ import count_neighbours, count_worlds
from tests.worlds.cases import CASES, WITH_OTHERS
from tests.worlds.fake_celonis import OTHER_USER, WorldCelonis
from tests.worlds.generator import FAMILIES, Family, random_world
from tests.worlds.harness import run_world
from tests.worlds.invariants import FAILING, broken_assumptions, findings
from tests.worlds.neighbours import neighbours
from tests.worlds.planted_faults import PLANTED, FirstEnd, StartsAgain
from tests.worlds.timeline import shrink, timeline
from tests.worlds.truth import LOAD_WORDS, GroundTruth, TrueExecution
from tests.worlds.world import (
    OddResponse,
    OtherUserAction,
    OurRun,
    PastExecution,
    ResponseFields,
    Staleness,
    Target,
    World,
)

CHUNKS, WORLDS = 8, 1400
FAMILY_CHUNKS, FAMILY_WORLDS = 4, 200
"""About 2,000 worlds of all families."""
EVERY = 7
"""The neighbours of a sequence that are simulated here; ``make worlds`` simulates all of them."""
SETTLE = 60.0
JUST = 0.001
REFUSALS = {"AuthenticationFailed", "PermissionDenied", "NotFound"}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_run_reports_what_is_not_its_own_or_starts_twice_or_never_ends(chunk: int) -> None:
    count = WORLDS // CHUNKS
    found = count_worlds(chunk * count, count)
    failed = {kind: found.seeds[kind] for kind in FAILING if kind in found.seeds}
    assert not failed, f"seeds by kind; see python -m tests.worlds 0 --show SEED: {failed}"
    assert not REFUSALS & found.outcomes.keys(), "one odd answer ended a run"


@pytest.mark.parametrize("chunk", range(FAMILY_CHUNKS))
@pytest.mark.parametrize("family", FAMILIES[1:])
def test_nor_does_one_beside_others_or_opened_by_a_webhook_or_with_a_load_of_its_job(
    family: Family, chunk: int
) -> None:
    count = FAMILY_WORLDS // FAMILY_CHUNKS
    found = count_worlds(chunk * count, count, family=family)
    failed = {kind: found.seeds[kind] for kind in FAILING if kind in found.seeds}
    assert not failed, f"seeds by kind; see python -m tests.worlds 0 --family {family} --show SEED: {failed}"


@pytest.mark.parametrize("name", [*CASES, *WITH_OTHERS])
def test_a_sequence_that_broke_older_rules_breaks_none(name: str) -> None:
    world = {**CASES, **WITH_OTHERS}[name]
    world_result = run_world(world)
    assert not broken_assumptions(world_result)
    assert [one for one in findings(world_result) if one.kind in FAILING] == [], timeline(world)


@pytest.mark.parametrize("name", CASES)
def test_no_neighbour_of_such_a_sequence_breaks_them_either(name: str) -> None:
    first = list(CASES).index(name) % EVERY
    found = count_neighbours(name, first, EVERY)
    here = list(neighbours(CASES[name]))
    assert not found.failed, "\n\n".join(timeline(here[number]) for number in found.failed)
    assert found.within > 40 / EVERY


def test_most_random_worlds_keep_to_the_assumptions_and_some_are_disturbed() -> None:
    world_result = [run_world(random_world(seed)) for seed in range(300)]
    kept = [one for one in world_result if not broken_assumptions(one)]
    assert len(kept) > 190
    others = [one for one in kept if any(each.sent for each in one.celonis.truth.of(OTHER_USER))]
    assert len(others) > 40


def test_worlds_outside_of_the_assumptions_are_found() -> None:
    world_result = [
        run_world(random_world(seed, outside=True), None, next(iter(PLANTED))) for seed in range(200)
    ]
    assert {number for one in world_result for number in broken_assumptions(one)} == {3, 4, 5, 7}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_world_is_played_the_same_twice(family: Family) -> None:
    for seed in range(10):
        world = random_world(seed, family=family)
        assert timeline(world) == timeline(world)


def _whole_timelines(family: Family) -> str:
    return "\n".join(timeline(random_world(seed, family=family)) for seed in range(60))


def test_runs_of_a_family_meet_what_it_is_for() -> None:
    overlap, webhook, inner = (_whole_timelines(family) for family in ("overlap", "webhook", "inner"))
    assert "waits" in overlap or "WAITING" in overlap
    assert "begins with {'run_id': 'pipeline-0-1', 'answer'" in webhook
    assert "webhook       the function dies" in webhook
    assert "truth: load-" in inner
    assert "load SUCCEEDED" in inner


def test_the_answer_of_a_start_that_no_execution_got_counts_as_lost() -> None:
    world = World(
        past=(PastExecution(5000.0, 10.0, "SUCCESS"),), runs=(OurRun(by="webhook", lost_handover=True),)
    )
    (post,) = run_world(world).celonis.posts
    assert post.is_lost
    (post,) = run_world(replace(world, runs=(OurRun(by="webhook"),))).celonis.posts
    assert not post.is_lost


# The fake keeps to the model


def _polled(seed: int, target: Target) -> tuple[WorldCelonis, list[tuple[float, Any]]]:
    """A fake over which only others act, and what its polls were answered, with their moments."""
    world = replace(
        random_world(seed), target=target, odd=(), up=0.0, down=0.0, clock_offset=0.0, busy="queue"
    )
    random = Random(seed)  # noqa: S311
    others = [
        OtherUserAction(
            "start",
            "run",
            random.uniform(0, 400),
            random.uniform(0.5, 90),
            random.choice(("FAIL", "SUCCESS")),
        )
        for _ in range(6)
    ]
    others.append(OtherUserAction("cancel", "run", random.uniform(0, 400)))
    celonis = WorldCelonis(replace(world, others=tuple(others)), FakeClock())
    celonis.begin_run(0)
    answers: list[tuple[float, Any]] = []
    for _ in range(60):
        celonis.sleep(random.uniform(0.5, 15))
        answers.append((celonis.clock.now, _poll(celonis)))
    return celonis, answers


def _poll(celonis: WorldCelonis) -> Any:
    client = celonis.client
    if celonis.world.target == "load":
        try:
            return client.last_load("pool-1", "model-a")
        except CelonisError:
            return None
    return client.job("pool-1", "job-a"), client.executions("pool-1", "job-a")


def _moments(truth: GroundTruth, at: float) -> list[float]:
    """One moment between any two changes of the last ``settle`` seconds."""
    changes = [
        time for one in truth.executions for time in (one.began, one.started, one.ended, one.cancelled)
    ]
    times = [at - SETTLE, *(time for time in changes if at - SETTLE <= time <= at)]
    return [moment for time in times for moment in (time, min(at, time + JUST))]


@pytest.mark.parametrize("seed", range(40))
def test_each_field_of_a_job_shows_a_moment_of_the_last_settle_seconds(seed: int) -> None:
    celonis, answers = _polled(seed, "job")
    truth = celonis.truth
    for at, (job, listed) in answers:
        moments = _moments(truth, at)
        stated = [truth.shown(moment) for moment in moments]
        statuses = {one.status(moment) if one else None for one, moment in zip(stated, moments, strict=True)}
        assert job.status in statuses
        assert job.current_execution_id in {_id(celonis._current(moment)) for moment in moments}
        if listed is not None:
            lists = [[one.id for one in celonis._listed(moment)] for moment in moments]
            assert [one.execution_id for one in listed] in lists


def _id(execution: TrueExecution | None) -> str | None:
    return execution.id if execution else None


@pytest.mark.parametrize("seed", range(40))
def test_a_load_is_one_row_whose_status_may_be_of_the_load_before(seed: int) -> None:
    celonis, answers = _polled(seed, "load")
    truth = celonis.truth
    shown_running = set()
    for at, load in answers:
        if load is None or load.load_id is None:
            continue
        (named,) = [one for one in truth.executions if one.id == load.load_id]
        moments = _moments(truth, at)
        assert named in [celonis._row(moment) for moment in moments]
        if celonis.world.shows.load_dates and load.end_date is not None:
            assert abs(load.end_date / 1000 - named.ended) < 0.01
        before = truth.executions[: truth.executions.index(named) + 1]
        words = {
            LOAD_WORDS.get(one.status(moment), one.status(moment)) for one in before for moment in moments
        }
        assert load.status in words | {"LOST_CONNECTION", "CANCELLING"}
        if load.load_id in shown_running and load.is_terminal:
            assert load.status == LOAD_WORDS.get(named.result, named.result)
        if load.is_active:
            shown_running.add(load.load_id)


def test_a_target_runs_one_execution_at_a_time_in_the_order_of_their_beginning() -> None:
    for seed in range(150):
        executions = run_world(random_world(seed), None, next(iter(PLANTED))).celonis.truth.executions
        assert [one.began for one in executions] == sorted(one.began for one in executions)
        free = -inf
        for one in (each for each in executions if each.started < each.ended):
            assert one.started >= max(one.began, free)
            free = one.ended


@pytest.mark.parametrize(("busy", "outcome"), [("refuse", "a"), ("queue", "own"), ("ignore", "none")])
def test_a_busy_target_refuses_queues_or_ignores_a_start(busy: Any, outcome: str) -> None:
    world = World(past=(PastExecution(10.0, 100.0, "SUCCESS"),), busy=busy)
    celonis = WorldCelonis(world, FakeClock())
    celonis.begin_run(0)
    try:
        celonis.client.execute_job("pool-1", "job-a", "FULL")
        refused = False
    except CelonisError as error:
        refused = error.status == 409
    ours = celonis.truth.of(0)
    assert refused == (outcome == "a")
    assert bool(ours) == (outcome == "own")
    assert all(one.started == celonis.truth.executions[0].ended for one in ours)


def test_odd_answers_come_one_at_a_time() -> None:
    celonis = WorldCelonis(
        World(odd=(OddResponse("500"), OddResponse("null"), OddResponse("401"))), FakeClock()
    )
    celonis.begin_run(0)
    odd = []
    for number in range(16):
        try:
            celonis.client.job("pool-1", "job-a")
        except CelonisError:
            odd.append(number)
    assert odd == [0, 4, 8]


# The verdicts find what is wrong


@pytest.mark.parametrize(("make", "kind"), PLANTED.items())
def test_a_service_that_is_wrong_on_purpose_is_found(make: Any, kind: str) -> None:
    found = set()
    for seed in range(150):
        world_result = run_world(random_world(seed), None, make)
        if not broken_assumptions(world_result):
            found |= {one.kind for one in findings(world_result)}
        if kind in found:
            return
    assert kind in found


@pytest.mark.parametrize(("make", "kind"), [(FirstEnd, "a"), (StartsAgain, "b")])
@pytest.mark.parametrize("family", FAMILIES[1:])
def test_one_that_is_wrong_is_found_in_each_family(family: Family, make: Any, kind: str) -> None:
    for seed in range(60):
        world_result = run_world(random_world(seed, family=family), None, make)
        if not broken_assumptions(world_result) and any(one.kind == kind for one in findings(world_result)):
            return
    raise AssertionError(kind)


def test_a_result_that_is_reported_too_early_is_found() -> None:
    world = World(
        past=(PastExecution(100.0, 10.0, "SUCCESS"),),
        runs=(OurRun(seconds=300.0),),
        ages=Staleness("script", (60.0,)),
    )
    world_result = run_world(world, None, next(iter(PLANTED)))
    assert [one.kind for one in findings(world_result)] == ["a"]


def test_a_world_is_shrunk_to_what_matters() -> None:
    make = next(iter(PLANTED))
    seed = next(seed for seed in range(100) if _has(run_world(random_world(seed), None, make), "a"))
    small = shrink(random_world(seed), "a", make)
    assert _has(run_world(small, None, make), "a")
    assert (small.odd, small.shows, len(small.runs)) == ((), ResponseFields(), 1)
    assert "VERDICT a" in timeline(small, make)


def _has(world_result: Any, kind: str) -> bool:
    return not broken_assumptions(world_result) and any(one.kind == kind for one in findings(world_result))

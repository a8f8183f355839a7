"""Runs that share jobs and models: each ends, nothing stays held, and none waits forever."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, note
from hypothesis import strategies as st

from celonis_refresh.runs.records import RunStatus
from tests.properties.hypothesis_settings import examples
from tests.properties.lease_simulation import (
    LeasePipeline,
    LeaseResult,
    LeaseScenario,
    LeaseSimulation,
    simulate,
)

JOBS = ("job-a", "job-b", "job-c", "job-d")
MODELS = ("model-a", "model-b", "model-c", "model-d")
PIPELINES = ("one", "two", "three", "four")
TIMED_OUT = {"JobTimedOut", "LoadTimedOut"}

seconds = st.sampled_from([5.0, 60.0, 600.0])
stages = st.lists(
    st.lists(st.sampled_from(JOBS), min_size=1, max_size=2, unique=True).map(tuple), max_size=3
).map(tuple)


def _inner(starters: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """The models that each job loads by itself, from the jobs that load each model."""
    return {job: tuple(model for model in MODELS if job in starters[model]) for job in JOBS}


def _fits(pipeline: LeasePipeline, inner: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether it does anything, and no two of its jobs load the same model."""
    loaded = [model for job in pipeline.jobs for model in inner[job]]
    return bool(pipeline.jobs or pipeline.models) and len(loaded) == len(set(loaded))


@st.composite
def worlds(draw: st.DrawFn, crash_share: float = 0.0) -> LeaseScenario:
    starters = {model: draw(st.frozensets(st.sampled_from(JOBS), max_size=2)) for model in MODELS}
    inner = _inner(starters)
    pipelines = draw(
        st.lists(
            st.builds(
                LeasePipeline,
                stages,
                st.lists(st.sampled_from(MODELS), max_size=4, unique=True).map(tuple),
                st.sampled_from([True, True, True, False]),
                st.sampled_from([0.0, 0.0, 1.0, 30.0, 300.0]),
                by_webhook=st.booleans(),
                reverse=st.booleans(),
            ).filter(lambda pipeline: _fits(pipeline, inner)),
            min_size=2,
            max_size=4,
        )
    )
    return LeaseScenario(
        dict(zip(PIPELINES, pipelines, strict=False)),
        inner,
        draw(st.dictionaries(st.sampled_from(JOBS + MODELS), seconds)),
        draw(st.dictionaries(st.sampled_from(JOBS + MODELS), st.just(400.0), max_size=2)),
        draw(st.sampled_from([(0.0,), (0.0, 15.0, 40.0)])),
        draw(st.integers(0, 2**32)),
        draw(st.sampled_from([0.0, 0.1, 0.5])),
        crash_share,
    )


def check_all_is_over(scenario: LeaseScenario, result: LeaseResult, simulation: LeaseSimulation) -> None:
    for ended in result.ended:
        note(f"{ended.run_id}: {ended.error or 'ok'} after {ended.at - ended.began:.0f} s")
    statuses = {ended.run_id: ended.status for ended in result.ended}
    assert len(statuses) == len(scenario.pipelines)
    assert all(status in (RunStatus.SUCCEEDED, RunStatus.FAILED) for status in statuses.values())
    simulation.reconcile()
    assert list(simulation.service.dynamodb.documents("lease#")) == []


@examples(24)
@given(worlds())
def test_every_run_that_can_reach_celonis_succeeds_and_every_lease_is_free(scenario: LeaseScenario) -> None:
    """At every start its run holds what it uses; what waits holds nothing: ``LeaseSimulation`` checks it."""
    note(str(scenario))
    result, simulation = simulate(scenario)
    check_all_is_over(scenario, result, simulation)
    for ended in result.ended:
        expected = {""} if scenario.pipelines[ended.pipeline].connects else TIMED_OUT
        assert ended.error in expected


@examples(24)
@given(worlds(crash_share=0.01))
def test_after_any_crash_no_run_waits_forever_and_every_lease_becomes_free(scenario: LeaseScenario) -> None:
    """A start that was lost may end unproven, but no run times out because of another one."""
    note(str(scenario))
    result, simulation = simulate(scenario)
    check_all_is_over(scenario, result, simulation)
    for ended in result.ended:
        if scenario.pipelines[ended.pipeline].connects:
            assert ended.error not in TIMED_OUT


FOREVER = 10_000
shared = st.lists(st.sampled_from(JOBS[:2]), min_size=1, max_size=2, unique=True)


@st.composite
def crowds(draw: st.DrawFn) -> LeaseScenario:
    """One run of the pipeline "one"; the others start again as soon as they have ended, until it is over."""
    starters = {model: draw(st.frozensets(st.sampled_from(JOBS[:2]), max_size=1)) for model in MODELS[:2]}
    inner = _inner({**dict.fromkeys(MODELS, frozenset()), **starters})
    pipelines_of_others = st.builds(
        LeasePipeline,
        shared.map(lambda jobs: tuple((job,) for job in jobs)),
        st.lists(st.sampled_from(MODELS[:2]), max_size=2, unique=True).map(tuple),
        runs=st.just(FOREVER),
        by_webhook=st.booleans(),
        reverse=st.booleans(),
    )
    others = draw(st.lists(pipelines_of_others, min_size=3, max_size=3))
    patient = LeasePipeline(
        tuple((job,) for job in draw(shared)), draw(st.sampled_from([(), MODELS[:2]])), begins_at=100.0
    )
    return LeaseScenario(
        dict(zip(PIPELINES, [patient, *others], strict=True)),
        inner,
        lags=draw(st.sampled_from([(0.0,), (0.0, 15.0, 40.0)])),
        seed=draw(st.integers(0, 2**32)),
        pause_share=0.3,
        until="one",
    )


@examples(12)
@given(crowds())
def test_a_run_is_served_however_many_others_come_after_it(scenario: LeaseScenario) -> None:
    """Each step waits for the runs that are before it, and for few that came before it was queued."""
    note(str(scenario))
    result, _ = simulate(scenario)
    ended = next(ended for ended in result.ended if ended.pipeline == "one")
    steps = len(scenario.pipelines["one"].jobs) + len(scenario.pipelines["one"].models)
    assert ended.error == ""
    assert ended.at - ended.began < steps * 1800.0

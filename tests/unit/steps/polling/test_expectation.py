"""How long the next run may take, from few and from many runs before."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import pytest

from celonis_refresh.steps.polling.durations import (
    MIN_DEVIATION,
    PRIOR_CENTRE,
    PRIOR_DEVIATION,
    PRIOR_SPREAD,
    Cluster,
    Expectation,
    clusters,
    deviation,
    drift,
    expect,
)
from tests.unit.steps.polling.histories import history, scattered


def main_cluster(successes: list[float]) -> Cluster:
    return max(expect(history(successes)).clusters, key=lambda cluster: cluster.weight)


def weights(expected: Expectation) -> float:
    return sum(cluster.weight for cluster in expected.clusters)


def test_nothing_known_is_one_wide_curve() -> None:
    assert expect(None) == Expectation((Cluster(1.0, PRIOR_CENTRE, PRIOR_SPREAD),), usual=0.0)
    assert expect({}) == expect(None)


@pytest.mark.parametrize("runs", [1, 2, 3, 20])
@pytest.mark.parametrize("of", [0.05, 0.15])
def test_centre_and_spread_are_sane_from_the_first_run_on(runs: int, of: float) -> None:
    found = main_cluster(scattered(3600, of, runs))
    assert abs(found.centre - log(3600)) < 0.5 * of
    assert of < found.spread < 1.6 * PRIOR_DEVIATION


@pytest.mark.parametrize("runs", [2, 3])
def test_few_runs_that_differ_much_leave_much_open(runs: int) -> None:
    found = expect(history([600.0, 3600.0, 1500.0][:runs])).clusters
    mean = sum(cluster.weight * cluster.centre for cluster in found)
    variance = sum(cluster.weight * (cluster.spread**2 + (cluster.centre - mean) ** 2) for cluster in found)
    assert variance > log(600 / 3600) ** 2 / 10


@pytest.mark.parametrize("of", [0.05, 0.15, 0.5])
def test_with_many_runs_the_spread_is_that_of_the_job(of: float) -> None:
    assert main_cluster(scattered(3600, of)).spread == pytest.approx(of, rel=0.2)


def test_more_runs_are_more_certain() -> None:
    found = [expect(history([3600.0] * runs)).clusters for runs in (1, 2, 3, 20)]
    assert all(before[-1].weight > after[-1].weight for before, after in pairwise(found))


def test_an_outlier_does_not_blur_the_others() -> None:
    without = main_cluster(scattered(3600, 0.15, 19))
    expected = expect(history([*scattered(3600, 0.15, 19), 3 * 3600]))
    main, outlier, wide = expected.clusters
    assert main.centre == pytest.approx(without.centre, abs=0.05)
    assert main.spread == pytest.approx(without.spread, rel=0.1)
    assert outlier.centre == pytest.approx(log(3 * 3600), abs=0.05)
    assert outlier.weight < 0.1
    assert wide.spread == PRIOR_SPREAD
    assert wide.weight > 4 * expect(history(scattered(3600, 0.15))).clusters[-1].weight, "rare ones happen"


def test_short_and_long_days_are_two_clusters() -> None:
    short, long = scattered(600, 0.05, 10), scattered(1800, 0.05, 10)
    expected = expect(history([day for pair in zip(short, long, strict=True) for day in pair]))
    first, second = sorted(expected.clusters, key=lambda cluster: cluster.weight)[-2:]
    assert {round(exp(first.centre), -2), round(exp(second.centre), -2)} == {600, 1800}
    assert max(first.spread, second.spread) < 0.12
    assert expected.usual == pytest.approx(600, rel=0.05), "where an end is first likely"


def test_a_job_that_doubled_is_expected_at_its_new_duration_more_than_its_share_of_runs() -> None:
    expected = expect(history([*scattered(600, 0.05, 15), *scattered(1200, 0.05, 5)]))
    new = next(cluster for cluster in expected.clusters if abs(cluster.centre - log(1200)) < 0.1)
    assert new.weight > 5 / 20


def test_a_job_that_grows_is_expected_where_it_will_be() -> None:
    steady = main_cluster([3600 * 1.01**run for run in range(20)])
    assert exp(steady.centre) == pytest.approx(3600 * 1.01**20, rel=0.03)
    assert drift([0.01 * run for run in range(20)]) == pytest.approx(0.01, rel=0.1)
    assert drift([-0.01 * run for run in range(20)]) == pytest.approx(-0.01, rel=0.1)


@pytest.mark.parametrize("runs", [1, 2, 3, 5])
def test_few_runs_make_no_trend(runs: int) -> None:
    assert abs(drift([0.5 * run for run in range(runs)])) < 0.1 * 0.5


def test_an_outlier_makes_no_trend() -> None:
    assert abs(drift([*[0.0, 0.02] * 9, 0.0, 1.1])) < 0.001


def test_failures_weigh_as_often_as_they_happen_and_stay_wide_while_few() -> None:
    expected = expect(history(scattered(3600, 0.15), failures=[30]))
    failed = expected.clusters[-1]
    assert failed.weight == pytest.approx(0.05 * 0.95**20, rel=0.01)
    assert failed.centre == pytest.approx(log(30))
    assert failed.spread == PRIOR_SPREAD
    agreeing = expect(history(scattered(3600, 0.15), failures=[30] * 20)).clusters[-1]
    assert agreeing.spread < PRIOR_SPREAD / 3
    assert weights(expected) == pytest.approx(1.0)


def test_failures_alone_leave_the_success_unknown() -> None:
    expected = expect(history([], failures=[30, 40]))
    assert expected.usual == 0.0
    assert [cluster.centre for cluster in expected.clusters] == [
        PRIOR_CENTRE,
        pytest.approx(log(35), abs=0.1),
    ]


@pytest.mark.parametrize(
    "successes", [[0.0], [0.0] * 20, [1e9], [1.0, 1e9], [3600.0] * 20, [float(2**run) for run in range(20)]]
)
def test_odd_histories_make_an_expectation(successes: list[float]) -> None:
    expected = expect(history(successes))
    assert weights(expected) == pytest.approx(1.0)
    assert all(cluster.spread >= MIN_DEVIATION for cluster in expected.clusters)
    assert all(expected.hazard(at / 4) >= 0 for at in range(200))


def test_the_hazard_is_that_of_the_bell_curve() -> None:
    """From tables: at its centre √(2/π) per deviation, two deviations above it 2.3732."""
    expected = Expectation((Cluster(1.0, 8.0, 0.5),), usual=0.0)
    assert expected.hazard(8.0) == pytest.approx(0.79788 / 0.5, rel=1e-4)
    assert expected.hazard(9.0) == pytest.approx(2.37322 / 0.5, rel=1e-4)


def test_past_the_usual_time_the_hazard_is_that_of_the_wide_curve() -> None:
    expected = expect(history(scattered(3600, 0.05)))
    alone = Expectation((expected.clusters[-1],), usual=0.0)
    assert expected.hazard(log(3 * 3600)) == pytest.approx(alone.hazard(log(3 * 3600)), rel=1e-3)


def test_clusters_part_at_wide_gaps_only() -> None:
    near = [(value / 10, 1.0) for value in range(10)]
    assert clusters(near) == [near]
    far = [(value + 50.0, counts) for value, counts in near]
    assert clusters([*near, *far]) == [near, far]


def test_a_deviation_is_shrunk_less_with_more_runs() -> None:
    assert deviation(1, 0.0) == PRIOR_DEVIATION
    few, many = deviation(2, 0.05**2), deviation(20, 0.05**2)
    assert 0.05 < many < few < PRIOR_DEVIATION
    assert deviation(20, 0.0) >= MIN_DEVIATION

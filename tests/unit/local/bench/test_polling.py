"""The simulation behind the polling figures: its references are right, and it measures what it claims."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import exp, log, sqrt

import pytest

from celonis_refresh.steps.polling.durations import Cluster, Expectation
from celonis_refresh.steps.polling.schedule import HEDGE, PollSchedule
from local.bench.polling import peers
from local.bench.polling.families import (
    GROWING,
    ORDINARY,
    OTHERS,
    STEADY,
    WILD,
    Family,
    deviation,
    mixed,
    times,
)
from local.bench.polling.figures import MISLED, events_of_long_job, first, line, over_fixed, unknown
from local.bench.polling.optimum import Optimum
from local.bench.polling.simulation import averages, poll_times
from tests.unit.steps.polling.histories import chance


def walked(waits: list[float], duration: float) -> tuple[int, float]:
    moments = list(accumulate(waits))
    count = next(number for number, at in enumerate(moments, 1) if at >= duration)
    return count, moments[count - 1]


@pytest.mark.parametrize("duration", [0.05, 0.1, 0.3, 1.0, 1.4, 3.3, 60.0, 1234.5])
def test_the_peers_poll_by_their_rules(duration: float) -> None:
    sdk = [min(0.1 * 3.0 ** min(step, 9), 2.0) for step in range(2000)]
    assert peers.sdk(duration) == pytest.approx(walked(sdk, duration))
    assert peers.growing(duration) == pytest.approx(walked([1.1**step for step in range(200)], duration))
    assert peers.fixed(5.0)(duration) == pytest.approx(walked([5.0] * 2000, duration))


def test_the_fixed_interval_of_a_lateness_is_found() -> None:
    durations = [1000.0 + 2.0137 * run for run in range(1000)]
    requests, late = peers.averages(peers.fixed(30.0), durations)
    assert peers.requests_of_fixed(late, durations) == pytest.approx(requests, rel=0.03)


def test_the_limit_of_an_even_distribution_is_the_known_one() -> None:
    """Where every moment is as likely, the best steps shrink evenly, by the price (Barlow and Proschan)."""
    width, price, count = 0.01, 0.001, 4
    shares = [1 / count + price / width * ((count + 1) / 2 - step) for step in range(1, count + 1)]
    requests = sum(step * share for step, share in enumerate(shares, 1))
    late = sum(share**2 for share in shares) * width / 2
    assert shares[-1] > 0
    assert Optimum(lambda share: 1 + width * share).lateness(requests) == pytest.approx(late, rel=0.03)


def test_no_schedule_goes_below_the_limit() -> None:
    """Schedules of all kinds against the distribution that the limit knows."""
    quantile, runs, random = deviation(0.15), 4000, chance(1)
    durations = [quantile((run + 0.5) / runs) for run in range(runs)]
    limit = Optimum(quantile)
    for _ in range(20):
        first, factor = random.uniform(0.5, 0.8), random.uniform(1.02, 1.1)
        moments = [first * factor**step for step in range(60)]
        met = [walked([moments[0], *(b - a for a, b in pairwise(moments))], took) for took in durations]
        requests = sum(count for count, _ in met) / runs
        late = sum(at / took - 1 for (_, at), took in zip(met, durations, strict=True)) / runs
        assert late >= 0.995 * limit.lateness(requests)


@pytest.mark.parametrize("of", [0.05, 0.15, 0.5])
def test_the_derived_rule_is_next_to_the_limit_where_the_distribution_is_known(of: float) -> None:
    """One hour, known but for chance: the difference is jitter, whole seconds and the rule's smoothness."""
    curve = Expectation((Cluster(1.0, log(3600), of),), usual=3600.0)
    moments = poll_times(PollSchedule(1, None, curve), chance(1), 3600 * deviation(of)(1 - 1e-6))[1:]
    runs = 2000
    durations = [3600 * deviation(of)((run + 0.5) / runs) for run in range(runs)]
    met = [next((number, at) for number, at in enumerate(moments, 1) if at >= took) for took in durations]
    requests = sum(count for count, _ in met) / runs
    late = sum(at / took - 1 for (_, at), took in zip(met, durations, strict=True)) / runs
    assert late <= 1.08 * Optimum(deviation(of)).lateness(requests)


@pytest.mark.parametrize("family", [STEADY, ORDINARY, WILD, GROWING, *OTHERS], ids=lambda family: family.name)
def test_quantiles_rise_and_their_middle_is_the_usual_duration(family: Family) -> None:
    values = [family.quantile((step + 0.5) / 200) for step in range(200)]
    assert values == sorted(values)
    assert values[0] > 0
    if family.failing == 0 and "1 : 2.5" not in family.name:
        assert family.quantile(0.5) == pytest.approx(1.0, abs=0.06)


def test_histories_follow_their_family() -> None:
    drawn = WILD.history(100.0, 4000, chance(1))
    failed = [took for took, succeeded in drawn if not succeeded]
    assert len(failed) == pytest.approx(200, abs=60)
    assert max(failed) <= 30
    first, *_, last = (
        took for took, _ in Family("grows", lambda _: 1.0, growth=1.01).history(100.0, 20, chance(1))
    )
    assert (first, last) == pytest.approx((100 / 1.01**20, 100 / 1.01))


def test_a_mixture_has_its_parts_by_weight() -> None:
    both = mixed((0.75, lambda _: 1.0), (0.25, times(3, lambda _: 1.0)))
    assert [both(share) for share in (0.1, 0.74, 0.76, 0.99)] == [1.0, 1.0, 3.0, 3.0]


def test_means_are_repeatable_and_count_every_poll() -> None:
    sure = Family("always the same", lambda _: 1.0)
    first, again = averages(sure, [3600.0]), averages(sure, [3600.0])
    assert first == again
    moments = poll_times(PollSchedule(2), chance(1), 3600.0)
    fresh = averages(sure, [3600.0], history=0)
    assert fresh.polls == pytest.approx(len(moments))
    assert fresh.late == pytest.approx(moments[-1] / 3600 - 1)


def test_the_figures_hold_for_few_jobs_too() -> None:
    """Looser than the goals by what chance does to so few jobs."""
    ordinary, steady, fresh = line(ORDINARY, 60), line(STEADY, 60), unknown(sequences=10)
    assert ordinary.averages.polls <= 11.7
    assert ordinary.averages.late <= 0.0195
    assert max(ordinary.ratio, steady.ratio) <= 1.3
    assert fresh.polls <= 48
    assert fresh.late <= 0.043
    assert events_of_long_job() <= 2500
    listed, few = first(jobs=60), first(listed=3, jobs=60)
    assert listed.polls <= 12.5
    assert max(listed.late, few.late) <= 0.03


@pytest.mark.parametrize("factor", [1 / MISLED, 0.5, 2.0, MISLED])
def test_a_list_that_misleads_costs_no_more_polls_than_nothing_known(factor: float) -> None:
    found, fresh = first(factor=factor, jobs=60), unknown(sequences=10)
    assert found.polls <= 1.25 * fresh.polls
    assert found.late <= (1.25 * fresh.late if factor < 1 else exp(1 / HEDGE) - 1)


def test_a_fixed_interval_with_the_same_delay_polls_much_more() -> None:
    assert over_fixed(ORDINARY, 3600.0) > sqrt(5)

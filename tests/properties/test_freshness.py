"""For any rule, success and clock: data is stale exactly when it should be; no state is reported twice."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.pipelines.fresh_within import (
    MAX_SECONDS,
    MIN_SECONDS,
    WEEK,
    DailyDeadline,
    FreshnessRule,
    MaxAge,
)
from celonis_refresh.pipelines.freshness import Freshness, FreshnessState, decide, due_at

DAY = 86_400.0
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo")
"""Two hours, half an hour and a whole day of difference where clocks change."""
FIRST, LAST = (datetime(year, 12, 20, tzinfo=UTC).timestamp() for year in (2011, 2029))
moments = st.floats(FIRST, LAST) | st.floats(FIRST, FIRST + 20 * DAY)


def _deadline(hour: int, minute: int, zone: str, days: set[int]) -> DailyDeadline:
    return DailyDeadline(time(hour, minute), ZoneInfo(zone), frozenset(days))


deadlines = st.builds(
    _deadline,
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 6), min_size=1),
)
rules: st.SearchStrategy[FreshnessRule] = deadlines | st.builds(MaxAge, st.integers(MIN_SECONDS, MAX_SECONDS))


@given(rules, moments)
def test_data_is_due_after_it_was_extracted(rule: FreshnessRule, data_from: float) -> None:
    assert rule.due(data_from) > data_from
    assert rule.first_due(data_from) > data_from


@given(rules, moments, st.floats(0, 30 * DAY))
def test_newer_data_is_not_due_earlier(rule: FreshnessRule, data_from: float, later: float) -> None:
    assert rule.due(data_from + later) >= rule.due(data_from)
    assert rule.first_due(data_from + later) >= rule.first_due(data_from)


@given(deadlines, moments)
def test_a_deadline_is_at_its_local_time_on_one_of_its_days(rule: DailyDeadline, data_from: float) -> None:
    for instant in (rule.due(data_from), rule.first_due(data_from)):
        local = datetime.fromtimestamp(instant, rule.zone)
        wanted = datetime.combine(local.date(), rule.at, rule.zone)
        skipped = wanted.astimezone(UTC).astimezone(rule.zone).time() != rule.at
        named = (wanted if local.time() >= rule.at else wanted - timedelta(days=1)).weekday()
        assert local.time() == rule.at or skipped or local.utcoffset() != _offset_before(rule, instant)
        assert named in rule.days or skipped or rule.zone.key == "Pacific/Apia"
        assert local.fold == 0


def _offset_before(rule: DailyDeadline, instant: float) -> timedelta | None:
    return datetime.fromtimestamp(instant - DAY, rule.zone).utcoffset()


@given(deadlines, moments)
def test_a_deadline_allows_at_most_a_day_and_a_week_passes_between_two(
    rule: DailyDeadline, data_from: float
) -> None:
    """Every deadline before ``due`` is met; ``due`` is not, so the data is more than a local day old then."""
    change = 2 * 3600.0 if rule.zone.key != "Pacific/Apia" else DAY + 3600.0
    due = rule.due(data_from)
    assert due - data_from > DAY - change
    assert due - data_from <= (WEEK + 1) * DAY + change
    assert rule.due(due - DAY + change) > due


@given(deadlines, moments, st.data())
def test_no_deadline_is_missed_while_data_is_fresh(
    rule: DailyDeadline, data_from: float, data: st.DataObject
) -> None:
    """Found deadline by deadline: data is stale from the first one before which no local day of it began."""
    due = rule.due(data_from)
    instant, missed = rule.first_due(data_from), 0
    while instant < due:
        local = datetime.fromtimestamp(instant, rule.zone)
        begin = (local - timedelta(days=1)).timestamp()
        missed += begin > data_from + 3 * 3600 + (DAY if rule.zone.key == "Pacific/Apia" else 0)
        instant = rule.first_due(instant)
    assert missed == 0


@st.composite
def rounds(draw: st.DrawFn) -> tuple[FreshnessRule, float, list[tuple[float, float | None, float | None]]]:
    """A rule, and per round: the time since the last one, a new success' age, and an expected end."""
    rule, start = draw(rules), draw(moments)
    steps = draw(
        st.lists(
            st.tuples(
                st.floats(0, 3 * DAY),
                st.none() | st.floats(0, 2 * DAY),
                st.none() | st.floats(0, 2 * DAY),
            ),
            max_size=30,
        )
    )
    return rule, start, steps


@given(rounds())
def test_every_change_is_reported_once_and_every_state_is_right(
    history: tuple[FreshnessRule, float, list[tuple[float, float | None, float | None]]],
) -> None:
    rule, now, steps = history
    seen, data_from, before = now, None, None
    for passed, success, expected in steps:
        now += passed
        if success is not None and now - success >= seen:
            data_from = max(data_from or 0.0, now - success)
        due = due_at(rule, seen, data_from)
        end = None if expected is None else now + expected
        after = decide(due, now, end, before)
        assert (after.state is FreshnessState.STALE) == (now >= due)
        assert after.due == due
        assert after.since <= now
        _check_change(before, after, due, end)
        assert decide(due, now, end, after).state in (after.state, FreshnessState.AT_RISK)
        before = after


def _check_change(before: Freshness | None, after: Freshness, due: float, expected_end: float | None) -> None:
    state = before.state if before else FreshnessState.FRESH
    if after.state is FreshnessState.AT_RISK:
        is_new = state is FreshnessState.FRESH and expected_end is not None and expected_end > due
        assert is_new or (state is FreshnessState.AT_RISK and before is not None and before.due == due)
    if after.state is FreshnessState.FRESH and state is FreshnessState.AT_RISK:
        assert before is not None
        assert before.due != due
    if before is not None and after.state is state and state is not FreshnessState.AT_RISK:
        assert after.since == before.since


@given(moments, st.floats(1, 10 * DAY), st.lists(st.none() | st.floats(0, 30 * DAY), max_size=20))
def test_a_changing_estimate_reports_a_late_pipeline_once(
    now: float, left: float, estimates: list[float | None]
) -> None:
    before, changes = None, 0
    for estimate in estimates:
        after = decide(now + left, now, None if estimate is None else now + estimate, before)
        changes += after.state is not (before.state if before else FreshnessState.FRESH)
        before = after
    assert changes <= 1

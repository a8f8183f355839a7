"""The field ``fresh_within``: what it accepts, and when data becomes stale by it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from celonis_refresh.pipelines.definition import Definition, parse_definition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.fresh_within import (
    EXPECTED,
    EXPECTED_DAYS,
    EXPECTED_ZONE,
    MAX_SECONDS,
    MIN_SECONDS,
    DailyDeadline,
    FreshWithin,
    MaxAge,
    parse_deadline,
)
from celonis_refresh.validation.convert import to_json

WORKDAYS = "06:30 Europe/Berlin, Monday to Friday"
BERLIN = ZoneInfo("Europe/Berlin")


def defined(fresh_within: Any) -> Definition:
    document = {"data_pool": "pool-1", "jobs": [{"job": "job-a"}], "fresh_within": fresh_within}
    return parse_definition("otc", json.dumps(document))


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    """Epoch seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def due(text: str, data_from: str, zone: str = "Europe/Berlin") -> str:
    """When data of a local time becomes stale, as local time with its offset."""
    found = parse_deadline(text).due(at(data_from, ZoneInfo(zone)))
    return datetime.fromtimestamp(found, ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize("seconds", [MIN_SECONDS, 3600, MAX_SECONDS])
def test_seconds_are_a_maximum_age(seconds: int) -> None:
    found = defined(seconds).fresh_within
    assert found is not None
    assert found.rule() == MaxAge(seconds)
    assert MaxAge(seconds).due(1000.0) == MaxAge(seconds).first_due(1000.0) == 1000.0 + seconds


def test_no_value_means_that_a_pipeline_is_not_monitored() -> None:
    assert defined(None).fresh_within is None


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("06:30 Europe/Berlin", range(7)),
        (WORKDAYS, range(5)),
        ("06:30 Europe/Berlin,monday  to  FRIDAY", range(5)),
        ("06:30 Europe/Berlin, Sunday", [6]),
        ("06:30 Europe/Berlin, Monday, Wednesday and Saturday", [0, 2, 5]),
        ("06:30 Europe/Berlin, Monday, Wednesday, and Saturday", [0, 2, 5]),
        ("06:30 Europe/Berlin, Saturday to Monday", [5, 6, 0]),
        ("06:30 Europe/Berlin, Monday to Friday and Sunday", [0, 1, 2, 3, 4, 6]),
    ],
)
def test_a_deadline_has_a_time_a_zone_and_days(text: str, days: list[int]) -> None:
    found = parse_deadline(text)
    assert (found.at.hour, found.at.minute, found.zone.key) == (6, 30, "Europe/Berlin")
    assert found.days == frozenset(days)


@pytest.mark.parametrize("value", [3600, WORKDAYS, "23:59 UTC", "00:00 America/Argentina/Buenos_Aires"])
def test_the_record_of_a_run_has_the_same_value(value: str | int) -> None:
    definition = defined(value)
    text = to_json(definition)
    assert json.loads(text)["fresh_within"] == value
    assert parse_definition("otc", text) == definition


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MIN_SECONDS - 1, EXPECTED),
        (MAX_SECONDS + 1, EXPECTED),
        (3600.0, EXPECTED),
        (True, EXPECTED),
        ("3600", EXPECTED),
        ("", EXPECTED),
        ([], EXPECTED),
        ({"seconds": 3600}, EXPECTED),
        ("06:30", EXPECTED),
        ("6:30 Europe/Berlin", EXPECTED),
        ("24:00 Europe/Berlin", EXPECTED),
        ("06:60 Europe/Berlin", EXPECTED),
        ("06:30 am Europe/Berlin", EXPECTED),
        ("06:30 ../../etc/passwd", EXPECTED),
        ("06:30 /etc/localtime", EXPECTED),
        ("06:30 Europe/Berlin Monday", EXPECTED),
        ("06:30 Europe/Atlantis", EXPECTED_ZONE),
        ("06:30 Europe", EXPECTED_ZONE),
        ("06:30 europe/berlin/", EXPECTED),
        ("06:30 CEST", EXPECTED_ZONE),
        ("06:30 Europe/Berlin,", EXPECTED_DAYS),
        ("06:30 Europe/Berlin, Mon", EXPECTED_DAYS),
        ("06:30 Europe/Berlin, weekdays", EXPECTED_DAYS),
        ("06:30 Europe/Berlin, Monday to", EXPECTED_DAYS),
        ("06:30 Europe/Berlin, Monday to Friday to Sunday", EXPECTED_DAYS),
        ("06:30 Europe/Berlin, Montag", EXPECTED_DAYS),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_field_and_without_the_value(
    value: object, expected: str
) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        defined(value)
    ((place, problem),) = caught.value.problems
    assert (place, problem) == ("fresh_within", expected)


@pytest.mark.parametrize(
    ("data_from", "expected"),
    [
        ("2026-01-05T06:00", "2026-01-06T06:30+01:00"),  # Monday morning, before the deadline of that day
        ("2026-01-05T06:30", "2026-01-07T06:30+01:00"),  # exactly a day before the deadline of Tuesday
        ("2026-01-05T06:31", "2026-01-07T06:30+01:00"),
        ("2026-01-08T23:00", "2026-01-12T06:30+01:00"),  # Thursday evening serves Friday; then Monday
        ("2026-01-11T06:29", "2026-01-12T06:30+01:00"),  # Sunday, too early for Monday
        ("2026-01-11T06:30", "2026-01-13T06:30+01:00"),  # Sunday, less than a day before Monday
    ],
)
def test_a_deadline_needs_data_of_the_day_before(data_from: str, expected: str) -> None:
    assert due(WORKDAYS, data_from) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("2026-01-05T06:00", "2026-01-05T06:30+01:00"),
        ("2026-01-05T06:30", "2026-01-06T06:30+01:00"),
        ("2026-01-09T07:00", "2026-01-12T06:30+01:00"),
    ],
)
def test_without_a_success_the_next_deadline_counts(seen: str, expected: str) -> None:
    found = datetime.fromtimestamp(parse_deadline(WORKDAYS).first_due(at(seen)), BERLIN)
    assert found.isoformat(timespec="minutes") == expected


@pytest.mark.parametrize(
    ("data_from", "expected"),
    [
        # 29 March 2026: 02:00 to 03:00 does not exist in Berlin.
        ("2026-03-27T02:30", "2026-03-29T03:30+02:00"),
        ("2026-03-28T02:29", "2026-03-29T03:30+02:00"),
        ("2026-03-28T02:30", "2026-03-30T02:30+02:00"),
        # 25 October 2026: 02:00 to 03:00 exists twice.
        ("2026-10-23T02:30", "2026-10-25T02:30+02:00"),
        ("2026-10-24T02:30", "2026-10-26T02:30+01:00"),
    ],
)
def test_where_clocks_change_a_skipped_time_is_later_and_of_two_the_first_counts(
    data_from: str, expected: str
) -> None:
    assert due("02:30 Europe/Berlin", data_from) == expected


def test_a_local_day_that_does_not_exist_has_the_deadline_of_the_next_day() -> None:
    """Samoa had no 30 December 2011."""
    text, zone = "06:30 Pacific/Apia", "Pacific/Apia"
    assert due(text, "2011-12-28T06:30", zone) == "2011-12-31T06:30+14:00"
    assert due(text, "2011-12-29T06:30", zone) == "2012-01-01T06:30+14:00"


def test_the_text_of_a_rule_is_the_value_of_the_field() -> None:
    assert FreshWithin.read(3600).to_json() == 3600
    assert FreshWithin.read(WORKDAYS).to_json() == WORKDAYS
    assert isinstance(FreshWithin.read(WORKDAYS).rule(), DailyDeadline)

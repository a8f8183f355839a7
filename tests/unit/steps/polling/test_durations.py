"""The stored durations: a small document that forgets the oldest."""

from __future__ import annotations

import json

import pytest

from celonis_refresh.steps.polling.durations import REMEMBERED, add_duration, durations, failure_rate


def test_the_first_run_makes_the_document() -> None:
    assert add_duration(None, 61.27, succeeded=True) == {
        "successes": [61.3],
        "failures": [],
        "failure_rate": 0.0,
    }


def test_a_failure_is_kept_apart() -> None:
    document = add_duration(add_duration(None, 3600, succeeded=True), 12, succeeded=False)
    assert durations(document, "successes") == [3600.0]
    assert durations(document, "failures") == [12.0]
    assert failure_rate(document) == pytest.approx(1 / REMEMBERED)


def test_the_document_given_stays_as_it_was() -> None:
    document = add_duration(None, 60, succeeded=True)
    before = json.dumps(document)
    add_duration(document, 70, succeeded=False)
    assert json.dumps(document) == before


def test_only_the_newest_are_kept_and_the_document_stays_small() -> None:
    document = None
    for run in range(100):
        document = add_duration(document, 123456.789 + run, succeeded=run % 2 == 0)
    assert durations(document, "successes") == [round(123456.789 + run, 1) for run in range(60, 100, 2)]
    assert len(durations(document, "failures")) == REMEMBERED
    assert len(json.dumps(document)) < 600


def test_the_rate_of_failures_follows_what_happens_and_not_the_length_of_the_lists() -> None:
    document = None
    for run in range(400):
        document = add_duration(document, 60, succeeded=run % 20 != 0)
    assert len(durations(document, "failures")) == REMEMBERED
    assert failure_rate(document) == pytest.approx(0.05, abs=0.03)
    for _ in range(60):
        document = add_duration(document, 60, succeeded=True)
    assert failure_rate(document) < 0.005


def test_a_clock_that_ran_backwards_is_no_duration_below_nothing() -> None:
    assert durations(add_duration(None, -3.0, succeeded=True), "successes") == [0.0]


def test_numbers_that_came_back_whole_are_read() -> None:
    assert durations({"successes": [60, 61.5]}, "successes") == [60.0, 61.5]
    assert durations({}, "failures") == []
    assert failure_rate({"failure_rate": 0}) == 0.0

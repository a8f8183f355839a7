"""When the end of a run is reported: failures, warnings, the first success after them, and repeats."""

from __future__ import annotations

from typing import Any

from celonis_refresh.notifications.health import RunEnd, health_after
from celonis_refresh.timing import iso

FAILED = "JobFailed job-a"


def at(seconds: float) -> str:
    return iso(1_000_000.0 + seconds)


def reported(*ends: RunEnd, repeat_after: float = 0.0) -> list[str]:
    """What is reported of each end, in order."""
    slot: dict[str, Any] = {}
    found = []
    for end in ends:
        health = health_after(slot, end, repeat_after)
        slot |= health.facts
        found.append(health.what)
    return found


def failure(seconds: float, cause: str = FAILED) -> RunEnd:
    return RunEnd(at(seconds), succeeded=False, cause=cause)


def success(seconds: float, cause: str = "") -> RunEnd:
    return RunEnd(at(seconds), succeeded=True, cause=cause)


def test_the_first_success_after_failures_is_reported_and_no_other() -> None:
    ends = [success(0), failure(1), failure(2), success(3), success(4)]
    assert reported(*ends) == ["", "failed", "failed", "recovered", ""]


def test_the_same_cause_is_reported_again_only_after_the_time_that_the_pipeline_allows() -> None:
    ends = [failure(0), failure(99), failure(100), failure(150), failure(200)]
    assert reported(*ends, repeat_after=100) == ["failed", "", "failed", "", "failed"]


def test_another_cause_is_reported_at_once_and_so_is_the_recovery() -> None:
    ends = [failure(0), failure(1, "LoadFailed model-a"), failure(2), success(3), failure(4)]
    assert reported(*ends, repeat_after=100) == ["failed", "failed", "failed", "recovered", "failed"]


def test_a_warning_is_reported_and_ends_with_the_next_plain_success() -> None:
    ends = [success(0, "WARNING model-a"), success(1, "WARNING model-a"), success(2)]
    assert reported(*ends, repeat_after=100) == ["warning", "", "recovered"]


def test_a_run_that_was_stopped_on_purpose_changes_nothing() -> None:
    stopped = RunEnd(at(1), succeeded=False, cause="Canceled", stopped=True)
    assert reported(failure(0), stopped, success(2)) == ["failed", "", "recovered"]
    assert health_after({}, stopped, 0).facts == {}


def test_a_stuck_run_that_succeeds_is_reported() -> None:
    end = RunEnd(at(0), succeeded=True, was_reported=True)
    assert reported(end) == ["recovered"]


def test_a_failure_keeps_the_last_success_and_the_begin_of_the_incident() -> None:
    first = health_after({}, failure(0), 0).facts
    second = health_after(first, failure(5), 0).facts
    assert second == {"incident": {"what": "failed", "cause": FAILED, "since": at(0), "at": at(5)}}


def test_a_failure_after_a_warning_begins_with_itself() -> None:
    warned = health_after({}, success(0, "WARNING model-a"), 0).facts
    first = health_after(warned, failure(5), 0)
    assert first.facts["incident"]["since"] == at(5)
    assert first.failing_since is None
    assert health_after(first.facts, failure(9), 0).failing_since == at(5)
    assert health_after(first.facts, success(9), 0).failing_since == at(5)


def test_a_recovery_from_a_warning_says_nothing_of_failures() -> None:
    warned = health_after({}, success(0, "WARNING model-a"), 0).facts
    assert health_after(warned, success(9), 0).failing_since is None

"""What a run's record may take: sizes as DynamoDB counts them, and steps that keep to their limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from celonis_refresh.celonis.records import MAX_ID, MAX_STATUS
from celonis_refresh.runs.earlier import MAX_EARLIER
from celonis_refresh.runs.records import (
    BOUNDS,
    END_BYTES,
    MAX_ITEM,
    cut,
    fit_step,
    item_size,
    room_for_opening,
    size_of,
    step_bytes,
)
from celonis_refresh.runs.table import to_item
from celonis_refresh.steps.observation import Activity, Baseline, ListedExecution, Observation
from celonis_refresh.steps.ownership import SETS, Evidence
from celonis_refresh.steps.step import without_repeats
from celonis_refresh.steps.target import MAX_LISTED
from tests.fakes import limits

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), values, max_size=4))
def test_a_size_is_that_of_dynamodb_or_a_little_more_for_numbers(document: dict[str, Any]) -> None:
    exact, found = limits.item_size(to_item(document)), item_size(document)
    assert exact <= found <= exact + 400 * str(to_item(document)).count("'N'")
    if "'N'" not in str(to_item(document)):
        assert found == exact


@given(st.text(), st.integers(3, 40))
def test_a_text_is_cut_to_bytes_and_stays_a_text(text: str, limit: int) -> None:
    found = cut(text, limit)
    assert len(found.encode()) <= limit
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))


def ids(number: int, kind: str = "id") -> list[str]:
    """This many ids of maximum length."""
    return [f"{kind}-{each:04}".ljust(MAX_ID, "x") for each in range(number)]


def baseline(listed: int) -> dict[str, Any]:
    """The baseline of an observation with a list of so many executions; 0: a load, which has no list."""
    entries = [ListedExecution(found, "SUCCESS", Activity.IDLE, 1_700_000_000_000) for found in ids(listed)]
    current, latest = ids(2, "other")
    shown = Observation(
        status="S" * MAX_STATUS,
        activity=Activity.IDLE,
        current=current,
        latest=latest,
        started=1_700_000_000_000,
        executions=tuple(entries) if listed else None,
        single=not listed,
        ended=1_700_000_000_000,
    )
    return without_repeats(Baseline.of(shown).to_json())


def evidence(number: int, ours: str | None = None) -> dict[str, Any]:
    """Everything that polls can have shown, with this many ids of each kind."""
    sets = {name: frozenset(ids(number, name)) for name in SETS}
    shown = replace(
        Evidence(proven_by="running", ours=ours, pair="|".join(ids(2)), end_status="S" * MAX_STATUS), **sets
    )
    picture = f"{'S' * MAX_STATUS}|{ids(1)[0]}|{ids(1)[0]}|{ids(number, 'new')}"
    return {**shown.to_json(), "same": picture, "end_seen": 123456.789, "same_since": 123456.789}


def largest(step: str) -> dict[str, Any]:
    """A state in which everything is there at once, as large as Celonis can make it."""
    at, pools = (
        1_700_000_000.123456,
        {"job": "j" * 512} if step.startswith("job-") else {"data_model": "m" * 512},
    )
    durations = [123456.7] * 20
    return {
        **pools,
        "mode": "DELTA",
        "kind": "from_cache",
        "baseline": baseline(MAX_LISTED if step.startswith("job-") else 0),
        "evidence": evidence(1000, ids(1, "new")[0]),
        "earlier": ids(MAX_EARLIER, "earlier"),
        "busy": {"at": at, "ids": ids(MAX_LISTED, "busy"), "idle_from": at},
        "stood": {"id": ids(1)[0], "since": at},
        "pace": {
            "known": {"rev": 999999, "successes": durations, "failures": durations, "failure_rate": 0.1234},
            "queued": at,
            "seen": at,
            "refused": 999999,
        },
        "poll_refusals": {"error": "AuthenticationFailed", "since": at},
        "message": "ü" * 40_000,
        "last_error": "ü" * 40_000,
        "waiting_for": "ü" * 40_000,
        "rejected": "ü" * 40_000,
        "status": "ü" * MAX_STATUS,
        "unknown": "ü" * MAX_STATUS,
        "error": "AuthenticationFailed",
        "outcome": "SUCCEEDED",
        "answered_id": ids(1, "new")[0],
        **dict.fromkeys(("noted_at", "ended_at"), "2026-01-01T00:00:00.000Z"),
        **dict.fromkeys(
            ("began", "sent_by", "answered_at", "started_date", "stopping", "list_failing_since"), at
        ),
        **dict.fromkeys(
            ("answered", "shows_running", "two_spaces", "refused", "cancel_requested", "held"), True
        ),
        **dict.fromkeys(("posts", "polls", "rounds", "rev"), 999999),
    }


@pytest.mark.parametrize("step", ["job-19", "load-19"])
def test_the_largest_state_of_a_step_keeps_to_its_limit(step: str) -> None:
    fitted = fit_step(step, largest(step))
    assert size_of(fitted) <= step_bytes(step)
    assert fitted["baseline"] == largest(step)["baseline"]
    assert fitted["message"].endswith("…")


@pytest.mark.parametrize("step", ["job-0", "load-0"])
def test_a_failed_step_with_the_usual_ids_keeps_a_long_message(step: str) -> None:
    usual = {name: [found[:36] for found in ids(1, name)] for name in SETS}
    state = {**largest(step), "evidence": {**evidence(1), **usual}, "earlier": ids(3)}
    for rare in ("busy", "stood", "pace", "waiting_for", "last_error", "rejected", "unknown"):
        del state[rare]
    if state["baseline"]["listed"]:
        state["baseline"] = {**state["baseline"], "listed": [found[:36] for found in ids(MAX_LISTED)]}
    assert fit_step(step, {**state, "message": "x" * 2000})["message"] == "x" * 2000


def test_a_usual_state_is_stored_as_it_is() -> None:
    state = {"evidence": evidence(3), "message": "It failed.", "posts": 1, "busy": {"at": 1.0, "ids": ids(2)}}
    assert fit_step("job-0", state) == state


@pytest.mark.parametrize("number", [2, 10, 11, 500])
def test_of_many_ids_ours_and_the_answered_one_are_kept_and_that_there_are_more(number: int) -> None:
    names = ids(number, "new")
    state = {"evidence": evidence(number, names[-1]), "answered_id": names[-2]}
    fitted = fit_step("job-0", state)["evidence"]
    assert {names[-1], names[-2]} <= set(fitted["new"]) <= set(names)
    assert len(fitted["new"]) == min(number, BOUNDS[0].ids)
    assert Evidence.from_json(fitted).ours == names[-1]


def test_what_is_not_used_for_steps_is_left_to_what_a_run_brings_along() -> None:
    steps = [*(f"job-{number}" for number in range(20)), *(f"load-{number}" for number in range(20))]
    assert room_for_opening([]) == MAX_ITEM - END_BYTES
    assert 100_000 < room_for_opening(steps) < 150_000
    full = {"filler": "x" * (room_for_opening(steps) - len("filler") - len("steps") - 3)}
    filled = {step: {"a": "x" * (step_bytes(step) - 5)} for step in steps}
    assert item_size({**full, "steps": filled}) == MAX_ITEM - END_BYTES

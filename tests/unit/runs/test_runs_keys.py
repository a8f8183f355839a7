"""The keys of items never collide."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.notifications.outbox import UNSENT
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import (
    LEASED,
    WAITING,
    delivery_key,
    earlier_key,
    job_durations,
    job_lease,
    model_durations,
    model_lease,
    occurrence_key,
    refusal_cause_key,
    refusal_key,
    request_key,
    run_key,
    signed_key,
    slot_key,
    webhook_key,
)

MAX_KEY_BYTES = 2048


def test_each_kind_of_item_has_keys_of_its_own() -> None:
    made = [slot_key("x"), run_key("x"), job_lease("x"), model_lease("x"), refusal_key("x")]
    made += [refusal_cause_key("x"), delivery_key("o", "x"), signed_key("o", "x")]
    assert len(set(made)) == len(made)
    assert not any(one.startswith(other) for one in made for other in made if one != other)


def test_what_is_listed_under_a_status_is_no_run() -> None:
    assert not {WAITING, LEASED, UNSENT} & set(RunStatus)


def test_the_same_delivery_id_of_two_origins_is_two_deliveries() -> None:
    assert delivery_key("execution", "1") != delivery_key("retry", "1")


@pytest.mark.parametrize("source", ["api", "execution", "schedule", "retry"])
def test_a_source_may_be_called_like_another_way_in(source: str) -> None:
    requested = request_key("arn", "otc", None, None, "1")
    others = [delivery_key(source, "1"), occurrence_key("otc", "1"), requested]
    for delivery_id in ("1", *(other.split("#", 2)[2] for other in others)):
        assert webhook_key(source, delivery_id) not in others


def test_a_pipelines_name_and_an_id_never_run_into_each_other() -> None:
    assert occurrence_key("a", "b c") != occurrence_key("a b", "c")


UUID = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"


@pytest.mark.parametrize(
    "make",
    [
        job_lease,
        model_lease,
        lambda one: job_durations(one, "FULL"),
        lambda one: model_durations(one, "partial"),
        lambda one: earlier_key(job_lease(one)),
    ],
)
def test_a_uuid_has_one_key_however_it_is_written(make: Callable[[str], str]) -> None:
    assert make(UUID) == make(UUID.upper()) == make(UUID.title())
    assert make("Job-A") != make("job-a")
    assert make(f"{UUID.upper()}0") != make(f"{UUID}0")


@pytest.mark.parametrize(("length", "readable"), [(1, True), (200, True), (201, False), (5000, False)])
def test_a_long_delivery_id_is_replaced_by_its_digest(length: int, readable: bool) -> None:
    delivery_id = "x" * length
    key = delivery_key("erp", delivery_id)
    assert key.endswith(delivery_id) is readable
    assert ("sha256:" in key) is not readable


@pytest.mark.parametrize(("length", "readable"), [(66, True), (67, False), (200, False)])
def test_a_delivery_id_is_measured_in_bytes(length: int, readable: bool) -> None:
    """An item that holds many of them has a limit in bytes."""
    assert ("sha256:" in delivery_key("erp", "漢" * length)) is not readable


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_key_fits_the_table_and_distinguishes_deliveries(one: str, other: str) -> None:
    first, second = (delivery_key("a" * 48, text * 3) for text in (one, other))
    assert (first == second) is (one == other)
    assert len(first.encode()) <= MAX_KEY_BYTES

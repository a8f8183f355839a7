"""What a run's id contains."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.names import NAME_PATTERN
from celonis_refresh.runs.table import MAX_RUN_ID, make_run_id, pipeline_of

AT = datetime(2026, 1, 1, 4, tzinfo=UTC)


@given(name=st.from_regex(NAME_PATTERN, fullmatch=True), token=st.from_regex("[0-9a-f]{8}", fullmatch=True))
def test_an_id_names_its_pipeline_and_fits_an_execution(name: str, token: str) -> None:
    run_id = make_run_id(name, AT, token)
    assert run_id == f"{name}-20260101T040000Z-{token}"
    assert pipeline_of(run_id) == name
    assert len(run_id) <= MAX_RUN_ID

"""Rules of the proof that one example shows best; the laws over all histories are in tests/properties."""

from __future__ import annotations

from celonis_refresh.celonis.records import Load
from celonis_refresh.passage.proof import Case, Evidence, Verdict
from celonis_refresh.passage.sights import Baseline
from celonis_refresh.passage.work import load_sight

SETTLE = 10.0
OURS = Load(load_id="ours", status="RUNNING", start_date=2_000)


def test_a_model_that_shows_no_load_once_ours_was_seen_is_waited_on() -> None:
    case = Case(Baseline.of(load_sight(None)), SETTLE, answered=True)
    seen = case.judge(Evidence(), load_sight(OURS), since_sent=1.0)
    assert seen.evidence.ours == "ours"
    gone = case.judge(seen.evidence, load_sight(None), since_sent=SETTLE * 5)
    assert gone.verdict is Verdict.UNDER_WAY


def test_a_load_that_tells_its_end_date_is_believed_before_it_settled() -> None:
    case = Case(Baseline.of(load_sight(None)), SETTLE, answered=True)
    ended = Load(load_id="ours", status="SUCCESS", start_date=2_000, end_date=3_000)
    ruling = case.judge(Evidence(), load_sight(ended), since_sent=1.0)
    assert (ruling.verdict, ruling.status) == (Verdict.ENDED, "SUCCESS")


def test_a_load_with_a_new_id_and_no_end_date_is_not_believed_before_it_settled() -> None:
    before = Load(load_id="before", status="SUCCESS", start_date=1_000, end_date=1_500)
    case = Case(Baseline.of(load_sight(before)), SETTLE, answered=True)
    lagging = Load(load_id="ours", status="SUCCESS", start_date=2_000)
    ruling = case.judge(Evidence(), load_sight(lagging), since_sent=1.0)
    assert ruling.verdict is Verdict.UNDER_WAY

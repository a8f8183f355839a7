"""The rules of the proof, one by one: a baseline, and the looks that followed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from celonis_refresh.passage.proof import Case, Evidence, Ruling, Verdict
from celonis_refresh.passage.sights import Activity, Baseline, Listed, Sight

SETTLE = 120.0
EARLY, LATE = 10.0, 130.0
"""Seconds after the start: while a look may still be older than it, and after that."""
REST, UNDER_WAY, UNCLEAR = Activity.AT_REST, Activity.UNDER_WAY, Activity.UNCLEAR
AT_REST = Sight("SUCCESS", REST, latest="item-1")
RUNS = Sight("RUNNING", UNDER_WAY, current="exec-2", latest="item-2")
ENDED = Sight("SUCCESS", REST, latest="item-2")
OTHER_RUNS = Sight("RUNNING", UNDER_WAY, current="exec-3", latest="item-3")


def entry(name: str, status: str | None, started: int | None = None) -> Listed:
    activity = {"RUNNING": UNDER_WAY, "SUCCESS": REST, "FAIL": REST}.get(status or "", UNCLEAR)
    return Listed(name, status, activity, started)


BEFORE = (entry("exec-1", "SUCCESS", 100),)
LISTED = replace(AT_REST, history=BEFORE)
BLIND = Sight("SUCCESS", REST)
BLIND_RUNS = Sight("RUNNING", UNDER_WAY)
DATED = Sight("SUCCESS", REST, started=100, single=True)


def case(baseline: Sight = AT_REST, *, answered: bool = True) -> Case:
    return Case(Baseline.of(baseline), SETTLE, answered)


def looks(of: Case, *seen: tuple[Sight, float], known: Evidence | None = None) -> Ruling:
    """The ruling on the last of these looks."""
    ruling = Ruling(Verdict.PENDING, known or Evidence())
    for sight, since in seen:
        ruling = of.judge(ruling.evidence, sight, since)
    return ruling


def told(ruling: Ruling) -> tuple[Verdict, str | None]:
    return ruling.verdict, ruling.status


def test_one_new_id_is_ours() -> None:
    ruling = looks(case(), (RUNS, EARLY))
    evidence = ruling.evidence
    assert (ruling.verdict, evidence.proven_by, evidence.ours) == (Verdict.UNDER_WAY, "id", "exec-2")


def test_an_end_is_believed_at_once_when_ours_was_seen_under_way() -> None:
    assert told(looks(case(), (RUNS, EARLY), (ENDED, EARLY))) == (Verdict.ENDED, "SUCCESS")


def test_an_end_that_may_be_the_status_of_before_is_believed_only_after_settle() -> None:
    assert looks(case(), (ENDED, EARLY)).verdict is Verdict.UNDER_WAY
    assert told(looks(case(), (ENDED, LATE))) == (Verdict.ENDED, "SUCCESS")


def test_what_stood_there_before_is_nothing_new() -> None:
    assert looks(case(), (AT_REST, EARLY)).verdict is Verdict.PENDING


def test_an_end_is_not_believed_while_an_id_is_still_under_way() -> None:
    mixed = replace(ENDED, current="exec-2")
    assert looks(case(), (RUNS, EARLY), (mixed, EARLY)).verdict is Verdict.UNDER_WAY
    assert looks(case(), (RUNS, EARLY), (mixed, LATE)).verdict is Verdict.ENDED


def test_two_new_ids_are_ambiguous() -> None:
    seen = Evidence(latest=frozenset({"item-2"}))
    assert looks(case(), (OTHER_RUNS, EARLY), known=seen).verdict is Verdict.AMBIGUOUS


def test_two_new_ids_are_ambiguous_even_where_something_was_seen_to_run() -> None:
    seen = Evidence(proven_by="running", ran=True, latest=frozenset({"item-2"}))
    assert looks(case(), (OTHER_RUNS, EARLY), known=seen).verdict is Verdict.AMBIGUOUS


@pytest.mark.parametrize("sight", [OTHER_RUNS, Sight("FAIL", REST, latest="item-3")])
def test_an_id_that_follows_ours_takes_its_place(sight: Sight) -> None:
    assert looks(case(), (RUNS, EARLY), (sight, LATE)).verdict is Verdict.TAKEN_OVER


def test_one_execution_under_two_names_is_one() -> None:
    ruling = looks(case(), (ENDED, EARLY), (RUNS, EARLY))
    assert (ruling.verdict, ruling.evidence.ours) == (Verdict.UNDER_WAY, "item-2")


def test_ids_of_one_space_are_told_apart_across_the_fields() -> None:
    runs = Sight("RUNNING", UNDER_WAY, current="exec-2", latest="exec-2")
    taken = Sight("FAIL", REST, latest="exec-3")
    of = case(Sight("SUCCESS", REST, latest="exec-1"))
    assert looks(of, (runs, EARLY), (taken, LATE)).verdict is Verdict.TAKEN_OVER


def test_what_runs_beside_the_newest_id_of_before_may_have_ended_just_then() -> None:
    stale = Sight("RUNNING", UNDER_WAY, current="exec-1", latest="item-1")
    assert looks(case(), (stale, EARLY)).verdict is Verdict.PENDING
    assert looks(case(), (stale, LATE)).evidence.ours == "exec-1"


def test_the_answers_id_is_waited_for_while_another_one_shows() -> None:
    """The look may be older than ours, or the answer's id may be of another kind; then nothing is proven."""
    known = Evidence(proven_by="answer", ours="other-name", one_space=True)
    assert looks(case(), (RUNS, EARLY), known=known).verdict is Verdict.PENDING
    ended = looks(case(), (RUNS, EARLY), (ENDED, LATE), known=known)
    assert ended.verdict is Verdict.TAKEN_OVER


def test_the_list_alone_says_what_is_new() -> None:
    without = replace(RUNS, history=BEFORE)
    assert looks(case(LISTED), (without, EARLY)).verdict is Verdict.PENDING
    with_it = replace(RUNS, history=(entry("exec-2", "RUNNING"), *BEFORE))
    assert looks(case(LISTED), (without, EARLY), (with_it, EARLY)).evidence.ours == "exec-2"


def test_what_a_list_does_not_show_is_not_ours_however_late() -> None:
    without = replace(BLIND_RUNS, history=BEFORE)
    blind = replace(BLIND, history=BEFORE)
    assert looks(case(blind), (without, LATE)).verdict is Verdict.UNPROVEN


def test_a_list_that_fails_is_waited_for_until_settle() -> None:
    assert looks(case(LISTED), (RUNS, EARLY)).verdict is Verdict.PENDING
    assert looks(case(LISTED), (RUNS, LATE)).evidence.ours == "exec-2"
    blind = replace(BLIND, history=())
    assert looks(case(blind), (BLIND_RUNS, EARLY)).verdict is Verdict.PENDING


def test_an_entry_of_the_list_tells_its_own_end_whatever_the_job_shows() -> None:
    history = (entry("exec-3", "RUNNING"), entry("exec-2", "FAIL"), *BEFORE)
    known = Evidence(proven_by="id", ours="exec-2")
    ruling = looks(case(LISTED), (replace(OTHER_RUNS, history=history), EARLY), known=known)
    assert told(ruling) == (Verdict.ENDED, "FAIL")


def test_two_new_entries_are_ambiguous() -> None:
    history = (entry("exec-3", "RUNNING"), entry("exec-2", "FAIL"), *BEFORE)
    assert looks(case(LISTED), (replace(RUNS, history=history), EARLY)).verdict is Verdict.AMBIGUOUS


def test_an_end_is_not_read_off_the_job_while_the_list_lacks_ours() -> None:
    known = Evidence(proven_by="answer", ours="exec-2", ran=True)
    short = replace(ENDED, history=BEFORE)
    assert looks(case(LISTED), (short, EARLY), known=known).verdict is Verdict.UNDER_WAY


def test_an_entry_without_status_is_read_off_the_job() -> None:
    known = Evidence(proven_by="id", ours="exec-2", ran=True, current=frozenset({"exec-2"}))
    sight = replace(ENDED, history=(entry("exec-2", None), *BEFORE))
    assert told(looks(case(LISTED), (sight, EARLY), known=known)) == (Verdict.ENDED, "SUCCESS")


def test_a_list_that_was_not_there_before_proves_nothing() -> None:
    late_list = replace(AT_REST, history=(entry("exec-9", "RUNNING"), *BEFORE))
    assert looks(case(), (late_list, EARLY)).verdict is Verdict.PENDING


def test_seen_under_way_since_a_baseline_at_rest_is_ours() -> None:
    assert looks(case(BLIND), (BLIND_RUNS, EARLY)).evidence.proven_by == "running"
    assert looks(case(BLIND), (BLIND_RUNS, EARLY), (BLIND, EARLY)).verdict is Verdict.UNDER_WAY
    assert told(looks(case(BLIND), (BLIND_RUNS, EARLY), (BLIND, LATE))) == (Verdict.ENDED, "SUCCESS")


def test_seen_under_way_proves_nothing_where_the_baseline_was_unclear() -> None:
    assert looks(case(Sight("NEW", UNCLEAR)), (BLIND_RUNS, LATE)).verdict is Verdict.UNPROVEN


def test_ids_that_stand_as_they_were_outweigh_a_status_until_settle() -> None:
    beside = Sight("RUNNING", UNDER_WAY, latest="item-1")
    assert looks(case(), (beside, EARLY)).verdict is Verdict.PENDING
    assert looks(case(), (beside, LATE)).evidence.proven_by == "running"


def test_after_a_lost_answer_what_runs_may_be_what_ended_just_before() -> None:
    lost = case(BLIND, answered=False)
    assert looks(lost, (BLIND_RUNS, EARLY)).verdict is Verdict.PENDING
    assert looks(lost, (BLIND_RUNS, LATE)).evidence.proven_by == "running"


def test_a_later_start_date_is_ours() -> None:
    later = replace(DATED, started=200)
    ruling = looks(case(DATED), (later, EARLY))
    assert (ruling.evidence.proven_by, ruling.evidence.started) == ("date", 200)
    assert ruling.verdict is Verdict.UNDER_WAY
    assert told(looks(case(DATED), (later, LATE))) == (Verdict.ENDED, "SUCCESS")


@pytest.mark.parametrize("started", [100, 50, None])
def test_no_other_start_date_is(started: int | None) -> None:
    assert looks(case(DATED), (replace(DATED, started=started), EARLY)).verdict is Verdict.PENDING


def test_a_start_date_after_ours_takes_its_place_and_one_before_it_is_stale() -> None:
    runs = Sight("RUNNING", UNDER_WAY, started=200, single=True)
    taken = replace(DATED, status="ERROR", started=300)
    assert looks(case(DATED), (runs, EARLY), (taken, LATE)).verdict is Verdict.TAKEN_OVER
    assert looks(case(DATED), (runs, EARLY), (DATED, LATE)).verdict is Verdict.UNDER_WAY


def test_a_start_date_that_lags_behind_the_status_is_not_taken_for_ours() -> None:
    lags = Sight("RUNNING", UNDER_WAY, started=100, single=True)
    later = replace(DATED, started=200)
    assert told(looks(case(DATED), (lags, EARLY), (later, EARLY))) == (Verdict.ENDED, "SUCCESS")


def test_any_start_date_is_ours_where_there_was_nothing_and_none_where_it_was_not_told() -> None:
    never = Sight(None, REST, history=(), single=True)
    assert looks(case(never), (DATED, EARLY)).evidence.proven_by == "date"
    untold = Sight("SUCCESS", REST, single=True)
    assert looks(case(untold), (DATED, EARLY)).verdict is Verdict.PENDING


@pytest.mark.parametrize(
    ("started", "ended", "status", "verdict"),
    [
        (200, 260, "ERROR", Verdict.ENDED),
        (200, 260, "SUCCESS", Verdict.UNDER_WAY),
        (200, None, "ERROR", Verdict.UNDER_WAY),
        (100, 260, "ERROR", Verdict.UNDER_WAY),
        (150, 160, "ERROR", Verdict.UNDER_WAY),
        (200, 170, "ERROR", Verdict.UNDER_WAY),
    ],
)
def test_an_end_date_after_a_new_start_date_and_a_new_status_tell_an_end_at_once(
    started: int, ended: int | None, status: str, verdict: Verdict
) -> None:
    """A status that stands as it was may be older than the dates beside it, and so may an end date."""
    of = case(replace(DATED, ended=160, latest="load-1"))
    sight = Sight(status, REST, latest="load-2", started=started, ended=ended, single=True)
    assert looks(of, (sight, EARLY)).verdict is verdict


def test_the_answers_id_is_worth_nothing_where_no_look_shows_ids() -> None:
    known = Evidence(proven_by="answer", ours="load-2")
    seen = ((replace(DATED, started=200), EARLY), (replace(DATED, started=300), LATE))
    assert looks(case(DATED), *seen, known=known).verdict is Verdict.TAKEN_OVER


def test_time_that_passed_is_no_proof() -> None:
    assert looks(case(), (AT_REST, LATE)).verdict is Verdict.UNPROVEN


def test_a_lost_start_that_left_no_trace_did_not_take_place() -> None:
    lost = case(answered=False)
    assert looks(lost, (AT_REST, EARLY)).verdict is Verdict.PENDING
    assert looks(lost, (AT_REST, LATE)).verdict is Verdict.NOT_STARTED


@pytest.mark.parametrize(
    "changed",
    [
        replace(AT_REST, status="FAIL"),
        replace(AT_REST, status="MYSTERY", activity=UNCLEAR),
        replace(AT_REST, latest=None),
        replace(AT_REST, started=7),
    ],
)
def test_anything_that_changed_is_a_trace(changed: Sight) -> None:
    assert looks(case(answered=False), (changed, LATE)).verdict is Verdict.UNPROVEN


def test_without_ids_dates_and_list_a_trace_would_not_have_to_show() -> None:
    assert looks(case(BLIND, answered=False), (BLIND, LATE)).verdict is Verdict.UNPROVEN


def test_a_list_that_stands_as_it_was_is_no_trace_even_where_the_status_is_unclear() -> None:
    unclear = replace(LISTED, status="MYSTERY", activity=UNCLEAR)
    assert looks(case(unclear, answered=False), (unclear, LATE)).verdict is Verdict.NOT_STARTED
    unlisted = replace(unclear, history=None)
    assert looks(case(unlisted, answered=False), (unlisted, LATE)).verdict is Verdict.UNPROVEN


@pytest.mark.parametrize("status", ["MYSTERY", None])
def test_an_unknown_status_never_ends_anything(status: str | None) -> None:
    sight = replace(ENDED, status=status, activity=UNCLEAR)
    assert looks(case(), (RUNS, EARLY), (sight, LATE)).verdict is Verdict.UNDER_WAY


def test_evidence_and_baseline_survive_their_way_through_the_record() -> None:
    evidence = looks(case(LISTED), (RUNS, LATE)).evidence
    assert Evidence.from_json(evidence.to_json()) == evidence
    assert Baseline.from_json(Baseline.of(LISTED).to_json()) == Baseline.of(LISTED)

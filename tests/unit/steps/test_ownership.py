"""The rules of ``determine_ownership``, one by one: a baseline, and the polls that followed the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from celonis_refresh.celonis.records import Load
from celonis_refresh.steps.observation import Activity, Baseline, ListedExecution, Observation
from celonis_refresh.steps.ownership import (
    CLOCK_TOLERANCE,
    Evidence,
    Ownership,
    OwnershipStatus,
    SentStart,
    determine_ownership,
)
from celonis_refresh.steps.target import load_observation

SETTLE = 120.0
EARLY, LATE, CONFIRMED = 10.0, 130.0, 250.0
"""Seconds after the start: while a poll may still be older than it; after that; and another settle later."""
REQUESTED_AT, ANSWERED_BY = 1_000_000, 1_001_500
"""Epoch milliseconds by the clock of Celonis: when the baseline was asked for at the earliest, and when
Celonis had our start at the latest. What ran before began at ``BEFORE``, ours at ``OURS``."""
BEFORE, OURS, OURS_ENDED, AFTER_OURS = 700_000, 1_000_500, 1_003_000, 1_004_000
IDLE, RUNNING, UNKNOWN = Activity.IDLE, Activity.RUNNING, Activity.UNKNOWN
Status = OwnershipStatus

# A job without a list of executions
AS_BEFORE = Observation("SUCCESS", IDLE, latest="item-1")
RUNS = Observation("RUNNING", RUNNING, latest="item-2")
ENDED = Observation("FAIL", IDLE, latest="item-2")
NEXT_RUNS = Observation("RUNNING", RUNNING, latest="item-3")
NEXT_ENDED = Observation("SUCCESS", IDLE, latest="item-3")

# A job whose running execution has a second id, in another id space
TWO_IDS = Observation("RUNNING", RUNNING, current="exec-2", latest="item-2")

# A job that never shows an id
BARE = Observation("SUCCESS", IDLE)
BARE_RUNS = Observation("RUNNING", RUNNING)
BARE_ENDED = Observation("FAIL", IDLE)


def entry(
    name: str, status: str | None, started: int | None = None, ended: int | None = None
) -> ListedExecution:
    activity = {"RUNNING": RUNNING, "QUEUED": RUNNING, "SUCCESS": IDLE, "FAIL": IDLE}
    return ListedExecution(name, status, activity.get(status or "", UNKNOWN), started, ended)


OLD = entry("exec-1", "SUCCESS", BEFORE)


def listing(observation: Observation, *entries: ListedExecution) -> Observation:
    """The observation with a list that has these entries and, last, the one that was there before."""
    return replace(observation, executions=(*entries, OLD))


# A job with a list of executions, and no other ids of what has ended
LISTED = listing(Observation("SUCCESS", IDLE))
LISTED_RUNS = listing(Observation("RUNNING", RUNNING, current="exec-2"), entry("exec-2", "RUNNING", OURS))
LISTED_ENDED = listing(Observation("FAIL", IDLE), entry("exec-2", "FAIL", OURS, OURS_ENDED))


def load(name: str | None, status: str | None, started: int | None = None, **more: Any) -> Observation:
    return load_observation(Load(load_id=name, status=status, start_date=started, **more))


LOADED = load("load-1", "SUCCESS", BEFORE, end_date=BEFORE + 1000)
NEVER_LOADED = load_observation(None)


def started(baseline: Observation, *, answered: bool = True, **fields: Any) -> SentStart:
    return SentStart(Baseline.of(baseline), SETTLE, answered, **fields)


def after(start: SentStart, *polls: tuple[Observation, float], evidence: Evidence | None = None) -> Ownership:
    """The ownership of the start according to the last of these polls."""
    found = Ownership(Status.PENDING, evidence or Evidence())
    for observation, since in polls:
        found = determine_ownership(start, found.evidence, observation, since)
    return found


def end(found: Ownership) -> tuple[OwnershipStatus, str | None]:
    return found.status, found.execution_status


def proof(found: Ownership) -> tuple[str | None, str | None]:
    return found.evidence.proven_by, found.evidence.ours


# ---------------------------------------------------------------- by the only new id


def test_the_only_new_id_is_ours_once_settled() -> None:
    found = after(started(AS_BEFORE), (RUNS, LATE))
    assert (found.status, *proof(found)) == (Status.RUNNING, "id", "item-2")


@pytest.mark.parametrize("observation", [RUNS, ENDED, TWO_IDS])
def test_before_that_an_undated_id_may_be_one_that_the_baseline_had_passed(observation: Observation) -> None:
    found = after(started(AS_BEFORE), (observation, EARLY))
    assert (found.status, *proof(found)) == (Status.PENDING, None, None)


def test_what_was_there_before_is_never_ours() -> None:
    for since in (EARLY, LATE, CONFIRMED):
        assert proof(after(started(AS_BEFORE), (AS_BEFORE, since))) == (None, None)


def test_an_execution_of_an_earlier_run_of_ours_is_never_this_ones() -> None:
    baseline = Baseline.from_json(Baseline.of(AS_BEFORE).to_json(), earlier=["exec-2", "item-2"])
    for observation in (RUNS, TWO_IDS, ENDED):
        found = after(SentStart(baseline, SETTLE, answered=True), (observation, LATE))
        assert (found.status, *proof(found)) == (Status.PENDING, None, None)


def test_an_id_that_began_before_the_newest_of_the_baseline_is_not_new() -> None:
    """A list may be the oldest page, or older than the baseline: what it has not shown yet is no start."""
    older = listing(Observation("RUNNING", RUNNING), entry("exec-0", "RUNNING", BEFORE - 1))
    for since in (EARLY, LATE):
        found = after(started(LISTED), (older, since))
        assert (found.status, *proof(found)) == (Status.PENDING, None, None)


def test_an_id_that_began_with_the_newest_of_the_baseline_is_not_new() -> None:
    same = listing(Observation("SUCCESS", IDLE), entry("exec-0", "SUCCESS", BEFORE))
    assert proof(after(started(LISTED), (same, LATE), (same, CONFIRMED))) == (None, None)


def test_an_id_of_a_list_that_runs_is_shown_but_not_proven_before_settle() -> None:
    found = after(started(LISTED), (LISTED_RUNS, EARLY))
    assert (found.status, *proof(found)) == (Status.RUNNING, None, None)
    assert proof(after(started(LISTED), (LISTED_RUNS, LATE))) == ("id", "exec-2")


def test_a_new_id_that_has_ended_is_not_ours_while_something_else_runs() -> None:
    """Ours may be what runs: the list may not show running executions."""
    beside = replace(LISTED_ENDED, status="RUNNING", activity=RUNNING)
    assert proof(after(started(LISTED), (beside, LATE))) == (None, None)
    polls = (beside, LATE), (LISTED_ENDED, LATE + 1)
    assert proof(after(started(LISTED), *polls)) == (None, None)
    assert proof(after(started(LISTED), *polls, (LISTED_ENDED, CONFIRMED + 1))) == ("id", "exec-2")


@pytest.mark.parametrize("answered_id", [None, "exec-2"])
def test_an_entry_whose_end_is_not_that_of_the_record_is_not_ours(answered_id: str | None) -> None:
    """The list is a page of the oldest: another user's execution fills it, and ours is not on it."""
    start = started(LISTED, answered_id=answered_id)
    shown = listing(Observation("FAIL", IDLE, latest="item-3"), entry("exec-2", "SUCCESS", OURS, OURS_ENDED))
    found = after(start, (shown, EARLY), (shown, LATE), (shown, CONFIRMED))
    assert (found.status, *proof(found)) == (Status.UNPROVEN, None, None)
    agrees = replace(shown, status="SUCCESS")
    assert proof(after(start, (agrees, LATE), (agrees, CONFIRMED)))[1] == "exec-2"


def test_a_current_id_beside_an_ended_one_counts_as_running() -> None:
    beside = replace(LISTED_ENDED, current="exec-3")
    assert proof(after(started(LISTED), (beside, LATE))) != ("id", "exec-2")


def test_an_id_that_the_list_lacks_is_ours_only_once_confirmed() -> None:
    lacking = listing(Observation("SUCCESS", IDLE, latest="exec-2"))
    of = started(listing(Observation("SUCCESS", IDLE, latest="exec-1")))
    assert proof(after(of, (lacking, LATE))) == (None, None)
    assert proof(after(of, (lacking, LATE), (lacking, CONFIRMED))) == ("id", "exec-2")


def test_an_id_of_another_space_is_not_ours_while_the_list_shows_nothing_new() -> None:
    lacking = listing(ENDED)
    found = after(started(listing(AS_BEFORE)), (lacking, LATE), (lacking, CONFIRMED))
    assert (found.status, *proof(found)) == (Status.UNPROVEN, None, None)


def test_a_list_that_does_not_reach_back_to_the_baseline_does_not_hold_up_the_only_new_id() -> None:
    page = replace(RUNS, executions=(entry("exec-2", "RUNNING"),))
    assert proof(after(started(listing(AS_BEFORE)), (page, LATE))) == ("id", "exec-2")


def test_a_list_that_was_not_there_before_has_no_new_entries() -> None:
    late_list = replace(AS_BEFORE, executions=(entry("exec-9", "RUNNING", OURS), OLD))
    for since in (EARLY, LATE):
        assert proof(after(started(AS_BEFORE), (late_list, since))) == (None, None)


# ---------------------------------------------------------------- by the date of the answer


def requested(baseline: Observation) -> Observation:
    return replace(baseline, requested_at=REQUESTED_AT)


def dated(baseline: Observation = LISTED, **fields: Any) -> SentStart:
    return started(requested(baseline), answered_by=ANSWERED_BY, **fields)


def test_the_only_new_id_is_ours_at_once_where_it_began_after_the_answer() -> None:
    assert proof(after(dated(), (LISTED_RUNS, EARLY))) == ("date", "exec-2")
    assert proof(after(started(LISTED), (LISTED_RUNS, EARLY))) == (None, None)


def began(moment: int) -> Observation:
    return listing(Observation("RUNNING", RUNNING), entry("exec-2", "RUNNING", moment))


TOLERANCE = round(CLOCK_TOLERANCE * 1000)


@pytest.mark.parametrize(
    ("moment", "proven"),
    [
        (REQUESTED_AT - 1, False),
        (REQUESTED_AT, True),
        (REQUESTED_AT + round((EARLY + SETTLE) * 1000) + TOLERANCE, True),
        (REQUESTED_AT + round((EARLY + SETTLE) * 1000) + TOLERANCE + 1, False),
    ],
)
def test_a_date_proves_only_between_the_baseline_and_now(moment: int, proven: bool) -> None:
    expected = ("date", "exec-2") if proven else (None, None)
    assert proof(after(dated(), (began(moment), EARLY))) == expected


@pytest.mark.parametrize(("newest", "proven"), [(TOLERANCE, True), (TOLERANCE + 1, False)])
def test_a_date_proves_nothing_where_the_dates_before_are_ahead_of_those_of_answers(
    newest: int, proven: bool
) -> None:
    before = replace(LISTED, executions=(entry("exec-1", "SUCCESS", REQUESTED_AT + newest),))
    new = entry("exec-2", "RUNNING", REQUESTED_AT + newest + 1)
    later = replace(before, status="RUNNING", activity=RUNNING, executions=(new, *(before.executions or ())))
    found = after(dated(before), (later, EARLY))
    assert found.evidence.proven_by == ("date" if proven else None)


def test_an_id_without_a_date_is_not_proven_by_the_date_of_the_answer() -> None:
    undated = listing(Observation("RUNNING", RUNNING), entry("exec-2", "RUNNING"))
    assert proof(after(dated(), (undated, EARLY))) == (None, None)


def test_a_new_load_that_began_after_the_answer_is_ours_at_once() -> None:
    found = after(dated(LOADED), (load("load-2", "RUNNING", OURS), EARLY))
    assert (found.status, *proof(found)) == (Status.RUNNING, "date", "load-2")


def test_a_new_load_that_began_before_the_answer_is_not_proven_at_once() -> None:
    other = load("load-2", "RUNNING", REQUESTED_AT - 1)
    assert proof(after(dated(LOADED), (other, EARLY))) == (None, None)


# ---------------------------------------------------------------- several new ids


BOTH = listing(
    Observation("RUNNING", RUNNING, current="exec-3"),
    entry("exec-3", "RUNNING", AFTER_OURS),
    entry("exec-2", "FAIL", OURS, OURS_ENDED),
)


@pytest.mark.parametrize("since", [EARLY, LATE])
def test_two_new_ids_are_ambiguous(since: float) -> None:
    assert after(dated(), (BOTH, since)).status is Status.AMBIGUOUS


def test_two_new_ids_are_ambiguous_also_where_they_were_latest_one_after_the_other() -> None:
    of = started(AS_BEFORE)
    assert after(of, (ENDED, LATE), evidence=Evidence(new_latest=frozenset({"item-3"}))).status is (
        Status.AMBIGUOUS
    )


def test_the_answered_id_proves_nothing_by_itself() -> None:
    """It may be the id of the execution before ours, which the baseline did not show yet."""
    found = after(started(LISTED, answered_id="exec-2"), (LISTED_ENDED, EARLY))
    assert (found.status, *proof(found)) == (Status.PENDING, None, None)


def test_several_new_ids_with_the_answered_one_are_waited_for_until_settled() -> None:
    of = started(LISTED, answered_id="exec-3")
    assert after(of, (BOTH, EARLY)).status is Status.RUNNING
    assert proof(after(of, (BOTH, EARLY), (BOTH, LATE))) == ("answer", "exec-3")


def test_the_answered_id_is_not_ours_among_several_where_another_began_later() -> None:
    of = started(LISTED, answered_id="exec-2")
    assert after(of, (BOTH, LATE)).status is Status.AMBIGUOUS


def test_an_answered_id_without_a_start_date_is_the_last_beside_one_that_has_begun() -> None:
    """It is queued behind the other one."""
    queued = listing(
        Observation("RUNNING", RUNNING, current="exec-2"),
        entry("exec-3", "QUEUED"),
        entry("exec-2", "RUNNING", OURS),
    )
    found = after(started(LISTED, answered_id="exec-3"), (queued, LATE))
    assert proof(found) == ("answer", "exec-3")
    undated = replace(queued, executions=(entry("exec-3", "QUEUED"), entry("exec-2", "RUNNING"), OLD))
    assert after(started(LISTED, answered_id="exec-3"), (undated, LATE)).status is Status.AMBIGUOUS


def test_an_answered_id_that_is_never_shown_keeps_the_only_new_one_from_nothing() -> None:
    """The answer may carry an id of another space."""
    of = started(AS_BEFORE, answered_id="of-another-space")
    assert proof(after(of, (RUNS, LATE))) == (None, None)
    found = after(of, (ENDED, LATE), (ENDED, CONFIRMED))
    assert (found.status, *proof(found)) == (Status.ENDED, "id", "item-2")


def test_an_answered_id_that_is_never_shown_is_no_proof_where_nothing_is_new() -> None:
    of = started(AS_BEFORE, answered_id="of-another-space")
    found = after(of, (AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED))
    assert (found.status, *proof(found)) == (Status.UNPROVEN, None, None)


def test_an_answered_id_that_was_there_before_is_no_proof() -> None:
    of = dated(answered_id="exec-1")
    for since in (EARLY, LATE):
        assert proof(after(of, (LISTED, since))) == (None, None)


def test_an_id_that_was_shown_early_counts_beside_a_later_one() -> None:
    found = after(started(AS_BEFORE), (RUNS, EARLY), (NEXT_RUNS, LATE))
    assert (found.status, *proof(found)) == (Status.AMBIGUOUS, None, None)


def test_what_appears_after_a_settled_poll_without_it_is_not_ours_where_the_answer_was_lost() -> None:
    """Ours would have been shown by then, if it had taken place."""
    lost, answered = started(AS_BEFORE, answered=False), started(AS_BEFORE)
    assert proof(after(lost, (AS_BEFORE, LATE), (RUNS, LATE + 1))) == (None, None)
    assert proof(after(answered, (AS_BEFORE, LATE), (RUNS, LATE + 1))) == ("id", "item-2")
    assert proof(after(lost, (AS_BEFORE, EARLY), (RUNS, LATE))) == ("id", "item-2")


# ---------------------------------------------------------------- two ids of one execution


@pytest.mark.parametrize("began", [REQUESTED_AT - 59_000, REQUESTED_AT - 400_000])
def test_what_began_before_the_baseline_is_not_ours_where_the_start_may_never_have_been_sent(
    began: int,
) -> None:
    """A function that dies before its start leaves another user's execution that the baseline had passed."""
    start = dated(answered=False)
    runs = listing(
        Observation("RUNNING", RUNNING, current="exec-2", latest="exec-2"), entry("exec-2", "RUNNING", began)
    )
    ended = listing(
        Observation("SUCCESS", IDLE, latest="exec-2"), entry("exec-2", "SUCCESS", began, began + 71_000)
    )
    found = after(start, (runs, EARLY), (runs, LATE), (ended, LATE + 10), (ended, CONFIRMED + 20))
    assert (found.status, *proof(found)) == (Status.UNPROVEN, None, None)


def test_a_current_and_a_latest_id_that_were_never_shown_together_may_be_of_two_executions() -> None:
    current, latest = replace(TWO_IDS, latest=None), replace(TWO_IDS, current=None)
    found = after(started(AS_BEFORE), (current, LATE), (latest, LATE + 1))
    assert (found.status, *proof(found)) == (Status.TAKEN_OVER, "id", "exec-2")


def test_two_ids_that_stand_beside_each_other_for_a_settle_are_of_one_execution() -> None:
    found = after(started(AS_BEFORE), (TWO_IDS, LATE), (TWO_IDS, CONFIRMED))
    assert (found.status, *proof(found)) == (Status.RUNNING, "id", "exec-2")
    assert found.evidence.ids_of_ours == {"exec-2", "item-2"}
    evidence = found.evidence
    ended = after(started(AS_BEFORE), (ENDED, CONFIRMED + 1), (ENDED, 2 * CONFIRMED), evidence=evidence)
    assert end(ended) == (Status.ENDED, "FAIL")


def test_two_ids_that_running_polls_show_together_twice_are_of_one_execution() -> None:
    other = replace(TWO_IDS, latest="item-1")
    found = after(started(AS_BEFORE), (TWO_IDS, LATE), (other, LATE + 60), (TWO_IDS, CONFIRMED))
    assert proof(found) == ("id", "exec-2")


def test_where_an_earlier_execution_had_two_ids_ours_has_two_as_well() -> None:
    found = after(started(AS_BEFORE, two_spaces=True), (TWO_IDS, LATE))
    assert proof(found) == ("id", "exec-2")
    assert found.evidence.ids_of_ours == {"exec-2", "item-2"}


# ---------------------------------------------------------------- without any id


def test_where_no_id_is_shown_what_ran_after_an_idle_baseline_is_ours_once_settled() -> None:
    assert proof(after(started(BARE), (BARE_RUNS, EARLY))) == (None, None)
    assert proof(after(started(BARE), (BARE_RUNS, LATE))) == ("running", None)
    found = after(started(BARE), (BARE_RUNS, EARLY), (BARE_ENDED, LATE))
    assert (found.status, *proof(found)) == (Status.RUNNING, "running", None)
    found = after(started(BARE), (BARE_RUNS, EARLY), (BARE_ENDED, LATE), (BARE_ENDED, CONFIRMED))
    assert end(found) == (Status.ENDED, "FAIL")


def test_where_no_id_is_shown_any_status_of_a_job_that_never_ran_is_that_of_ours() -> None:
    never = Observation(None, IDLE)
    assert proof(after(started(never), (BARE_ENDED, EARLY))) == (None, None)
    found = after(started(never), (BARE_ENDED, LATE), (BARE_ENDED, CONFIRMED))
    assert (proof(found), end(found)) == (("running", None), (Status.ENDED, "FAIL"))


def test_a_status_that_changed_is_no_proof_where_something_ran_before() -> None:
    found = after(started(BARE), (BARE_ENDED, LATE), (BARE_ENDED, CONFIRMED))
    assert (found.status, *proof(found)) == (Status.UNPROVEN, None, None)


def test_an_id_that_is_shown_after_all_takes_the_place_of_what_was_only_seen_running() -> None:
    found = after(started(BARE), (BARE_RUNS, LATE), (RUNS, LATE + 1))
    assert proof(found) == ("id", "item-2")
    two = after(started(BARE), (BARE_RUNS, LATE), (RUNS, LATE + 1), (NEXT_RUNS, LATE + 2))
    assert two.status is Status.TAKEN_OVER


def test_what_runs_proves_nothing_where_the_baseline_was_not_known_to_be_idle() -> None:
    of = started(Observation("NEW", UNKNOWN))
    assert proof(after(of, (BARE_RUNS, EARLY), (BARE_RUNS, LATE))) == (None, None)
    found = after(of, (BARE_RUNS, EARLY), (BARE_ENDED, LATE), (BARE_ENDED, CONFIRMED))
    assert found.status is Status.UNPROVEN


def test_running_proves_nothing_beside_an_unchanged_id() -> None:
    beside = Observation("RUNNING", RUNNING, latest="item-1")
    assert proof(after(started(AS_BEFORE), (beside, EARLY), (beside, LATE))) == (None, None)


def test_what_runs_proves_nothing_beside_a_list_that_would_show_it() -> None:
    beside = listing(BARE_RUNS)
    assert proof(after(started(LISTED), (beside, EARLY), (beside, LATE))) == (None, None)


# ---------------------------------------------------------------- the end


def test_the_end_that_the_list_shows_of_ours_is_its_own_at_once() -> None:
    assert end(after(dated(), (LISTED_ENDED, EARLY))) == (Status.ENDED, "FAIL")


def test_the_list_shows_the_end_of_ours_with_any_job_record() -> None:
    record = replace(LISTED_ENDED, status="RUNNING", activity=RUNNING, current="exec-2")
    assert end(after(dated(), (LISTED_RUNS, EARLY), (record, EARLY))) == (Status.ENDED, "FAIL")
    other = replace(LISTED_ENDED, status="SUCCESS")
    assert end(after(dated(), (other, CONFIRMED))) == (Status.ENDED, "FAIL")


def test_the_list_shows_the_end_of_ours_also_while_the_next_one_runs() -> None:
    assert end(after(dated(), (LISTED_RUNS, EARLY), (BOTH, EARLY + 1))) == (Status.ENDED, "FAIL")


def test_an_end_that_only_the_record_shows_counts_once_confirmed() -> None:
    of = started(AS_BEFORE)
    assert after(of, (RUNS, LATE), (ENDED, LATE + 1)).status is Status.RUNNING
    assert after(of, (RUNS, LATE), (ENDED, LATE + 1), (ENDED, CONFIRMED)).status is Status.RUNNING
    assert end(after(of, (RUNS, LATE), (ENDED, LATE + 1), (ENDED, CONFIRMED + 1))) == (Status.ENDED, "FAIL")


def test_a_record_that_changes_is_confirmed_anew() -> None:
    of, later = started(AS_BEFORE), replace(ENDED, status="SUCCESS")
    found = after(of, (ENDED, LATE), (later, LATE + 60), (later, CONFIRMED))
    assert found.status is Status.RUNNING
    assert end(after(of, (later, CONFIRMED + 60), evidence=found.evidence)) == (Status.ENDED, "SUCCESS")


def test_a_record_that_runs_in_between_is_confirmed_anew() -> None:
    of = started(AS_BEFORE)
    found = after(of, (ENDED, LATE), (RUNS, LATE + 60), (ENDED, LATE + 61), (ENDED, CONFIRMED))
    assert found.status is Status.RUNNING


def test_a_status_from_before_the_start_settled_is_not_confirmed_by_it() -> None:
    assert after(started(AS_BEFORE), (ENDED, EARLY), (ENDED, LATE)).status is Status.RUNNING


def test_an_entry_without_status_is_read_off_the_record_once_confirmed() -> None:
    silent = listing(Observation("FAIL", IDLE), entry("exec-2", None, OURS, OURS_ENDED))
    assert after(dated(), (silent, EARLY)).status is Status.RUNNING
    assert end(after(dated(), (silent, LATE), (silent, CONFIRMED))) == (Status.ENDED, "FAIL")
    id_remains = replace(silent, latest="item-2")
    assert after(dated(), (id_remains, LATE)).status is Status.RUNNING
    assert end(after(dated(), (id_remains, LATE), (id_remains, CONFIRMED))) == (Status.ENDED, "FAIL")


def test_the_record_beside_an_entry_without_status_may_be_of_a_later_moment_than_the_list() -> None:
    """Another execution may have run and ended between the two moments."""
    silent = listing(Observation("SUCCESS", IDLE), entry("exec-2", None, OURS))
    assert after(dated(), (LISTED_RUNS, EARLY), (silent, LATE)).status is Status.RUNNING


def test_an_end_is_not_read_off_the_record_while_the_list_lacks_ours() -> None:
    short = listing(Observation("SUCCESS", IDLE))
    assert after(dated(), (LISTED_RUNS, EARLY), (short, LATE)).status is Status.RUNNING


@pytest.mark.parametrize("status", ["PAUSED", None])
def test_a_status_that_is_not_known_is_no_end(status: str | None) -> None:
    unclear = Observation(status, UNKNOWN, latest="item-2")
    assert after(started(AS_BEFORE), (RUNS, LATE), (unclear, LATE + 1)).status is Status.RUNNING
    paused = after(started(AS_BEFORE), (RUNS, LATE), (unclear, LATE), (unclear, CONFIRMED + 1))
    assert paused.status is (Status.RUNNING if status else Status.UNPROVEN)


def test_the_status_of_an_entry_that_is_not_known_is_no_end() -> None:
    unclear = listing(Observation("SUCCESS", IDLE), entry("exec-2", "PAUSED", OURS, OURS_ENDED))
    for since in (EARLY, LATE, CONFIRMED):
        found = after(dated(), (unclear, EARLY), (unclear, since))
        assert end(found) == (Status.RUNNING, "PAUSED")


# ---------------------------------------------------------------- resumed by a retry


@pytest.mark.parametrize("observation", [NEXT_RUNS, NEXT_ENDED])
def test_an_id_that_follows_ours_takes_its_place(observation: Observation) -> None:
    found = after(started(AS_BEFORE), (RUNS, LATE), (observation, LATE + 1))
    assert (found.status, found.execution_status) == (Status.TAKEN_OVER, None)


def test_ids_of_one_space_are_compared_across_the_fields() -> None:
    of = started(Observation("SUCCESS", IDLE, latest="exec-1"))
    runs = Observation("RUNNING", RUNNING, current="exec-2", latest="exec-2")
    taken = Observation("FAIL", IDLE, latest="exec-3")
    assert after(of, (runs, LATE), (taken, LATE + 1)).status is Status.TAKEN_OVER


def test_an_entry_of_ours_without_status_is_taken_over_by_a_later_one() -> None:
    silent = listing(Observation("FAIL", IDLE), entry("exec-2", None, OURS, OURS_ENDED))
    two = listing(
        Observation("SUCCESS", IDLE),
        entry("exec-3", None, AFTER_OURS),
        entry("exec-2", None, OURS, OURS_ENDED),
    )
    assert after(dated(), (silent, EARLY), (two, EARLY + 1)).status is Status.TAKEN_OVER


def test_an_older_entry_that_shows_up_later_does_not_take_the_place_of_ours() -> None:
    late = listing(
        Observation("RUNNING", RUNNING, current="exec-2"),
        entry("exec-2", "RUNNING", OURS),
        entry("exec-x", "FAIL", OURS - 10),
    )
    assert after(dated(), (LISTED_RUNS, EARLY), (late, EARLY + 1)).status is Status.RUNNING


# ---------------------------------------------------------------- one odd answer


def without_list(observation: Observation) -> Observation:
    return replace(observation, executions=None)


def empty(observation: Observation) -> Observation:
    return replace(observation, executions=())


@pytest.mark.parametrize("odd", [without_list, empty])
@pytest.mark.parametrize("since", [EARLY, LATE])
def test_one_answer_without_the_list_decides_nothing(
    odd: Callable[[Observation], Observation], since: float
) -> None:
    ended = replace(ENDED, status="SUCCESS")
    of = dated(listing(AS_BEFORE))
    assert after(of, (odd(ended), since)).status is Status.PENDING
    assert proof(after(of, (odd(RUNS), since))) == (None, None)
    assert after(of, (listing(RUNS), LATE), (odd(ended), LATE + 1)).status in (
        Status.PENDING,
        Status.RUNNING,
    )


@pytest.mark.parametrize("odd", [without_list, empty])
def test_an_id_of_the_record_is_not_ours_in_one_answer_without_the_list(
    odd: Callable[[Observation], Observation],
) -> None:
    """The list may show that it is one of two."""
    of = started(listing(Observation("SUCCESS", IDLE, latest="exec-1")))
    latest = listing(Observation("SUCCESS", IDLE, latest="exec-2"))
    assert proof(after(of, (odd(latest), LATE))) == (None, None)
    both = listing(latest, entry("exec-3", "FAIL"), entry("exec-2", "SUCCESS"))
    assert after(of, (odd(latest), LATE), (both, LATE + 1)).status is Status.AMBIGUOUS


@pytest.mark.parametrize("odd", [without_list, empty])
def test_without_any_list_the_record_is_enough(
    odd: Callable[[Observation], Observation],
) -> None:
    of, gone = started(listing(AS_BEFORE)), odd(ENDED)
    found = after(of, (gone, LATE), (gone, CONFIRMED))
    assert (proof(found), end(found)) == (("id", "item-2"), (Status.ENDED, "FAIL"))


def test_an_answer_without_the_list_keeps_what_is_proven() -> None:
    found = after(dated(), (LISTED_RUNS, EARLY), (without_list(LISTED_ENDED), EARLY + 1))
    assert (found.status, *proof(found)) == (Status.RUNNING, "date", "exec-2")


def test_a_model_that_shows_no_load_once_ours_was_seen_is_waited_for() -> None:
    ours = load("load-1", "RUNNING", OURS)
    found = after(started(NEVER_LOADED), (ours, LATE), (NEVER_LOADED, 5 * SETTLE))
    assert (found.status, *proof(found)) == (Status.RUNNING, "id", "load-1")


def test_a_load_without_its_id_decides_nothing_where_loads_have_ids() -> None:
    nameless = load(None, "SUCCESS", OURS)
    of = dated(LOADED)
    for since in (EARLY, LATE):
        assert after(of, (nameless, since)).status is Status.PENDING


# ---------------------------------------------------------------- loads


def test_the_end_of_a_load_that_was_seen_running_is_its_own_at_once() -> None:
    of = dated(LOADED)
    runs, ended = load("load-2", "RUNNING", OURS), load("load-2", "SUCCESS", OURS)
    assert end(after(of, (runs, EARLY), (ended, EARLY + 1))) == (Status.ENDED, "SUCCESS")


SHOWN_BY = OURS_ENDED + round(SETTLE * 1000)
"""From then on, by Celonis's clock, the status beside a load that ended at ``OURS_ENDED`` is its own."""


@pytest.mark.parametrize("status", ["SUCCESS", "ERROR"])
@pytest.mark.parametrize(("requested_at", "own"), [(SHOWN_BY - 1, False), (SHOWN_BY, True), (None, False)])
def test_the_status_beside_a_load_that_was_not_seen_running_is_its_own_settle_after_its_end(
    status: str, requested_at: int | None, own: bool
) -> None:
    """Until then it may be that of a load before, which the baseline may not have shown either."""
    ended = load("load-2", status, OURS, end_date=OURS_ENDED)
    found = after(dated(LOADED), (replace(ended, requested_at=requested_at), LATE))
    assert end(found) == ((Status.ENDED, status) if own else (Status.RUNNING, None))


def test_dates_prove_no_status_of_a_load_that_began_before_the_baseline() -> None:
    """Then the dates of loads and those of answers are of two clocks."""
    ended = load("load-2", "ERROR", REQUESTED_AT - 1, end_date=OURS_ENDED)
    found = after(dated(LOADED, shows_running=True), (replace(ended, requested_at=SHOWN_BY), LATE))
    assert end(found) == (Status.RUNNING, None)


def test_a_status_unchanged_for_settle_belongs_to_the_load_beside_it() -> None:
    ended = load("load-2", "SUCCESS", OURS, end_date=OURS_ENDED)
    found = after(dated(LOADED), (ended, LATE), (ended, CONFIRMED))
    assert end(found) == (Status.ENDED, "SUCCESS")


def test_another_load_that_was_seen_running_proves_nothing_about_ours() -> None:
    of = dated(LOADED, answered_id="load-2")
    ours = load("load-2", "ERROR", OURS, end_date=OURS_ENDED)
    polls = (ours, EARLY), (load("load-3", "RUNNING", AFTER_OURS), EARLY + 1), (ours, EARLY + 2)
    assert after(of, *polls).status is not Status.ENDED


def test_an_older_load_that_is_shown_again_is_no_end_of_ours() -> None:
    of = dated(LOADED)
    for since in (EARLY + 1, LATE, CONFIRMED):
        found = after(of, (load("load-2", "RUNNING", OURS), EARLY), (LOADED, since))
        assert (found.status, *proof(found)) == (Status.RUNNING, "date", "load-2")


def test_a_load_that_follows_ours_takes_its_place() -> None:
    of = dated(LOADED)
    next_load = load("load-3", "RUNNING", AFTER_OURS)
    found = after(of, (load("load-2", "RUNNING", OURS), EARLY), (next_load, EARLY + 1))
    assert found.status is Status.TAKEN_OVER


def test_a_load_without_id_is_known_by_its_start_date() -> None:
    of = started(load(None, "SUCCESS", BEFORE))
    found = after(of, (load(None, "RUNNING", OURS), LATE), (load(None, "ERROR", OURS), LATE + 1))
    assert (found.evidence.proven_by, end(found)) == ("id", (Status.ENDED, "ERROR"))
    assert after(of, (load(None, "ERROR", BEFORE - 1), LATE)).evidence.proven_by is None


@pytest.mark.parametrize("since", [EARLY, LATE, CONFIRMED, 50 * SETTLE])
def test_a_load_that_was_accepted_and_is_not_shown_may_be_running_unseen(since: float) -> None:
    """The last load may be the last that has ended."""
    found = after(started(LOADED), (LOADED, LATE), (LOADED, max(since, LATE)))
    assert found.status is Status.PENDING


def test_older_loads_prove_nothing_about_ours() -> None:
    older = load("load-0", "ERROR", BEFORE - 1)
    of = dated(LOADED)
    for since in (EARLY, LATE, CONFIRMED):
        found = after(of, (older, since))
        assert (found.status, *proof(found)) == (Status.PENDING, None, None)


def test_a_load_that_its_job_never_started_is_unproven_once_confirmed() -> None:
    of = started(LOADED, sent=False)
    assert after(of, (LOADED, LATE)).status is Status.PENDING
    assert after(of, (LOADED, LATE), (LOADED, CONFIRMED)).status is Status.UNPROVEN


# What began before our start and ended before it had arrived, while the baseline did not show it yet
PASSED = {"started": REQUESTED_AT + 100, "end_date": ANSWERED_BY + 7000}
ARRIVED_LATE = ANSWERED_BY + 8000


@pytest.mark.parametrize("sent", [True, False])
def test_a_load_that_ended_before_our_start_is_not_ours_where_running_loads_may_not_show(sent: bool) -> None:
    passed = load("load-2", "SUCCESS", **PASSED)
    before = replace(LOADED, requested_at=REQUESTED_AT)
    of = started(before, sent=sent, answered_by=ARRIVED_LATE)
    assert proof(after(of, (passed, LATE), (passed, CONFIRMED))) == (None, None)
    ours = load("load-3", "SUCCESS", ARRIVED_LATE - 500, end_date=ARRIVED_LATE - 100)
    assert proof(after(of, (ours, LATE))) == ("date", "load-3")


def test_a_load_that_a_job_starts_is_not_the_only_new_one_without_dates_where_loads_may_run_unseen() -> None:
    bare = load("load-1", "SUCCESS")
    of = started(bare, sent=False)
    shown = load("load-2", "SUCCESS")
    assert after(of, (shown, LATE), (shown, CONFIRMED)).status is Status.UNPROVEN
    of = started(bare, sent=False, shows_running=True)
    assert proof(after(of, (shown, LATE))) == ("id", "load-2")


def test_what_an_early_poll_shows_as_running_may_have_ended_before_our_start_arrived() -> None:
    """It began after the request for the baseline; the poll shows a moment before our start arrived."""
    before = replace(LISTED, requested_at=REQUESTED_AT)
    of = started(before, answered_by=ARRIVED_LATE)
    passed = listing(RUNS, entry("exec-2", "RUNNING", REQUESTED_AT + 100))
    assert proof(after(of, (passed, EARLY))) == (None, None)
    ours = listing(RUNS, entry("exec-2", "RUNNING", ARRIVED_LATE - 1500))
    assert proof(after(of, (ours, EARLY))) == ("date", "exec-2")


@pytest.mark.parametrize(("shows_running", "status"), [(True, Status.NOT_STARTED), (False, Status.UNPROVEN)])
def test_a_load_whose_answer_was_lost_did_not_start_only_where_running_loads_are_shown(
    shows_running: bool, status: OwnershipStatus
) -> None:
    of = started(LOADED, answered=False, shows_running=shows_running)
    assert after(of, (LOADED, LATE)).status is Status.PENDING
    assert after(of, (LOADED, LATE), (LOADED, CONFIRMED)).status is status


# ---------------------------------------------------------------- nothing of ours is shown


def test_time_alone_is_no_proof_and_no_verdict_before_the_picture_is_confirmed() -> None:
    of = started(AS_BEFORE)
    for since in (EARLY, LATE, CONFIRMED):
        assert after(of, (AS_BEFORE, since)).status is Status.PENDING
    assert after(of, (AS_BEFORE, EARLY), (AS_BEFORE, CONFIRMED)).status is Status.PENDING
    assert after(of, (AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED)).status is Status.UNPROVEN


def test_a_lost_start_that_left_no_trace_did_not_take_place() -> None:
    of = started(AS_BEFORE, answered=False)
    assert after(of, (AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED - 1)).status is Status.PENDING
    assert after(of, (AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED)).status is Status.NOT_STARTED


def test_a_start_that_was_answered_is_never_said_not_to_have_taken_place() -> None:
    assert after(started(AS_BEFORE), (AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED)).status is Status.UNPROVEN


@pytest.mark.parametrize(
    "trace",
    [
        replace(AS_BEFORE, status="FAIL"),
        replace(AS_BEFORE, latest=None),
        replace(AS_BEFORE, status=None, activity=UNKNOWN),
    ],
)
def test_any_change_is_a_trace(trace: Observation) -> None:
    of = started(AS_BEFORE, answered=False)
    assert after(of, (trace, LATE), (trace, CONFIRMED)).status is Status.UNPROVEN


@pytest.mark.parametrize("once", [RUNS, BARE_RUNS, replace(AS_BEFORE, latest="item-0")])
def test_what_was_shown_once_stays_a_trace(once: Observation) -> None:
    """Something ran, or an id was shown that the baseline lacks, even an older one."""
    of = started(AS_BEFORE, answered=False)
    found = after(of, (once, EARLY), (AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED))
    assert found.status is Status.UNPROVEN


@pytest.mark.parametrize("bare", [BARE, LISTED])
def test_where_a_start_that_ended_at_once_would_leave_no_id_nothing_is_ruled_out(bare: Observation) -> None:
    of = started(bare, answered=False)
    assert after(of, (bare, LATE), (bare, CONFIRMED)).status is Status.UNPROVEN


def test_a_status_that_is_not_known_is_waited_for() -> None:
    unclear = replace(AS_BEFORE, status="PAUSED", activity=UNKNOWN)
    of = started(unclear, answered=False)
    assert after(of, (unclear, LATE), (unclear, CONFIRMED)).status is Status.PENDING


# ---------------------------------------------------------------- when to poll again


@pytest.mark.parametrize(
    ("polls", "recheck_in"),
    [
        ([(AS_BEFORE, EARLY)], SETTLE - EARLY),
        ([(AS_BEFORE, LATE)], SETTLE),
        ([(AS_BEFORE, LATE), (AS_BEFORE, CONFIRMED - 20)], 20.0),
        ([(ENDED, LATE), (ENDED, LATE + 30)], SETTLE - 30),
        ([(RUNS, LATE)], None),
    ],
)
def test_an_idle_picture_is_polled_again_once_it_can_be_settled_or_confirmed(
    polls: list[tuple[Observation, float]], recheck_in: float | None
) -> None:
    assert after(started(AS_BEFORE), *polls).recheck_in == recheck_in


# ---------------------------------------------------------------- as the record keeps it


@pytest.mark.parametrize(
    "polls", [[], [(LISTED_RUNS, EARLY)], [(BOTH, EARLY)], [(LISTED_RUNS, LATE), (LISTED_ENDED, LATE + 1)]]
)
def test_evidence_is_read_back_from_the_record(polls: list[tuple[Observation, float]]) -> None:
    evidence = after(dated(), *polls).evidence
    assert Evidence.from_json(evidence.to_json()) == evidence


@pytest.mark.parametrize("observation", [AS_BEFORE, LISTED, LOADED, NEVER_LOADED, BARE, empty(BARE)])
def test_a_baseline_is_read_back_from_the_record(observation: Observation) -> None:
    baseline = Baseline.of(observation)
    assert Baseline.from_json(baseline.to_json()) == baseline

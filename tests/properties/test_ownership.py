"""What a run claims is its own, for any history of the job or model and any age of the polls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.celonis import AnotherUser, Lost, ShownFields
from tests.properties.histories import (
    SETTLE,
    TargetHistory,
    another_user,
    atomic,
    befores,
    check_claim,
    crash_lists,
    unfold,
    worlds,
)
from tests.properties.hypothesis_settings import examples

flags = st.booleans()
spaces = st.sampled_from(["same", "own"])
anything = st.builds(
    ShownFields,
    status=flags,
    current=flags,
    current_stays=flags,
    latest=st.sampled_from(["none", "same", "own"]),
    latest_moves=st.sampled_from(["start", "end"]),
    listing=flags,
    entry_status=flags,
    dates=flags,
    load_id=flags,
)
LOST: tuple[Lost | None, ...] = ("before", "after", "unsent", "throttled", "refused", None)
losses = st.lists(st.sampled_from(LOST), max_size=4).map(tuple)


listed = st.builds(
    ShownFields,
    status=flags,
    current=flags,
    latest=st.sampled_from(["none", "same", "own"]),
    latest_moves=st.sampled_from(["start", "end"]),
    dates=flags,
)
"""The list of executions is served, each with its status."""
later = another_user("effect")
once_shown = another_user("shown")
ids_stay = st.builds(ShownFields, current=flags, latest=spaces, listing=st.just(False))
"""The record names the newest execution from its start on, until the next one starts."""


@examples(200)
@given(worlds(listed, others=later))
def test_with_a_list_no_later_start_is_taken_for_ours(world: TargetHistory) -> None:
    check_claim(*unfold(world))


@examples(80)
@given(worlds(ids_stay, atomic, others=once_shown))
def test_once_a_poll_showed_ours_no_other_execution_is_taken_for_ours(world: TargetHistory) -> None:
    check_claim(*unfold(world))


@examples(80)
@given(worlds(st.builds(ShownFields, dates=flags), atomic, others=once_shown))
def test_once_a_poll_showed_our_load_no_other_load_is_taken_for_ours(world: TargetHistory) -> None:
    check_claim(*unfold(world, "load"))


@examples(60)
@given(worlds(st.just(ShownFields(load_id=False)), atomic, others=once_shown))
def test_a_load_without_id_is_identified_by_its_start_date(world: TargetHistory) -> None:
    check_claim(*unfold(world, "load"))


@examples(160)
@given(worlds(anything, lost=losses), st.sampled_from(["job", "load"]))
def test_what_was_there_before_is_never_claimed_and_nothing_is_started_twice(
    world: TargetHistory, kind: str
) -> None:
    check_claim(*unfold(world, kind))


@examples(100)
@given(worlds(anything, lost=losses, crashes=crash_lists), st.sampled_from(["job", "load"]))
def test_a_function_that_dies_at_any_line_starts_nothing_twice(world: TargetHistory, kind: str) -> None:
    check_claim(*unfold(world, kind))


@examples(200)
@given(worlds(listed, others=later, lost=losses, crashes=st.just(()) | crash_lists))
def test_with_a_list_neither_others_nor_lost_answers_nor_deaths_make_a_claim_wrong(
    world: TargetHistory,
) -> None:
    check_claim(*unfold(world))


@examples(100)
@given(worlds(ids_stay, atomic, others=once_shown, lost=losses))
def test_once_a_poll_showed_ours_and_was_recorded_lost_answers_make_no_claim_wrong(
    world: TargetHistory,
) -> None:
    check_claim(*unfold(world))


@examples(100)
@given(worlds(st.builds(ShownFields, dates=flags), atomic, others=once_shown, lost=losses))
def test_once_a_poll_showed_our_load_lost_answers_make_no_claim_wrong(world: TargetHistory) -> None:
    check_claim(*unfold(world, "load"))


fresh = st.just({"draws": (0.0,)})
at_once = {"up": st.just(0.0), "down": st.just(0.0)}
soon = st.sampled_from([20, 100, 400])


@examples(120)
@given(
    worlds(listed, fresh, others=later, lost=losses, timeout=soon, **at_once)
    | worlds(ids_stay, fresh, others=once_shown, lost=losses, timeout=soon, **at_once)
)
def test_only_ours_is_cancelled_at_the_timeout_if_polls_are_current(world: TargetHistory) -> None:
    ended, target, service = unfold(world)
    theirs = [start for start in target.starts if not start.mine]
    assert all(start.ended_early is None for start in theirs), "another user's was cancelled"
    assert "cancel_job" not in service.celonis.names() or ended != "SUCCEEDED"


ENDS = {"SUCCESS": "SUCCEEDED", "FAIL": "JobFailed", "CANCEL": "JobCanceled", "SKIPPED": "JobSkipped"}
LOAD_ENDS = {"SUCCESS": "SUCCEEDED", "FAIL": "LoadFailed", "CANCEL": "LoadCanceled"}
known = st.sampled_from(sorted(ENDS))
known_of_loads = st.sampled_from(sorted(LOAD_ENDS))
seen = st.booleans()
telling = st.builds(
    ShownFields,
    current=seen,
    current_stays=st.just(False),
    latest=spaces,
    listing=seen,
    entry_status=seen,
    dates=seen,
) | st.builds(ShownFields, status=st.just(False), current=seen, latest=spaces, dates=seen)
"""The status and an id that stays, or the list and an id in it."""
says_status = telling.filter(lambda shows: shows.status)
"""A start that may be lost is sent again only where a status shows that nothing runs."""
slow = st.builds(
    ShownFields,
    current=seen,
    latest=spaces,
    latest_moves=st.just("end"),
    listing=seen,
    entry_status=seen,
    dates=seen,
)
"""As before, but the id that stays is shown at the end only."""
slow = slow.filter(lambda shows: shows.listing or not shows.current or shows.latest == "same")
"""Without a list, an id of another space that first shows at the end may be another execution's."""
past = befores(known)
ran_before = past.filter(bool)
long_idle = ran_before.filter(lambda all_: all(ago - seconds > SETTLE for ago, seconds, _ in all_))


@examples(80)
@given(
    worlds(telling, before=past, outcome=known, others_wait=st.just(True))
    | worlds(slow, atomic, before=long_idle, outcome=known, others_wait=st.just(True))
)
def test_without_other_starts_every_run_reaches_its_own_end(world: TargetHistory) -> None:
    ended, target, _ = unfold(world)
    assert (ended, len(target.mine)) == (ENDS[world.outcome], 1)


@examples(40)
@given(
    worlds(
        st.just(ShownFields()) | st.just(ShownFields(load_id=False)),
        before=befores(known_of_loads),
        outcome=known_of_loads,
        up=st.just(0.1),
        down=st.just(0.1),
    )
)
def test_without_other_starts_every_load_reaches_its_own_end(world: TargetHistory) -> None:
    """A load of less than two seconds may have ended before ours began, as far as dates say."""
    ended, target, _ = unfold(world, "load")
    allowed = {LOAD_ENDS[world.outcome]} | ({"OutcomeUnproven"} if world.queue + world.seconds < 2 else set())
    assert ended in allowed
    assert len(target.mine) == 1


def ends_without_answer(world: TargetHistory) -> set[str]:
    """A start without an answer is proven by its date, or by a settled poll that shows it running."""
    dated = world.shows.listing and world.shows.dates
    return {ENDS[world.outcome]} | (set() if dated else {"OutcomeUnproven", "StartAmbiguous"})


@examples(40)
@given(worlds(says_status, before=ran_before, outcome=known, crashes=crash_lists.map(lambda all_: all_[:1])))
def test_one_death_of_the_function_keeps_no_run_from_its_end(world: TargetHistory) -> None:
    ended, target, _ = unfold(world)
    assert ended in ends_without_answer(world)
    assert len(target.mine) == 1


@examples(40)
@given(
    worlds(
        says_status,
        before=ran_before,
        outcome=known,
        lost=st.sampled_from([("before",), ("after",), ("unsent",), ("throttled",), ("refused", "before")]),
    )
)
def test_one_lost_answer_keeps_no_run_from_its_end(world: TargetHistory) -> None:
    ended, target, _ = unfold(world)
    assert ended in ends_without_answer(world)
    assert len(target.mine) == 1


# What is assumed, and what happens where it does not hold.

NO_LIST = ShownFields(listing=False)
PAST = ((1000.0, 10.0, "SUCCESS"),)
THEIRS = AnotherUser("effect", 1.0, 5.0, "FAIL")


def test_assumed_a_stale_read_lasts_at_most_settle_or_a_lost_start_is_sent_twice() -> None:
    world = TargetHistory(
        draws=(0.0, 0.0, *[4.0 * SETTLE] * 50), before=PAST, lost=("after",), seconds=300.0, busy="queue"
    )
    _, target, _ = unfold(world)
    assert len(target.mine) == 2


def test_assumed_a_2xx_on_an_idle_job_started_it_or_the_start_of_another_user_is_taken_for_ours() -> None:
    idle = TargetHistory(before=PAST, lost=("nothing",))
    assert unfold(idle)[0] == "OutcomeUnproven"
    ended, target, _ = unfold(replace(idle, before=(*PAST, (-10.0, 5.0, "FAIL"))))
    assert (ended, target.mine) == ("JobFailed", [])


def test_assumed_no_other_start_between_our_poll_and_our_start_if_celonis_returns_no_id() -> None:
    between = (-0.45, 30.0, "FAIL")
    ended, target, service = unfold(TargetHistory(before=(*PAST, between), busy="ignore"))
    assert (ended, target.mine) == ("JobFailed", [])
    assert service.celonis.names()[:3] == ["job", "executions", "execute_job"]
    reported, _, _ = unfold(
        TargetHistory(before=(*PAST, between), busy="parallel", answers_id=True, seconds=90.0)
    )
    assert reported == "SUCCEEDED"


def test_a_stale_poll_before_the_start_widens_that_moment_to_settle() -> None:
    recent = (20.0, 200.0, "FAIL")
    ended, target, _ = unfold(TargetHistory(before=(*PAST, recent), draws=(30.0, 30.0, 0.0), busy="ignore"))
    assert (ended, target.mine) == ("JobFailed", [])
    ended, target, _ = unfold(TargetHistory(before=(*PAST, recent), busy="ignore"))
    assert (ended, len(target.mine)) == ("SUCCEEDED", 1)


def test_two_starts_in_that_moment_end_the_run_as_ambiguous_where_the_list_shows_both() -> None:
    ended, _, _ = unfold(TargetHistory(before=(*PAST, (-0.45, 30.0, "FAIL")), busy="parallel"))
    assert ended == "StartAmbiguous"


@pytest.mark.parametrize("shows", [ShownFields(), NO_LIST], ids=["list", "no list"])
def test_a_start_by_another_user_before_a_poll_shows_ours_is_ambiguous(shows: ShownFields) -> None:
    assert (
        unfold(TargetHistory(before=PAST, seconds=0.5, another_user=(THEIRS,), shows=shows))[0]
        == "StartAmbiguous"
    )


def test_assumed_no_other_start_between_a_lost_response_and_its_lookup() -> None:
    ended, target, _ = unfold(TargetHistory(before=(*PAST, (-25.0, 5.0, "FAIL")), lost=("before",)))
    assert (ended, target.mine) == ("JobFailed", [])


def test_where_celonis_shows_neither_ids_nor_dates_nor_a_list_the_next_start_is_taken_for_ours() -> None:
    blind = ShownFields(current=False, latest="none", listing=False)
    world = TargetHistory(
        shows=blind, before=PAST, seconds=20.0, another_user=(AnotherUser("effect", 40.0, 10.0, "FAIL"),)
    )
    ended, target, _ = unfold(world)
    assert (ended, target.mine[0].result) == ("JobFailed", "SUCCESS")

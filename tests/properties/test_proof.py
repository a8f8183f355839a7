"""What a run claims is its own, whatever the history of the job or model and however old the looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.celonis import Lost, Shows
from tests.fakes.search import examples
from tests.properties.worlds import (
    SETTLE,
    World,
    atomic,
    befores,
    check_claim,
    deaths,
    somebody,
    unfold,
    worlds,
)

flags = st.booleans()
spaces = st.sampled_from(["same", "own"])
anything = st.builds(
    Shows,
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
    Shows,
    status=flags,
    current=flags,
    latest=st.sampled_from(["none", "same", "own"]),
    latest_moves=st.sampled_from(["start", "end"]),
    dates=flags,
)
"""The list of executions is served, each with its status."""
later = somebody("effect")
once_shown = somebody("shown")
ids_stay = st.builds(Shows, current=flags, latest=spaces, listing=st.just(False))
"""The record names the newest execution from its start on, until the next one starts."""


@examples(250)
@given(worlds(listed, others=later))
def test_with_a_list_nobody_who_comes_after_ours_is_taken_for_ours(world: World) -> None:
    check_claim(*unfold(world))


@examples(150)
@given(worlds(ids_stay, atomic, others=once_shown))
def test_once_a_look_showed_ours_nobody_else_is_taken_for_ours(world: World) -> None:
    check_claim(*unfold(world))


@examples(150)
@given(worlds(st.builds(Shows, dates=flags), atomic, others=once_shown))
def test_once_a_look_showed_our_load_nobody_elses_is_taken_for_ours(world: World) -> None:
    check_claim(*unfold(world, "load"))


@examples(100)
@given(worlds(st.just(Shows(load_id=False)), atomic, others=once_shown))
def test_a_load_without_id_is_told_by_its_start_date(world: World) -> None:
    check_claim(*unfold(world, "load"))


@examples(250)
@given(worlds(anything, lost=losses), st.sampled_from(["job", "load"]))
def test_what_was_there_before_is_never_claimed_and_nothing_is_started_twice(world: World, kind: str) -> None:
    check_claim(*unfold(world, kind))


@examples(150)
@given(worlds(anything, lost=losses, crashes=deaths), st.sampled_from(["job", "load"]))
def test_a_function_that_dies_at_any_line_starts_nothing_twice(world: World, kind: str) -> None:
    check_claim(*unfold(world, kind))


ENDS = {"SUCCESS": "SUCCEEDED", "FAIL": "JobFailed", "CANCEL": "JobCanceled", "SKIPPED": "JobSkipped"}
LOAD_ENDS = {"SUCCESS": "SUCCEEDED", "FAIL": "LoadFailed", "CANCEL": "LoadCanceled"}
known = st.sampled_from(sorted(ENDS))
known_of_loads = st.sampled_from(sorted(LOAD_ENDS))
seen = st.booleans()
telling = st.builds(
    Shows,
    current=seen,
    current_stays=st.just(False),
    latest=spaces,
    listing=seen,
    entry_status=seen,
    dates=seen,
) | st.builds(Shows, status=st.just(False), current=seen, latest=spaces, dates=seen)
"""The status and an id that stays, or the list and an id in it."""
slow = st.builds(
    Shows,
    current=seen,
    latest=spaces,
    latest_moves=st.just("end"),
    listing=seen,
    entry_status=seen,
    dates=seen,
)
"""As before, but the id that stays is told at the end only."""
past = befores(known)
ran_before = past.filter(bool)
long_at_rest = ran_before.filter(lambda all_: all(ago - seconds > SETTLE for ago, seconds, _ in all_))


@examples(120)
@given(
    worlds(telling, before=past, outcome=known, others_wait=st.just(True))
    | worlds(slow, atomic, before=long_at_rest, outcome=known, others_wait=st.just(True))
)
def test_where_nobody_else_starts_it_every_run_comes_to_its_own_end(world: World) -> None:
    ended, lane, _ = unfold(world)
    assert (ended, len(lane.mine)) == (ENDS[world.outcome], 1)


@examples(60)
@given(
    worlds(
        st.builds(Shows, dates=seen, load_id=st.just(True)) | st.just(Shows(load_id=False)),
        before=past,
        outcome=st.sampled_from(sorted(LOAD_ENDS)),
    )
)
def test_where_nobody_else_starts_it_every_load_comes_to_its_own_end(world: World) -> None:
    ended, lane, _ = unfold(world, "load")
    assert (ended, len(lane.mine)) == (LOAD_ENDS[world.outcome], 1)


@examples(60)
@given(worlds(telling, before=ran_before, outcome=known, crashes=deaths.map(lambda all_: all_[:1])))
def test_one_death_of_the_function_keeps_no_run_from_its_end(world: World) -> None:
    ended, lane, _ = unfold(world)
    assert (ended, len(lane.mine)) == (ENDS[world.outcome], 1)


@examples(60)
@given(
    worlds(
        telling,
        before=ran_before,
        outcome=known,
        lost=st.sampled_from([("before",), ("after",), ("unsent",), ("throttled",), ("refused", "before")]),
    )
)
def test_one_lost_answer_keeps_no_run_from_its_end(world: World) -> None:
    ended, lane, _ = unfold(world)
    assert (ended, len(lane.mine)) == (ENDS[world.outcome], 1)

"""What a run claims is its own, whatever the history of the job or model and however old the looks."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.celonis import Lost, Shows
from tests.fakes.search import examples
from tests.properties.worlds import World, atomic, check_claim, somebody, unfold, worlds

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


def listed(latest_moves: Literal["start", "end"], entry_status: bool) -> st.SearchStrategy[Shows]:
    """The list of executions is served, and holds an id that was noted before the start."""
    return st.builds(
        Shows,
        status=flags,
        current=flags,
        latest=st.just("same"),
        latest_moves=st.just(latest_moves),
        entry_status=st.just(entry_status),
        dates=flags,
    )


later = somebody("effect")
once_shown = somebody("shown")
ids_stay = st.builds(Shows, current=flags, latest=spaces, listing=flags, entry_status=flags, dates=flags)
"""The record names the newest execution from its start on, until the next one starts."""


@examples(250)
@given(
    worlds(listed("start", True), others=later)
    | worlds(listed("end", True), atomic, others=later)
    | worlds(listed("start", False), atomic, others=later)
)
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

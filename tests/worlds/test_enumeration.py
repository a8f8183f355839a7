"""A sample of all small worlds ends well, and finds services that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worlds.enumeration import TOTAL, counts, main, part_of, span, world
from tests.worlds.grid import AGES, PARTS, SETTLE
from tests.worlds.invariants import FAILING, FindingCounts
from tests.worlds.planted_faults import PLANTED
from tests.worlds.world import World

CHUNKS, EVERY = 4, 421
"""About 800 worlds. A prime meets every value of every aspect."""
FEW = 1009
SAMPLE = range(0, TOTAL, EVERY)


def _whole(found: dict[str, FindingCounts]) -> FindingCounts:
    whole = FindingCounts()
    for one in found.values():
        whole.add(one)
    return whole


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_run_of_a_sample_does_what_it_never_may(chunk: int) -> None:
    found = _whole(counts(SAMPLE[chunk::CHUNKS]))
    assert found.worlds == len(SAMPLE[chunk::CHUNKS])
    failed = {kind: found.numbers[kind] for kind in FAILING if kind in found.numbers}
    assert not failed, f"worlds by kind; see python -m tests.worlds.enumeration --show NUMBER: {failed}"


def test_most_worlds_of_a_sample_keep_to_the_assumptions() -> None:
    found = counts(SAMPLE[::CHUNKS], next(iter(PLANTED)))
    assert _whole(found).within > 0.8 * _whole(found).worlds
    assert {part_of(number).name for number in SAMPLE} == {part.name for part in PARTS}


@pytest.mark.parametrize(("make", "kind"), PLANTED.items())
def test_a_service_that_is_wrong_on_purpose_is_found(make: Any, kind: str) -> None:
    assert any(kind in _whole(counts([number], make)).numbers for number in range(0, TOTAL, FEW))


def test_worlds_are_small() -> None:
    for number in SAMPLE:
        one = world(number)
        assert _executions(one) <= 4
        assert _faults(one) <= 2
        assert one.settle == SETTLE
        assert set(one.ages.values) <= set(AGES)
        assert one.header_offset == 0


def _executions(one: World) -> int:
    return len(one.past) + len(one.runs) + sum(action.kind == "start" for action in one.others)


def _faults(one: World) -> int:
    of_runs = (len(run.faults) + len(run.crashes) for run in one.runs)
    return len(one.odd) + sum(of_runs)


def test_the_worlds_of_a_part_are_numbered_one_after_the_other() -> None:
    end = 0
    for part in PARTS:
        numbers = span(part.name)
        assert (numbers.start, len(numbers)) == (end, part.size)
        assert world(numbers[0]) == part.world(0)
        assert world(numbers[-1]) == part.world(part.size - 1)
        assert len({part.world(number) for number in range(0, part.size, 7)}) == len(range(0, part.size, 7))
        end = numbers.stop
    assert end == TOTAL


def test_the_report_has_a_line_for_each_part_and_the_timeline_of_a_world() -> None:
    lines: list[str] = []
    assert main(["--part", "cancelled", "--every", "97"], lines.append) == 0
    assert [line.split()[:2] for line in lines[1:3]] == [["cancelled", "13"], ["all", "13"]]
    assert main(["--show", "0"], lines.append) == 0
    assert "truth: exec-1 of another user" in lines[-1]

"""``docs/ownership.md`` states how many worlds there are."""

from __future__ import annotations

import re
from pathlib import Path

from tests.worlds.cases import CASES
from tests.worlds.enumeration import TOTAL
from tests.worlds.grid import PARTS
from tests.worlds.neighbours import neighbours

DOCUMENT = Path(__file__).parents[2] / "docs" / "ownership.md"


def test_the_document_states_how_many_small_worlds_there_are() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"{TOTAL:,} worlds" in text
    stated = re.findall(r"`([a-z-]+)`\s*(?:\|\s*)?(\d[\d,]*)", text)
    assert sorted((name, number.rstrip(",")) for name, number in stated) == sorted(
        (part.name, f"{part.size:,}") for part in PARTS
    )


def test_the_document_states_how_many_neighbours_there_are() -> None:
    count = sum(1 for world in CASES.values() for _ in neighbours(world))
    assert f"{count:,} neighbours" in DOCUMENT.read_text(encoding="utf-8")

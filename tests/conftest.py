"""Tests run on three processes; those that share a local stack stay together on one of them."""

from __future__ import annotations

from collections.abc import Generator
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

STACKS = Path(__file__).parent / "stack"
LAST = "test_afterwards"
"""The module of a folder that checks what all the others left behind."""
NEAR_THE_END = ("test_fuzz", "test_unknown_sources", LAST)
"""Modules of a folder that come after all the others, in this order: after a flood of names that are none, a
new source is not known at once."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """One group for each folder of ``tests/stack``, one for its own files: a stack is made once for each.

    The groups are set before they are read; the last module is put last once the order is made.
    """
    for item in items:
        if STACKS in item.path.parents:
            part = item.path.relative_to(STACKS).parts[0]
            item.add_marker(pytest.mark.xdist_group("stack" if part.endswith(".py") else part))
    yield
    in_folders = [list(here) for _, here in groupby(items, key=lambda item: item.path.parent)]
    items[:] = [item for here in in_folders for item in sorted(here, key=_place)]


def _place(item: pytest.Item) -> int:
    name = item.path.stem
    return NEAR_THE_END.index(name) + 1 if name in NEAR_THE_END else 0

"""Tests run on three processes; those that share a local stack stay together on one of them."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from itertools import groupby
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

botocore.session.create_loader = cache(create_loader)
"""All sessions share one loader. Otherwise, each reads megabytes of service models again."""

STACKS = Path(__file__).parent / "stack"
PAGE = Path(__file__).parent / "page"
LAST = "test_afterwards"
"""The module of a folder that checks what all the others left behind."""
NEAR_THE_END = ("test_fuzz", "test_unknown_sources", LAST)
"""Modules of a folder that come after all the others, in this order: after a flood of names that are none, a
new source is not known at once."""


SLOW = ("runs", "triggers", "test_documented_commands", "page", "burst")
"""The groups that take longest, in the order in which they are begun: nothing waits for them at the end."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """One group for each folder and for each file of ``tests/stack``: a stack is made once for each.

    One group for ``tests/page``, which has one browser.

    The groups are set before they are read; the last module is put last once the order is made.
    """
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    in_folders = [list(here) for _, here in groupby(items, key=lambda item: item.path.parent)]
    ordered = [item for here in in_folders for item in sorted(here, key=_place)]
    items[:] = sorted(ordered, key=_start)


def _group(item: pytest.Item) -> str | None:
    """Return the name of the group of tests that share what is slow to start."""
    if STACKS in item.path.parents:
        return item.path.relative_to(STACKS).parts[0].removesuffix(".py")
    return "page" if PAGE in item.path.parents else None


def _start(item: pytest.Item) -> int:
    """Return the place of a test's group: those in ``SLOW``, then all others with a group, then the rest."""
    group = _group(item)
    if group is None:
        return len(SLOW) + 1
    return SLOW.index(group) if group in SLOW else len(SLOW)


def _place(item: pytest.Item) -> int:
    name = item.path.stem
    return NEAR_THE_END.index(name) + 1 if name in NEAR_THE_END else 0

"""Tests run on three processes; those that share a local stack stay together on one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

STACKS = Path(__file__).parent / "stack"


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One group for each folder of ``tests/stack``, one for its own files: a stack is made once for each."""
    for item in items:
        if STACKS in item.path.parents:
            part = item.path.relative_to(STACKS).parts[0]
            item.add_marker(pytest.mark.xdist_group("stack" if part.endswith(".py") else part))

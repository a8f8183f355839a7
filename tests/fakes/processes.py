"""Runs chunks of a long search in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Iterator[Result]:
    """The results of ``function`` for each task, in their order; one process is this one."""
    if processes == 1:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(function, tasks)

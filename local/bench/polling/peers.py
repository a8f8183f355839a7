"""Other poll schedules: fixed intervals, the public SDK's rule, or waits that grow by a tenth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log
from statistics import fmean

Rule = Callable[[float], tuple[int, float]]
"""Returns, for a duration in seconds, the number of polls and the time of the last one."""

SDK_FIRST, SDK_FACTOR, SDK_CAP = 0.1, 3.0, 2.0
GROWING_FIRST, GROWING_FACTOR = 1.0, 1.1


def fixed(interval: float) -> Rule:
    """Every ``interval`` seconds."""

    def polls(duration: float) -> tuple[int, float]:
        count = max(1, ceil(duration / interval))
        return count, count * interval

    return polls


def sdk(duration: float) -> tuple[int, float]:
    """The public SDK's waiting loop: waits of 0.1·3ⁱ s, 2 s at most."""
    count, at, wait = 0, 0.0, SDK_FIRST
    while wait < SDK_CAP and at < duration:
        count, at, wait = count + 1, at + wait, wait * SDK_FACTOR
    more = max(0, ceil((duration - at) / SDK_CAP))
    return count + more, at + more * SDK_CAP


def growing(duration: float) -> tuple[int, float]:
    """Waits of 1 s, 1.1 s, 1.21 s …"""
    grown = 1 + duration * (GROWING_FACTOR - 1) / GROWING_FIRST
    count = max(1, ceil(log(grown) / log(GROWING_FACTOR)))
    return count, GROWING_FIRST * (GROWING_FACTOR**count - 1) / (GROWING_FACTOR - 1)


PEERS: dict[str, Rule] = {
    **{f"every {interval} s": fixed(interval) for interval in (5, 30, 60, 300)},
    "the SDK's rule": sdk,
    "waits × 1.1": growing,
}


def averages(rule: Rule, durations: Sequence[float]) -> tuple[float, float]:
    """Return the mean number of polls and the mean delay as a share of the duration."""
    results = [(rule(duration), duration) for duration in durations]
    return fmean(polls for (polls, _), _ in results), fmean(
        last / duration - 1 for (_, last), duration in results
    )


def requests_of_fixed(lateness: float, durations: Sequence[float]) -> float:
    """Return the mean number of polls of the fixed interval that has this mean delay for these durations.

    Found by bisection: a longer interval has a longer delay, except for ripples that many durations even out.
    """
    short, long = 0.0, 2 * max(durations)
    for _ in range(50):
        interval = (short + long) / 2
        if averages(fixed(interval), durations)[1] < lateness:
            short = interval
        else:
            long = interval
    return averages(fixed(long), durations)[0]

"""How many polls a step may use, so that they all fit into an execution's history."""

from __future__ import annotations

import pytest

from celonis_refresh.steps.polling.schedule import (
    EVENTS_PER_POLL,
    EVENTS_PER_RUN,
    EVENTS_PER_STEP,
    HISTORY_EVENTS,
    polls_per_step,
)


@pytest.mark.parametrize("steps", [1, 2, 10, 40, 80])
def test_all_steps_together_use_half_of_the_history_at_most(steps: int) -> None:
    used = EVENTS_PER_RUN + steps * (EVENTS_PER_STEP + EVENTS_PER_POLL * polls_per_step(steps))
    assert used <= HISTORY_EVENTS / 2
    assert used + steps * EVENTS_PER_POLL > HISTORY_EVENTS / 2, "and no less than they may"


def test_forty_steps_have_enough_polls_each() -> None:
    assert polls_per_step(40) >= 30


def test_there_is_always_a_poll() -> None:
    assert polls_per_step(0) == polls_per_step(1)
    assert polls_per_step(10_000) == 1

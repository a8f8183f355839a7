"""How many looks a step may use, whatever its time-out: an execution's history is limited."""

from __future__ import annotations

HISTORY_EVENTS = 25_000
"""Step Functions ends a standard execution at so many history events."""
SHARE = 0.5
"""What looks may use of them; the rest is for retries, and for what nobody foresaw."""
EVENTS_PER_LOOK = 9
"""Wait and Choice are entered and exited; the task is also scheduled, started and succeeds."""
EVENTS_PER_STEP = 25
"""A step's iteration, its start and its end."""
EVENTS_PER_RUN = 60
"""Opening the run, the choices and the Maps around the steps."""


def polls_per_step(steps: int) -> int:
    """Looks for each of a run's ``steps``, jobs and loads together, so that all stay within the share.

    A round of a step that waits for its turn starts the task before the look too: it counts as two looks.
    """
    events = (HISTORY_EVENTS * SHARE - EVENTS_PER_RUN) / max(1, steps) - EVENTS_PER_STEP
    return max(1, int(events / EVENTS_PER_LOOK))

"""The time of one webhook: what its way to the runs may take, part by part."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from celonis_refresh.timing import Deadline

ANSWER_SECONDS: Final = 2.5
"""From the request's arrival to the answer: the fastest sender waits 3 s."""
START_EXECUTION_SECONDS: Final = 0.6
"""What StartExecution needs; kept back from everything before it."""
FURTHER_EXECUTION_SECONDS: Final = 0.1
"""What each further StartExecution of the same delivery needs, over the connection that stands by then."""
MIN_CLAIM_SECONDS: Final = 1.5
"""For the claim, and for what it needs to know, however late it is: an answer that comes late is worth more
than none that counts."""


class RequestTime(Struct, frozen=True):
    """``answer``: when the answer should be out; ``end``: when the function must be done in any case."""

    answer: Deadline
    end: Deadline

    def accepting(self) -> Deadline:
        """For what an answer cannot do without, from now on: to read, to claim."""
        return self._at(START_EXECUTION_SECONDS, MIN_CLAIM_SECONDS)

    def beginning(self, further: int = 0) -> Deadline:
        """For the start of a run's first job. ``further``: hand-overs that follow the run's own."""
        return self._at(START_EXECUTION_SECONDS + further * FURTHER_EXECUTION_SECONDS, 0.0)

    def _at(self, reserve: float, least: float) -> Deadline:
        """``reserve`` before the answer; later if fewer than ``least`` seconds were left."""
        clock = self.answer.clock
        return Deadline(min(max(self.answer.at - reserve, clock() + least), self.end.at), clock)

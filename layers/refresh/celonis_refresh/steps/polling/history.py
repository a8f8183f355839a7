"""What the runs before tell: how long a data job takes in a mode, and a load of a kind.

One item per job and mode, and per data model and kind. It is read once, when the step starts, and kept in
the step's state, so that no look has to read it again; it is written once, when the end has been proven and
is written. The step's lease keeps every other run away in between, so that one conditional write without a
further read loses nothing; and where it is lost all the same, only a duration is. Nothing here fails a run.

A duration is counted from the moment that the schedule counts from: when the start was sent, or when the job
was last seen to wait in a queue of Celonis. How long others keep a job waiting says nothing about the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.celonis.records import JobStatus, LoadStatus
from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.table import ConditionFailed, Table
from celonis_refresh.steps.polling import durations
from celonis_refresh.steps.polling.expectation import expect
from celonis_refresh.timing import Clock, Deadline

KEPT_DAYS = 180
"""A job that did not run for so long is as good as new."""
DAY = 86_400
WRITE_SECONDS = 2.0
"""What may be spent on writing a duration: less than an end should wait for it."""
GOOD: frozenset[str] = frozenset({JobStatus.SUCCESS, LoadStatus.SUCCESS, LoadStatus.WARNING})
BAD: frozenset[str] = frozenset({JobStatus.FAIL, LoadStatus.ERROR})
"""Any other end (cancelled, skipped) tells of people, not of the job: nothing is learned from it."""

Known = dict[str, Any]
"""The durations as ``durations.learn`` writes them, and ``rev``, the revision of
the item that they were read from; 0 where there is none."""


class DurationHistory(Struct, frozen=True):
    """Reads and writes durations, by the key of their item."""

    table: Table
    clock: Clock

    def known(self, key: str) -> Known | None:
        """What was learned; None where it cannot be read now. What has expired is not known any more."""
        try:
            item = self.table.get(key) or {}
            rev = int(item.get("rev", 0))
            if float(item.get("expires", 0)) < self.clock():
                return {"rev": rev}
            known = {name: item[name] for name in ("successes", "failures", "failure_rate") if item.get(name)}
            expect(known)  # what cannot be used is not to be found out by every look
        except (RefreshError, ArithmeticError, LookupError, TypeError, ValueError) as trouble:
            logger.warning("durations cannot be read", extra={"key": key, "why": str(trouble)})
            return None
        return {"rev": rev, **known}

    def learn(self, key: str, known: Mapping[str, Any], took: float, status: str, deadline: Deadline) -> None:
        """Adds a run that took ``took`` seconds and ended as ``status``, unless somebody wrote meanwhile."""
        if status not in GOOD | BAD:
            return
        rev = int(known["rev"])
        facts = {
            **durations.learn(known, took, succeeded=status in GOOD),
            "rev": rev + 1,
            "expires": int(self.clock()) + KEPT_DAYS * DAY,
        }
        unmoved, values = ("#rev = :known", {"known": rev}) if rev else ("attribute_not_exists(pk)", {})
        change = self.table.set(key, facts, unmoved, values)
        try:
            self.table.update(change, Deadline.after(min(WRITE_SECONDS, deadline.left()), self.clock))
        except (ConditionFailed, RefreshError) as trouble:
            logger.info("a duration is not learned", extra={"key": key, "why": str(trouble)})


def took(dated: float | None, least: float, most: float) -> float:
    """Seconds that it took: as Celonis dates it, within what was seen; in the middle of that without dates.

    ``least``: when it was last seen running; ``most``: when its end was seen. Both since the moment that
    waits are counted from.
    """
    return (least + most) / 2 if dated is None else min(max(dated, least), most)

"""What the end of a run means for its pipeline: a failure, a recovery, or nothing to report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.timing import epoch

FAILED, RECOVERED, WARNING, CANCELLED = "failed", "recovered", "warning", "cancelled"


class RunEnd(Struct, frozen=True):
    """The end of a run.

    ``cause``: of a failure or warning: the same for the same error of the same step. ``stopped``: it was
    cancelled on purpose. ``was_reported``: a notification said that the run is stuck.
    """

    at: str
    succeeded: bool
    cause: str = ""
    stopped: bool = False
    was_reported: bool = False


class Health(Struct, frozen=True):
    """``facts``: attributes of the pipeline's slot after the end. ``what``: is reported; "" for nothing.

    ``before``: the same attributes before it.
    """

    facts: Mapping[str, Any]
    what: str
    before: Mapping[str, Any]

    @property
    def failing_since(self) -> str | None:
        """When the first of the failures ended that this end continues or ends; None if there are none."""
        incident = self.before.get("incident", {})
        return str(incident["since"]) if incident.get("what") == FAILED else None


def health_after(slot: Mapping[str, Any], end: RunEnd, repeat_after: float) -> Health:
    """Return the health of a pipeline after a run. ``slot``: the pipeline's item as read.

    ``incident``: of the failure or warning that was reported last: ``what`` it is, its ``cause``, when it
    began (``since``) and when it was reported (``at``); empty after a success.
    """
    incident: Mapping[str, Any] = slot.get("incident", {})
    if end.stopped:
        return Health({}, CANCELLED if end.was_reported and not incident else "", slot)
    if end.succeeded and not end.cause:
        return Health({"incident": {}}, RECOVERED if incident or end.was_reported else "", slot)
    what = WARNING if end.succeeded else FAILED
    repeated = (
        incident.get("cause") == end.cause and epoch(end.at) - epoch(str(incident["at"])) < repeat_after
    )
    reported_at = incident["at"] if repeated else end.at
    since = incident["since"] if incident.get("what") == what else end.at
    began = {"what": what, "cause": end.cause, "since": since, "at": reported_at}
    return Health({"incident": began}, "" if repeated else what, slot)

"""Runs that have waited for long without progress. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.steps.step import OTHER_RUN, is_started
from celonis_refresh.timing import epoch, iso

DEFAULT_SECONDS = 3600
"""``stuck_after`` of a run whose definition is not known yet."""


class Stuck(Struct, frozen=True):
    """Why a run makes no progress.

    ``cause``: ``celonis`` (unreachable or throttled), ``busy`` (another run or user has the job or model) or
    ``opening``. ``step``: "" if the run has none yet. ``since``: epoch seconds. ``run_id``: of the run that
    it waits for; "" if it waits for none.
    """

    cause: str
    step: str
    since: float
    why: str
    run_id: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the facts for a notification, beside those of the run and the step."""
        facts = {"waiting_since": iso(self.since), "outcome": self.why}
        return facts | ({"waiting_for_run": self.run_id} if self.run_id else {})


def stuck(run: Run, now: float) -> list[Stuck]:
    """Return what the steps of an open run have waited for longer than the pipeline allows."""
    limit = run.definition.notify.stuck_after if run.has_definition else DEFAULT_SECONDS
    found = [each for step, state in run.steps.items() if (each := _of_step(step, state)) is not None]
    if run.status is RunStatus.OPENING and not any(run.steps.values()):
        since = epoch(str(run.item["created_at"]))
        found.append(Stuck("opening", "", since, "The run cannot be opened; see the log of OpenRun."))
    return [each for each in found if now - each.since >= limit]


def _of_step(step: str, state: Mapping[str, Any]) -> Stuck | None:
    """Return what a step waits for, after any time; None if it makes progress or has ended."""
    if "ended_at" in state:
        return None
    if state.get("last_error") and "failing_since" in state:
        return Stuck("celonis", step, float(state["failing_since"]), str(state["last_error"]))
    if state.get("waiting_for") and "began" in state and not is_started(state):
        waiting_for = str(state["waiting_for"])
        run_id = waiting_for.removeprefix(OTHER_RUN) if waiting_for.startswith(OTHER_RUN) else ""
        return Stuck("busy", step, float(state["began"]), f"The step waits for {waiting_for}.", run_id)
    return None

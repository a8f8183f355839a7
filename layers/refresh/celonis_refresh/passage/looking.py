"""One look at a step that was started, and what it proves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celonis_refresh.passage.proof import Case, Evidence, Ruling, Verdict, names_of_ours
from celonis_refresh.passage.sights import Activity, Baseline, Sight
from celonis_refresh.passage.work import Work
from celonis_refresh.timing import Clock

LOOK_SECONDS = 12.0
"""How long a look may take; it fits several times into the tasks' own time-out."""


def look_at(
    work: Work, state: Mapping[str, Any], settle: float, clock: Clock, seconds: Callable[[float], float]
) -> tuple[Ruling, Sight]:
    """Looks once, and at the list too unless the look shows what was proven before, still under way.

    ``state``: what is noted of the step; ``seconds``: what a call may take, at most what it is given. The
    list is asked for only where it was there before the start: nothing else in it could be compared.
    """
    case = Case(Baseline.from_json(state["baseline"]), settle, bool(state.get("answered")))
    evidence = Evidence.from_json(state["evidence"]) if "evidence" in state else Evidence()
    since = clock() - float(state["sent_by"])
    sight = work.look(lambda: seconds(LOOK_SECONDS))
    ruling = case.judge(evidence, sight, since)
    if case.baseline.listed and not (evidence.proven_by and is_running(state, ruling, sight)):
        sight = work.with_history(sight, seconds(LOOK_SECONDS))
        ruling = case.judge(evidence, sight, since)
    return ruling, sight


def is_running(state: Mapping[str, Any], ruling: Ruling, sight: Sight) -> bool:
    """Whether what the look shows under way is ours: an end that is not proven yet is not enough, and ours
    may wait behind somebody else's. Without an id only the list tells, where there was one."""
    if ruling.verdict is not Verdict.UNDER_WAY or sight.activity is not Activity.UNDER_WAY:
        return False
    ours = names_of_ours(ruling.evidence)
    running = {entry.id for entry in sight.history or () if entry.activity is Activity.UNDER_WAY}
    if not ours or sight.current:
        return not ours or sight.current in ours
    is_told = bool(running) or sight.single or not state["baseline"]["listed"]
    return is_told and running <= ours

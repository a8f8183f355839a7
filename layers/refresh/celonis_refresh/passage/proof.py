"""The proof of what is ours: pure, over one baseline and the looks that followed.

Ours is exactly one id that was not there at the baseline; or, where there are no ids, an execution seen
under way since a baseline at rest, or a start date later than the one noted. Two new ids prove nothing
(``AMBIGUOUS``). Time that passed is never a proof: without one, a run ends ``UNPROVEN``.

A look may be stale by at most ``settle`` seconds. So an end that cannot be told from what was before the
start is believed only when it is seen later than ``settle`` after the start was sent, and a start that
left no trace is repeated only after the same time, and only where a trace would have had to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from celonis_refresh.passage.sights import Activity, Baseline, Sight


class Verdict(StrEnum):
    """What a look says about our start."""

    PENDING = "PENDING"
    UNDER_WAY = "UNDER_WAY"
    ENDED = "ENDED"
    AMBIGUOUS = "AMBIGUOUS"
    TAKEN_OVER = "TAKEN_OVER"
    UNPROVEN = "UNPROVEN"
    NOT_STARTED = "NOT_STARTED"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of our start so far, as it is kept in the record.

    ``proven_by``: "answer", "id", "running" or "date", None while nothing is proven. ``ours``: our id, where
    there are ids. ``started``: Celonis's start date of ours. ``ran``: something was seen under way since the
    start. ``current`` and ``latest``: new ids seen; ``one_space``: they are known to be of one id space.
    """

    proven_by: str | None = None
    ours: str | None = None
    started: int | None = None
    ran: bool = False
    current: frozenset[str] = frozenset()
    latest: frozenset[str] = frozenset()
    one_space: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "proven_by": self.proven_by,
            "ours": self.ours,
            "started": self.started,
            "ran": self.ran,
            "current": sorted(self.current),
            "latest": sorted(self.latest),
            "one_space": self.one_space,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Evidence:
        sets = {name: frozenset(document[name]) for name in ("current", "latest")}
        return Evidence(**{**document, **sets})


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict of one look; ``status`` is ours, as Celonis says it, where the verdict tells of ours."""

    verdict: Verdict
    evidence: Evidence
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What does not change from look to look. ``answered``: the start was answered with a 2xx."""

    baseline: Baseline
    settle: float
    answered: bool

    def judge(self, evidence: Evidence, sight: Sight, since_sent: float) -> Ruling:
        """Rules on one look, ``since_sent`` seconds after the start was sent at the latest."""
        settled = since_sent >= self.settle
        evidence = self._collect(evidence, sight)
        new = self._new_ids(evidence, sight)
        if evidence.proven_by is None:
            if len(new) > 1:
                return Ruling(Verdict.AMBIGUOUS, evidence)
            evidence = self._prove(evidence, sight, new, settled)
        if evidence.proven_by is None:
            return Ruling(self._without_proof(sight, new, settled), evidence)
        if evidence.ours is None and new:
            if len(new) > 1:
                return Ruling(Verdict.AMBIGUOUS, evidence)
            evidence = replace(evidence, ours=min(new))
        if evidence.ours is not None:
            return self._by_id(evidence, evidence.ours, sight, settled)
        return self._by_date(evidence, sight, settled)

    def _collect(self, evidence: Evidence, sight: Sight) -> Evidence:
        """Adds the ids in sight that were not there at the baseline."""
        listed = {entry.id for entry in sight.history or ()}
        same = sight.latest is not None and sight.latest in listed | {sight.current}
        return replace(
            evidence,
            ran=evidence.ran or sight.activity is Activity.UNDER_WAY,
            current=evidence.current | self._fresh(sight.current),
            latest=evidence.latest | self._fresh(sight.latest),
            one_space=evidence.one_space or same,
        )

    def _fresh(self, found: str | None) -> frozenset[str]:
        return frozenset({found}) - self.baseline.ids if found else frozenset()

    def _new_ids(self, evidence: Evidence, sight: Sight) -> frozenset[str]:
        """The executions that were not there at the baseline, as far as anything shows them."""
        listed = self._newly_listed(sight)
        if evidence.one_space:
            return evidence.current | evidence.latest | listed
        if len(evidence.latest) > 1:
            return evidence.latest
        return evidence.current | listed or evidence.latest

    def _newly_listed(self, sight: Sight) -> frozenset[str]:
        """Entries above the newest one that was there before; all of them only if all were noted."""
        new: set[str] = set()
        for entry in sight.history or ():
            if entry.id in self.baseline.ids:
                return frozenset(new)
            new.add(entry.id)
        return frozenset(new) if self.baseline.listed else frozenset()

    def _prove(self, evidence: Evidence, sight: Sight, new: frozenset[str], settled: bool) -> Evidence:
        if new:
            (ours,) = new
            started = next(
                (entry.started for entry in sight.history or () if entry.id == ours), sight.started
            )
            return replace(evidence, proven_by="id", ours=ours, started=started)
        if sight.ids and not settled:
            return evidence  # ids that still stand as they were: the look is stale, or ours is not there yet
        if self._started_later(sight):
            return replace(evidence, proven_by="date", started=sight.newest_start)
        at_rest = self.baseline.activity is Activity.AT_REST
        if at_rest and sight.activity is Activity.UNDER_WAY:
            return replace(evidence, proven_by="running", started=sight.started)
        return evidence

    def _started_later(self, sight: Sight) -> bool:
        before, now = self.baseline.started, sight.newest_start
        return before is not None and now is not None and now > before

    def _without_proof(self, sight: Sight, new: frozenset[str], settled: bool) -> Verdict:
        if not settled:
            return Verdict.PENDING
        before = self.baseline
        unchanged = not new and (sight.status, sight.activity, sight.newest_start) == (
            before.status,
            before.activity,
            before.started,
        )
        may_repeat = not self.answered and unchanged and before.tells_starts_apart
        return Verdict.NOT_STARTED if may_repeat else Verdict.UNPROVEN

    def _by_id(self, evidence: Evidence, ours: str, sight: Sight, settled: bool) -> Ruling:
        entry = next((entry for entry in sight.history or () if entry.id == ours), None)
        if entry is not None:
            return _ruling(evidence, entry.activity, entry.status)
        shown = frozenset({sight.current, sight.latest} - {None})
        if shown & self._others(evidence, ours):
            return Ruling(Verdict.TAKEN_OVER, evidence)
        # The job's own status may lag behind its ids, and a look may be one at what was before ours.
        fresh = bool(shown & (evidence.current | evidence.latest)) and evidence.ran
        if not (fresh and sight.current is None) and not settled:
            return Ruling(Verdict.UNDER_WAY, evidence)
        return _ruling(evidence, sight.activity, sight.status)

    def _others(self, evidence: Evidence, ours: str) -> frozenset[str]:
        """New ids that cannot be ours. One id of another id space is ours under its other name."""
        if evidence.one_space or len(evidence.latest) > 1:
            return (evidence.current | evidence.latest) - self._only(evidence, ours)
        return evidence.current - self._only(evidence, ours)

    def _only(self, evidence: Evidence, ours: str) -> frozenset[str]:
        """The one current id seen, where ours is known by its name in the other id space."""
        foreign = not evidence.one_space and ours in evidence.latest and len(evidence.current) == 1
        return evidence.current if foreign else frozenset({ours})

    def _by_date(self, evidence: Evidence, sight: Sight, settled: bool) -> Ruling:
        later = self._started_later(sight)
        if evidence.started is not None and sight.started not in (None, evidence.started):
            return Ruling(Verdict.TAKEN_OVER if later else Verdict.UNDER_WAY, evidence)
        if sight.activity is Activity.AT_REST and not (settled or (later and evidence.ran)):
            return Ruling(Verdict.UNDER_WAY, evidence)
        return _ruling(evidence, sight.activity, sight.status)


def _ruling(evidence: Evidence, activity: Activity, status: str | None) -> Ruling:
    verdict = Verdict.ENDED if activity is Activity.AT_REST else Verdict.UNDER_WAY
    return Ruling(verdict, evidence, status)

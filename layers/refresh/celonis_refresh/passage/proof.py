"""The proof of what is ours: pure, over one baseline and the looks that followed.

Ours is exactly one id that was not there at the baseline; or, where there are no ids, an execution seen
under way since a baseline at rest, or a start date later than the one noted. Two new ids prove nothing
(``AMBIGUOUS``). Time that passed is never a proof: without one, a run ends ``UNPROVEN``.

Where the list of executions reaches back to the baseline, it alone says what is new: it shows ours before
anything that followed, whereas an id that stands alone may be a later one.

A look may be stale by at most ``settle`` seconds. So an end that cannot be told from what was before the
start is believed only when it is seen later than ``settle`` after the start was sent, and a start that
left no trace is repeated only after the same time, and only where a trace would have had to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

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


class Evidence(Struct, frozen=True):
    """What is known of our start so far, as it is kept in the record.

    ``proven_by``: "answer", "id", "running" or "date", None while nothing is proven. ``ours``: our id, where
    there are ids. ``started``: Celonis's start date of ours, where there are none. ``ran``: something was
    seen under way since the start. ``current`` and ``latest``: new ids seen; ``one_space``: they are known
    to be of one id space.
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


class Ruling(Struct, frozen=True):
    """The verdict of one look; ``status`` is ours, as Celonis says it, where the verdict tells of ours."""

    verdict: Verdict
    evidence: Evidence
    status: str | None = None


class Case(Struct, frozen=True):
    """What does not change from look to look. ``answered``: the start was answered with a 2xx."""

    baseline: Baseline
    settle: float
    answered: bool

    def judge(self, evidence: Evidence, sight: Sight, since_sent: float) -> Ruling:
        """Rules on one look that was asked for ``since_sent`` seconds after the start was sent, or later."""
        settled = since_sent >= self.settle
        evidence = self._collect(evidence, sight, settled)
        listed = self._newly_listed(sight)
        awaits_list = self.baseline.listed and not sight.single and not settled
        new = listed if listed is not None else frozenset() if awaits_list else _new_ids(evidence)
        if evidence.ours is None and len(new) > 1:
            return Ruling(Verdict.AMBIGUOUS, evidence)
        if evidence.ours is None and new:
            evidence = replace(evidence, proven_by=evidence.proven_by or "id", ours=min(new))
        if evidence.proven_by is None and listed is None and (settled or not (awaits_list or sight.ids)):
            # Ids that stand as they were may be stale; and what a list does not show is not ours.
            evidence = self._prove_without_id(evidence, sight, settled)
        if evidence.proven_by is None:
            return Ruling(self._without_proof(sight, listed, settled), evidence)
        if evidence.ours is not None:
            return self._by_id(evidence, evidence.ours, sight, settled)
        return self._by_date(evidence, sight, settled)

    def _collect(self, evidence: Evidence, sight: Sight, settled: bool) -> Evidence:
        """Adds the ids in sight that were not there at the baseline.

        Something under way beside the newest id of before may be what ended just before the baseline, which
        could not name it yet: its id counts once no look can be that old.
        """
        listed = {entry.id for entry in sight.history or ()}
        same = sight.latest is not None and sight.latest in listed | {sight.current}
        one_space = evidence.one_space or sight.single or same
        evidence = replace(
            evidence, ran=evidence.ran or sight.activity is Activity.UNDER_WAY, one_space=one_space
        )
        named = self.baseline.listed or sight.single or self._fresh(sight.latest)
        if sight.activity is Activity.UNDER_WAY and not (named or settled):
            return evidence
        return replace(
            evidence,
            current=evidence.current | self._fresh(sight.current),
            latest=evidence.latest | self._fresh(sight.latest),
        )

    def _fresh(self, found: str | None) -> frozenset[str]:
        return frozenset({found}) - self.baseline.ids if found else frozenset()

    def _newly_listed(self, sight: Sight) -> frozenset[str] | None:
        """What the list has above the newest entry that was noted; None where it does not reach so far."""
        if sight.history is None or not self.baseline.listed:
            return None
        listed = (entry.id for entry in sight.history)
        return frozenset(takewhile(lambda found: found not in self.baseline.ids, listed))

    def _prove_without_id(self, evidence: Evidence, sight: Sight, settled: bool) -> Evidence:
        if self._started_later(sight):
            return replace(evidence, proven_by="date")
        at_rest = self.baseline.activity is Activity.AT_REST
        if at_rest and sight.activity is Activity.UNDER_WAY and (self.answered or settled):
            return replace(evidence, proven_by="running")
        return evidence

    def _started_later(self, sight: Sight) -> bool:
        before, now = self.baseline.started, sight.started
        if now is None or before is None:
            return now is not None and self.baseline.listed and not self.baseline.ids  # it never ran
        return now > before

    def _without_proof(self, sight: Sight, listed: frozenset[str] | None, settled: bool) -> Verdict:
        if not settled:
            return Verdict.PENDING
        before = self.baseline
        started = sight.newest_start if before.listed else sight.started
        unchanged = (sight.status, sight.activity, started) == (
            before.status,
            before.activity,
            before.started,
        )
        would_show = listed is not None or (sight.activity is Activity.AT_REST and sight.tells_starts_apart)
        may_repeat = not self.answered and unchanged and before.tells_starts_apart and would_show
        return Verdict.NOT_STARTED if may_repeat else Verdict.UNPROVEN

    def _by_id(self, evidence: Evidence, ours: str, sight: Sight, settled: bool) -> Ruling:
        entry = next((entry for entry in sight.history or () if entry.id == ours), None)
        if entry is not None and entry.status is not None:
            return _ruling(evidence, entry.activity, entry.status)
        if entry is None and self.baseline.listed and not sight.single and not settled:
            return Ruling(Verdict.UNDER_WAY, evidence)  # the list will show it
        if not evidence.current | evidence.latest:
            return self._by_date(evidence, sight, settled)  # only the answer told an id
        shown = frozenset({sight.current, sight.latest} - {None})
        if shown & _others(evidence):
            seen = ours in evidence.current | evidence.latest
            waits = not seen and (sight.activity is Activity.UNDER_WAY or not settled)
            return Ruling(Verdict.PENDING if waits else Verdict.TAKEN_OVER, evidence)
        # The job's own status may lag behind its ids, and a look may be one at what was before ours.
        told = evidence.ran or self._tells_its_end(sight)
        fresh = bool(shown & (evidence.current | evidence.latest)) and told
        if not (fresh and sight.current is None) and not settled:
            return Ruling(Verdict.UNDER_WAY, evidence)
        return _ruling(evidence, sight.activity, sight.status)

    def _tells_its_end(self, sight: Sight) -> bool:
        """Whether the look has an end date of its own, after a start that is not the one noted before.

        A status that stands as it was noted may be older than the dates beside it.
        """
        before = self.baseline
        if sight.ended is None or sight.started is None or sight.status == before.status:
            return False
        own = sight.ended != before.ended and sight.started != before.started
        return own and sight.started <= sight.ended

    def _by_date(self, evidence: Evidence, sight: Sight, settled: bool) -> Ruling:
        """Where there are no ids: by the start date of ours, once one is shown that was not noted before."""
        if evidence.started is None and sight.started != self.baseline.started:
            evidence = replace(evidence, started=sight.started)
        ours, now = evidence.started, sight.started
        if ours is not None and now is not None and now != ours:
            return Ruling(Verdict.TAKEN_OVER if now > ours else Verdict.UNDER_WAY, evidence)
        is_ours = ours is not None and now == ours and (evidence.ran or self._tells_its_end(sight))
        if sight.activity is Activity.AT_REST and not (settled or is_ours):
            return Ruling(Verdict.UNDER_WAY, evidence)
        return _ruling(evidence, sight.activity, sight.status)


def _new_ids(evidence: Evidence) -> frozenset[str]:
    """The executions since the baseline, as far as the ids seen one by one tell them apart."""
    if evidence.one_space:
        return evidence.current | evidence.latest
    if len(evidence.latest) > 1:
        return evidence.latest
    return evidence.current or evidence.latest


def _others(evidence: Evidence) -> frozenset[str]:
    """New ids that cannot be ours. One id of another id space is ours under its other name."""
    if evidence.one_space or len(evidence.latest) > 1:
        return (evidence.current | evidence.latest) - names_of_ours(evidence)
    return evidence.current - names_of_ours(evidence)


def names_of_ours(evidence: Evidence) -> frozenset[str]:
    """The ids of ours, none where there are none: the one current id seen is ours too, where ours is known by
    its name in the other id space."""
    ours = evidence.ours
    foreign = not evidence.one_space and ours in evidence.latest and len(evidence.current) == 1
    return frozenset({ours} if ours else ()) | (evidence.current if foreign else frozenset())


def _ruling(evidence: Evidence, activity: Activity, status: str | None) -> Ruling:
    # A look that shows nothing at all, once something was shown, is no end.
    ended = activity is Activity.AT_REST and status is not None
    verdict = Verdict.ENDED if ended else Verdict.UNDER_WAY
    return Ruling(verdict, evidence, status)

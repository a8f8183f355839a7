"""Which execution is ours: one pure decision from a baseline and the observations after it.

docs/ownership.md has the model and the reasons. An observation that was requested within ``settle`` seconds
after the start was sent may show the time before it; a later one is *settled*: it shows the time after the
start. A picture that stays the same for another ``settle`` seconds is *confirmed*: all its parts are of one
moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from celonis_refresh.steps.observation import BY_DATE, Activity, Baseline, ListedExecution, Observation

CLOCK_TOLERANCE = 5.0
"""Seconds by which Celonis's dates may differ from the date of its answers; otherwise they are not used."""
JUST_BEFORE = 2.0
"""Seconds before our start within which no other execution both begins and ends (assumption 3)."""


class OwnershipStatus(StrEnum):
    """What is known of our start.

    ``PENDING``: it is not visible yet; ``RUNNING``: it runs or its end is not proven yet; ``NOT_STARTED``: it
    is proven that it had no effect. The others end the step.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ENDED = "ENDED"
    AMBIGUOUS = "AMBIGUOUS"
    TAKEN_OVER = "TAKEN_OVER"
    UNPROVEN = "UNPROVEN"
    NOT_STARTED = "NOT_STARTED"


SETS = ("new", "new_latest", "ran_latest", "early", "early_latest")


class Evidence(Struct, frozen=True):
    """What the observations since the start have shown, as the record of the run keeps it.

    ``proven_by``: "date", "id", "answer" or "running", None while ours is not known; ``ours``: its id, None
    where there are none. ``new`` and ``new_latest``: ids shown that were not there before, in the list or
    as running, and as the latest; ``one_space``: these are known to be ids of one space; ``shows_current``:
    an id was shown as running. ``ran``: something was seen running, ``ran_settled``: by a settled
    observation; ``moved``: it was, or an id was shown that the baseline lacks, even an older one.
    ``early``: such ids without dates, shown before an observation was settled. ``absent``: a settled
    observation showed the target idle, without anything new; ``end_status``, ``end_seen``: the first end
    that a settled one showed, and the seconds after the start. ``ran_latest``: new ids beside which the
    record was seen running. ``pair``: the current and the latest id while something runs; ``aliased``: they
    are two ids of one execution. ``same``, ``same_since``: the picture of the last settled observation, and
    the seconds after the start at which it was first seen.
    """

    proven_by: str | None = None
    ours: str | None = None
    ran: bool = False
    ran_settled: bool = False
    moved: bool = False
    ran_latest: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()
    new_latest: frozenset[str] = frozenset()
    early: frozenset[str] = frozenset()
    early_latest: frozenset[str] = frozenset()
    one_space: bool = False
    shows_current: bool = False
    pair: str = ""
    aliased: bool = False
    absent: bool = False
    end_status: str | None = None
    end_seen: float = 0.0
    same: str = ""
    same_since: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {name: sorted(getattr(self, name)) for name in SETS}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Evidence:
        sets = {name: frozenset(document[name]) for name in SETS}
        return Evidence(**{**document, **sets})

    @property
    def ids_of_ours(self) -> frozenset[str]:
        """The ids of ours, in both id spaces where both are known."""
        if self.ours is None:
            return frozenset()
        if not self.aliased or self.one_space:
            return frozenset({self.ours})
        spaces = (self.new | self.early, self.new_latest)
        return frozenset({self.ours}).union(*(ids for ids in spaces if len(ids) == 1))

    @property
    def ids_of_others(self) -> frozenset[str]:
        """New ids that are known to be those of other executions than ours."""
        if self.ours is None:
            return frozenset()
        listed, latest = self.new | self.early, self.new_latest | self.early_latest
        spaces = [listed | latest] if self.one_space else [listed, latest]
        return frozenset().union(*(ids - {self.ours} for ids in spaces if self.ours in ids or len(ids) > 1))


class Ownership(Struct, frozen=True):
    """What one observation proves about our start.

    ``execution_status``: of our execution, as Celonis wrote it, if known. ``recheck_in``: seconds after which
    another observation can decide more.
    """

    status: OwnershipStatus
    evidence: Evidence
    execution_status: str | None = None
    recheck_in: float | None = None


class SentStart(Struct, frozen=True):
    """One start.

    ``settle``: maximum age of a poll's data in seconds. ``sent``: False for a load that a job starts.
    ``answered``: with a 2xx; ``answered_id``: the id in the answer; ``answered_by``: the latest time at which
    Celonis can have received the start, in epoch milliseconds of its clock; for a load that a job starts,
    that of the job or when it began. ``shows_running``: the target has been seen to show running executions;
    ``two_spaces``: an earlier execution of ours had two ids.
    """

    baseline: Baseline
    settle: float
    answered: bool
    sent: bool = True
    answered_id: str | None = None
    answered_by: int | None = None
    shows_running: bool = False
    two_spaces: bool = False


def determine_ownership(
    start: SentStart, evidence: Evidence, observation: Observation, since_sent: float
) -> Ownership:
    """Return what ``observation``, made at least ``since_sent`` seconds after the start, proves."""
    return _Decision(start, evidence, observation, since_sent).ownership()


class _Decision:
    """One decision; ``evidence`` is updated in its course."""

    def __init__(
        self, start: SentStart, evidence: Evidence, observation: Observation, since_sent: float
    ) -> None:
        self.start, self.observation, self.since = start, observation, since_sent
        self.known_dates = evidence.new_latest  # a load that was known by its date may show its id later
        self.before = start.baseline
        self.settled = since_sent >= start.settle
        self.evidence = self._collected(evidence)
        same_for = since_sent - self.evidence.same_since
        self.confirmed = bool(self.evidence.same) and same_for >= start.settle

    def ownership(self) -> Ownership:
        if self._shows_nothing:
            status = OwnershipStatus.RUNNING if self.evidence.proven_by else OwnershipStatus.PENDING
            return Ownership(status, self.evidence, recheck_in=self._recheck_in)
        if self.evidence.ours is None:
            self._prove()
        if self.evidence.ours is not None:
            return self._of_ours(self.evidence.ours)
        if self.evidence.proven_by and (self._counted > 1 or self._ran_again):
            return Ownership(OwnershipStatus.TAKEN_OVER, self.evidence)
        return self._by_record() if self.evidence.proven_by else self._by_observation()

    # What is shown

    def _collected(self, evidence: Evidence) -> Evidence:
        """Return the evidence with this observation added."""
        observation = self.observation
        listed = {entry.id for entry in observation.executions or ()}
        current, latest = self._if_new(observation.current), self._if_new(self._latest)
        collected = evidence.new | evidence.early
        early, early_latest = self._early(listed | {observation.current}), self._early({self._latest})
        one_space = (
            evidence.one_space
            or self.before.one_space
            or (
                observation.latest is not None
                and observation.latest in listed | collected | {observation.current}
            )
        )
        new = evidence.new | {entry.id for entry in self.new_entries} | current
        running = observation.activity is Activity.RUNNING
        ran = running or any(entry.activity is Activity.RUNNING for entry in observation.executions or ())
        same = self._picture() if self.settled else ""
        is_end = self.settled and observation.activity is Activity.IDLE and evidence.end_status is None
        both = {observation.current, observation.latest} - self.before.ids - {None}
        pair = f"{observation.current}|{observation.latest}" if running and len(both) > 1 else ""
        lasted = self.settled and bool(pair) and pair == evidence.pair
        since = evidence.same_since if same == evidence.same else self.since
        return replace(
            evidence,
            ran=evidence.ran or ran or bool(current),
            ran_settled=evidence.ran_settled or (ran and self.settled),
            moved=evidence.moved or ran or not observation.ids <= self.before.ids,
            ran_latest=evidence.ran_latest | (latest if running else frozenset()),
            new=new | (latest if one_space else frozenset()),
            new_latest=evidence.new_latest | latest,
            early=evidence.early | early,
            early_latest=evidence.early_latest | early_latest,
            one_space=one_space,
            shows_current=evidence.shows_current or observation.current is not None,
            end_status=observation.status if is_end else evidence.end_status,
            end_seen=self.since if is_end else evidence.end_seen,
            pair=pair or evidence.pair,
            aliased=evidence.aliased or lasted or self.start.two_spaces,
            same=same,
            same_since=since,
        )

    def _picture(self) -> str:
        """Return what must stay the same for an end to be confirmed; "" while anything runs."""
        observation = self.observation
        if observation.activity is Activity.RUNNING:
            return ""
        listed = None if observation.executions is None else sorted(entry.id for entry in self.new_entries)
        return f"{observation.status}|{observation.current}|{self._latest}|{listed}"

    @property
    def _latest(self) -> str | None:
        if not self.observation.single:
            return self.observation.latest
        by_date = f"{BY_DATE}{self.observation.started}"
        return by_date if by_date in self.known_dates else self.observation.identity

    @cached_property
    def new_entries(self) -> tuple[ListedExecution, ...]:
        """The entries of the list that cannot have existed before, in its order."""
        if self.before.listed is None:
            return ()
        return tuple(entry for entry in self.observation.executions or () if self._is_new(entry))

    def _shown(self, id_: str) -> ListedExecution:
        """Return the execution with this id as the observation shows it."""
        for entry in self.observation.executions or ():
            if entry.id == id_:
                return entry
        observation = self.observation
        dates = (observation.started, observation.ended) if observation.single else (None, None)
        return ListedExecution(id_, None, observation.activity, *dates)

    def _is_new(self, entry: ListedExecution) -> bool:
        """Return whether an entry is not in the baseline, and began after its newest entry and its request.

        Without dates only a settled observation decides: an earlier one may show what the baseline had
        passed.
        """
        newest, started = self.before.newest, entry.started
        if entry.id in self.before.ids or self._is_older(entry):
            return False
        if started is not None and newest is not None:
            return started > newest
        return self.settled or not self.before.ids

    def _is_older(self, entry: ListedExecution) -> bool:
        """Return whether an entry is proven by its dates to have begun before the baseline was requested.

        After an answered start, the dates decide only if they agree with the dates of the answers: an
        execution that ended more than ``settle`` before would be in the baseline, and one that is running
        long after the start began with it. A start without an answer may never have been sent, so older
        executions may still run.
        """
        requested_at, started, ended = self.before.requested_at, entry.started, entry.ended
        if requested_at is None or started is None or started >= requested_at - CLOCK_TOLERANCE * 1000:
            return False
        if not self.start.answered:
            return True
        if ended is None:
            return not self.settled
        return ended >= requested_at - (self.start.settle + CLOCK_TOLERANCE) * 1000

    def _if_new(self, id_: str | None) -> frozenset[str]:
        if id_ is None:
            return frozenset()
        return frozenset({id_}) if self._is_new(self._shown(id_)) else frozenset()

    def _early(self, shown: Iterable[str | None]) -> frozenset[str]:
        """Return ids that the baseline lacks and that no date distinguishes from older ones."""
        if self.settled:
            return frozenset()
        unknown = (id_ for id_ in shown if id_ is not None and id_ not in self.before.ids)
        return frozenset(id_ for id_ in unknown if not self._is_dated(id_))

    def _is_dated(self, id_: str) -> bool:
        return self._shown(id_).started is not None and self.before.newest is not None

    @property
    def _shows_nothing(self) -> bool:
        """Whether an earlier part is missing: such a response is no observation."""
        if self.observation.single:
            shown_before = bool(self.before.ids or self.evidence.new_latest)
            lacks_id = self.observation.latest is None and self.before.has_ids
            return (shown_before and not self.observation.has_run) or (lacks_id and not self.confirmed)
        return self._lacks_list and not self.confirmed

    @property
    def _lacks_list(self) -> bool:
        """Whether the list is missing or empty although the baseline had entries of it."""
        listed = self.before.listed
        return listed is not None and (
            self.observation.executions is None or bool(listed and not self.observation.executions)
        )

    @cached_property
    def list_decides(self) -> bool:
        """Whether the list reaches back to the baseline, so that it shows every start since."""
        listed = self.before.listed
        if listed is None or self._lacks_list:
            return False
        return not listed or any(entry.id in self.before.ids for entry in self.observation.executions or ())

    @property
    def _list_matters(self) -> bool:
        """Whether the list is needed to distinguish executions."""
        without_ours = bool(self.evidence.new) and not self.new_entries
        useless = self.confirmed and (self._lacks_list or without_ours)
        return self.before.listed is not None and not useless

    @property
    def candidates(self) -> frozenset[str]:
        """The ids that ours may have. One execution may have two ids, in two id spaces."""
        evidence = self.evidence
        if evidence.one_space:
            return evidence.new | evidence.new_latest
        if self._list_matters or evidence.aliased:
            return evidence.new
        return evidence.new | evidence.new_latest

    @property
    def _counted(self) -> int:
        """The minimum number of executions shown since the baseline."""
        evidence = self.evidence
        listed, latest = evidence.new | evidence.early, evidence.new_latest | evidence.early_latest
        if evidence.one_space:
            return len(listed | latest)
        if self._list_matters:
            return max(len(listed), len(evidence.new_latest if self.list_decides else latest))
        if evidence.aliased or not (listed and latest):
            return max(len(listed), len(latest))
        return len(listed) + len(latest)

    def _entry(self, id_: str) -> ListedExecution | None:
        return next((entry for entry in self.new_entries if entry.id == id_), None)

    def _newest_entry(self) -> ListedExecution | None:
        """Return the entry that began last, or None if unknown, as in a list without dates.

        Beside entries with dates, one without has not begun.
        """
        entries = self.new_entries
        if len(entries) < 2:
            return entries[0] if entries else None
        waiting = [entry for entry in entries if entry.started is None]
        if len(waiting) > 1 or len(waiting) == len(entries):
            return None
        return waiting[0] if waiting else max(entries, key=lambda entry: entry.started or 0)

    # Which is ours

    def _prove(self) -> None:
        """Set ``ours`` and ``proven_by`` if this observation proves them."""
        candidates = self.candidates
        sole = min(self.evidence.new or candidates) if candidates and self._counted == 1 else None
        answered = self.start.answered_id
        if answered in candidates and self._is_dated_as_ours(answered) and self._is_last(answered):
            self._own(answered, "answer")
        elif sole is not None and self._is_dated_as_ours(sole) and self._may_be_answered(sole):
            self._own(sole, "date")
        elif self._is_settled_enough(sole):
            self._own(sole, "id")
        elif answered in candidates and self.settled and self._is_newest(answered):
            self._own(answered, "answer")
        elif not candidates and self._ran_without_ids():
            self.evidence = replace(self.evidence, proven_by="running")

    @property
    def _ran_again(self) -> bool:
        """Whether, without ids, something else has run since an end was shown."""
        ended, observation = self.evidence.end_status, self.observation
        if ended is None:
            return False
        if observation.activity is Activity.RUNNING:
            return self.since - self.evidence.end_seen >= self.start.settle
        return observation.activity is Activity.IDLE and self.settled and observation.status != ended

    def _is_last(self, id_: str | None) -> bool:
        """Return whether nothing new is shown to have begun after it."""
        newest = self._newest_entry()
        if newest is None:
            return self._latest == id_ and not self.new_entries
        return newest.id == id_

    def _may_be_answered(self, sole: str) -> bool:
        """Return whether the answer has no other id, which may be ours and not visible yet."""
        return self.start.answered_id in (None, sole) or sole.startswith(BY_DATE)

    def _own(self, ours: str | None, proven_by: str) -> None:
        evidence, named = self.evidence, self.evidence.new | self.evidence.early
        aliased = evidence.aliased or (not self._list_matters and bool(named and evidence.new_latest))
        self.evidence = replace(evidence, ours=ours, proven_by=proven_by, aliased=aliased)

    def _is_newest(self, id_: str | None) -> bool:
        """Return whether the list shows every new execution, and this one as the last."""
        newest, listed = self._newest_entry(), {entry.id for entry in self.new_entries}
        if newest is None or newest.id != id_ or not (self.list_decides and self.candidates <= listed):
            return False
        return newest.activity is not Activity.IDLE or self._is_last_end(newest)

    def _is_dated_as_ours(self, id_: str) -> bool:
        """Return whether its dates prove that it began with our start, by Celonis's clock.

        An execution that began after the baseline was requested and had not ended when our start arrived is
        ours: nothing else was running then. Near a start without an answer there is no other execution.
        """
        entry = self._shown(id_)
        if self._began_after_job(entry):
            return True
        if not self._began_after_baseline(entry):
            return False
        if not self.start.answered:
            return not self.evidence.absent
        if entry.ended is None and entry.activity is not Activity.RUNNING:
            return False
        return self._had_not_ended_before(entry)

    def _began_after_job(self, entry: ListedExecution) -> bool:
        """Return whether it is a load that began after the job that starts ours: the first one is ours."""
        by = self.start.answered_by
        if self.start.sent or by is None or entry.started is None:
            return False
        return entry.started >= by

    def _had_not_ended_before(self, entry: ListedExecution) -> bool:
        """Return whether it cannot have ended before Celonis received our start.

        That it is running only proves this in a settled observation: an earlier one may show a time before
        our start arrived.
        """
        by = self.start.answered_by
        if by is None:
            return False
        if entry.started is not None and entry.started >= by - JUST_BEFORE * 1000:
            return True
        return self.settled if entry.ended is None else entry.ended >= by

    def _began_after_baseline(self, entry: ListedExecution) -> bool:
        """Return whether it began between the request of the baseline and now, by Celonis's clock."""
        requested_at, newest = self.before.requested_at, self.before.newest
        if requested_at is None or entry.started is None:
            return False
        tolerance = CLOCK_TOLERANCE * 1000
        if newest is not None and newest > requested_at + tolerance:
            return False  # the dates of executions and of answers contradict each other
        return (
            requested_at
            <= entry.started
            <= requested_at + (self.since + self.start.settle) * 1000 + tolerance
        )

    def _is_settled_enough(self, sole: str | None) -> bool:
        """Return whether the only new id is ours: every start until ours would be visible by now."""
        if sole is None or not self.settled or (self.evidence.absent and not self.start.answered):
            return False
        if not (self.list_decides or self.confirmed or self._may_be_answered(sole)):
            return False  # the answer named another id, which may be shown next
        if self._ran_again and not self.observation.single:
            return False  # ours had ended before the end that was shown
        if self.start.sent and not self.start.answered and not self.evidence.ran_settled:
            return False  # an earlier end may be shown late
        if self.observation.single and self.observation.activity is Activity.IDLE:
            shows_running = self.start.shows_running or self.evidence.ran  # otherwise ours may run unseen
            return shows_running or self._is_dated_as_ours(sole)
        entry = self._entry(sole)
        if entry is None:  # the list does not show it although nothing runs
            return self.confirmed or not self.list_decides
        return entry.activity is not Activity.IDLE or (self.confirmed and self._is_last_end(entry))

    def _is_last_end(self, entry: ListedExecution) -> bool:
        """Return whether this ended entry may be the last one that ended: the record shows no other end.

        The list may be a page without ours that shows what another user started just before.
        """
        if self._runs_other(entry.id):
            return False
        statuses = {self.observation.status, entry.status} - {None}
        return self.observation.activity is not Activity.IDLE or len(statuses) < 2

    def _runs_other(self, id_: str) -> bool:
        """Return whether something else is running."""
        current = self.observation.current
        ended = {entry.id for entry in self.observation.executions or () if entry.activity is Activity.IDLE}
        other = current is not None and current != id_ and current not in ended
        return other or self.observation.activity is Activity.RUNNING

    def _ran_without_ids(self) -> bool:
        """Return whether, without ids, something ran after a baseline that was idle or had never run."""
        shows_ids = self.list_decides or self._latest is not None
        idle = self.before.activity is Activity.IDLE
        first = self.before.status is None and not self.before.ids and self.observation.status is not None
        first = first and not self.observation.single  # a last load may be one that ended just before
        ran_late = self.evidence.ran_settled and not self.evidence.absent
        ran = self.evidence.ran if self.start.answered else ran_late
        return idle and self.settled and not shows_ids and (ran or first)

    # How ours ended

    def _of_ours(self, ours: str) -> Ownership:
        entry = self._entry(ours)
        if entry is not None and entry.status is not None:
            return self._as(entry.activity, entry.status)
        if self._is_taken_over():
            return Ownership(OwnershipStatus.TAKEN_OVER, self.evidence)
        if self.observation.single and self._latest != ours:
            return self._running()  # an older load is shown again
        if self.list_decides and entry is None and not self.confirmed:
            return self._running()  # the list will show it
        return self._by_record()

    def _is_taken_over(self) -> bool:
        """Return whether something that began after ours replaces it in the record."""
        others = self.candidates - self.evidence.ids_of_ours
        if self.observation.single and self._latest == self.evidence.ours:
            return False
        if self.observation.single and self.evidence.ours == self.start.answered_id and not self.confirmed:
            return False  # ours may be queued behind it
        if self.new_entries:
            newest, listed = self._newest_entry(), {entry.id for entry in self.new_entries}
            unlisted = bool({self.observation.current, self._latest} & others - listed)
            if unlisted or len(self.evidence.new_latest) > len(listed):
                return True  # the list shows the oldest only
            return bool(others & listed) if newest is None else newest.id in others
        second = self._counted > 1 and not self._list_matters
        return second or bool({self.observation.current, self._latest} & others)

    def _by_record(self) -> Ownership:
        """Return the end as the record shows it, once no part of it can be older than ours."""
        if self.observation.activity is Activity.RUNNING:
            return self._running()
        if self.observation.single:
            ran = self.evidence.ours in self.evidence.ran_latest
            own = self.confirmed or ran or self._is_own_status
            return self._record_end() if own else self._running()
        return self._record_end() if self.confirmed else self._running()

    @property
    def _is_own_status(self) -> bool:
        """Whether the status is that of ours, not of the load before, which ``settle`` may still show.

        Our load began after the baseline was requested, so dates and answers have the same clock.
        """
        started, ended = self.observation.started, self.observation.ended
        before, requested_at = self.before.requested_at, self.observation.requested_at
        if started is None or ended is None or before is None or requested_at is None:
            return False
        return before <= started and ended + self.start.settle * 1000 <= requested_at

    def _record_end(self) -> Ownership:
        if self.observation.status is None and self.confirmed:
            return Ownership(OwnershipStatus.UNPROVEN, self.evidence)  # it ended, and its status is unknown
        return self._as(self.observation.activity, self.observation.status)

    def _as(self, activity: Activity, status: str | None) -> Ownership:
        if activity is Activity.IDLE and status is not None:
            return Ownership(OwnershipStatus.ENDED, self.evidence, status)
        return self._running(status)

    def _running(self, status: str | None = None) -> Ownership:
        return Ownership(OwnershipStatus.RUNNING, self.evidence, status, self._recheck_in)

    @property
    def _recheck_in(self) -> float | None:
        """Seconds until an idle picture is settled or confirmed; None if time alone decides nothing."""
        if not self._picture() or self.confirmed:
            return None
        settle = self.start.settle
        return settle - self.since + (self.evidence.same_since if self.settled else 0.0)

    def _by_observation(self) -> Ownership:
        candidates = self.candidates
        shown = candidates | self.evidence.early
        several = bool(candidates) and self._counted > 1
        if several and (self.settled or self.start.answered_id not in shown):
            return Ownership(OwnershipStatus.AMBIGUOUS, self.evidence)
        runs = bool(candidates) and self.observation.activity is Activity.RUNNING
        status = OwnershipStatus.RUNNING if runs else OwnershipStatus.PENDING
        pending = Ownership(status, self.evidence, recheck_in=self._recheck_in)
        says_nothing = self.observation.activity is Activity.IDLE or self.observation.status is None
        shows_none = self.observation.shows_ended_starts and self.observation.ids <= self.before.ids
        if self.settled and says_nothing and (shows_none or not self.evidence.moved):
            self.evidence = replace(self.evidence, absent=True)
            pending = replace(pending, evidence=self.evidence)
        if not self.confirmed or not says_nothing or self._may_run_unseen:
            return pending
        return Ownership(self._never_shown(), self.evidence)

    @property
    def _may_run_unseen(self) -> bool:
        """Whether an accepted load may run unseen, because the last load may be the last that ended."""
        would_show = self._latest is not None or not self.observation.has_run
        accepted = self.observation.single and self.start.answered and self.start.sent
        return accepted and would_show and not self.candidates

    def _never_shown(self) -> OwnershipStatus:
        """Return the status after a picture without our start is confirmed."""
        before, observation = self.before, self.observation
        unchanged = observation.status == before.status and not self.evidence.moved
        would_show = before.shows_ended_starts and observation.shows_ended_starts
        shows_running = self.start.shows_running or (
            not observation.single and observation.status is not None
        )
        lost = self.start.sent and not self.start.answered
        if lost and unchanged and would_show and shows_running:
            return OwnershipStatus.NOT_STARTED
        return OwnershipStatus.UNPROVEN

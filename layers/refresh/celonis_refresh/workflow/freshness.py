"""Evaluates the freshness of pipelines and notifies of changes, each exactly once.

A change is one transaction: the new state of the pipeline, conditional on the state and the last success that
were read, and the messages in the outbox. docs/freshness.md describes the states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from itertools import chain
from math import inf
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from celonis_refresh.errors import RefreshError
from celonis_refresh.notifications.events import BusEvent, freshness_message, pipeline_fresh, pipeline_stale
from celonis_refresh.notifications.messages import ENDED, notification_messages
from celonis_refresh.notifications.outbox import Outbox
from celonis_refresh.observability import logger, measure
from celonis_refresh.pipelines.definition import Definition, DefinitionPage, Notify, parse_definition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.fresh_within import FreshWithin
from celonis_refresh.pipelines.freshness import Freshness, FreshnessState, decide, due_at
from celonis_refresh.pipelines.plan import AS_DEFINED, make_plan
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.pipeline_state import (
    ExpectedDuration,
    PipelineState,
    StoredFreshness,
    set_expected,
    set_freshness,
)
from celonis_refresh.runs.records import OPEN, Records, Run, data_from
from celonis_refresh.runs.table import Action, ConditionFailed, Table, pipeline_key, slot_key
from celonis_refresh.steps.expected import duration_keys, seconds_left, with_resolved_loads
from celonis_refresh.steps.polling.durations import usual_seconds
from celonis_refresh.steps.step import is_started
from celonis_refresh.timing import Clock, Deadline, epoch, iso
from celonis_refresh.workflow.listing import Listing
from celonis_refresh.workflow.run_report import (
    can_retry,
    failed_step,
    names_of,
    outcome_without_advice,
    step_facts,
)

MAX_PAGES: Final = 50
"""Maximum requests to Parameter Store in a round, with ten pipelines each."""
SEND_SECONDS: Final = 20.0
"""Time for sending the notifications of one page at once; the rest is sent from the outbox."""
AHEAD: Final = 4.0
"""The durations of steps are read once the deadline is nearer than four times the last or the expected
duration, whichever is longer, plus ``AHEAD_SECONDS``."""
AHEAD_SECONDS: Final = 900.0
EXPECTED_SECONDS: Final = 6 * 3600.0
"""How long an expected duration is used without reading it again: runs of other pipelines may change it."""
ACTIVE_SECONDS: Final = 120.0
"""How long the list of active pipelines is used: the pages of one round share it."""
MAX_ACTIVE: Final = 500
"""Maximum open runs of one status that are listed, oldest first."""
DIGITS: Final = 16
"""Length of the digest of a definition."""

STALE_NOTIFICATION: Final = "stale"
AT_RISK_NOTIFICATION: Final = "will be late"
FRESH_NOTIFICATION: Final = "fresh again"
NOTIFICATIONS: Final[Mapping[FreshnessState, str]] = {
    FreshnessState.STALE: STALE_NOTIFICATION,
    FreshnessState.AT_RISK: AT_RISK_NOTIFICATION,
    FreshnessState.FRESH: FRESH_NOTIFICATION,
}


ReadPage = Callable[[str | None], DefinitionPage]
"""Reads the page of a token; None is the first one. An expired token reads the first page."""


class FreshnessFindings(Struct):
    """Pipelines by name. ``stale``: all that are stale now; ``changes``: what was notified, ``otc: STALE``.

    ``failed``: those that could not be evaluated, which the next round repeats.
    """

    stale: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class _Pipeline(NamedTuple):
    """One pipeline to evaluate. ``definition``: None if it is not valid now; ``digest``: of its text.

    ``notify``: None if it cannot be read.
    """

    name: str
    definition: Definition | None
    digest: str
    notify: Notify | None
    state: PipelineState
    rule: FreshWithin


class _Estimate(NamedTuple):
    """``end``: when a run is expected to end that extends the deadline; None if it is not known.

    ``seconds``: that a run as defined is expected to take; 0 if it is not known.
    """

    end: float | None
    seconds: float


class ActivePipelines(Struct):
    """Names the pipelines with an open run, by an index that may be seconds late."""

    listing: Listing
    clock: Clock
    _names: frozenset[str] = frozenset()
    _read_at: float = -inf

    def names(self) -> frozenset[str]:
        """Return the names; those of the last time if they cannot be read."""
        if not 0.0 <= self.clock() - self._read_at < ACTIVE_SECONDS:
            self._read_at = self.clock()
            lists = (self.listing.oldest(status, None, MAX_ACTIVE) for status in sorted(OPEN))
            try:
                self._names = frozenset(str(item["pipeline"]) for item in chain.from_iterable(lists))
            except TableBusy as error:
                logger.warning("the active pipelines are not known", extra={"why": str(error)})
        return self._names


class _Evaluation(NamedTuple):
    """One page in evaluation. ``send_by``: when notifications are left to the outbox."""

    findings: FreshnessFindings
    deadline: Deadline
    send_by: Deadline


class FreshnessMonitor(Struct, frozen=True):
    """Evaluates pipelines, a page of definitions at a time. ``stack``: its name, for events."""

    table: Table
    records: Records
    outbox: Outbox
    read_page: ReadPage
    active: ActivePipelines
    stack: str
    clock: Clock

    def evaluate(self, texts: Mapping[str, str], deadline: Deadline, findings: FreshnessFindings) -> None:
        """Evaluate the pipelines of one page, and add what was found to ``findings``."""
        items = self.table.get_all([pipeline_key(name) for name in texts], deadline)
        send_by = Deadline.after(min(SEND_SECONDS, deadline.left()), self.clock)
        page = _Evaluation(findings, deadline, send_by)
        for name, text in texts.items():
            try:
                state = PipelineState(items.get(pipeline_key(name), {}))
                self._evaluate(name, text, state, page)
            except RefreshError as error:
                findings.failed.append(name)
                logger.warning("freshness is not known", extra={"pipeline": name, "why": str(error)})
            except Exception:  # noqa: BLE001 - logged whole; it must not keep the others from being evaluated
                findings.failed.append(name)
                logger.exception("freshness is not known", extra={"pipeline": name})

    def _evaluate(self, name: str, text: str, state: PipelineState, page: _Evaluation) -> None:
        read, stored = _definition(name, text), state.stored
        definition = read if isinstance(read, Definition) else None
        rule, digest = state.rule(definition), sha256(text.encode()).hexdigest()[:DIGITS]
        if state.data_from is not None:
            measure("SecondsSinceSuccess", round(self.clock() - state.data_from), pipeline=name)
        if rule is not None:
            self._evaluate_rule(_Pipeline(name, definition, digest, read.notify, state, rule), stored, page)
        elif stored is not None:
            pipeline = _Pipeline(name, definition, digest, read.notify, state, stored.fresh_within)
            self._end_monitoring(pipeline, stored, page)

    def _evaluate_rule(self, pipeline: _Pipeline, stored: StoredFreshness | None, page: _Evaluation) -> None:
        """Decide whether a pipeline is fresh, and write what has changed."""
        state, now = pipeline.state, self.clock()
        seen_at, before = (stored.seen_at, stored.freshness) if stored else (now, None)
        due = due_at(pipeline.rule.rule(), seen_at, state.data_from)
        is_needed = self._needs_estimate(pipeline, before, due, now)
        estimate = self._estimate(pipeline, due, page.deadline) if is_needed else None
        end = estimate.end if estimate else None
        after = decide(due, now, end, before, state.succeeded_at)
        if stored is None or stored.fresh_within != pipeline.rule or stored.freshness.state != after.state:
            changed = StoredFreshness(pipeline.rule, seen_at, after, stored.rev + 1 if stored else 1)
            after = self._change(pipeline, before, changed, end, page) or before or after
        if after.state is FreshnessState.STALE:
            page.findings.stale.append(pipeline.name)
        if estimate is not None and _is_outdated(pipeline, now):
            self._remember(pipeline, estimate.seconds, page.deadline)

    def _needs_estimate(self, pipeline: _Pipeline, before: Freshness | None, due: float, now: float) -> bool:
        """Return whether durations are read: a fresh pipeline may miss its deadline, or that is not known.

        Most pipelines need none, because the expected duration is in the item that was read anyway.
        """
        state = pipeline.state
        is_fresh = before is None or before.state is FreshnessState.FRESH
        if not is_fresh or state.seconds is None or now >= due:
            return False
        longest = max(state.seconds, state.expected.seconds if state.expected else 0.0)
        is_near = due - now <= AHEAD * longest + AHEAD_SECONDS
        return is_near or _is_outdated(pipeline, now) or pipeline.name in self.active.names()

    def _remember(self, pipeline: _Pipeline, seconds: float, deadline: Deadline) -> None:
        """Write the expected duration, so that the next rounds need not read the durations."""
        run_id = str(pipeline.state.item.get("last_run_id", ""))
        expected = ExpectedDuration(seconds, run_id, pipeline.digest, self.clock())
        self.table.update(set_expected(self.table, pipeline.name, expected), deadline)

    def _change(
        self,
        pipeline: _Pipeline,
        before: Freshness | None,
        changed: StoredFreshness,
        end: float | None,
        page: _Evaluation,
    ) -> Freshness | None:
        """Write a change and notify of it. Return the freshness, or None if another write was faster.

        The other write is the end of a run or another round; the next round decides again.
        """
        write = set_freshness(self.table, pipeline.name, pipeline.state, changed)
        is_same = changed.freshness.state is (before.state if before else FreshnessState.FRESH)
        try:
            if is_same:
                self.table.update(write, page.deadline)
            else:
                facts = self._facts(pipeline, changed.freshness) | _stale_since(before)
                facts |= {"expected_end": iso(end)} if end is not None else {}
                self._notify(pipeline, facts, write, page)
        except ConditionFailed:
            return None
        return changed.freshness

    def _notify(self, pipeline: _Pipeline, facts: dict[str, Any], write: Action, page: _Evaluation) -> None:
        """Write a change with its messages in one transaction, then send them.

        Raises ``ConditionFailed``; then there is no notification.
        """
        state = FreshnessState(facts["state"])
        occasion = f"{state}-{iso(self.clock())}"
        messages = notification_messages(
            self.outbox, pipeline.notify, NOTIFICATIONS[state], facts, occasion=occasion
        )
        messages += [freshness_message(self.outbox, event) for event in _events(self.stack, facts)]
        puts = [self.outbox.put(message) for message in messages]
        self.table.transact([write, *puts], page.deadline)
        _note(pipeline.name, state, facts, page.findings)
        if page.send_by.left() > 0:
            self.outbox.send_put(messages, page.send_by)

    def _end_monitoring(self, pipeline: _Pipeline, stored: StoredFreshness, page: _Evaluation) -> None:
        """Remove the freshness of a pipeline whose ``fresh_within`` was removed; it is stale no more."""
        write = set_freshness(self.table, pipeline.name, pipeline.state, None)
        try:
            if stored.freshness.state is FreshnessState.FRESH:
                self.table.update(write, page.deadline)
                return
            fresh = Freshness(FreshnessState.FRESH, self.clock(), stored.freshness.due)
            facts = _state_facts(pipeline, fresh) | {"cause": "not_monitored", "outcome": NOT_MONITORED}
            facts |= _stale_since(stored.freshness)
            self._notify(pipeline, facts, write, page)
        except ConditionFailed:
            logger.info("the freshness has changed at the same time", extra={"pipeline": pipeline.name})

    def _facts(self, pipeline: _Pipeline, freshness: Freshness) -> dict[str, Any]:
        """Return the facts of a notification. The reason is read only here, because changes are rare."""
        facts = _state_facts(pipeline, freshness)
        if freshness.state is FreshnessState.FRESH:
            return facts | {"outcome": _fresh_again(facts)}
        slot = self.table.get(slot_key(pipeline.name)) or {}
        run_id = slot.get("run_id")
        run = self.records.find(str(run_id)) if run_id else None
        cause, reason = _reason(pipeline, slot, run)
        facts |= {"cause": cause, "outcome": f"{_headline(facts)} {reason}"}
        if cause == "slow_run" and run is not None:
            facts |= {"active_run_id": run.run_id}
        failed = self._last_failure(facts) if cause == "failed_run" else None
        if failed is not None and not failed.is_open:
            facts["outcome"] += f" {outcome_without_advice(failed, names_of(failed))}"
            step = failed_step(failed)
            facts |= step_facts(failed, step, None) if step else {}
            facts |= {} if can_retry(failed) else {"can_retry": False}
        shown = run if cause == "slow_run" else failed
        return facts | ({"execution_arn": shown.item.get("execution_arn")} if shown else {})

    def _last_failure(self, facts: Mapping[str, Any]) -> Run | None:
        return self.records.find(str(facts["last_run_id"]))

    def _estimate(self, pipeline: _Pipeline, due: float, deadline: Deadline) -> _Estimate | None:
        """Estimate the end of a run whose success keeps the data fresh beyond ``due``.

        None without a valid definition.
        """
        if pipeline.definition is None:
            return None
        now, plan = self.clock(), make_plan(pipeline.definition, AS_DEFINED)
        run = self._active_run(pipeline.name)
        run_plan = plan
        if run is not None and run.has_definition:
            run_plan = with_resolved_loads(run.plan, run.loads)
        keys = dict.fromkeys(duration_keys(plan) + duration_keys(run_plan))
        items = self.table.get_all(list(keys), deadline)
        usual = {key: usual_seconds(item, now) for key, item in items.items()}
        whole = seconds_left(plan, usual, {}, now)
        if run is None:
            return _Estimate(None if whole is None else now + whole, whole or 0.0)
        left = seconds_left(run_plan, usual, run.steps, now)
        counts = pipeline.rule.rule().due(epoch(data_from(run.item))) > due
        if left is None or (whole is None and not counts):
            return _Estimate(None, whole or 0.0)
        return _Estimate(now + left + (0.0 if counts else whole or 0.0), whole or 0.0)

    def _active_run(self, name: str) -> Run | None:
        slot = self.table.get(slot_key(name)) or {}
        run = self.records.find(str(slot["run_id"])) if "run_id" in slot else None
        return run if run is not None and run.is_open else None


NOT_MONITORED: Final = "The field fresh_within was removed, so the pipeline is not monitored any more."


def _definition(name: str, text: str) -> Definition | InvalidDefinition:
    try:
        return parse_definition(name, text)
    except InvalidDefinition as error:
        logger.warning("a definition is not valid", extra={"pipeline": name, "why": str(error)})
        return error


def _is_outdated(pipeline: _Pipeline, now: float) -> bool:
    """Return whether the expected duration is read again: a run or a definition may have changed it."""
    expected, last_run = pipeline.state.expected, str(pipeline.state.item.get("last_run_id", ""))
    if expected is None or expected.run_id != last_run or expected.definition != pipeline.digest:
        return True
    return not 0.0 <= now - expected.at < EXPECTED_SECONDS


def _note(name: str, state: FreshnessState, facts: Mapping[str, Any], findings: FreshnessFindings) -> None:
    """Log a change, once, and add it to the findings."""
    findings.changes.append(f"{name}: {state}")
    log = logger.info if state is FreshnessState.FRESH else logger.warning
    log("freshness changed", extra={**facts, "pipeline": name})


def _stale_since(before: Freshness | None) -> dict[str, str]:
    is_stale = before is not None and before.state is FreshnessState.STALE
    return {"stale_since": iso(before.since)} if before and is_stale else {}


def _events(stack: str, facts: Mapping[str, Any]) -> Iterator[BusEvent]:
    """Yield the event of a pipeline that became stale, or fresh after it was stale."""
    name = str(facts["pipeline"])
    if facts["state"] == FreshnessState.STALE:
        yield pipeline_stale(
            stack,
            name,
            stale_since=facts["since"],
            last_success_at=facts.get("last_success_at"),
            reason=facts["outcome"],
        )
    elif "stale_since" in facts:
        succeeded = facts.get("last_outcome") == "SUCCEEDED"
        yield pipeline_fresh(
            stack,
            name,
            stale_since=facts["stale_since"],
            fresh_at=facts["since"],
            run_id=facts.get("last_run_id") if succeeded else None,
        )


def _state_facts(pipeline: _Pipeline, freshness: Freshness) -> dict[str, Any]:
    item = pipeline.state.item
    names = ("last_success_started_at", "last_success_at", "last_run_id", "last_outcome")
    return {
        "pipeline": pipeline.name,
        "state": freshness.state,
        "since": iso(freshness.since),
        "due_at": iso(freshness.due),
        "fresh_within": pipeline.rule.to_json(),
        **{name: item[name] for name in names if name in item},
        **({"stale_since": iso(freshness.since)} if freshness.state is FreshnessState.STALE else {}),
    }


def _headline(facts: Mapping[str, Any]) -> str:
    started = facts.get("last_success_started_at")
    data = (
        f"Its data comes from the run that started at {started}." if started else "No run has succeeded yet."
    )
    if facts["state"] == FreshnessState.STALE:
        return f"The data of pipeline {facts['pipeline']} has been stale since {facts['since']}. {data}"
    return f"The data of pipeline {facts['pipeline']} will not be refreshed by {facts['due_at']}. {data}"


def _fresh_again(facts: Mapping[str, Any]) -> str:
    started = facts.get("last_success_started_at")
    data = f" Its data comes from the run that started at {started}." if started else ""
    return f"The data of pipeline {facts['pipeline']} is fresh.{data} It is due again at {facts['due_at']}."


def _reason(pipeline: _Pipeline, slot: Mapping[str, Any], run: Run | None) -> tuple[str, str]:
    """Return why no run has refreshed the data: a word for programs, and a sentence with advice."""
    if pipeline.definition is None:
        return "invalid_definition", "Its definition is not valid, so no run can start: correct it."
    if run is not None and run.is_open:
        waits = next(_waits(run), "")
        return "slow_run", f"Run {run.run_id} has not ended since {run.item['created_at']}{waits}."
    if pipeline.definition.paused:
        return "paused_in_definition", 'It is paused: set "paused" to false in its definition.'
    if "pause" in slot:
        return "paused", _paused(slot["pause"])
    if "pending" in slot:
        return "pending_run", f"Run {slot['pending']['run_id']} is pending and starts within five minutes."
    item = pipeline.state.item
    if item.get("last_outcome", "SUCCEEDED") != "SUCCEEDED":
        error = f" ({item['last_error']})" if item.get("last_error") else ""
        ended = ENDED.get(item["last_outcome"], f"ended {item['last_outcome']}")
        return "failed_run", f"Its last run, {item['last_run_id']}, {ended}{error}."
    last = f"since run {item['last_run_id']}" if "last_run_id" in item else "yet"
    return (
        "no_run",
        f"No run has started {last}: check its schedule, its source and the sender of the webhook.",
    )


def _paused(pause: Mapping[str, Any]) -> str:
    why = f" (reason: {pause['reason']})" if pause.get("reason") else ""
    return f"It has been paused since {pause['at']} by {pause['by']}{why}: resume it."


def _waits(run: Run) -> Iterator[str]:
    for step, state in run.steps.items():
        if "outcome" in state:
            continue
        waiting_for = None if is_started(state) else state.get("waiting_for")
        if reason := state.get("last_error") or waiting_for:
            yield f", and step {step} waits: {str(reason).rstrip('.')}"

"""Handles a webhook: verify, match rules, claim, start the first job, start the execution.

A claimed delivery is accepted. What this function cannot do in time, the state machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from celonis_refresh.errors import RefreshError, UnusableConfiguration
from celonis_refresh.observability import count, log_scope, logger
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.claims import Acceptance, Accepted, Delivery, skip_reason
from celonis_refresh.runs.deliveries import LoggedEvent, event_key, logged_item
from celonis_refresh.runs.errors import StepMoved
from celonis_refresh.runs.records import Records, Run, RunStatus
from celonis_refresh.runs.table import MAX_ACTIONS, signed_key, webhook_key
from celonis_refresh.steps.start import UnsavedAnswer, start_claimed
from celonis_refresh.steps.step import StepContext, awaits_answer, release_first_job
from celonis_refresh.steps.target import ModelTables
from celonis_refresh.timing import Clock, Deadline
from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, RuleError
from celonis_refresh.webhooks.events import (
    HandshakeResponse,
    acknowledgement,
    check_expected,
    handshake,
    preflight,
    read_events,
)
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.rules import RuleMatch, RuleResults, apply_rules
from celonis_refresh.webhooks.sources import Source
from celonis_refresh.webhooks.verification import Fetch, Proof, Scheme, UrlToken, secret_problem, verify
from celonis_refresh.workflow.accept import (
    Trigger,
    TriggerAcceptor,
    accept_batch,
    response_body,
    start_execution_of,
)
from celonis_refresh.workflow.executions import Executions


class Received(Struct, frozen=True):
    """Either ``answer``, to be returned at once, or ``outcomes``. ``proof``: None for a preflight."""

    proof: Proof | None
    answer: HandshakeResponse | None
    outcomes: tuple[RuleResults, ...] = ()


def receive(
    source: Source,
    request: WebhookRequest,
    secrets: Sequence[str],
    now: float,
    *,
    fetch: Fetch | None = None,
    allow_http: bool = False,
) -> Received:
    """Verify a request and apply the rules of its source.

    ``allow_http``: as for ``callbacks.address_problem``; the other parameters as for ``verification.verify``.

    A preflight is verified only if the token is in its URL. Raises ``NotAuthentic``, ``Malformed`` for a
    preflight and for a verified body, and for SNS what ``fetch`` raises.
    """
    sender = source.effective()
    if not isinstance(sender.scheme, UrlToken):
        answer = preflight(sender, request)
        if answer:
            return Received(None, answer)
    proof = _check_proof(sender.scheme, request, secrets, now, fetch)
    return replace(read_verified(source, request, allow_http=allow_http), proof=proof)


def read_verified(source: Source, request: WebhookRequest, *, allow_http: bool = False) -> Received:
    """Read a verified request and apply the rules of its source. Raises ``NotAuthentic``, ``Malformed``."""
    sender = source.effective()
    answer = preflight(sender, request)
    if answer:
        return Received(None, answer)
    events = read_events(sender, request)
    answer = handshake(sender, request, events)
    if answer:
        return Received(None, answer)
    check_expected(events, source.expect)
    return Received(None, None, tuple(apply_rules(source, event, allow_http=allow_http) for event in events))


def _check_proof(
    scheme: Scheme, request: WebhookRequest, secrets: Sequence[str], now: float, fetch: Fetch | None
) -> Proof:
    """Verify the request; an unreadable signature is refused like a wrong one."""
    try:
        return verify(scheme, request, secrets, now, fetch=fetch)
    except Malformed as error:
        raise NotAuthentic(error.message, hint=error.hint) from None


RESPONSE_SECONDS: Final = 2.5
"""From the arrival of the request to the response: the fastest sender waits 3 s."""
START_EXECUTION_SECONDS: Final = 0.6
"""Time reserved for StartExecution."""
FURTHER_EXECUTION_SECONDS: Final = 0.1
"""Time reserved for each further StartExecution of the same delivery, over an open connection."""
MIN_CLAIM_SECONDS: Final = 1.5
"""Time for the claim and its reads, even if the response is late: a late response is better than an error."""


class RequestTime(Struct, frozen=True):
    """``answer``: deadline of the response; ``end``: deadline of the function."""

    answer: Deadline
    end: Deadline

    def for_claim(self) -> Deadline:
        """Return the deadline of the reads and the claim."""
        return self._at(START_EXECUTION_SECONDS, MIN_CLAIM_SECONDS)

    def for_start(self, further: int = 0) -> Deadline:
        """Return the deadline of a first job's start. ``further``: executions started after it."""
        return self._at(START_EXECUTION_SECONDS + further * FURTHER_EXECUTION_SECONDS, 0.0)

    def _at(self, reserve: float, minimum: float) -> Deadline:
        """Return ``reserve`` seconds before the response, but at least ``minimum`` seconds from now."""
        clock = self.answer.clock
        return Deadline(min(max(self.answer.at - reserve, clock() + minimum), self.end.at), clock)


FIELDS: Final = ("current", "previous")
"""Fields of a webhook's secret, in the order of its values."""


class SecretLog:
    """Logs unusable secrets, once for each change of a source or its secret."""

    def __init__(self) -> None:
        self._checked: dict[str, tuple[Source, tuple[str, ...]]] = {}

    def check(self, source_name: str, source: Source, secrets: Sequence[str]) -> None:
        """Log what is wrong with ``secrets`` for the scheme of ``source``, never the values."""
        checked = (source, tuple(secrets))
        if self._checked.get(source_name) == checked:
            return
        self._checked[source_name] = checked
        scheme = source.effective().scheme
        for name, secret in zip(FIELDS, secrets, strict=False):
            problem = secret_problem(scheme, secret)
            if problem:
                logger.error(
                    "a webhook secret is not usable",
                    extra={"source": source_name, "field": name, "why": problem},
                )


MIN_CELONIS_SECONDS: Final = 0.8
"""With less time left, the state machine starts the job."""
RELEASE_SECONDS: Final = 0.1
"""Time to free the lease of a job that could not be started."""
RECORD_ATTEMPTS: Final = 3
LOG_SECONDS: Final = 0.5
"""Time to store what became of an event that starts nothing."""
RESUME_SECONDS: Final = 900.0
"""A delivery that is sent again within this time may find that its run has no execution yet."""


NOTHING_VALID: Final = "no pipeline that it matches can be started"


class EventClaims(NamedTuple):
    """The claims of one event. ``errors``: of rules that cannot be applied and of invalid pipelines."""

    outcome: RuleResults
    delivery: Delivery
    event: LoggedEvent
    errors: Sequence[RefreshError]


class SnsAddresses(Protocol):
    """Requests to checked addresses of Amazon SNS."""

    def certificate(self, url: str) -> bytes: ...

    def confirm(self, url: str) -> None: ...


class Reply(NamedTuple):
    """An HTTP response: status and JSON body, or text with ``headers``."""

    status: int
    body: Any
    headers: dict[str, str] = {}  # noqa: RUF012 - a default of a tuple's field, never changed


Report = Callable[[Sequence[UnusableConfiguration], Callable[[str], Definition]], None]
"""Takes errors of a source and its pipelines, and what reads a pipeline."""


def _no_report(found: Sequence[UnusableConfiguration], definition: Callable[[str], Definition]) -> None:
    """Report nothing."""


class WebhookHandler(Struct, frozen=True):
    """Handles webhooks.

    ``source`` reads a source, ``secrets`` its secrets, and ``refreshed_secrets`` the current ones.
    ``report``: reports configuration that cannot be used. ``allow_http``: for callbacks, on the local stack.
    """

    source: Callable[[str], Source]
    secrets: Callable[[str], Sequence[str]]
    refreshed_secrets: Callable[[str], Sequence[str]]
    acceptor: TriggerAcceptor
    context: StepContext
    tables: ModelTables
    executions: Executions
    sns: SnsAddresses
    clock: Clock
    secret_log: SecretLog = field(default_factory=SecretLog)
    report: Report = _no_report
    allow_http: bool = False

    def receive(self, source_name: str, request: WebhookRequest, time: RequestTime) -> Reply:
        """Return the response to a request. Raises errors of webhooks, configuration and table."""
        source = self.source(source_name)
        try:
            return self._receive(source_name, source, request, time)
        except RefreshError:
            count("Deliveries", source=source_name, result="refused")
            raise

    def _receive(self, source_name: str, source: Source, request: WebhookRequest, time: RequestTime) -> Reply:
        try:
            received = self._verify(source_name, source, request)
        except Malformed as error:
            if request.method != "OPTIONS":  # a preflight is not verified before it is read
                self._log_failed(source_name, [], error, time)
            raise
        if received.answer is not None:
            if received.answer.ignored and received.proof is not None:
                event = self._event(source_name, None, ())
                item = logged_item(event, "ignored", received.answer.ignored, (), self.clock())
                self._log_events([item], time)
            return self._immediate_reply(received.answer)
        answers = self._accept(source_name, received.outcomes, time)
        for answer in answers:
            count("Deliveries", source=source_name, result=_result(answer))
        response = acknowledgement(source.effective())
        return self._immediate_reply(response) if response is not None else _reply(answers)

    def _immediate_reply(self, answer: HandshakeResponse) -> Reply:
        """Return the response of a handshake, after its confirmation if it needs one."""
        if answer.confirm is not None:
            self.sns.confirm(answer.confirm)
        return Reply(answer.status, answer.body, {"content-type": "application/json", **answer.headers})

    def _verify(self, source_name: str, source: Source, request: WebhookRequest) -> Received:
        """Verify the request, again with the current secret if it may have been rotated."""
        if source.secret is None:
            return receive(source, request, (), self.clock(), fetch=self.sns.certificate)
        secrets = self.secrets(source.secret)
        self.secret_log.check(source_name, source, secrets)
        try:
            return receive(source, request, secrets, self.clock(), allow_http=self.allow_http)
        except NotAuthentic:
            refreshed_secrets = self.refreshed_secrets(source.secret)
            if secret_problem(source.effective().scheme, refreshed_secrets[0]):
                count("ConfigurationErrors", source=source_name)  # no request can fit it
            if tuple(refreshed_secrets) == tuple(secrets):
                raise
            self.secret_log.check(source_name, source, refreshed_secrets)
            return receive(source, request, refreshed_secrets, self.clock(), allow_http=self.allow_http)

    def _accept(
        self, source_name: str, outcomes: Sequence[RuleResults], time: RequestTime
    ) -> list[dict[str, Any]]:
        """Accept all events at once, start their runs, and return the result of each event."""
        by = time.for_claim()
        logger.append_keys(**_delivery_log_keys(outcomes))
        try:
            event_claims = [self._read_event(source_name, outcome) for outcome in outcomes]
        except RefreshError as unreadable:
            self._log_failed(source_name, outcomes, unreadable, time)
            raise
        errors = _log_errors(source_name, event_claims)
        if errors and not any(each.delivery.claims for each in event_claims):
            self.report(errors, self.acceptor.definition)
            self._log_events([self._unaccepted(each) for each in event_claims], time)
            refused = errors[0].error
            refused.all_errors = tuple(dict.fromkeys(str(found.error) for found in errors))
            raise refused
        deliveries = [each.delivery for each in event_claims if each.delivery.claims]
        acceptances = accept_batch(self.acceptor.claims, deliveries, by)
        logger.append_keys(**_run_log_keys(acceptances))
        self._start_runs(acceptances, time)
        for run_id, at in _started_earlier(acceptances).items():
            self._resume_run(run_id, at)
        if errors:
            self.report(errors, self.acceptor.definition)
        queue = iter(acceptances)
        accepted = [(each, next(queue) if each.delivery.claims else None) for each in event_claims]
        self._log_events([item for each in accepted for item in self._to_log(*each)], time)
        return [_response_to(*each) for each in accepted]

    def _to_log(self, claims: EventClaims, acceptance: Acceptance | None) -> list[dict[str, Any]]:
        """Return the item of an event that no transaction has stored; none if it was accepted now."""
        if acceptance is None:
            return [self._unaccepted(claims)]
        skipped = [accepted for accepted in acceptance.results if accepted.status == "skipped"]
        if len(skipped) == len(acceptance.results):
            return [logged_item(self._own(claims.event), "ignored", skip_reason(skipped), (), self.clock())]
        if not acceptance.duplicate:
            return []
        runs = [
            {"pipeline": accepted.pipeline, "run_id": accepted.run_id, "status": accepted.status}
            for accepted in acceptance.results
            if accepted.status != "skipped"
        ]
        return [logged_item(self._own(claims.event), "duplicate", "", runs, self.clock())]

    def _unaccepted(self, claims: EventClaims) -> dict[str, Any]:
        """Return the item of an event that starts nothing."""
        result = "failed" if claims.errors else "ignored"
        return logged_item(self._own(claims.event), result, claims.outcome.ignored, (), self.clock())

    def _event(self, source: str, outcome: RuleResults | None, errors: Sequence[RefreshError]) -> LoggedEvent:
        """Return what is stored of an event; ``outcome``: None if it could not be read."""
        delivery = outcome.event.delivery_id if outcome else None
        key = event_key(source, self.acceptor.claims.table.new_token())
        return LoggedEvent(source, key, delivery, tuple(str(error) for error in errors))

    def _own(self, event: LoggedEvent) -> LoggedEvent:
        """Return the event with an item of its own, whether or not it is the item of a delivery now."""
        return replace(event, key=event_key(event.source, self.acceptor.claims.table.new_token()))

    def _log_failed(
        self, source: str, outcomes: Sequence[RuleResults], error: RefreshError, time: RequestTime
    ) -> None:
        """Store that authentic events could not be handled; without ``outcomes``, the whole request."""
        unread: list[RuleResults | None] = [*outcomes] or [None]
        events = [self._event(source, outcome, [error]) for outcome in unread]
        self._log_events([logged_item(event, "failed", "", (), self.clock()) for event in events], time)

    def _log_events(self, items: Sequence[Mapping[str, Any]], time: RequestTime) -> None:
        """Store what became of events that start nothing. The answer to the sender never depends on it."""
        if not items:
            return
        by = Deadline.after(min(LOG_SECONDS, time.end.left()), self.clock)
        try:
            self._write(items, by)
        except RefreshError as error:
            logger.warning("events were not stored", extra={"events": len(items), "why": str(error)})
        except Exception:  # noqa: BLE001 - logged whole; the request itself was handled
            logger.exception("events were not stored", extra={"events": len(items)})

    def _write(self, items: Sequence[Mapping[str, Any]], deadline: Deadline) -> None:
        table = self.acceptor.claims.table
        if len(items) == 1:
            facts = {name: value for name, value in items[0].items() if name != "pk"}
            table.update(table.set(items[0]["pk"], facts, ""), deadline)
            return
        for first in range(0, len(items), MAX_ACTIONS):
            table.transact([table.put(item) for item in items[first : first + MAX_ACTIONS]], deadline)

    def _read_event(self, source: str, outcome: RuleResults) -> EventClaims:
        """Check an event against the definitions of its pipelines."""
        identities = _delivery_keys(source, outcome)
        triggers = [trigger_of(source, match) for match in outcome.matches]
        invalid = [
            (trigger_of(source, match), error)
            for match, error in zip(outcome.invalid, outcome.errors, strict=True)
        ]
        claims, errors = self.acceptor.valid_claims(triggers, identities, invalid)
        all_errors = (*outcome.errors, *errors)
        event = self._event(source, outcome, (*all_errors, *outcome.callback_errors))
        if identities:
            event = replace(event, key=identities[0])
        return EventClaims(outcome, Delivery(claims, identities, event), event, all_errors)

    def _start_runs(self, acceptances: Sequence[Acceptance], time: RequestTime) -> None:
        """Start the first job and the execution of each new run."""
        started = {
            accepted.run_id: (accepted, acceptance)
            for acceptance in acceptances
            for accepted in acceptance.fresh
            if accepted.status == "started"
        }
        for number, (accepted, acceptance) in enumerate(started.values()):
            further = len(started) - number - 1
            with log_scope(run_id=accepted.run_id, pipeline=accepted.pipeline):
                answer = self._start_run(accepted, acceptance, time.for_start(further))
                if not start_execution_of(self.executions, accepted.run_id, answer) and answer is not None:
                    self._record_answer(accepted.run_id, answer, time.end)

    def _start_run(
        self, accepted: Accepted, acceptance: Acceptance, deadline: Deadline
    ) -> UnsavedAnswer | None:
        """Start the first job of a run. Errors are logged: the delivery is accepted already."""
        if not accepted.holds_lease:
            return None
        record = acceptance.records[accepted.run_id]
        try:
            return self._start_first_job(record, deadline)
        except RefreshError as error:
            logger.warning(
                "the state machine starts the job", extra={"run_id": accepted.run_id, "why": str(error)}
            )
        except Exception:  # noqa: BLE001 - logged whole; the claim is written, so it must be handed over
            logger.exception("the state machine starts the job", extra={"run_id": accepted.run_id})
        self._release_lease(Run(record), Deadline(deadline.at + RELEASE_SECONDS, deadline.clock))
        return None

    def _record_answer(self, run_id: str, answer: UnsavedAnswer, deadline: Deadline) -> None:
        """Record an answer that the execution, started by another delivery, does not have."""
        try:
            record_answer(self.context.records, run_id, answer, deadline)
        except RefreshError as error:  # as if the answer were lost
            logger.warning("the answer was not recorded", extra={"run_id": run_id, "why": str(error)})

    def _release_lease(self, run: Run, deadline: Deadline) -> None:
        """Release the lease of a first job that was not started."""
        try:
            release_first_job(self.context.records, self.context.leases, run, deadline)
        except StepMoved:
            return  # its start may have been sent
        except RefreshError as error:  # the task that starts the job frees it
            logger.warning("the lease was not released", extra={"run_id": run.run_id, "why": str(error)})

    def _resume_run(self, run_id: str, accepted_at: float) -> None:
        """Start the execution of a repeated delivery's run if its first attempt did not."""
        if self.clock() - accepted_at > RESUME_SECONDS:
            return
        run = self.context.records.find(run_id)
        if run is not None and run.status is RunStatus.OPENING:
            start_execution_of(self.executions, run_id)

    def _start_first_job(self, record: Mapping[str, Any], deadline: Deadline) -> UnsavedAnswer | None:
        """Poll, record and start the first job in the remaining time; return the answer of Celonis."""
        if deadline.left() < MIN_CELONIS_SECONDS:
            return None
        facts = self.tables.resolved(Run(record), deadline)
        if "warnings" in facts:
            return None  # a cached list may lack a new table: open_run reads it again
        run = Run({**record, **facts})
        return start_claimed(self.context, run, run.plan.jobs[0].step, deadline, facts)


def record_answer(records: Records, run_id: str, answer: UnsavedAnswer, deadline: Deadline) -> None:
    """Record an answer that is not in the input of the execution, unless the step has moved on.

    Raises ``StepMoved`` if other tasks keep writing the step.
    """
    facts = {name: value for name, value in answer.items() if name not in ("step", "posts")}
    step = str(answer["step"])
    for attempt in range(RECORD_ATTEMPTS):
        run = records.get_open(run_id)
        state = run.steps.get(step, {})
        if not awaits_answer(state, answer["posts"]):
            return
        try:
            records.save_step(run, step, {**state, "answered": True, **facts}, deadline)
        except StepMoved:
            if attempt + 1 == RECORD_ATTEMPTS:
                raise
        else:
            return


def trigger_of(source: str, match: RuleMatch) -> Trigger:
    """Return the trigger of a rule that matches."""
    trigger = Trigger(match.pipeline, match.mode, match.tables, source, match.reason)
    found = match.callback
    if found is None:
        return trigger
    from celonis_refresh.runs.callbacks import Callback  # for few sources only

    return replace(trigger, callbacks=(Callback(found.url, found.format),))


def _log_errors(source: str, event_claims: Sequence[EventClaims]) -> list[UnusableConfiguration]:
    """Log, count and return the errors of rules that cannot be applied, once per request.

    So are callback addresses that are refused, which keep nothing from starting. If nothing starts, the first
    error of a rule is raised: after the rule is fixed, the sender's next attempt starts what it
    matches.
    """
    for why, pipeline in _refused_callbacks(event_claims).items():
        count("ConfigurationErrors", source=source)
        extra = {"why": why, "source": source, "pipeline": pipeline}
        logger.warning("a callback address is refused", extra=extra)
    errors: dict[tuple[str, str], UnusableConfiguration] = {}
    for found in (found for each in event_claims for found in _unusable(source, each)):
        errors.setdefault((found.pipeline, str(found.error)), found)
    for pipeline, why in errors:
        count("ConfigurationErrors", source=source)
        name = errors[pipeline, why].error.name
        extra = {"error": name, "why": why, "source": source, "pipeline": pipeline}
        logger.warning("a rule cannot be applied", extra=extra)
    return list(errors.values())


def _unusable(source: str, claims: EventClaims) -> Iterator[UnusableConfiguration]:
    """Yield the errors of an event, each with its pipeline."""
    pipelines = _pipelines_of_rules(claims.outcome)
    for error in claims.errors:
        pipeline = (
            pipelines[error.rule_index] if isinstance(error, RuleError) else getattr(error, "pipeline", "")
        )
        yield UnusableConfiguration(
            error, source, pipeline, _delivery_id(claims.outcome), _field_of(error, pipeline, pipelines)
        )


def _field_of(error: RefreshError, pipeline: str, pipelines: Mapping[int, str]) -> str:
    """Return the field of the first rule that names a pipeline which does not exist; "" for other errors."""
    if error.name != "UnknownPipeline":
        return ""
    return next(
        (f"rules.{index}.pipeline" for index in sorted(pipelines) if pipelines[index] == pipeline), ""
    )


def _pipelines_of_rules(outcome: RuleResults) -> dict[int, str]:
    return {match.rule_index: match.pipeline for match in (*outcome.matches, *outcome.invalid)}


def _delivery_id(outcome: RuleResults) -> str:
    """Return the id of an event as log lines show it; "" if it has none."""
    if outcome.event.delivery_id:
        return outcome.event.delivery_id[:MAX_LOGGED_ID]
    return "" if outcome.event.digest else _callback_id(outcome)


def _callback_id(outcome: RuleResults) -> str:
    """Return the id that a callback address gives an event; "" if it has none.

    Each attempt of the sender has a new address.
    """
    addresses = [match.callback.url for match in outcome.matches if match.callback is not None]
    if not addresses:
        return ""
    from celonis_refresh.runs.callbacks import address_digest  # for few sources only

    return f"callback:{address_digest(addresses[0])}"


def _refused_callbacks(event_claims: Sequence[EventClaims]) -> dict[str, str]:
    """Return why callback addresses are refused, each with the pipeline of its rule."""
    refused: dict[str, str] = {}
    for outcome in (each.outcome for each in event_claims):
        pipelines = _pipelines_of_rules(outcome)
        refused |= {str(error): pipelines[error.rule_index] for error in outcome.callback_errors}
    return refused


def _delivery_keys(source: str, outcome: RuleResults) -> list[str]:
    """Return the keys under which an event is accepted only once."""
    event = outcome.event
    keys = [webhook_key(source, event.delivery_id)] if event.delivery_id else []
    keys += [signed_key(source, event.digest)] if event.digest else []
    callback_id = "" if keys else _callback_id(outcome)
    return [webhook_key(source, callback_id)] if callback_id else keys


def _started_earlier(acceptances: Sequence[Acceptance]) -> dict[str, float]:
    """Return runs that earlier attempts of these deliveries started, and when; without new ones."""
    fresh = {run.run_id for each in acceptances for run in each.fresh}
    return {
        run.run_id: each.earlier[run.pipeline]
        for each in acceptances
        for run in each.results
        if run.pipeline in each.earlier and run.status == "started" and run.run_id not in fresh
    }


def _response_to(options: EventClaims, acceptance: Acceptance | None) -> dict[str, Any]:
    """Return the result of one event; ``acceptance`` is None if it starts nothing."""
    if acceptance is None:
        body: dict[str, Any] = {"status": "ignored", "reason": options.outcome.ignored or NOTHING_VALID}
    elif all(accepted.status == "skipped" for accepted in acceptance.results):
        body = {"status": "ignored", "reason": skip_reason(acceptance.results)}
    else:
        body = response_body(acceptance)
    found = (*options.errors, *options.outcome.callback_errors)
    errors = {"errors": [str(error) for error in found]} if found else {}
    return {"delivery": options.outcome.event.delivery_id, **body, **errors}


def _result(answer: Mapping[str, Any]) -> str:
    """Return what an event led to, as the metric names it."""
    if answer.get("duplicate"):
        return "duplicate"
    if "runs" not in answer:
        return "ignored"
    return "merged" if all(run["status"] != "started" for run in answer["runs"]) else "accepted"


MAX_LOGGED_IDS: Final = 10
MAX_LOGGED_ID: Final = 128
"""Characters of each id."""


def _delivery_log_keys(outcomes: Sequence[RuleResults]) -> dict[str, str]:
    """Return the ids of the deliveries of a request for its log lines, cut if they are many or long."""
    ids = [delivery_id for outcome in outcomes if (delivery_id := _delivery_id(outcome))]
    return {"delivery_id": " ".join(ids[:MAX_LOGGED_IDS])} if ids else {}


def _run_log_keys(acceptances: Sequence[Acceptance]) -> dict[str, str]:
    """Return the runs of accepted deliveries and their pipelines for log lines, cut if they are many."""
    results = [accepted for each in acceptances for accepted in each.results]
    runs = dict.fromkeys(accepted.run_id for accepted in results if accepted.run_id)
    pipelines = dict.fromkeys(accepted.pipeline for accepted in results)
    keys = {"run_id": runs, "pipeline": pipelines}
    return {key: " ".join(list(names)[:MAX_LOGGED_IDS]) for key, names in keys.items() if names}


def _reply(answers: list[dict[str, Any]]) -> Reply:
    """Return 202 if something was accepted now, else 200. Several events make a list."""
    fresh = any("runs" in each and not each.get("duplicate") for each in answers)
    return Reply(202 if fresh else 200, answers[0] if len(answers) == 1 else {"events": answers})

"""Handles a webhook: verify, match rules, claim, start the first job, start the execution.

A claimed delivery is accepted. What this function cannot do in time, the state machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct, field

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import count, logger
from celonis_refresh.runs.claims import Acceptance, Accepted, Delivery
from celonis_refresh.runs.errors import StepMoved
from celonis_refresh.runs.records import Records, Run, RunStatus
from celonis_refresh.runs.table import signed_key, webhook_key
from celonis_refresh.steps.start import UnsavedAnswer, start_claimed
from celonis_refresh.steps.step import StepContext, awaits_answer, release_first_job
from celonis_refresh.steps.target import ModelTables
from celonis_refresh.timing import Clock, Deadline
from celonis_refresh.webhooks.errors import Malformed, NotAuthentic
from celonis_refresh.webhooks.events import (
    Event,
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
) -> Received:
    """Verify a request and apply the rules of its source; parameters as for ``verification.verify``.

    A preflight is verified only if the token is in its URL. Raises ``NotAuthentic``, ``Malformed`` for a
    preflight and for a verified body, and for SNS what ``fetch`` raises.
    """
    sender = source.effective()
    if not isinstance(sender.scheme, UrlToken):
        answer = preflight(sender, request)
        if answer:
            return Received(None, answer)
    proof = _check_proof(sender.scheme, request, secrets, now, fetch)
    answer = preflight(sender, request)
    if answer:
        return Received(proof, answer)
    events = read_events(sender, request)
    answer = handshake(sender, request, events)
    if answer:
        return Received(proof, answer)
    check_expected(events, source.expect)
    return Received(proof, None, tuple(apply_rules(source, event) for event in events))


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
        seen = (source, tuple(secrets))
        if self._checked.get(source_name) == seen:
            return
        self._checked[source_name] = seen
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
RESUME_SECONDS: Final = 900.0
"""A delivery that is sent again within this time may find that its run has no execution yet."""


NOTHING_VALID: Final = "no pipeline that it matches can be started"


class EventClaims(NamedTuple):
    """The claims of one event. ``errors``: of rules that cannot be applied and of invalid pipelines."""

    outcome: RuleResults
    delivery: Delivery
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


class WebhookHandler(Struct, frozen=True):
    """Handles webhooks.

    ``source`` reads a source, ``secrets`` its secrets, and ``refreshed_secrets`` the current ones.
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

    def receive(self, source_name: str, request: WebhookRequest, time: RequestTime) -> Reply:
        """Return the response to a request. Raises errors of webhooks, configuration and table."""
        source = self.source(source_name)
        received = self._verify(source_name, source, request)
        if received.answer is not None:
            return self._immediate_reply(received.answer)
        answers = self._accept(source_name, received.outcomes, time)
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
            return receive(source, request, secrets, self.clock())
        except NotAuthentic:
            refreshed_secrets = self.refreshed_secrets(source.secret)
            if secret_problem(source.effective().scheme, refreshed_secrets[0]):
                count("ConfigurationErrors", source=source_name)  # no request can fit it
            if tuple(refreshed_secrets) == tuple(secrets):
                raise
            self.secret_log.check(source_name, source, refreshed_secrets)
            return receive(source, request, refreshed_secrets, self.clock())

    def _accept(
        self, source_name: str, outcomes: Sequence[RuleResults], time: RequestTime
    ) -> list[dict[str, Any]]:
        """Accept all events at once, start their runs, and return the result of each event."""
        by = time.for_claim()
        event_claims = [self._read_event(source_name, outcome) for outcome in outcomes]
        _report_errors(source_name, event_claims)
        deliveries = [each.delivery for each in event_claims if each.delivery.claims]
        acceptances = accept_batch(self.acceptor.claims, deliveries, by)
        self._start_runs(acceptances, time)
        for run_id, at in _started_earlier(acceptances).items():
            self._resume_run(run_id, at)
        queue = iter(acceptances)
        return [_response_to(each, next(queue) if each.delivery.claims else None) for each in event_claims]

    def _read_event(self, source: str, outcome: RuleResults) -> EventClaims:
        """Check an event against the definitions of its pipelines."""
        identities = _delivery_keys(source, outcome.event)
        triggers = [_trigger(source, match) for match in outcome.matches]
        invalid = [
            (_trigger(source, match), error)
            for match, error in zip(outcome.invalid, outcome.errors, strict=True)
        ]
        claims, errors = self.acceptor.valid_claims(triggers, identities, invalid)
        return EventClaims(outcome, Delivery(claims, identities), (*outcome.errors, *errors))

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


def _trigger(source: str, match: RuleMatch) -> Trigger:
    return Trigger(match.pipeline, match.mode, match.tables, source, match.reason)


def _report_errors(source: str, event_claims: Sequence[EventClaims]) -> None:
    """Log and count rules that cannot be applied, once per request; raise the first if nothing starts.

    After the rule is fixed, the sender's next attempt starts what it matches.
    """
    errors = {str(error): error for options in event_claims for error in options.errors}
    for why, error in errors.items():
        count("ConfigurationErrors", source=source)
        logger.warning("a rule cannot be applied", extra={"error": error.name, "why": why, "source": source})
    if errors and not any(options.delivery.claims for options in event_claims):
        raise next(iter(errors.values()))


def _delivery_keys(source: str, event: Event) -> list[str]:
    """Return the keys under which an event is accepted only once."""
    by_id = [webhook_key(source, event.delivery_id)] if event.delivery_id else []
    return by_id + ([signed_key(source, event.digest)] if event.digest else [])


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
        busy = ", ".join(f"{accepted.pipeline} with {accepted.run_id}" for accepted in acceptance.results)
        body = {"status": "ignored", "reason": f"skipped, because a run is running: {busy}"}
    else:
        body = response_body(acceptance)
    errors = {"errors": [str(error) for error in options.errors]} if options.errors else {}
    return {"delivery": options.outcome.event.delivery_id, **body, **errors}


def _reply(answers: list[dict[str, Any]]) -> Reply:
    """Return 202 if something was accepted now, else 200. Several events make a list."""
    fresh = any("runs" in each and not each.get("duplicate") for each in answers)
    return Reply(202 if fresh else 200, answers[0] if len(answers) == 1 else {"events": answers})

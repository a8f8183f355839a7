"""Accepts triggers: checks them against the definitions of pipelines, then starts or joins runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition, parse_inline
from celonis_refresh.pipelines.errors import InvalidInput, UnknownPipeline
from celonis_refresh.pipelines.options import (
    MAX_REASON_LENGTH,
    Reason,
    check_applicable,
    covering,
    make_options,
)
from celonis_refresh.pipelines.plan import make_plan
from celonis_refresh.runs.claims import Acceptance, Claim, Claims, Delivery, merge_claims
from celonis_refresh.runs.records import Run, data_from
from celonis_refresh.steps.retry import RetrySkips
from celonis_refresh.timing import Clock, Deadline, iso
from celonis_refresh.workflow.executions import Executions

FIRST_TRIGGER: Final = "; the first run was triggered by "
"""What precedes the first trigger in the reason of a retry."""

if TYPE_CHECKING:
    from celonis_refresh.runs.callbacks import Callback


class Trigger(Struct, frozen=True):
    """A request to run a pipeline. ``pipeline``: a name, or an inline definition.

    ``by``: the source, ``execution``, or the caller of the API; ``text``: the reason. ``callbacks``: where
    the result of the run is posted.
    """

    pipeline: str | Mapping[str, Any]
    mode: object = None
    tables: object = None
    by: str = ""
    text: str = ""
    callbacks: tuple[Callback, ...] = ()


class TriggerAcceptor(Struct, frozen=True):
    """Accepts triggers. ``definition``: reads a pipeline by name; ``new_id``: creates run ids."""

    claims: Claims
    definition: Callable[[str], Definition]
    new_id: Callable[[str], str]
    clock: Clock

    def accept(
        self,
        triggers: Sequence[Trigger],
        deliveries: Sequence[str],
        deadline: Deadline,
        run_id: str | None = None,
    ) -> Acceptance:
        """Accept all triggers at once. ``deliveries``: keys under which they are accepted only once.

        ``run_id``: of an execution that has no record yet. Raises ``InvalidTrigger``, ``InvalidDefinition``,
        ``UnknownPipeline``, ``PipelineBusy`` and ``TableBusy``; nothing is accepted then.
        """
        claims = [self._claim(trigger, number, deliveries, run_id) for number, trigger in enumerate(triggers)]
        return self.claims.accept(merge_claims(claims), deliveries, deadline)

    def valid_claims(
        self,
        triggers: Sequence[Trigger],
        deliveries: Sequence[str],
        invalid: Sequence[tuple[Trigger, RefreshError]] = (),
    ) -> tuple[list[Claim], list[RefreshError]]:
        """Return claims of valid triggers by pipeline, and the errors of the others.

        ``invalid``: triggers that are known to be invalid, and why. They start nothing, but a run that
        another trigger of the same event starts covers them.
        """
        claims: list[Claim] = []
        errors: list[RefreshError] = []
        invalid = list(invalid)
        for number, trigger in enumerate(triggers):
            try:
                claims.append(self._claim(trigger, number, deliveries, None))
            except (UnknownPipeline, InvalidInput) as error:
                errors.append(error)
                invalid.append((trigger, error))
        return [_covering(claim, invalid) for claim in merge_claims(claims)], errors

    def accept_retry(
        self,
        run: Run,
        definition: Definition,
        skips: RetrySkips,
        caller: str,
        deliveries: Sequence[str],
        deadline: Deadline,
    ) -> Acceptance:
        """Claim a run that does what ``run`` did not complete, with the current ``definition``.

        ``skips``: what it skips. Raises ``PipelineBusy`` and ``PipelinePaused``, because a follow-up run
        would not skip it.
        """
        reason = Reason(iso(self.clock()), deliveries[0], caller, _retry_reason(run))
        jobs = make_plan(definition, run.options, skips.skip).jobs
        claim = Claim(
            pipeline=run.pipeline,
            options=replace(run.options, reasons=(reason,)),
            run_id=self.new_id(run.pipeline),
            follow_up_id=self.new_id(run.pipeline),
            definition=definition,
            job=jobs[0].job if jobs else None,
            may_join=False,
            skip=skips.skip,
            retry={"retry_of": run.run_id}
            | ({"skip_since": skips.since, "data_from": data_from(run.item)} if skips.since else {}),
        )
        return self.claims.accept([claim], deliveries, deadline)

    def _claim(self, trigger: Trigger, number: int, deliveries: Sequence[str], run_id: str | None) -> Claim:
        definition, name = self._definition(trigger)
        at = iso(self.clock())
        identity = deliveries[0] if deliveries else self.new_id("trigger")
        reason = Reason(at, f"{identity}#{number}", trigger.by, trigger.text[:MAX_REASON_LENGTH])
        options = make_options(trigger.mode, trigger.tables, [reason])
        check_applicable(name, definition, options)
        jobs = make_plan(definition, options).jobs
        return Claim(
            pipeline=name,
            options=options,
            run_id=run_id or self.new_id(name),
            follow_up_id=self.new_id(name),
            definition=definition,
            job=jobs[0].job if jobs else None,
            may_join=isinstance(trigger.pipeline, str),
            is_execution=run_id is not None,
            callbacks=trigger.callbacks,
        )

    def _definition(self, trigger: Trigger) -> tuple[Definition, str]:
        if isinstance(trigger.pipeline, str):
            return self.definition(trigger.pipeline), trigger.pipeline
        inline = parse_inline(trigger.pipeline)
        return replace(inline, paused=inline.paused or self._is_paused(inline.name)), inline.name

    def _is_paused(self, name: str) -> bool:
        """Return whether a pipeline of that name is paused; this applies to inline definitions too."""
        try:
            return self.definition(name).paused
        except (UnknownPipeline, InvalidInput):
            return False


def _covering(claim: Claim, invalid: Sequence[tuple[Trigger, RefreshError]]) -> Claim:
    """Return the claim with options that cover everything that invalid triggers of its pipeline may mean."""
    for trigger, error in invalid:
        if trigger.pipeline == claim.pipeline:
            warning = f"{error.message} The run covers everything that this trigger may have requested."
            wider = covering(claim.pipeline, claim.definition, trigger.mode, trigger.tables, warning)
            callbacks = tuple(dict.fromkeys(claim.callbacks + trigger.callbacks))
            claim = replace(claim, options=claim.options.join(wider), callbacks=callbacks)
    return claim


def response_body(acceptance: Acceptance) -> dict[str, Any]:
    """Return ``{"runs": [{"pipeline", "run_id", "status"}]}``, with ``"duplicate": True`` if none is new."""
    runs = [
        {
            "pipeline": accepted.pipeline,
            "run_id": accepted.run_id,
            "status": "duplicate" if accepted.pipeline in acceptance.earlier else accepted.status,
        }
        for accepted in acceptance.results
    ]
    return {"runs": runs} | ({"duplicate": True} if acceptance.duplicate else {})


def accept_batch(claims: Claims, deliveries: Sequence[Delivery], deadline: Deadline) -> list[Acceptance]:
    """Return the results of deliveries in their order; each delivery claims something.

    Raises what ``Claims.accept_batch`` raises; nothing was accepted then.
    """
    if not deliveries:
        return []
    firsts = _firsts(deliveries)
    groups = {
        first: _merged([each for number, each in enumerate(deliveries) if firsts[number] == first])
        for first in dict.fromkeys(firsts)
    }
    accepted = dict(zip(groups, claims.accept_batch(list(groups.values()), deadline), strict=True))
    try:
        claims.finish(accepted.values(), deadline)
    except RefreshError as error:
        logger.warning("deliveries were not recorded; the next claim records them", extra={"why": str(error)})
    claimed: dict[int, set[str]] = {first: set() for first in groups}
    parts = []
    for first, delivery in zip(firsts, deliveries, strict=True):
        parts.append(_part(accepted[first], delivery, claimed[first], claims.clock()))
        claimed[first] |= {claim.pipeline for claim in delivery.claims}
    return parts


def _firsts(deliveries: Sequence[Delivery]) -> list[int]:
    """Return for each delivery the index of the first one with one of its keys."""
    first_by_key: dict[str, int] = {}
    firsts = []
    for number, each in enumerate(deliveries):
        first = next((first_by_key[key] for key in each.keys if key in first_by_key), number)
        first_by_key |= dict.fromkeys(each.keys, first)
        firsts.append(first)
    return firsts


def _merged(same: Sequence[Delivery]) -> Delivery:
    """Return one delivery for repeated ones; the first claim of a pipeline counts."""
    claims: dict[str, Claim] = {}
    for claim in (claim for delivery in same for claim in delivery.claims):
        claims.setdefault(claim.pipeline, claim)
    keys = list(dict.fromkeys(key for each in same for key in each.keys))
    return Delivery(list(claims.values()), keys, same[0].event)


def _part(acceptance: Acceptance, delivery: Delivery, claimed: set[str], now: float) -> Acceptance:
    """Return the results for the delivery's pipelines. ``claimed``: by the same delivery before."""
    named = {claim.pipeline for claim in delivery.claims}
    results = tuple(each for each in acceptance.results if each.pipeline in named)
    accepted = {each.pipeline for each in results if each.status != "skipped"}
    earlier = {name: at for name, at in acceptance.earlier.items() if name in named}
    repeated = dict.fromkeys(sorted(claimed & accepted), now)
    return replace(acceptance, results=results, earlier={**repeated, **earlier})


def start_execution_of(executions: Executions, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
    """Start the execution of a run; return False if it may not have got ``answer``.

    The run is accepted already, so errors are logged, and reconcile starts the execution.
    """
    try:
        return executions.start(run_id, answer)
    except Exception:  # noqa: BLE001 - the claim is written, so nothing is lost
        logger.exception("the execution was not started; reconcile starts it", extra={"run_id": run_id})
        return False


def _retry_reason(run: Run) -> str:
    """Return the reason of a retry, with the first trigger of the run, or of the run that it retried."""
    first = min(run.options.reasons, default=None)
    if first is None:
        return f"retry of {run.run_id}"
    origin = first.text.partition(FIRST_TRIGGER)[2] or f"{first.by}: {first.text}".rstrip(": ")
    return f"retry of {run.run_id}{FIRST_TRIGGER}{origin}"[:MAX_REASON_LENGTH]

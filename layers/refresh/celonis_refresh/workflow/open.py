"""Opens runs: accepts the input of an execution, and resolves the tables of the run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

from msgspec import Meta, Struct

from celonis_refresh.celonis.errors import CelonisThrottled, CelonisUnavailable
from celonis_refresh.errors import Problem, RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.pipelines.errors import InvalidTrigger
from celonis_refresh.runs.records import Records, Run, RunStatus, definition_text, due_at_opening
from celonis_refresh.runs.table import delivery_key, occurrence_key
from celonis_refresh.steps.step import Step, StepContext, awaits_answer, release_first_job
from celonis_refresh.steps.target import ModelTables
from celonis_refresh.timing import Clock, Deadline, iso
from celonis_refresh.validation.convert import convert
from celonis_refresh.workflow.accept import Trigger, TriggerAcceptor

INPUT = "The input of the execution"
_refused = partial(InvalidTrigger, INPUT)


class RunReference(NamedTuple):
    """The run of an input; ``status``: the result if that is not the run of the execution."""

    run_id: str
    status: Literal["joined", "skipped"]


class PlannedStep(TypedDict):
    """A step for the Maps of the state machine. ``timeout``: seconds; ``stage``: of a job."""

    step: str
    timeout: int
    stage: NotRequired[int]


class Opened(TypedDict):
    """The result of open_run. ``waiting``: call it again in ``wait`` seconds."""

    status: Literal["opened", "waiting", "joined", "skipped"]
    run_id: str
    jobs: list[PlannedStep]
    loads: list[PlannedStep]
    wait: int


class ExecutionContext(NamedTuple):
    """ARN and name of the execution."""

    id: str
    name: str


class _StartAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to the start of a step that the trigger sent."""

    step: Annotated[str, Meta(min_length=1, max_length=20)]
    sent_by: float
    posts: int = 1
    answered_id: Annotated[str, Meta(max_length=256)] | None = None
    answered_by: int | None = None

    def facts(self) -> dict[str, Any]:
        facts = {"answered_id": self.answered_id, "answered_by": self.answered_by}
        return {"answered": True, "sent_by": self.sent_by} | {
            name: value for name, value in facts.items() if value is not None
        }


class _ExistingRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of a run that has a record."""

    run_id: Annotated[str, Meta(min_length=1, max_length=80)]
    answer: _StartAnswer | None = None


def _answer(document: object) -> _StartAnswer | None:
    if isinstance(document, Mapping) and "run_id" in document:
        return convert(_ExistingRun, document, _refused).answer
    return None


class _NewRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of a scheduled or manual execution. ``pipeline``: a name, or an inline definition."""

    pipeline: Annotated[
        str | dict[str, Any],
        Meta(description="the name of a pipeline, or a definition with a name"),
    ]
    mode: Any = None
    tables: Any = None
    reason: Annotated[str, Meta(max_length=256)] = ""
    delivery: Annotated[str, Meta(max_length=1024)] = ""


class RunOpener(Struct, frozen=True):
    """Opens runs."""

    context: StepContext
    acceptor: TriggerAcceptor
    tables: ModelTables
    clock: Clock

    @property
    def records(self) -> Records:
        return self.context.records

    def open(self, document: object, execution: ExecutionContext, deadline: Deadline) -> Opened:
        """Open the run of the execution; a repeated call returns the same.

        Waits while Celonis is unavailable, until the timeout of the first step. Raises ``InvalidTrigger``,
        ``InvalidDefinition``, ``UnknownPipeline``, ``PipelineBusy``, ``UnknownTable``, ``RunTooLarge``,
        ``RunClosed``, the timeout of the first step, and other errors of the request for tables.
        """
        run_id, status = self._run_id(document, execution, deadline)
        if run_id != execution.name:
            return _nothing_opened(status, run_id)
        run = self.records.get_open(run_id)
        logger.append_keys(**run.log_keys)
        run = self._running(run, execution, _answer(document), deadline)
        try:
            run = self._with_loads(run, deadline)
        except (CelonisUnavailable, CelonisThrottled) as error:
            first = run.plan.jobs[0].step if run.plan.jobs else run.plan.loads[0].step
            wait = Step(self.context, run, first, deadline).wait_for_celonis(error)["wait"]
            return _nothing_opened("waiting", run_id, wait)
        plan = run.plan
        return {
            "status": "opened",
            "run_id": run_id,
            "jobs": [{"step": job.step, "timeout": job.timeout, "stage": job.stage} for job in plan.jobs],
            "loads": [{"step": load.step, "timeout": load.timeout} for load in plan.loads],
            "wait": 0,
        }

    def _run_id(self, document: object, execution: ExecutionContext, deadline: Deadline) -> RunReference:
        if isinstance(document, Mapping) and "run_id" in document:
            run_id = convert(_ExistingRun, document, _refused).run_id
            if run_id != execution.name:
                raise InvalidTrigger(INPUT, [Problem("run_id", "must be the name of the execution")])
            return RunReference(run_id, "joined")
        start = convert(_NewRun, document, _refused)
        trigger = Trigger(
            pipeline=start.pipeline,
            mode=start.mode,
            tables=start.tables,
            by="execution",
            text=start.reason,
        )
        if isinstance(start.pipeline, str):
            logger.append_keys(pipeline=start.pipeline)
        deliveries = [delivery_key("execution", execution.name)]
        if start.delivery:
            name = start.pipeline if isinstance(start.pipeline, str) else str(start.pipeline.get("name"))
            deliveries.append(occurrence_key(name, start.delivery))
        acceptance = self.acceptor.accept([trigger], deliveries, deadline, run_id=execution.name)
        accepted = acceptance.results[0]
        return RunReference(accepted.run_id, "skipped" if accepted.status == "skipped" else "joined")

    def _running(
        self, run: Run, execution: ExecutionContext, answer: _StartAnswer | None, deadline: Deadline
    ) -> Run:
        """Record the execution, and the definition of a run that was pending."""
        facts: dict[str, Any] = {"status": RunStatus.RUNNING, "execution_arn": execution.id}
        if run.status is RunStatus.OPENING:
            facts["started_at"] = iso(self.clock())
        once: dict[str, Any] = {}
        if not run.has_definition:
            once["definition"] = definition_text(self.acceptor.definition(run.pipeline))
        facts |= self._announced(Run({**once, **run.item, **facts}), deadline)
        return self._saved(run, facts, once, answer, deadline)

    def _announced(self, run: Run, deadline: Deadline) -> dict[str, Any]:
        """Send the events that are due, and return the fact that records them.

        They are sent before the record is written, which saves a write: the execution has started anyway.
        """
        due = due_at_opening(run)
        if not due or not self.context.announce(run, due, deadline):
            return {}
        return {"announced": [*run.item.get("announced", ()), *due]}

    def _with_loads(self, run: Run, deadline: Deadline) -> Run:
        """Return the run with resolved tables, which are written once."""
        if run.loads is not None:
            return run
        return self.records.set_facts(run, {}, deadline, self._resolved(run, deadline))

    def _resolved(self, run: Run, deadline: Deadline) -> dict[str, Any]:
        """Return the facts of :meth:`ModelTables.resolved`; release the first job's leases on an error."""
        try:
            return self.tables.resolved(run, deadline)
        except (CelonisUnavailable, CelonisThrottled):
            raise  # the first step waits and releases its leases
        except RefreshError:
            release_first_job(self.records, self.context.leases, run, deadline)
            raise

    def _saved(
        self,
        run: Run,
        facts: dict[str, Any],
        once: dict[str, Any],
        answer: _StartAnswer | None,
        deadline: Deadline,
    ) -> Run:
        """Write ``facts``, ``once`` where it is not set, and the answer to a start of the trigger."""
        state = run.steps.get(answer.step) if answer else None
        if answer is None or state is None or not awaits_answer(state, answer.posts):
            return self.records.set_facts(run, facts, deadline, once)
        return self.records.save_step(run, answer.step, {**state, **answer.facts()}, deadline, facts | once)


def _nothing_opened(status: Literal["waiting", "joined", "skipped"], run_id: str, wait: int = 0) -> Opened:
    return {"status": status, "run_id": run_id, "jobs": [], "loads": [], "wait": wait}

"""The record of a run: its options and definition, the state of its steps, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from math import inf
from typing import Any

from msgspec import Struct

from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition, InlineDefinition, read_definition
from celonis_refresh.pipelines.options import Reason, RunOptions
from celonis_refresh.pipelines.plan import Plan, make_plan
from celonis_refresh.runs.errors import CLOSING, RunClosed, RunNotFound, StaleBaseline, StepMoved
from celonis_refresh.runs.table import (
    MAX_RUN_ID,
    Action,
    ConditionFailed,
    Table,
    as_read,
    run_key,
    webhook_key,
)
from celonis_refresh.timing import Clock, Deadline
from celonis_refresh.validation.convert import to_json

MAX_ITEM = 400 * 1024
JOB_BYTES, LOAD_BYTES = 8 * 1024, 5 * 1024
"""Maximum size of the state of one step; a job's baseline has the ids of a list."""
END_BYTES = 16 * 1024
"""Maximum bytes that opening and closing add to the record of a run."""
MAX_OUTCOME = 8 * 1024
MAX_SENTENCE = 4 * 1024
"""Maximum of the error message in an outcome; the findings of closing follow it."""
MAX_ERROR = 256
MAX_WARNING = 768
"""Maximum of each warning of a run; there are fewer than ten."""


class RunTooLarge(RefreshError):
    """The record of a run would have no room for its steps and its end. Sizes in bytes."""

    def __init__(self, run_id: str, size: int, limit: int) -> None:
        self.run_id = run_id
        self.size = size
        self.limit = limit
        super().__init__(
            f"The definition, options and tables of run {run_id} take {size} bytes of its record, which "
            f"has room for {limit} beside the steps.",
            hint="Name fewer tables, load the models completely, or split the pipeline. Nothing was started.",
        )


class _Bounds(Struct, frozen=True):
    """Limits of a step's state: bytes of ``message``, ``note`` and ``picture``; number of ``ids`` per set."""

    message: int
    note: int
    ids: int
    picture: int


BOUNDS = (_Bounds(2048, 512, 10, 1024), _Bounds(384, 80, 3, 0))
"""Limits of a step's state; the second for a state with long ids or texts everywhere."""
NOTES = ("last_error", "waiting_for", "rejected", "hint")


def item_size(document: Mapping[str, Any]) -> int:
    """Return the bytes that DynamoDB counts for an item of these JSON values."""
    return sum(_bytes(name) + size_of(value) for name, value in document.items())


def size_of(value: Any) -> int:
    """Return the bytes that DynamoDB counts for one JSON value."""
    match value:
        case bool() | None:
            return 1
        case str():
            return _bytes(value)
        case int() | float():
            return len(repr(value)) // 2 + 2  # upper bound: leading and trailing zeros do not count
        case Mapping():
            return 3 + sum(1 + _bytes(name) + size_of(inner) for name, inner in value.items())
    return 3 + sum(1 + size_of(inner) for inner in value)


def cut(text: str, limit: int) -> str:
    """Return the text, cut to ``limit`` bytes with an ellipsis."""
    if _bytes(text) <= limit:
        return text
    return text.encode(errors="replace")[: max(0, limit - 3)].decode(errors="ignore") + "…"


def room_for_opening(steps: Iterable[str]) -> int:
    """Return the bytes that a record with these steps may have when it opens."""
    return MAX_ITEM - END_BYTES - sum(_name_and(step_bytes(step), step) for step in steps)


def step_bytes(step: str) -> int:
    """Return the bytes that the state of a step may take."""
    return JOB_BYTES if step.startswith("job-") else LOAD_BYTES


def fit_step(step: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a step within its limit, with shorter texts and fewer ids.

    Everything else that comes from Celonis is limited where it is parsed.
    """
    fitted: dict[str, Any] = {}
    for bounds in BOUNDS:
        fitted = _fitted(state, bounds)
        if size_of(fitted) <= step_bytes(step):
            break
    return fitted


def _fitted(state: Mapping[str, Any], bounds: _Bounds) -> dict[str, Any]:
    fitted = dict(state)
    for name in ("message", *NOTES):
        if isinstance(fitted.get(name), str):
            fitted[name] = cut(fitted[name], bounds.note if name in NOTES else bounds.message)
    if "evidence" in fitted:
        fitted["evidence"] = _fitted_evidence(fitted["evidence"], state.get("answered_id"), bounds)
    if not bounds.picture:
        fitted.pop("poll_seconds", None)
    if "busy" in fitted:
        fitted["busy"] = {**fitted["busy"], "ids": fitted["busy"]["ids"][: bounds.ids]}
    return fitted


def _fitted_evidence(evidence: Mapping[str, Any], answered: str | None, bounds: _Bounds) -> dict[str, Any]:
    """Return the evidence with fewer ids: ours, the answered one, and a few others.

    Only whether there are several others matters. A picture (``same``) that is too long is dropped.
    """
    kept = {evidence.get("ours"), answered}
    fitted = {
        name: _some(value, kept, bounds.ids) if isinstance(value, list) else value
        for name, value in evidence.items()
    }
    is_long = _bytes(str(fitted.get("same", ""))) > bounds.picture
    return {**fitted, "same": ""} if is_long else fitted


def _some(ids: Collection[str], kept: Collection[str | None], limit: int) -> list[str]:
    """Return at most ``limit`` ids, including those of ``kept``."""
    return sorted(sorted(ids, key=lambda id_: (id_ not in kept, id_))[:limit])


def _name_and(size: int, name: str) -> int:
    return 1 + _bytes(name) + size


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


class RunStatus(StrEnum):
    """``OPENING``: claimed, its execution has not opened it yet. The last four are final."""

    OPENING = "OPENING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"


OPEN = frozenset({RunStatus.OPENING, RunStatus.RUNNING})
IS_OPEN = "#status IN (:opening, :running)"
OPEN_VALUES: Mapping[str, str] = {"opening": RunStatus.OPENING, "running": RunStatus.RUNNING}
MAY_CONTINUE = f"{IS_OPEN} AND attribute_not_exists(#closing)"
"""Condition of every write of a task: nothing is started once the run is being closed."""


class Run(Struct, frozen=True, dict=True):
    """One run as stored. ``item``: the whole record as JSON values."""

    item: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        return str(self.item["run_id"])

    @property
    def pipeline(self) -> str:
        return str(self.item["pipeline"])

    @property
    def status(self) -> RunStatus:
        return RunStatus(self.item["status"])

    @property
    def log_keys(self) -> dict[str, str]:
        """Ids for log lines: the run, its pipeline, and its first trigger."""
        keys = {"run_id": self.run_id, "pipeline": self.pipeline}
        reasons = self.options.reasons
        if reasons:
            first = min(reasons)
            keys |= {"source": first.by, "delivery_id": delivery_of(first)}
        return keys

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_closing(self) -> bool:
        """Whether the run is being closed: it is open until its end is written, but starts nothing."""
        return self.is_open and "closing" in self.item

    @property
    def steps(self) -> Mapping[str, Mapping[str, Any]]:
        """The states of the steps by name."""
        steps: Mapping[str, Mapping[str, Any]] = self.item.get("steps", {})
        return steps

    @property
    def loads(self) -> Mapping[str, Mapping[str, Any]] | None:
        """The resolved loads by step (``{"kind", "tables"}``); None before they are resolved."""
        return self.item.get("loads")

    @property
    def warnings(self) -> Sequence[str]:
        """Warnings about options that were changed or ignored."""
        warnings: Sequence[str] = self.item.get("warnings", ())
        return warnings

    @property
    def has_definition(self) -> bool:
        return "definition" in self.item

    @cached_property
    def options(self) -> RunOptions:
        return RunOptions.from_json(self.item["options"])

    @cached_property
    def definition(self) -> Definition:
        """The definition with which the run opened."""
        document = json.loads(self.item["definition"])
        model = InlineDefinition if "name" in document else Definition
        return read_definition(f"The definition in the record of run {self.run_id}", model, document)

    @cached_property
    def plan(self) -> Plan:
        return make_plan(self.definition, self.options, self.item.get("skip", ()))


def delivery_of(reason: Reason) -> str:
    """Return the id of the delivery as its sender names it; the stored key if it has another form."""
    key = reason.trigger.rpartition("#")[0]
    return key.removeprefix(webhook_key(reason.by, ""))


def new_record(
    run_id: str,
    pipeline: str,
    options: RunOptions,
    at: str,
    definition: Definition | None = None,
    skip: Sequence[str] = (),
    retry: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record of a run that was claimed at ``at``.

    ``retry``: ``retry_of``, ``skip_since`` and ``data_from`` of a retry.
    """
    record: dict[str, Any] = {
        "pk": run_key(run_id),
        "run_id": run_id,
        "pipeline": pipeline,
        "status": RunStatus.OPENING,
        "created_at": at,
        "position": f"{at} {run_id}",
        "options": options.to_json(),
        "steps": {},
    }
    record |= {"definition": definition_text(definition)} if definition else {}
    record |= retry or {}
    return record | ({"skip": list(skip)} if skip else {})


def data_from(record: Mapping[str, Any]) -> str:
    """Return the age of a run's data: when its first job or load started (ISO 8601).

    A webhook starts the first job before the execution opens the run. A retry that skips steps has data of
    the run that it retries.
    """
    began = str(record.get("started_at", record["created_at"]))
    starts = [str(state["noted_at"]) for state in record.get("steps", {}).values() if "noted_at" in state]
    return min([began, *starts, *([str(record["data_from"])] if "data_from" in record else [])])


def definition_text(definition: Definition) -> str:
    return to_json(definition)


def not_open(run_id: str, record: Mapping[str, Any] | None) -> RunClosed | RunNotFound:
    """Return the reason why a write for a run was rejected, from its stored record."""
    if not record:
        return RunNotFound(run_id)
    return RunClosed(run_id, CLOSING if Run(record).is_closing else str(record["status"]))


def check_open(run: Run) -> None:
    """Raise ``RunClosed`` for a run that has ended."""
    if not run.is_open:
        raise RunClosed(run.run_id, run.status)


States = Mapping[str, Mapping[str, Any]]
"""States of steps by name."""

STARTED, ENDED = "started", "ended"
"""Names of the events of a run; ``{step}/started`` and ``{step}/ended`` are those of a step."""


def due_of_step(run: Run, step: str, state: Mapping[str, Any]) -> list[str]:
    """Return the names of the events of a step in this state that were not sent yet.

    ``announced`` of a step is the last event that was sent; of a run, the names that its opening sent.
    """
    announced = state.get("announced")
    if announced == ENDED:
        return []
    is_known = announced == STARTED or f"{step}/{STARTED}" in run.item.get("announced", ())
    is_started = "sent_by" in state and not state.get("refused")
    due = [f"{step}/{STARTED}"] if is_started and not is_known else []
    return due + ([f"{step}/{ENDED}"] if "ended_at" in state else [])


def due_at_opening(run: Run) -> list[str]:
    """Return the names of the events that are due when a run opens: its start, and those of started steps."""
    due = [] if STARTED in run.item.get("announced", ()) else [STARTED]
    for step, state in run.steps.items():
        due += [name for name in due_of_step(run, step, state) if name.endswith(STARTED)]
    return due


Announce = Callable[["Run", Sequence[str], Deadline], bool]
"""Sends events of a run by name; returns whether all were sent. Raises nothing; takes two seconds at most."""


def announce_nothing(run: Run, names: Sequence[str], deadline: Deadline) -> bool:  # noqa: ARG001
    """Send nothing: the events stay due."""
    return False


class StepWrite(Struct, frozen=True):
    """A write or a condition on a step, for a transaction. ``run``: the run after the write."""

    step: str
    action: Action
    run: Run

    def refusal(self, item: Mapping[str, Any]) -> RunClosed | RunNotFound | StepMoved:
        """Return the error for the record that rejected it."""
        if not item or not Run(item).is_open or Run(item).is_closing:
            return not_open(self.run.run_id, item)
        return StepMoved(self.run.run_id, self.step)

    def is_in(self, item: Mapping[str, Any]) -> bool:
        """Return whether the record has this state of the step and the run may continue."""
        is_open = isinstance(self.refusal(item), StepMoved)
        return is_open and Run(item).steps.get(self.step) == as_read(self.run.steps[self.step])


class Records(Struct, frozen=True):
    """Reads and changes records of runs. Changes require that the run is open and not being closed."""

    table: Table
    clock: Clock

    def find(self, run_id: str) -> Run | None:
        """Return the run, or None. An expired record counts as absent."""
        item = self.table.get(run_key(run_id)) if len(run_id) <= MAX_RUN_ID else None
        return Run(item) if item and item.get("expires", inf) >= int(self.clock()) else None

    def get(self, run_id: str) -> Run:
        """Return the run. Raises ``RunNotFound``."""
        run = self.find(run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    def get_open(self, run_id: str) -> Run:
        """Return an open run. Raises ``RunNotFound``, ``RunClosed``."""
        run = self.get(run_id)
        check_open(run)
        return run

    def set_facts(
        self, run: Run, facts: Mapping[str, Any], deadline: Deadline, once: Mapping[str, Any] | None = None
    ) -> Run:
        """Set attributes of an open run, each of ``once`` only if it is not set; return the stored run.

        Raises ``RunClosed``, ``RunNotFound``.
        """
        sets = [f"#{name} = :{name}" for name in facts]
        sets += [f"#{name} = if_not_exists(#{name}, :{name})" for name in once or ()]
        values = {**OPEN_VALUES, **facts, **(once or {})}
        action = self.table.change(run_key(run.run_id), f"SET {', '.join(sets)}", MAY_CONTINUE, values)
        try:
            return Run(self.table.changed(action, deadline))
        except ConditionFailed as refused:
            raise not_open(run.run_id, refused.items[0]) from None

    def begin_closing(self, run: Run, at: str, deadline: Deadline) -> Run:
        """Mark the run as being closed and return it: from now on no task changes its steps.

        If it is marked already, the mark stays. Raises as :meth:`set_facts` does.
        """
        expression = "SET #closing = if_not_exists(#closing, :at)"
        action = self.table.change(run_key(run.run_id), expression, IS_OPEN, {**OPEN_VALUES, "at": at})
        try:
            return Run(self.table.changed(action, deadline))
        except ConditionFailed as refused:
            raise not_open(run.run_id, refused.items[0]) from None

    def save_step(
        self,
        run: Run,
        step: str,
        state: Mapping[str, Any],
        deadline: Deadline,
        facts: Mapping[str, Any] | None = None,
        check: Action | None = None,
        also: States | None = None,
    ) -> Run:
        """Write the state of a step and ``facts``, if the step has not changed since ``run`` was read.

        ``check``: a condition on another item; if it fails, ``StaleBaseline`` is raised. ``also``: as in
        :meth:`step_write`. Raises ``StepMoved``, ``RunClosed``, ``RunNotFound`` as well.
        """
        write = self.step_write(run, step, state, facts, also)
        try:
            if check is None:
                self.table.update(write.action, deadline)
            else:
                self.table.transact([write.action, check], deadline)
        except ConditionFailed as refused:
            item = refused.items[0]
            if item is None:
                raise StaleBaseline(run.run_id, step) from None
            # A retried write may have been rejected because its first try was applied.
            if not refused.retried or not write.is_in(item):
                raise write.refusal(item) from None
        return write.run

    def step_write(
        self,
        run: Run,
        step: str,
        state: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        also: States | None = None,
    ) -> StepWrite:
        """Return the write of the state of a step and ``facts``, for a transaction.

        ``also``: states of further steps. Nothing is written if any of these steps has changed since ``run``
        was read.
        """
        facts, states = facts or {}, {step: state, **(also or {})}
        saved = {
            name: {**fit_step(name, each), "rev": _revision(run, name) + 1} for name, each in states.items()
        }
        condition, values, names = _unmoved(run, list(saved))
        sets = [f"#steps.#step{number} = :saved{number}" for number in range(len(saved))]
        sets += [f"#{name} = :{name}" for name in facts]
        values |= {**facts, **{f"saved{number}": each for number, each in enumerate(saved.values())}}
        action = self.table.change(run_key(run.run_id), f"SET {', '.join(sets)}", condition, values, names)
        return StepWrite(step, action, Run({**run.item, **facts, "steps": {**run.steps, **saved}}))

    def set_announced(self, run: Run, step: str, deadline: Deadline) -> None:
        """Record that the end of a step was announced. Raises ``TableBusy``, ``ConditionFailed``."""
        expression, condition = (
            "SET #steps.#step.#announced = :ended",
            "attribute_exists(#steps.#step.#ended_at)",
        )
        action = self.table.change(
            run_key(run.run_id), expression, condition, {"ended": ENDED}, {"step": step}
        )
        self.table.update(action, deadline)

    def step_check(self, run: Run, step: str) -> StepWrite:
        """Return the condition that the run may continue and the step has not changed."""
        condition, values, names = _unmoved(run, [step])
        return StepWrite(step, self.table.check(run_key(run.run_id), condition, values, names), run)


def _revision(run: Run, step: str) -> int:
    return int(run.steps.get(step, {}).get("rev", 0))


def _unmoved(run: Run, steps: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return the condition that the run may continue and the steps have not changed, values and names."""
    values: dict[str, Any] = dict(OPEN_VALUES)
    parts = [MAY_CONTINUE]
    for number, step in enumerate(steps):
        if revision := _revision(run, step):
            parts.append(f"#steps.#step{number}.#rev = :rev{number}")
            values[f"rev{number}"] = revision
        else:
            parts.append(f"attribute_not_exists(#steps.#step{number})")
    return " AND ".join(parts), values, {f"step{number}": step for number, step in enumerate(steps)}


def created_at(slot: Mapping[str, Any], at: str) -> str:
    """Return when a run in a free slot is created: now, or at the end of the previous run if later.

    Clocks of functions differ, and a repeated attempt has the time of its first try.
    """
    return max(at, str(slot.get("released_at", "")))

"""The tables of data models: asked for when a run opens, and kept a while where speed counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct, field

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.pipelines.definition import Definition, LoadKind
from celonis_refresh.pipelines.options import inapplicable
from celonis_refresh.pipelines.plan import resolve
from celonis_refresh.runs.records import MAX_WARNING, Run, RunTooLarge, cut, item_size, room_for_opening
from celonis_refresh.timing import Clock, Deadline

KEPT_SECONDS = 300.0
ALL: Final[dict[str, Any]] = {"kind": LoadKind.COMPLETE.value, "tables": {}}
TOO_MANY = "The tables of the merged triggers do not fit into one record: all tables are loaded."


class ModelTables(Struct):
    """Asks Celonis for a model's tables. ``seconds``: how long an answer serves; 0 asks every time."""

    client_for: Callable[[Definition], CelonisClient]
    clock: Clock
    seconds: float = 0.0
    _kept: dict[tuple[str, str, str], tuple[float, Sequence[ModelTable]]] = field(default_factory=dict)

    def resolved(self, run: Run, deadline: Deadline) -> dict[str, Any]:
        """The facts for the run's record: ``loads`` by step, with the ids of their tables, and ``warnings``
        about options that are not valid or not used. Celonis is asked only where names are.

        Raises ``UnknownTable``, ``RunTooLarge`` and what the client raises.
        """
        models = {load.data_model for load in run.plan.loads if load.names_tables}
        tables = {model: self._tables(run.definition, model, deadline) for model in sorted(models)}
        found = resolve(run.plan, tables)
        loads = {
            step: {"kind": load.kind.value, "tables": dict(load.tables)} for step, load in found.loads.items()
        }
        warnings = [*run.options.warnings, *_unused(run), *found.warnings]
        if run.options.merged and _excess(run, loads):
            loads |= {
                load.step: ALL for load in run.plan.loads if load.requested and load.started_by == "run"
            }
            warnings.append(TOO_MANY)
        if excess := _excess(run, loads):
            raise excess
        warnings = [cut(text, MAX_WARNING) for text in warnings]
        return {"loads": loads} | ({"warnings": warnings} if warnings else {})

    def _tables(self, definition: Definition, model: str, deadline: Deadline) -> Sequence[ModelTable]:
        key = (definition.connection, definition.data_pool_id, model)
        at, tables = self._kept.get(key, (0.0, ()))
        if self.clock() - at < self.seconds:
            return tables
        client = self.client_for(definition)
        tables = client.tables(definition.data_pool_id, model, timeout=deadline.left())
        self._kept[key] = (self.clock(), tables)
        return tables


def _unused(run: Run) -> list[str]:
    """Return warnings of options that the definition, which may have changed, has no use for."""
    found = inapplicable(run.pipeline, run.definition, run.options)
    return [f"A trigger set {field}, which is not used: {expected}." for field, expected in found]


def _excess(run: Run, loads: dict[str, Any]) -> RunTooLarge | None:
    """Return an error where the record with ``loads`` leaves no room for its steps and its end."""
    steps = [job.step for job in run.plan.jobs] + [load.step for load in run.plan.loads]
    size, limit = item_size({**run.item, "loads": loads, "steps": {}}), room_for_opening(steps)
    return RunTooLarge(run.run_id, size, limit) if size > limit else None

"""Pauses and resumes pipelines by the API.

A pause is an attribute of the pipeline's slot, which every trigger reads or writes anyway. It has the same
effect as ``paused`` in the definition: nothing starts, and triggers join the pending run. A resume starts the
pending run in the transaction that ends the pause, so that no trigger in between is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.observability import logger
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.slots import end_pause, start_pending
from celonis_refresh.runs.table import Action, ConditionFailed, Table, slot_key
from celonis_refresh.timing import Clock, Deadline, iso
from celonis_refresh.workflow.accept import start_execution_of
from celonis_refresh.workflow.executions import Executions

MAX_ROUNDS = 20
PAUSE = "SET #rev = if_not_exists(#rev, :zero) + :one, #pause = :pause"
"""The revision changes as well: a claim that has read the slot before is rejected."""


class PipelinePauses(Struct, frozen=True):
    """Pauses and resumes pipelines. ``definition``: reads a pipeline by name."""

    table: Table
    executions: Executions
    definition: Callable[[str], Definition]
    clock: Clock

    def pause(self, name: str, caller: str, reason: str | None, deadline: Deadline) -> dict[str, Any]:
        """Pause a pipeline. A repeated request keeps the pause, unless it has another reason.

        Another reason replaces the whole pause, with its caller and its time. The answer has the pause that
        was there before as ``previous``. Raises ``UnknownPipeline``, and ``InvalidTrigger`` for an invalid
        name.
        """
        self._is_paused_by_definition(name)
        pause = {"by": caller, "at": iso(self.clock()), "reason": reason or ""}
        previous: Mapping[str, str] | None = None
        for _ in range(MAX_ROUNDS):
            known = {} if previous is None else {"previous": previous}
            answer: dict[str, Any] = {"pipeline": name, "paused": True, "pause": pause, **known}
            try:
                self.table.update(self._replace(name, previous, pause), deadline)
            except ConditionFailed as refused:
                found = (refused.items[0] or {}).get("pause")
                if found == pause:  # an earlier attempt of this request wrote it
                    return answer
                previous = found  # None: it was resumed at the same time
                if found is not None and (reason is None or found["reason"] == reason):
                    return answer | {"pause": found, "previous": found}
                continue
            logger.warning("a pipeline is paused", extra={"pipeline": name, **pause})
            return answer
        raise TableBusy("the pipeline's slot kept changing")

    def resume(self, name: str, caller: str, deadline: Deadline) -> dict[str, Any]:
        """End the pause of a pipeline and start its pending run.

        Starts nothing if the definition has ``paused: true`` or a run is running. Can be repeated, also
        concurrently. Raises as :meth:`pause` does.
        """
        paused = self._is_paused_by_definition(name)
        for _ in range(MAX_ROUNDS):
            slot = self.table.get(slot_key(name)) or {}
            starts = "pending" in slot and "run_id" not in slot and not paused
            if not starts and "pause" not in slot:
                return {"pipeline": name, "paused": paused, "pause": None}
            at = iso(self.clock())
            try:
                if starts:
                    self.table.transact(start_pending(self.table, name, slot, at), deadline)
                else:
                    self.table.update(end_pause(self.table, name, slot), deadline)
            except ConditionFailed:
                continue  # a trigger, the end of a run or another resume
            return {"pipeline": name, "paused": paused, "pause": None} | self._started(
                name, caller, slot, starts=starts
            )
        raise TableBusy("the pipeline's slot kept changing")

    def _started(
        self, name: str, caller: str, slot: Mapping[str, Any], *, starts: bool
    ) -> dict[str, dict[str, str]]:
        """Start the execution of the pending run that a resume has begun; reconcile does it after a crash."""
        logger.warning("a pipeline is resumed", extra={"pipeline": name, "by": caller})
        if not starts:
            return {}
        run_id = str(slot["pending"]["run_id"])
        start_execution_of(self.executions, run_id)
        return {"started": {"pipeline": name, "run_id": run_id, "status": "started"}}

    def _is_paused_by_definition(self, name: str) -> bool:
        """Return whether the definition pauses the pipeline. One that is not valid does not."""
        try:
            return self.definition(name).paused
        except InvalidDefinition:
            return False

    def _replace(self, name: str, previous: Mapping[str, str] | None, pause: Mapping[str, str]) -> Action:
        """Return the write of a pause in place of ``previous``; None if the pipeline was not paused."""
        values: dict[str, Any] = {"pause": pause, "zero": 0, "one": 1}
        if previous is None:
            return self.table.change(slot_key(name), PAUSE, "attribute_not_exists(#pause)", values)
        replaced = {**values, "previous": previous}
        return self.table.change(slot_key(name), PAUSE, "#pause = :previous", replaced)

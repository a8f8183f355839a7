"""The interface of the state machine's executions, and the description of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from celonis_refresh.runs.records import cut

MAX_INPUT: Final = 300
SHOWN_INPUT: Final = frozenset({"pipeline", "name", "mode", "tables", "reason", "delivery", "run_id"})
"""Fields of an input whose values are shown: any other may have been given a secret."""


class ExecutionDescription(Struct, frozen=True):
    """An execution. ``status``: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.

    ``started_at``: as ``iso`` writes it; "" if it is not known. ``input``: JSON.
    """

    name: str
    arn: str
    status: str
    error: str = ""
    cause: str = ""
    started_at: str = ""
    input: str = ""

    @property
    def was_stopped(self) -> bool:
        """Whether a user or the timeout of the state machine stopped it."""
        return self.status in ("ABORTED", "TIMED_OUT")


class Executions(Protocol):
    """The state machine's executions."""

    def describe(self, arn: str) -> ExecutionDescription: ...

    def find(self, run_id: str) -> ExecutionDescription | None: ...

    def stop(self, run_id: str, error: str, cause: str) -> None: ...

    def start(self, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
        """Start the execution of a run; return False if it exists and may not have got ``answer``.

        ``answer``: what Celonis answered to the start of a step, if it is not in the record.
        """


def shown_input(text: str) -> str:
    """Return the input of an execution as a notification shows it: short, and without unknown values."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return ""
    return cut(json.dumps(_known(document), ensure_ascii=False), MAX_INPUT) if document else ""


def _known(value: object) -> object:
    if not isinstance(value, dict):
        return "…"
    return {name: _known(each) if _hides(name, each) else each for name, each in value.items()}


def _hides(name: str, value: object) -> bool:
    return name not in SHOWN_INPUT or isinstance(value, dict)

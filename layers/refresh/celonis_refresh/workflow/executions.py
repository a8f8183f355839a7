"""The interface of the state machine's executions, and the description of one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, Protocol

from msgspec import Struct

from celonis_refresh.names import is_name
from celonis_refresh.runs.records import cut

MAX_INPUT: Final = 300
SHOWN_INPUT: Final = frozenset({"pipeline", "name", "mode", "tables", "reason", "delivery", "run_id"})
"""Fields of an input whose values are shown: any other may have been given a secret."""
VARYING: Final = frozenset({"delivery", "reason"})
"""Fields of an input that may differ at each firing of the same schedule."""
MAX_ERROR_NAME: Final = 60
"""Maximum characters of the error in a cause, which is part of the key of an incident (255 characters)."""
DIGITS: Final = 16
"""Length of the digest of an input."""


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
        return cut(json.dumps(_known(document), ensure_ascii=False), MAX_INPUT) if document else ""
    except (ValueError, RecursionError):
        return ""


def refusal_cause(execution: ExecutionDescription) -> str:
    """Return ``order-to-cash/InvalidDefinition``: the same for executions with the same mistake.

    An input that names no pipeline is known by its digest.
    """
    error = re.sub(r"[^A-Za-z0-9_.]+", "-", execution.error)[:MAX_ERROR_NAME].strip("-")
    return f"{_subject(execution.input)}/{error or execution.status}"


def _subject(text: str) -> str:
    """Return the pipeline that an input names, otherwise a digest of what does not differ at each firing.

    Values that a notification does not show are left out: an event of EventBridge has its id and time there.
    """
    shown = text
    try:
        document = json.loads(text)
        if isinstance(document, dict):
            pipeline = document.get("pipeline")
            name = pipeline.get("name") if isinstance(pipeline, dict) else pipeline
            if isinstance(name, str) and is_name(name):
                return name
            shown = json.dumps(
                _known({key: each for key, each in document.items() if key not in VARYING}), sort_keys=True
            )
    except (ValueError, RecursionError):
        pass  # the digest of the text is used
    return f"input-{sha256(shown.encode()).hexdigest()[:DIGITS]}"


def _known(value: object) -> object:
    if not isinstance(value, dict):
        return "…"
    return {name: _known(each) if _hides(name, each) else each for name, each in value.items()}


def _hides(name: str, value: object) -> bool:
    return name not in SHOWN_INPUT or isinstance(value, dict)

"""Handing a run that is claimed over to the state machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.observability import logger
from celonis_refresh.workflow.executions import Executions


def start_execution_of(executions: Executions, run_id: str, answer: Mapping[str, Any] | None = None) -> bool:
    """Start the execution of a run; False where it may not have got ``answer``.

    The claim is written, so it is accepted, whatever happens now: what goes wrong is logged, and reconcile
    starts it.
    """
    try:
        return executions.start(run_id, answer)
    except Exception:  # noqa: BLE001 - whatever it is: nothing is lost by it
        logger.exception("the execution is left to be started by reconcile", extra={"run_id": run_id})
        return False

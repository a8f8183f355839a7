"""Claim a run or join the follow-up run; resolve table names before the first job starts."""

import time
from functools import cache
from typing import Any

from celonis_refresh import wiring
from celonis_refresh.observability import collecting_metrics, logger
from celonis_refresh.steps.target import ModelTables
from celonis_refresh.workflow.open import ExecutionContext, Opened, RunOpener


@cache
def _opener() -> RunOpener:
    tables = ModelTables(wiring.client_for, time.time)
    return RunOpener(wiring.step_context(), wiring.trigger_acceptor(), tables, time.time)


@logger.inject_lambda_context(clear_state=True)
@collecting_metrics
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> Opened:
    execution = ExecutionContext(**event["execution"])
    logger.append_keys(run_id=execution.name)
    with wiring.naming_pipelines():
        return _opener().open(event["input"], execution, wiring.deadline(context))

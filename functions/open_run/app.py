"""Claims a run or joins the one that follows; resolves table names before the first job starts."""

import time
from functools import cache
from typing import Any

from celonis_refresh import assembly
from celonis_refresh.observability import logger
from celonis_refresh.passage.opening import Execution, Opened, Opening
from celonis_refresh.passage.tables import ModelTables


@cache
def _opening() -> Opening:
    tables = ModelTables(assembly.client_for, time.time)
    return Opening(assembly.tasks().means, assembly.accepting(), tables, time.time)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: assembly.LambdaContext) -> Opened:
    execution = Execution(**event["execution"])
    logger.append_keys(run_id=execution.name)
    with assembly.naming_pipelines():
        return _opening().open(event["input"], execution, assembly.deadline(context))

"""Ends a run's record, tells somebody, cancels what still runs, starts what waited."""

import os
import time
from functools import cache
from typing import Any

from celonis_refresh import assembly
from celonis_refresh.aws import clients
from celonis_refresh.aws.environment import CloserEnvironment, read
from celonis_refresh.aws.notices import Notices
from celonis_refresh.observability import logger
from celonis_refresh.passage.closing import Closing
from celonis_refresh.passage.stopping import Stopping


@cache
def _closing() -> Closing:
    environment = read(CloserEnvironment, os.environ)
    return Closing(
        table=assembly.table(),
        records=assembly.records(),
        leases=assembly.leases(),
        executions=assembly.state_machine(),
        stopping=Stopping(assembly.work_for, time.time),
        notify=Notices(clients.sns(), environment.notices_topic_arn),
        is_paused=assembly.parameters().is_paused,
        clock=time.time,
        retention_days=int(environment.run_retention_days),
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: assembly.LambdaContext) -> None:
    """``event``: "Step Functions Execution Status Change", as EventBridge delivers it."""
    execution_arn = event["detail"]["executionArn"]
    logger.append_keys(run_id=event["detail"]["name"])
    _closing().close(execution_arn, assembly.deadline(context))

"""Close a run: complete its record, notify, cancel jobs of a stopped run, start the follow-up run."""

from typing import Any

from celonis_refresh import wiring
from celonis_refresh.observability import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> None:
    """``event``: "Step Functions Execution Status Change" from EventBridge."""
    logger.append_keys(run_id=event["detail"]["name"])
    wiring.run_closer().close(event["detail"]["executionArn"], wiring.deadline(context))

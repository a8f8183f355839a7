"""Close a run: complete its record, notify, cancel jobs of a stopped run, start the follow-up run."""

from typing import Any

from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent

from celonis_refresh import wiring
from celonis_refresh.observability import collecting_metrics, logger


@logger.inject_lambda_context(clear_state=True)
@collecting_metrics
def handler(event: dict[str, Any], context: wiring.LambdaContext) -> None:
    """``event``: "Step Functions Execution Status Change" from EventBridge."""
    execution = EventBridgeEvent(event).detail
    logger.append_keys(run_id=execution["name"])
    wiring.run_closer().close(execution["executionArn"], wiring.deadline(context))

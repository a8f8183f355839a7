"""Poll a data job or a data model load, determine which execution is ours, and return when to poll again."""

from celonis_refresh import wiring
from celonis_refresh.observability import collecting_metrics, logger
from celonis_refresh.steps.check import check_step
from celonis_refresh.steps.step import Progress, StepEvent


@logger.inject_lambda_context(clear_state=True)
@collecting_metrics
def handler(event: StepEvent, context: wiring.LambdaContext) -> Progress:
    logger.append_keys(**event)
    progress = check_step(wiring.step_context(), event["run_id"], event["step"], wiring.deadline(context))
    logger.debug("progress", extra={"progress": progress})
    return progress

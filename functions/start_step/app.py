"""Record the baseline of a data job or data model, then start it once."""

from celonis_refresh import wiring
from celonis_refresh.observability import collecting_metrics, logger
from celonis_refresh.steps.start import start_step
from celonis_refresh.steps.step import Progress, StepEvent


@logger.inject_lambda_context(clear_state=True)
@collecting_metrics
def handler(event: StepEvent, context: wiring.LambdaContext) -> Progress:
    logger.append_keys(**event)
    progress = start_step(wiring.step_context(), event["run_id"], event["step"], wiring.deadline(context))
    logger.debug("progress", extra={"progress": progress})
    return progress

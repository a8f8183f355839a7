"""The state transitions that a run costs: states entered, as Step Functions counts and bills them."""

from __future__ import annotations

from collections import Counter

from local.aws.states.execution import MachineExecution
from local.bench.service import MeasuredService
from local.wait import until

POLLS = 5
"""At the job, and at the load."""
PACE = {"poll": {"floor": 4, "ceiling": 4}}
LONG = 86_400.0
TRANSITIONS_PER_POLL = 3
"""Wait, check, and the choice after it."""


def transitions_run(service: MeasuredService) -> int:
    """Of a run with one job and one load that succeeds, with five polls of each.

    The simulated work ends once the fourth poll has seen it running, so that the fifth sees its end. Raises
    ``RuntimeError`` if there were more polls: the machine was too slow.
    """
    job, model = service.job(LONG), service.data_model(LONG)
    pipeline = service.pipeline(job, model, **PACE)
    stack = service.stack
    name = "a-run-of-ten-polls"
    stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"], name=name, input=f'{{"pipeline": "{pipeline}"}}'
    )
    (execution,) = (each for each in stack.executions if each.name == name)
    for state, target in (("CheckJob", job), ("CheckLoad", model)):
        until(lambda: _polled(execution, state) or execution.status != "RUNNING", f"four times {state}")  # noqa: B023 - called here
        service.finish(target)
    until(lambda: execution.status != "RUNNING", "the end of the run")
    entered = _entered(execution)
    if execution.status != "SUCCEEDED" or (entered["CheckJob"], entered["CheckLoad"]) != (POLLS, POLLS):
        raise RuntimeError(f"the run {execution.status}, and polled otherwise than planned: {entered}")
    return entered.total()


def transitions_for(measured: int, polls: float) -> float:
    """Transitions of a run with this many polls, from those of the run that was measured."""
    return measured + TRANSITIONS_PER_POLL * (polls - 2 * POLLS)


def _polled(execution: MachineExecution, state: str) -> bool:
    exits = [event.get("stateExitedEventDetails", {}).get("name") for event in execution.history.events()]
    return exits.count(state) >= POLLS - 1


def _entered(execution: MachineExecution) -> Counter[str]:
    events = execution.history.events()
    return Counter(
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    )

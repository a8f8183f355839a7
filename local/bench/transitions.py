"""The state transitions of a run: states entered, as Step Functions counts and bills them."""

from __future__ import annotations

from collections import Counter

from local.aws.states.execution import MachineExecution
from local.bench.service import MeasuredService
from local.wait import until

POLLS = 5
"""Polls of the job, and of the load."""
PACE = {"poll": {"floor": 4, "ceiling": 4}}
LONG = 86_400.0
TRANSITIONS_PER_POLL = 3
"""States of one poll: wait, check, choice."""


def transitions_run(service: MeasuredService) -> int:
    """Count the transitions of a successful run with one job and one load, and five polls of each.

    The simulated job ends after the fourth poll has seen it running, so that the fifth sees its end. Raises
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
    """Return the transitions of a run with this number of polls, from those of the measured run."""
    return measured + TRANSITIONS_PER_POLL * (polls - 2 * POLLS)


def _polled(execution: MachineExecution, state: str) -> bool:
    exits = [event.get("stateExitedEventDetails", {}).get("name") for event in execution.history.events()]
    return exits.count(state) >= POLLS - 1


def _entered(execution: MachineExecution) -> Counter[str]:
    events = execution.history.events()
    return Counter(
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    )

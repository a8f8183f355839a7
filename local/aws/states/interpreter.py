"""Runs the states of a machine one after another, in one branch of an execution."""

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws.states.branch import Branch
from local.aws.states.definition import Machine
from local.aws.states.errors import DATA_LIMIT, RUNTIME, StateError
from local.aws.states.expressions import evaluate
from local.aws.states.history import LIMIT, History
from local.aws.states.scope import Checkpoint, Checkpoints, Scope

_PAYLOAD_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Transition:
    """The result of a state: output, next state and assigned variables. Without `next` the branch ends."""

    output: Any
    next: str | None
    assigned: Mapping[str, Any]


@dataclass(frozen=True)
class StateContext:
    """The context of a state: the execution and this branch."""

    history: History
    checkpoints: Checkpoints
    branch: Branch
    scope: Scope
    call: Callable[[str, Any], Any]
    seed: Callable[[], float]

    def below(self, scope: Scope) -> "StateContext":
        return StateContext(self.history, self.checkpoints, self.branch.child(), scope, self.call, self.seed)


@dataclass(frozen=True)
class Visit:
    """One visit of one state. `resumed` is true when a redrive comes back to it."""

    name: str
    state: Machine
    data: Any
    line: StateContext
    resumed: bool

    def states(self, **more: Any) -> dict[str, Any]:
        """Return `$states` in this state."""
        return {"input": self.data, "context": self.line.scope.context, **more}

    def evaluate(self, field: str, default: Any, /, **more: Any) -> Any:
        """Return a field of the state with its expressions evaluated, or `default` without such a field."""
        if field not in self.state:
            return default
        return evaluate(self.state[field], self.states(**more), self.line.scope.visible(), field)

    def finish(self, output: Any, following: str | None, /, **more: Any) -> Transition:
        """Evaluate Output and Assign with the same variables: assignments apply from the next state on."""
        assigned = self.evaluate("Assign", {}, **more)
        return Transition(self.evaluate("Output", output, **more), following, assigned)


Runner = Callable[[Visit], Transition]


def run_machine(machine: Machine, data: Any, line: StateContext, runners: Mapping[str, Runner]) -> Any:
    """Run from StartAt, or from where the branch stopped when the execution ended; return the output.

    Raises StateError if a state fails without a catcher, BranchStopped, ExecutionTimedOut.
    """
    name: str | None = machine["StartAt"]
    checkpoint = line.checkpoints.get(line.scope.path)
    resumed = checkpoint is not None
    if checkpoint is not None:
        line.scope.variables.update(checkpoint.variables)
        name, data = checkpoint.state, checkpoint.data
        if checkpoint.done:
            return data
    while name is not None:
        line.branch.check()
        line.checkpoints.set(line.scope.path, Checkpoint(name, data, dict(line.scope.variables)))
        step = _visit(Visit(name, machine["States"][name], data, line, resumed), runners)
        line.scope.variables.update(step.assigned)
        last, data, name, resumed = name, step.output, step.next, False
    line.checkpoints.set(line.scope.path, Checkpoint(last, data, dict(line.scope.variables), done=True))
    return data


def _visit(visit: Visit, runners: Mapping[str, Runner]) -> Transition:
    kind = visit.state["Type"]
    history = visit.line.history
    if history.full:
        raise StateError(RUNTIME, f"The execution reached the maximum number of history events ({LIMIT}).")
    entered = time_text(visit.line.branch.clock.now())
    visit.line.scope.context["State"] = {"EnteredTime": entered, "Name": visit.name, "RetryCount": 0}
    history.entered(kind, visit.name, visit.data)
    step = runners[kind](visit)
    check_size(step.output, visit.name)
    history.exited(kind, visit.name, step.output)
    return step


def check_size(value: Any, name: str) -> None:
    """Raises StateError States.DataLimitExceeded for more than 256 KiB."""
    if len(json.dumps(value, ensure_ascii=False).encode()) > _PAYLOAD_LIMIT:
        raise StateError(DATA_LIMIT, f"'{name}' gave more than {_PAYLOAD_LIMIT} bytes, which is the limit.")


def time_text(at: float) -> str:
    """Format epoch seconds as in the context object: ISO 8601 in UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

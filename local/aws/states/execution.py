"""One execution of a state machine, from its start to its end, with its redrives."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from local.aws.states.branch import Branch, StatesClock, in_thread
from local.aws.states.compound_states import run_map, run_parallel
from local.aws.states.definition import Machine
from local.aws.states.errors import RUNTIME, BranchStopped, ExecutionTimedOut, StateError
from local.aws.states.history import History
from local.aws.states.interpreter import Runner, StateContext, run_machine, time_text
from local.aws.states.scope import Checkpoints, Scope
from local.aws.states.simple_states import run_choice, run_fail, run_pass, run_succeed, run_wait
from local.aws.states.tasks import run_task

RUNNING, SUCCEEDED, FAILED = "RUNNING", "SUCCEEDED", "FAILED"
TIMED_OUT, ABORTED = "TIMED_OUT", "ABORTED"


def _runners() -> dict[str, Runner]:
    runners: dict[str, Runner] = {
        "Pass": run_pass, "Wait": run_wait, "Choice": run_choice, "Succeed": run_succeed, "Fail": run_fail,
        "Task": run_task,
    }  # fmt: skip
    runners["Map"] = partial(run_map, runners=runners)
    runners["Parallel"] = partial(run_parallel, runners=runners)
    return runners


@dataclass(frozen=True)
class MachineFacts:
    """The state machine at the start of the execution."""

    arn: str
    name: str
    role_arn: str
    definition: Machine
    text: str


@dataclass
class MachineExecution:
    """`changed` is called after every change of the status. Times are epoch seconds."""

    arn: str
    name: str
    machine: MachineFacts
    input_text: str
    clock: StatesClock
    call: Callable[[str, Any], Any]
    seed: Callable[[], float]
    changed: Callable[["MachineExecution"], None]
    status: str = RUNNING
    start_date: float = 0.0
    stop_date: float | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    redrive_count: int = 0
    redrive_date: float | None = None
    history: History = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checkpoints: Checkpoints = field(default_factory=Checkpoints)
    _branch: Branch = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self.clock.now)
        self.start_date = self.clock.now()
        self._branch = self._new_branch()

    def start(self) -> None:
        details = {"input": self.input_text, "roleArn": self.machine.role_arn}
        self.history.add("ExecutionStarted", details)
        self._go()

    def stop(self, error: str | None, cause: str | None) -> None:
        """End as ABORTED at once, unless it has ended; a running function continues, as in AWS."""
        if self._end(ABORTED, "ExecutionAborted", error=error, cause=cause):
            self._branch.stop()

    def expire(self) -> None:
        """End as TIMED_OUT at once, as after the TimeoutSeconds of the state machine."""
        if self._end(TIMED_OUT, "ExecutionTimedOut", error="States.Timeout"):
            self._branch.stop()

    def abandon(self) -> None:
        """End the threads without a history event: the local stack closes."""
        self._branch.stop()

    def redrive(self) -> bool:
        """Continue from the states that did not succeed; return False if there are none."""
        with self._lock:
            if self.status not in (FAILED, TIMED_OUT, ABORTED):
                return False
            self.status, self.stop_date = RUNNING, None
            self.error = self.cause = self.output = None
            self.redrive_count += 1
            self.redrive_date = self.clock.now()
            self._branch = self._new_branch()
        self.history.add("ExecutionRedriven", {"redriveCount": self.redrive_count})
        self._go()
        return True

    def _new_branch(self) -> Branch:
        return Branch(self.clock, timeout=self.machine.definition.get("TimeoutSeconds"))

    def _go(self) -> None:
        self.changed(self)
        branch = self._branch
        in_thread(f"execution-{self.name}", lambda: self._run(branch))

    def _run(self, branch: Branch) -> None:
        scope = Scope((), self._context())
        line = StateContext(self.history, self._checkpoints, branch, scope, self.call, self.seed)
        try:
            output = run_machine(self.machine.definition, json.loads(self.input_text), line, _runners())
        except StateError as error:
            self._end(FAILED, "ExecutionFailed", branch, error=error.error, cause=error.cause)
        except ExecutionTimedOut:
            self._end(TIMED_OUT, "ExecutionTimedOut", branch, error="States.Timeout")
            branch.stop()
        except BranchStopped:
            return
        except Exception as error:  # noqa: BLE001 - a fault of this engine must show, not hang
            self._end(
                FAILED, "ExecutionFailed", branch, error=RUNTIME, cause=f"{type(error).__name__}: {error}"
            )
        else:
            self._end(SUCCEEDED, "ExecutionSucceeded", branch, output=json.dumps(output))

    def _end(
        self,
        status: str,
        event: str,
        branch: Branch | None = None,
        *,
        error: str | None = None,
        cause: str | None = None,
        output: str | None = None,
    ) -> bool:
        with self._lock:
            if self.status != RUNNING or (branch is not None and branch is not self._branch):
                return False
            details = {"output": output} if output is not None else {"error": error, "cause": cause}
            self.history.add(event, details)
            self.error, self.cause, self.output = error, cause, output
            self.stop_date = self.clock.now()
            self.status = status
        self.changed(self)
        return True

    def _context(self) -> dict[str, Any]:
        execution = {
            "Id": self.arn,
            "Input": json.loads(self.input_text),
            "Name": self.name,
            "RoleArn": self.machine.role_arn,
            "StartTime": time_text(self.start_date),
            "RedriveCount": self.redrive_count,
        }
        return {"Execution": execution, "StateMachine": {"Id": self.machine.arn, "Name": self.machine.name}}

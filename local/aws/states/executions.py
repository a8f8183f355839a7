"""Starts, finds and lists the executions of the stack."""

import json
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from local.aws.clients import Clients
from local.aws.states.branch import StatesClock
from local.aws.states.definition import load_definition
from local.aws.states.execution import RUNNING, MachineExecution, MachineFacts
from local.aws.states.integrations import Integrations

_NAME_FORBIDDEN = set(' \t\n<>{}[]?*"#%\\^|~`$&,;:/')


class ApiError(Exception):
    """An error response of the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class MachineExecutions:
    """Every execution of the stack, by ARN. `changed` is called when a status has changed."""

    clients: Clients
    clock: StatesClock
    changed: Callable[[MachineExecution], None]
    seed: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._by_arn: dict[str, MachineExecution] = {}

    def start(self, machine_arn: str, name: str | None, input_text: str) -> MachineExecution:
        """Start an execution; the same name and input return the running execution."""
        _check_input(input_text)
        name = _checked_name(name)
        machine = self._machine(machine_arn)
        arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        call = Integrations(self.clients, machine.role_arn)
        with self._lock:
            existing = self._by_arn.get(arn)
            if existing is not None:
                if existing.status == RUNNING and json.loads(existing.input_text) == json.loads(input_text):
                    return existing
                raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
            execution = MachineExecution(
                arn, name, machine, input_text, self.clock, call, self.seed, self.changed
            )
            self._by_arn[arn] = execution
        execution.start()
        return execution

    def get(self, arn: str) -> MachineExecution:
        with self._lock:
            execution = self._by_arn.get(arn)
        if execution is None:
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return execution

    def all(self) -> list[MachineExecution]:
        """Return all executions, newest first."""
        with self._lock:
            return sorted(self._by_arn.values(), key=lambda execution: -execution.start_date)

    def abandon(self) -> None:
        for execution in self.all():
            execution.abandon()

    def _machine(self, arn: str) -> MachineFacts:
        client = self.clients.admin("stepfunctions")
        try:
            described = client.describe_state_machine(stateMachineArn=arn)
        except client.exceptions.StateMachineDoesNotExist:
            raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'") from None
        text = described["definition"]
        return MachineFacts(arn, described["name"], described["roleArn"], load_definition(text), text)


def _checked_name(name: str | None) -> str:
    if name is None:
        return str(uuid.uuid4())
    if not 1 <= len(name) <= 80 or _NAME_FORBIDDEN & set(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    return name


def _check_input(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise ApiError(
            "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'"
        ) from error
    if len(text.encode()) > 256 * 1024:
        raise ApiError("InvalidExecutionInput", "The input is longer than 262144 bytes")

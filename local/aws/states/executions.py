"""Every execution of the stack: started, found, listed."""

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
    """An error that the API answers with."""

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
        """StartExecution: the same name with the same input while running is the same execution."""
        _check_input(input_text)
        name = _checked_name(name)
        machine = self._machine(machine_arn)
        arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        call = Integrations(self.clients, machine.role_arn)
        with self._lock:
            known = self._by_arn.get(arn)
            if known is not None:
                if known.status == RUNNING and json.loads(known.input_text) == json.loads(input_text):
                    return known
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
        """Newest first."""
        with self._lock:
            return sorted(self._by_arn.values(), key=lambda execution: -execution.start_date)

    def abandon(self) -> None:
        for execution in self.all():
            execution.abandon()

    def _machine(self, arn: str) -> MachineFacts:
        client = self.clients.admin("stepfunctions")
        try:
            found = client.describe_state_machine(stateMachineArn=arn)
        except client.exceptions.StateMachineDoesNotExist:
            raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'") from None
        text = found["definition"]
        return MachineFacts(arn, found["name"], found["roleArn"], load_definition(text), text)


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

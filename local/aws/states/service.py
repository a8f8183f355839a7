"""The operations of the Step Functions API that concern executions."""

import json
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.aws.clients import Clients
from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import Request, Response
from local.aws.states.branch import Clock
from local.aws.states.definition import DefinitionError, load_definition
from local.aws.states.execution import RUNNING, Execution, MachineFacts
from local.aws.states.integrations import Integrations

_NAME_FORBIDDEN = set(' \t\n<>{}[]?*"#%\\^|~`$&,;:/')


class ApiError(Exception):
    """An error that the API answers with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Executions:
    """Every execution of the stack, by ARN. `changed` is told when the status of one changed."""

    clients: Clients
    clock: Clock
    changed: Callable[[Execution], None]
    seed: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._by_arn: dict[str, Execution] = {}

    def start(self, machine_arn: str, name: str | None, input_text: str) -> Execution:
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
            execution = Execution(arn, name, machine, input_text, self.clock, call, self.seed, self.changed)
            self._by_arn[arn] = execution
        execution.start()
        return execution

    def get(self, arn: str) -> Execution:
        with self._lock:
            execution = self._by_arn.get(arn)
        if execution is None:
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return execution

    def all(self) -> list[Execution]:
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


class StepFunctions:
    """A layer of the gateway: executions are answered here, state machines by moto."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "StartExecution": self._start,
            "DescribeExecution": lambda given: description(self._executions.get(given["executionArn"])),
            "DescribeStateMachineForExecution": self._machine_of,
            "ListExecutions": self._list,
            "StopExecution": self._stop,
            "RedriveExecution": self._redrive,
            "GetExecutionHistory": self._history,
        }

    def __call__(self, call: AwsCall, _request: Request, proceed: Next) -> Response:
        if call.service != "states":
            return proceed()
        if call.operation in ("CreateStateMachine", "UpdateStateMachine") and call.parameters.get(
            "definition"
        ):
            try:
                load_definition(call.parameters["definition"])
            except (DefinitionError, KeyError, ValueError) as error:
                return error_response(call, "InvalidDefinition", f"Invalid State Machine Definition: {error}")
        operation = self._operations.get(call.operation)
        if operation is None:
            return proceed()
        try:
            answer = operation(call.parameters)
        except ApiError as error:
            return error_response(call, error.code, str(error))
        return Response(200, json.dumps(answer).encode(), [("Content-Type", "application/x-amz-json-1.0")])

    def _start(self, given: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.start(
            given["stateMachineArn"], given.get("name"), given.get("input", "{}")
        )
        return {"executionArn": execution.arn, "startDate": execution.start_date}

    def _stop(self, given: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.get(given["executionArn"])
        execution.stop(given.get("error"), given.get("cause"))
        return {"stopDate": execution.stop_date}

    def _redrive(self, given: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.get(given["executionArn"])
        if not execution.redrive():
            raise ApiError(
                "ExecutionNotRedrivable", f"Execution is {execution.status} and cannot be redriven"
            )
        return {"redriveDate": execution.redrive_date}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        machine, status = given.get("stateMachineArn"), given.get("statusFilter")
        found = [
            execution
            for execution in self._executions.all()
            if machine in (None, execution.machine.arn) and status in (None, execution.status)
        ]
        start, size = int(given.get("nextToken") or 0), int(given.get("maxResults") or 100)
        names = ("executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "redriveCount")
        page = [
            {key: value for key, value in description(execution).items() if key in names}
            for execution in found[start : start + size]
        ]
        more = {"nextToken": str(start + size)} if start + size < len(found) else {}
        return {"executions": page, **more}

    def _history(self, given: dict[str, Any]) -> dict[str, Any]:
        events = self._executions.get(given["executionArn"]).history.events()
        if given.get("reverseOrder"):
            events.reverse()
        start, size = int(given.get("nextToken") or 0), int(given.get("maxResults") or 1000)
        more = {"nextToken": str(start + size)} if start + size < len(events) else {}
        return {"events": events[start : start + size], **more}

    def _machine_of(self, given: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.get(given["executionArn"])
        machine = execution.machine
        return {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "definition": machine.text,
            "roleArn": machine.role_arn,
            "updateDate": execution.start_date,
        }


def description(execution: Execution) -> dict[str, Any]:
    """What DescribeExecution gives; fields without a value are left out."""
    redrivable = execution.status not in (RUNNING, "SUCCEEDED")
    fields = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.start_date,
        "stopDate": execution.stop_date,
        "input": execution.input_text,
        "inputDetails": {"included": True},
        "output": execution.output,
        "outputDetails": {"included": True} if execution.output is not None else None,
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrive_count,
        "redriveDate": execution.redrive_date,
        "redriveStatus": "REDRIVABLE" if redrivable else "NOT_REDRIVABLE",
    }
    return {key: value for key, value in fields.items() if value is not None}


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

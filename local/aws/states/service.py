"""The operations of the Step Functions API for executions."""

import json
from collections.abc import Callable
from typing import Any

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.states.definition import DefinitionError, load_definition
from local.aws.states.execution import RUNNING, MachineExecution
from local.aws.states.executions import ApiError, MachineExecutions


class StepFunctions:
    """A layer of the gateway: executions are handled here, state machines by moto."""

    def __init__(self, executions: MachineExecutions) -> None:
        self._executions = executions
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "StartExecution": self._start,
            "DescribeExecution": lambda parameters: description(
                self._executions.get(parameters["executionArn"])
            ),
            "DescribeStateMachineForExecution": self._machine_of,
            "ListExecutions": self._list,
            "StopExecution": self._stop,
            "RedriveExecution": self._redrive,
            "GetExecutionHistory": self._history,
        }

    def __call__(self, call: AwsCall, _request: HttpRequest, proceed: Next) -> HttpResponse:
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
        return HttpResponse(
            200, json.dumps(answer).encode(), [("Content-Type", "application/x-amz-json-1.0")]
        )

    def _start(self, parameters: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.start(
            parameters["stateMachineArn"], parameters.get("name"), parameters.get("input", "{}")
        )
        return {"executionArn": execution.arn, "startDate": execution.start_date}

    def _stop(self, parameters: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.get(parameters["executionArn"])
        execution.stop(parameters.get("error"), parameters.get("cause"))
        return {"stopDate": execution.stop_date}

    def _redrive(self, parameters: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.get(parameters["executionArn"])
        if not execution.redrive():
            raise ApiError(
                "ExecutionNotRedrivable", f"Execution is {execution.status} and cannot be redriven"
            )
        return {"redriveDate": execution.redrive_date}

    def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        machine, status = parameters.get("stateMachineArn"), parameters.get("statusFilter")
        executions = [
            execution
            for execution in self._executions.all()
            if machine in (None, execution.machine.arn) and status in (None, execution.status)
        ]
        start, size = int(parameters.get("nextToken") or 0), int(parameters.get("maxResults") or 100)
        names = ("executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "redriveCount")
        page = [
            {key: value for key, value in description(execution).items() if key in names}
            for execution in executions[start : start + size]
        ]
        more = {"nextToken": str(start + size)} if start + size < len(executions) else {}
        return {"executions": page, **more}

    def _history(self, parameters: dict[str, Any]) -> dict[str, Any]:
        events = self._executions.get(parameters["executionArn"]).history.events()
        if parameters.get("reverseOrder"):
            events.reverse()
        start, size = int(parameters.get("nextToken") or 0), int(parameters.get("maxResults") or 1000)
        more = {"nextToken": str(start + size)} if start + size < len(events) else {}
        return {"events": events[start : start + size], **more}

    def _machine_of(self, parameters: dict[str, Any]) -> dict[str, Any]:
        execution = self._executions.get(parameters["executionArn"])
        machine = execution.machine
        return {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "definition": machine.text,
            "roleArn": machine.role_arn,
            "updateDate": execution.start_date,
        }


def description(execution: MachineExecution) -> dict[str, Any]:
    """Return the response of DescribeExecution; fields without a value are omitted."""
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

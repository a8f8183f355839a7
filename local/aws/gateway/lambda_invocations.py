"""The Invoke operation of the Lambda API, answered by the functions' own processes."""

import json
import uuid

from local.aws.delivery.asynchronous import AsyncInvocations
from local.aws.errors import NotFoundError
from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.runtime.functions import LATEST, Functions
from local.aws.runtime.invoker import Invoker
from local.aws.runtime.pool import ThrottledError

_SYNC_LIMIT = 6 * 1024 * 1024
_ASYNC_LIMIT = 1024 * 1024
ACCOUNT_SETTINGS = {
    "AccountLimit": {
        "TotalCodeSize": 80_530_636_800,
        "CodeSizeUnzipped": 262_144_000,
        "CodeSizeZipped": 52_428_800,
        "ConcurrentExecutions": 1000,
        "UnreservedConcurrentExecutions": 1000,
    },
    "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": 0},
}
"""The quotas of an account in AWS; here, the concurrency is limited by `LocalStack.deploy`."""
_JSON = [("Content-Type", "application/json")]


class LambdaInvocations:
    """A layer of the gateway."""

    def __init__(self, functions: Functions, invoker: Invoker, events: AsyncInvocations) -> None:
        self._functions = functions
        self._invoker = invoker
        self._events = events

    def __call__(self, call: AwsCall, request: HttpRequest, proceed: Next) -> HttpResponse:
        if call.service != "lambda" or call.operation not in _HANDLED:
            return proceed()
        if call.operation == "Invoke":
            return self._invoke(call, request)
        if call.operation == "GetAccountSettings":
            return HttpResponse(200, json.dumps(ACCOUNT_SETTINGS).encode(), _JSON)
        answer = proceed()
        if answer.status < 300:
            self._note_change(call)
        return answer

    def _invoke(self, call: AwsCall, request: HttpRequest) -> HttpResponse:
        reference, qualifier = str(call.parameters["FunctionName"]), call.parameters.get("Qualifier")
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        payload = request.body or b"{}"
        if len(payload) > (_ASYNC_LIMIT if kind == "Event" else _SYNC_LIMIT):
            message = f"Request must be smaller than {_SYNC_LIMIT} bytes for the InvokeFunction operation"
            return error_response(call, "RequestEntityTooLargeException", message, status=413)
        try:
            function = self._functions.resolve(reference, qualifier)
            if kind == "DryRun":
                return HttpResponse(204)
            request_id = str(uuid.uuid4())
            if kind == "Event":
                self._events.accept(reference, payload, qualifier=qualifier, request_id=request_id)
                return HttpResponse(202, b"", [("x-amzn-RequestId", request_id)])
            outcome = self._invoker.invoke_when_free(
                reference, payload, qualifier=qualifier, request_id=request_id
            )
        except NotFoundError as error:
            return error_response(call, "ResourceNotFoundException", str(error), status=404, Type="User")
        except ThrottledError as error:
            reason = {"Reason": "ConcurrentInvocationLimitExceeded"}
            return error_response(call, "TooManyRequestsException", str(error), status=429, **reason)
        headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)]
        headers.append(("X-Amz-Executed-Version", function.version))
        if outcome.error:
            headers.append(("X-Amz-Function-Error", outcome.error))
        return HttpResponse(200, outcome.payload, headers)

    def _note_change(self, call: AwsCall) -> None:
        """End the idle processes: a changed configuration applies to new processes only."""
        name = self._functions.resolve(str(call.parameters["FunctionName"])).name
        changes: dict[str, object] = {}
        if "Environment" in call.parameters:
            changes["environment"] = call.parameters["Environment"].get("Variables", {})
        if "Timeout" in call.parameters:
            changes["timeout"] = int(call.parameters["Timeout"])
        if "MemorySize" in call.parameters:
            changes["memory"] = int(call.parameters["MemorySize"])
        if "ReservedConcurrentExecutions" in call.parameters:
            self._functions.reserve(name, int(call.parameters["ReservedConcurrentExecutions"]))
        self._functions.update(name, **changes)
        self._invoker.pool.retire(name, LATEST)


_HANDLED = {"Invoke", "GetAccountSettings", "UpdateFunctionConfiguration", "PutFunctionConcurrency"}

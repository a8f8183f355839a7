"""The result of one invocation, and the failures that Lambda itself reports."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class InvocationResult:
    """The function's answer. `error` is None, or `Unhandled` as in the `x-amz-function-error` header."""

    payload: bytes
    request_id: str
    error: str | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None


def failure(request_id: str, error_type: str, message: str) -> InvocationResult:
    body = {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    return InvocationResult(json.dumps(body).encode(), request_id, "Unhandled")


def timed_out(request_id: str, seconds: float) -> InvocationResult:
    return failure(request_id, "Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")


def exited(request_id: str, returncode: int) -> InvocationResult:
    if returncode == 0:
        reason = "Runtime exited without providing a reason"
    elif returncode < 0:
        reason = f"Runtime exited with error: signal: {'killed' if returncode == -9 else -returncode}"
    else:
        reason = f"Runtime exited with error: exit status {returncode}"
    return failure(request_id, "Runtime.ExitError", reason)

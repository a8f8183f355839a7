"""Task states: call a Lambda function or an operation of an AWS service with the machine's role."""

import json
from typing import Any

from local.aws.states.branch import in_thread
from local.aws.states.errors import QUERY, TIMEOUT, StateError
from local.aws.states.interpreter import Transition, Visit, check_size
from local.aws.states.retrying import with_retries


def run_task(visit: Visit) -> Transition:
    is_function = visit.state["Resource"].startswith("arn:aws:lambda:")
    history = visit.line.history

    def failed(error: StateError) -> None:
        if error.error == QUERY:
            return
        outcome = "TimedOut" if error.error == TIMEOUT else "Failed"
        details = {"error": error.error, "cause": error.cause}
        if is_function:
            history.add(f"LambdaFunction{outcome}", details)
        else:
            history.add(f"Task{outcome}", {**_resource(visit), **details})

    return with_retries(visit, _attempt_function if is_function else _attempt_service, failed)


def _attempt_function(visit: Visit) -> Transition:
    history = visit.line.history
    arguments = visit.evaluate("Arguments", visit.data)
    seconds = _timeout(visit)
    details = {
        "resource": visit.state["Resource"],
        "input": json.dumps(arguments),
        "timeoutInSeconds": seconds,
    }
    history.add("LambdaFunctionScheduled", details)
    history.add("LambdaFunctionStarted")
    result = _call(visit, arguments, seconds)
    history.add("LambdaFunctionSucceeded", {"output": json.dumps(result)})
    return visit.finish(result, visit.state.get("Next"), result=result)


def _attempt_service(visit: Visit) -> Transition:
    history, resource = visit.line.history, _resource(visit)
    arguments = visit.evaluate("Arguments", visit.data)
    seconds = _timeout(visit)
    details = {
        **resource,
        "region": "local",
        "parameters": json.dumps(arguments),
        "timeoutInSeconds": seconds,
    }
    history.add("TaskScheduled", details)
    history.add("TaskStarted", resource)
    result = _call(visit, arguments, seconds)
    history.add("TaskSucceeded", {**resource, "output": json.dumps(result)})
    return visit.finish(result, visit.state.get("Next"), result=result)


def _call(visit: Visit, arguments: Any, seconds: int | None) -> Any:
    """Run the call in its own thread: a stop or a timeout does not wait for it, as in AWS."""
    check_size(arguments, visit.name)
    resource = visit.state["Resource"]
    future = in_thread("state-machine-task", lambda: visit.line.call(resource, arguments))
    try:
        result = visit.line.branch.result_of(future, seconds)
    except TimeoutError:
        raise StateError(TIMEOUT, None) from None
    check_size(result, resource)
    return result


def _timeout(visit: Visit) -> int | None:
    value = visit.evaluate("TimeoutSeconds", None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise StateError(QUERY, f"The field 'TimeoutSeconds' must be a positive integer, but was: {value!r}")
    return value


def _resource(visit: Visit) -> dict[str, str]:
    kind, _, action = visit.state["Resource"].removeprefix("arn:aws:states:::").rpartition(":")
    return {"resourceType": kind, "resource": action}

"""The Lambda runtime loop in plain Python, for machines without a build of Lambda's runtime client."""

import http.client
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

_BASE = "/2018-06-01/runtime"


class Context:
    """The second argument of a handler."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id = headers.get("Lambda-Runtime-Aws-Request-Id", "")
        self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn", "")
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = float(headers.get("Lambda-Runtime-Deadline-Ms", "0"))

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._deadline - time.time() * 1000))


def run(handler_name: str, address: str) -> None:
    """Get events at `address` (host:port) and answer them until the process ends."""
    connection = http.client.HTTPConnection(address)
    handler = _load(handler_name, connection)
    while True:
        connection.request("GET", f"{_BASE}/invocation/next")
        answer = connection.getresponse()
        body = answer.read()
        os.environ["_X_AMZN_TRACE_ID"] = answer.headers.get("Lambda-Runtime-Trace-Id", "")
        context = Context(answer.headers)
        outcome, payload = _invoke(handler, body, context)
        _post(connection, f"{_BASE}/invocation/{context.aws_request_id}/{outcome}", payload)


def _load(handler_name: str, connection: http.client.HTTPConnection) -> Callable[[Any, Any], Any]:
    module_name, _, function_name = handler_name.rpartition(".")
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    try:
        handler: Callable[[Any, Any], Any] = getattr(
            importlib.import_module(module_name.replace("/", ".")), function_name
        )
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        _post(connection, f"{_BASE}/init/error", _error("Runtime.HandlerNotFound", message, []))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        _post(connection, f"{_BASE}/init/error", _error("Runtime.ImportModuleError", message, []))
    except Exception as error:  # noqa: BLE001 - whatever the module raises is the function's own failure
        _post(connection, f"{_BASE}/init/error", _of(error))
    else:
        return handler
    sys.exit(1)


def _invoke(handler: Callable[[Any, Any], Any], body: bytes, context: Context) -> tuple[str, bytes]:
    try:
        return "response", json.dumps(handler(json.loads(body), context), ensure_ascii=False).encode()
    except Exception as error:  # noqa: BLE001 - reported to the caller, as Lambda does
        payload = _of(error)
        print(f"[ERROR] {type(error).__name__}: {error}", flush=True)
        return "error", payload


def _of(error: Exception) -> bytes:
    return _error(type(error).__name__, str(error), traceback.format_tb(error.__traceback__))


def _error(kind: str, message: str, stack: list[str]) -> bytes:
    return json.dumps(
        {"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": stack}
    ).encode()


def _post(connection: http.client.HTTPConnection, path: str, payload: bytes) -> None:
    connection.request("POST", path, payload)
    connection.getresponse().read()

"""One process of one function, fed through the Lambda runtime API."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.aws.http_server import HttpRequest, HttpResponse, LoopbackServer
from local.aws.runtime.functions import Function
from local.aws.runtime.outcomes import InvocationResult, exited, failure, timed_out
from local.aws.runtime.output import OutputReader

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_NEXT = "/2018-06-01/runtime/invocation/next"
_INIT_ERROR = "/2018-06-01/runtime/init/error"
_ACCEPTED = HttpResponse(202, b'{"status":"OK"}', [("Content-Type", "application/json")])
# Lambda allows 10 s to start; a small machine that starts many processes at once needs more.
INIT_SECONDS = 60.0


@dataclass(frozen=True)
class WorkerInvocation:
    """One event for a process, with an optional fault."""

    payload: bytes
    request_id: str
    function_arn: str
    trace_id: str
    fault: str = ""


class WorkerGoneError(Exception):
    """The process ended between two events: another process must handle the event."""


class FunctionWorker:
    """A process that handles one event at a time. `environment` gets the runtime API's host and port.

    `fault_file`: the file in which the process finds the fault for the current event.
    """

    def __init__(
        self,
        function: Function,
        environment: Callable[[str], dict[str, str]],
        log: Callable[[str, str], None],
        fault_file: Path,
    ) -> None:
        self.function = function
        self._fault_file = fault_file
        self._events: queue.Queue[tuple[WorkerInvocation, int] | None] = queue.Queue()
        self._results: queue.Queue[InvocationResult | None] = queue.Queue()
        self._ready = threading.Event()
        self._init_error: bytes | None = None
        self._killed = False
        self._requested = False
        self._taken = False
        self.request_id = ""
        self._api = LoopbackServer(self._serve, name=f"runtime-api-{function.logical_id}")
        self._api.start()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_BOOTSTRAP), function.handler],
            cwd=function.code,
            env=environment(self._api.url.removeprefix("http://")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._output = OutputReader(self._process, lambda text: log(text, self.request_id), self._ended)

    @property
    def alive(self) -> bool:
        return not self._killed and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_serving(self) -> bool:
        """Return whether it handles an event now."""
        return self._taken

    def wait_ready(self) -> None:
        """Wait until the handler is imported, the process has ended, or the start has timed out."""
        self._ready.wait(INIT_SECONDS)

    def invoke(self, invocation: WorkerInvocation) -> InvocationResult:
        """Pass one event to the process and wait for the answer until the function's timeout.

        Raises WorkerGoneError if the process ended before it took the event.
        """
        self.request_id = invocation.request_id
        if self._init_error is not None:
            return InvocationResult(self._init_error, invocation.request_id, "Unhandled")
        if invocation.fault:
            self._fault_file.write_text(invocation.fault, encoding="utf-8")
        deadline = int((time.time() + self.function.timeout) * 1000)
        self._events.put((invocation, deadline))
        try:
            outcome = self._results.get(timeout=self.function.timeout)
        except queue.Empty:
            self.kill()
            outcome = timed_out(invocation.request_id, self.function.timeout)
        self._output.drain()
        if invocation.fault:
            self._fault_file.unlink(missing_ok=True)
        if outcome is None and self._requested and not self._taken:
            raise WorkerGoneError(self.function.name)
        self._taken = False
        return outcome or self._exit_outcome(invocation.request_id)

    def kill(self) -> None:
        """Kill the process and all its child processes."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process and wait until it has ended."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        if self._process.stdin:
            self._process.stdin.close()
        self._output.join()

    def _exit_outcome(self, request_id: str) -> InvocationResult:
        if self._init_error is not None:
            return InvocationResult(self._init_error, request_id, "Unhandled")
        return exited(request_id, self._process.wait(timeout=5))

    def _ended(self) -> None:
        self._ready.set()
        self._results.put(None)
        self._events.put(None)
        self._api.stop()

    def _serve(self, request: HttpRequest) -> HttpResponse:
        if request.path == _NEXT:
            return self._next()
        if request.path == _INIT_ERROR:
            self._init_error = request.body
            self._ready.set()
            return _ACCEPTED
        request_id, _, what = request.path.removeprefix("/2018-06-01/runtime/invocation/").partition("/")
        if what == "response":
            self._results.put(_checked(request.body, request_id))
        elif what == "error":
            self._results.put(InvocationResult(request.body, request_id, "Unhandled"))
        else:
            return HttpResponse(404)
        return _ACCEPTED

    def _next(self) -> HttpResponse:
        self._requested = True
        self._ready.set()
        event = self._events.get()
        if event is None:
            return HttpResponse(410)
        self._taken = True
        invocation, deadline = event
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(deadline)),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.function_arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
        ]
        return HttpResponse(200, invocation.payload, headers)


def _checked(body: bytes, request_id: str) -> InvocationResult:
    if len(body) > 6 * 1024 * 1024:
        message = f"Response payload size exceeded maximum allowed payload size ({len(body)} bytes)."
        return failure(request_id, "Function.ResponseSizeTooLarge", message)
    return InvocationResult(body or json.dumps(None).encode(), request_id)

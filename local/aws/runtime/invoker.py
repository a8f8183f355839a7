"""Invokes functions: for requests, state machines and asynchronous events."""

import json
import secrets
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from local.aws.clients import Clients
from local.aws.metrics import Metrics
from local.aws.runtime.environment import function_environment
from local.aws.runtime.fault_injector import FaultInjector
from local.aws.runtime.functions import Function, Functions, split_reference
from local.aws.runtime.log_levels import is_kept
from local.aws.runtime.logs import FunctionLogs
from local.aws.runtime.outcomes import InvocationResult
from local.aws.runtime.pool import Limits, ThrottledError, WorkerPool
from local.aws.runtime.worker import FunctionWorker, WorkerInvocation


class Invoker:
    """Runs functions in their own processes, with the credentials of their role.

    `fault_injector`: the faults that a test set for some events; `variables` are added to the
    environment of all functions.
    """

    def __init__(
        self,
        functions: Functions,
        clients: Clients,
        logs: FunctionLogs,
        state_dir: Path,
        limits: Limits,
        fault_injector: FaultInjector,
        metrics: Metrics,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._functions = functions
        self._clients = clients
        self.logs = logs
        self._state_dir = state_dir
        self.pool = WorkerPool(self._start, limits)
        self._task_slots = threading.BoundedSemaphore(limits.tasks_at_once)
        self._fault_injector = fault_injector
        self._metrics = metrics
        self._variables = dict(variables or {})
        self._fault_folder = state_dir / "faults"
        self._fault_folder.mkdir(parents=True, exist_ok=True)

    def invoke(
        self, reference: str, payload: bytes, *, qualifier: str | None = None, request_id: str = ""
    ) -> InvocationResult:
        """Run a function by name or ARN and return its answer. Raises NotFoundError, ThrottledError."""
        function = self._functions.resolve(reference, qualifier)
        request_id = request_id or str(uuid.uuid4())
        named = qualifier or split_reference(reference)[1]
        arn = f"{function.arn}:{named}" if named else function.arn
        began = time.monotonic()
        fault = self._fault_injector.take(function, payload)
        try:
            text = fault.to_json() if fault else ""
            outcome = self.pool.invoke(
                function, WorkerInvocation(payload, request_id, arn, _trace_id(), text)
            )
        except ThrottledError:
            self._measure(function, "Throttles", 1)
            raise
        if fault is not None and self._is_met(function, outcome):
            self._fault_injector.met(function, fault)
        self._measure(function, "Invocations", 1)
        self._measure(function, "Errors", int(outcome.failed))
        self._report(function, outcome, (time.monotonic() - began) * 1000)
        return outcome

    def invoke_when_free(
        self, reference: str, payload: bytes, *, qualifier: str | None = None, request_id: str = ""
    ) -> InvocationResult:
        """Like `invoke`, once fewer than the limit of other requests are served."""
        with self._task_slots:
            return self.invoke(reference, payload, qualifier=qualifier, request_id=request_id)

    def _is_met(self, function: Function, outcome: InvocationResult) -> bool:
        """Return whether the process has logged that its fault struck (faults.py)."""
        lines = [
            line for line in self.logs.lines(function.logical_id) if line.request_id == outcome.request_id
        ]
        return any(line.text.startswith(("fault: ended ", "fault: hangs ")) for line in lines)

    def _measure(self, function: Function, metric: str, value: int) -> None:
        self._metrics.add("AWS/Lambda", metric, {"FunctionName": function.name}, value)

    def _report(self, function: Function, outcome: InvocationResult, milliseconds: float) -> None:
        summary = _platform_failure(outcome)
        if summary:
            self.logs.append(function.logical_id, summary, outcome.request_id)
        facts = f"Duration: {milliseconds:.2f} ms Memory Size: {function.memory} MB"
        text = f"REPORT RequestId: {outcome.request_id} {facts}"
        self.logs.append(function.logical_id, text, outcome.request_id)

    def _start(self, function: Function) -> FunctionWorker:
        credentials = self._clients.role_credentials(function.role_arn, function.name)
        stream = f"{time.strftime('%Y/%m/%d')}/[{function.version}]{secrets.token_hex(16)}"
        fault_file = self._fault_folder / f"{uuid.uuid4()}.json"

        def environment(runtime_api: str) -> dict[str, str]:
            variables = function_environment(
                function,
                region=self._clients.region,
                endpoint_url=self._clients.endpoint_url,
                credentials=credentials,
                state_dir=self._state_dir,
                runtime_api=runtime_api,
                log_stream=stream,
            )
            return {**variables, **self._variables, "LOCAL_FAULT_FILE": str(fault_file)}

        def log(text: str, request_id: str) -> None:
            if is_kept(text, function.log_format, function.log_level):
                self.logs.append(function.logical_id, text, request_id)
                self._metrics.add_embedded(text)

        return FunctionWorker(function, environment, log, fault_file)


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"


def _platform_failure(outcome: InvocationResult) -> str | None:
    """Return the line that Lambda writes for a process that timed out or crashed."""
    if not outcome.failed:
        return None
    error = json.loads(outcome.payload)
    kind = str(error.get("errorType", ""))
    return f"{kind}: {error['errorMessage']}" if kind.startswith(("Sandbox.", "Runtime.")) else None

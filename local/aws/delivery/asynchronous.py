"""Asynchronous invocations: retried if they fail, then sent to the failure destination."""

import json
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

from local.aws.delivery.background import DelayedTasks
from local.aws.delivery.targets import TargetSender
from local.aws.runtime.functions import Functions
from local.aws.runtime.invoker import Invoker
from local.aws.runtime.outcomes import InvocationResult
from local.aws.runtime.pool import ThrottledError
from local.aws.settings import EventSettings

_THROTTLED_DELAY = 0.1


@dataclass(frozen=True)
class _Event:
    """One queued event and the number of its attempt."""

    reference: str
    payload: bytes
    qualifier: str | None
    request_id: str
    attempt: int = 1


class AsyncInvocations:
    """The queue of Lambda's asynchronous invocations."""

    def __init__(
        self,
        functions: Functions,
        invoker: Invoker,
        sender: TargetSender,
        delayed_tasks: DelayedTasks,
        settings: EventSettings,
    ) -> None:
        self._functions = functions
        self._invoker = invoker
        self._sender = sender
        self._delayed_tasks = delayed_tasks
        self._settings = settings

    def accept(
        self, reference: str, payload: bytes, *, qualifier: str | None = None, request_id: str = ""
    ) -> None:
        """Queue one event for at most three attempts, unless the function sets another limit.

        Raises NotFoundError for an unknown function.
        """
        self._functions.resolve(reference, qualifier)
        event = _Event(reference, payload, qualifier, request_id or str(uuid.uuid4()))
        self._delayed_tasks.after(0, lambda: self._run(event))

    def _run(self, event: _Event) -> None:
        try:
            outcome = self._invoker.invoke_when_free(
                event.reference, event.payload, qualifier=event.qualifier, request_id=event.request_id
            )
        except ThrottledError:
            self._delayed_tasks.after(_THROTTLED_DELAY, lambda: self._run(event))
            return
        settings = self._functions.async_settings(event.reference, event.qualifier)
        if not outcome.failed:
            self._report(settings.on_success_arn, event, outcome, "Success")
        elif event.attempt <= settings.retries:
            delays = self._settings.retry_delays or (0.0,)
            delay = delays[min(event.attempt, len(delays)) - 1]
            self._delayed_tasks.after(delay, lambda: self._run(replace(event, attempt=event.attempt + 1)))
        else:
            self._give_up(settings.on_failure_arn, event, outcome)

    def _give_up(self, arn: str | None, event: _Event, outcome: InvocationResult) -> None:
        function = self._functions.resolve(event.reference, event.qualifier)
        if arn is None or arn != function.dead_letter_arn:
            self._report(arn, event, outcome, "RetriesExhausted")
            return
        words = str(json.loads(outcome.payload).get("errorMessage", ""))
        attributes = {"RequestID": outcome.request_id, "ErrorCode": "200", "ErrorMessage": words[:1024]}
        self._sender.as_role(function.role_arn).send(arn, event.payload.decode(), attributes)

    def _report(self, arn: str | None, event: _Event, outcome: InvocationResult, condition: str) -> None:
        if arn is None:
            return
        function = self._functions.resolve(event.reference, event.qualifier)
        record = _record(f"{function.arn}:{function.version}", function.version, event, outcome, condition)
        self._sender.as_role(function.role_arn).send(arn, json.dumps(record), {})


def _record(
    arn: str, version: str, event: _Event, outcome: InvocationResult, condition: str
) -> dict[str, Any]:
    """Return the invocation record for a destination."""
    failed = {"functionError": outcome.error} if outcome.error else {}
    return {
        "version": "1.0",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "requestContext": {
            "requestId": outcome.request_id,
            "functionArn": arn,
            "condition": condition,
            "approximateInvokeCount": event.attempt,
        },
        "requestPayload": json.loads(event.payload),
        "responseContext": {"statusCode": 200, "executedVersion": version, **failed},
        "responsePayload": json.loads(outcome.payload),
    }

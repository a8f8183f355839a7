"""The calls of the trigger to AWS and Celonis, as its log names them."""

from __future__ import annotations

from collections.abc import Callable

import requests

from local.aws.runtime.fault_injector import CrashFault
from local.aws.stack import LocalStack

NEVER = 0


class SingleProcess:
    """Makes one new process serve all following sequential requests.

    ``pattern``: which calls are of interest.
    """

    def __init__(self, stack: LocalStack, pattern: str = "") -> None:
        self._stack, self._pattern = stack, pattern
        stack.retire("Trigger")

    def calls(self, send: Callable[[], requests.Response], status: int) -> list[str]:
        """The calls that one request leads to, each as ``POST http://… DynamoDB_20120810.GetItem``."""
        seen = len(self._stack.logs("Trigger"))
        self._stack.arm("Trigger", CrashFault(call=NEVER, pattern=self._pattern))
        answer = send()
        assert answer.status_code == status, answer.text
        lines = [line.text for line in self._stack.logs("Trigger")[seen:]]
        return [text.split(" ", 3)[3] for text in lines if text.startswith("fault: call ")]

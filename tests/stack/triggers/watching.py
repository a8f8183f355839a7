"""One process of the trigger whose calls to AWS and Celonis are named in its log."""

from __future__ import annotations

from local.aws.runtime.armory import Fault
from local.aws.stack import LocalStack

NEVER = 0


class Watched:
    """From its making on, requests that come one after the other are served by one new process."""

    def __init__(self, stack: LocalStack, pattern: str = "") -> None:
        self._stack = stack
        self._seen = len(stack.logs("Trigger"))
        stack.arm("Trigger", Fault(call=NEVER, pattern=pattern))

    def calls(self) -> list[str]:
        """The calls since the last time, each as ``POST http://… DynamoDB_20120810.GetItem``."""
        lines = [line.text for line in self._stack.logs("Trigger")]
        new, self._seen = lines[self._seen :], len(lines)
        return [text.split(" ", 3)[3] for text in new if text.startswith("fault: call ")]

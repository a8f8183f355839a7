"""Kills or stops this process at a chosen outgoing HTTP call, like a crash or a hang of the machine.

It is loaded into a function's process by its path and imports nothing of this project.
"""

import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

_PREFIX = "fault:"


class _Fault:
    """Counts the calls that match, names each in the log, and ends the process at the right one."""

    def __init__(self, moment: str, call: int, pattern: str, event: str, hangs: float) -> None:
        self._moment = moment
        self._event = f" for {event}" if event else ""
        self._hangs = hangs
        self._call = call
        self._pattern = re.compile(pattern)
        self._count, self._struck = 0, False
        self._lock = threading.Lock()  # functions send messages in several threads

    def note(self, line: str) -> int:
        """Log a call that matches, and return its number; 0 for any other call."""
        if not self._pattern.search(line):
            return 0
        with self._lock:
            self._count += 1
            number = self._count
        print(f"{_PREFIX} call {number} {line}", flush=True)
        return number

    def take_back(self) -> None:
        """Count the retry of a call without a response as the same call."""
        with self._lock:
            self._count -= 1

    def strike(self, moment: str, number: int, line: str) -> None:
        """Kill or suspend the process once, at the chosen moment of the chosen call."""
        if moment == self._moment and number == self._call and not self._struck:
            self._struck = True
            print(f"{_PREFIX} {'hangs' if self._hangs else 'ended'} {moment} {line}{self._event}", flush=True)
            if not self._hangs:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self._hangs)


class _ArmedFault:
    """The fault for the current event, read from a file that exists while the event is handled."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._last_text = ""
        self._fault: _Fault | None = None

    def fault(self) -> _Fault | None:
        try:
            with open(self._file, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            text = ""
        if text != self._last_text:
            self._last_text = text
            self._fault = _Fault(**json.loads(text)) if text else None
        return self._fault


def install(file: str) -> None:
    """Check at every outgoing call whether `file` holds a fault, as JSON of its fields."""
    arms = _ArmedFault(file)
    own = os.environ["AWS_LAMBDA_RUNTIME_API"]
    connection: Any = http.client.HTTPConnection
    connection.putrequest = _begun(connection.putrequest, own)
    connection.putheader = _named(connection.putheader)
    connection.endheaders = _counted(connection.endheaders, arms)
    connection.getresponse = _answered(connection.getresponse, arms)


def _begun(putrequest: Callable[..., Any], own: str) -> Callable[..., Any]:
    """Handle the start of a request, which is not sent yet: it and the headers only fill a buffer."""

    def wrapped(self: Any, method: str, url: str, *rest: Any, **named: Any) -> Any:
        address = f"{self.host}:{self.port}"
        self._fault_line = f"{method} http://{address}{url}" if address != own else None
        return putrequest(self, method, url, *rest, **named)

    return wrapped


def _named(putheader: Callable[..., Any]) -> Callable[..., Any]:
    """Return the request line with the AWS operation, which JSON protocols send in a header."""

    def wrapped(self: Any, header: Any, *values: Any) -> Any:
        name, value = (_text(each) for each in (header, values[0] if values else ""))
        if name.lower() == "x-amz-target" and self._fault_line:
            self._fault_line += f" {value}"
        return putheader(self, header, *values)

    return wrapped


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _counted(endheaders: Callable[..., Any], arms: _ArmedFault) -> Callable[..., Any]:
    def wrapped(self: Any, *rest: Any, **named: Any) -> Any:
        line = self._fault_line
        fault = arms.fault() if line else None
        self._fault_number = fault.note(line) if fault else 0
        if fault and self._fault_number:
            fault.strike("before", self._fault_number, line)
        return endheaders(self, *rest, **named)

    return wrapped


def _answered(getresponse: Callable[..., Any], arms: _ArmedFault) -> Callable[..., Any]:
    def wrapped(self: Any, *rest: Any, **named: Any) -> Any:
        number = getattr(self, "_fault_number", 0)
        fault = arms.fault() if number else None
        if fault is None:
            return getresponse(self, *rest, **named)
        fault.strike("sent", number, self._fault_line)
        try:
            response = getresponse(self, *rest, **named)
        except OSError:
            fault.take_back()
            raise
        fault.strike("after", number, self._fault_line)
        return response

    return wrapped

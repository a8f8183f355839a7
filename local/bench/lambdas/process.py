"""One process of a function under Lambda's own runtime client, fed event by event and measured.

Measured are the wall time from its start (or from the moment an event is passed in) to the answer, the
processor time used until then, and the peak memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.aws.http_server import HttpRequest, HttpResponse, LoopbackServer

_NEXT = "/2018-06-01/runtime/invocation/next"
ANSWER_SECONDS = 60.0


class NoAnswer(Exception):
    """The function failed or did not answer in time; its output shows the reason."""


@dataclass(frozen=True)
class Measurement:
    """``wall`` and ``cpu`` in seconds (user and system), ``memory`` in bytes, and the answer itself."""

    answer: Any
    wall: float
    cpu: float
    memory: int


class FunctionProcess:
    """A process for a ``with`` block. ``environment``: as in Lambda, without the runtime API."""

    def __init__(self, python: Path, code: Path, environment: Mapping[str, str]) -> None:
        self._events: queue.Queue[bytes | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self._api = LoopbackServer(self._serve, name="runtime-api")
        self._api.start()
        address = self._api.url.removeprefix("http://")
        self._began = time.perf_counter()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process; a pipe would be full soon
        self._process = subprocess.Popen(
            [python, "-m", "awslambdaric", "app.handler"],
            cwd=code,
            env={**environment, "AWS_LAMBDA_RUNTIME_API": address},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._events.put(None)
        self._api.stop()

    def first(self, event: Mapping[str, Any]) -> Measurement:
        """Measure the first event from the start of the process, which ends after it."""
        answer, at = self._ask(event)
        memory = _peak_memory(self._process.pid)
        self._process.kill()
        _, _, used = os.wait4(self._process.pid, 0)
        self._process.returncode = -9
        return Measurement(
            answer, at - self._began, used.ru_utime + used.ru_stime, memory or _bytes(used.ru_maxrss)
        )

    def ask(self, event: Mapping[str, Any]) -> tuple[Any, float]:
        """Pass in one more event; return the answer and the seconds until it came."""
        began = time.perf_counter()
        answer, at = self._ask(event)
        return answer, at - began

    def _ask(self, event: Mapping[str, Any]) -> tuple[Any, float]:
        self._events.put(json.dumps(event).encode())
        try:
            what, payload, at = self._answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise NoAnswer(self._output()) from None
        if what != "response":
            raise NoAnswer(f"{payload.decode()}\n{self._output()}")
        return json.loads(payload), at

    def _output(self) -> str:
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        return self._log.read().decode()

    def _serve(self, request: HttpRequest) -> HttpResponse:
        if request.path != _NEXT:
            what = request.path.rsplit("/", 1)[-1]
            self._answers.put((what, request.body, time.perf_counter()))
            return HttpResponse(202, b"{}", [("Content-Type", "application/json")])
        event = self._events.get()
        if event is None:
            return HttpResponse(410)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + ANSWER_SECONDS) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:f",
        }
        return HttpResponse(200, event, list(headers.items()))


def _peak_memory(pid: int) -> int:
    """Return the peak memory of the process itself; ``wait4`` also counts the parent's memory at the fork."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _bytes(maximum: int) -> int:
    return maximum if os.uname().sysname == "Darwin" else maximum * 1024

"""Faults that a test arms: a process of a function dies at a chosen outgoing HTTP call of one event."""

import json
import re
import threading
from dataclasses import asdict, dataclass

from local.aws.runtime.functions import Function


@dataclass(frozen=True)
class CrashFault:
    """Die `before` the call is made, when it is `sent` but not answered, or `after` its answer came.

    `call` counts from 1 the calls of the event whose method, URL and AWS operation match `pattern`; 0 never
    dies, and only names the calls in the function's log (`fault: call 2 POST http://…`). The fault is for the
    next event that the pattern `event` matches. `hangs`: the process stops for so many seconds instead, and
    goes on if it is still there then.
    """

    moment: str = "before"
    call: int = 1
    pattern: str = ""
    event: str = ""
    hangs: float = 0.0

    def __post_init__(self) -> None:
        if self.moment not in ("before", "sent", "after"):
            raise ValueError(f"{self.moment} is no moment of a call")


class FaultInjector:
    """Each fault is for one event."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, list[CrashFault]] = {}

    def arm(self, logical_id: str, fault: CrashFault) -> None:
        with self._lock:
            self._faults.setdefault(logical_id, []).append(fault)

    def disarm(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, function: Function, payload: bytes) -> str:
        """The fault that is meant for this event of a function, as JSON; empty where there is none."""
        with self._lock:
            waiting = self._faults.get(function.logical_id, [])
            if not waiting:
                return ""
            event = payload.decode("utf-8", "replace")
            fault = next((each for each in waiting if re.search(each.event, event)), None)
            if fault is None:
                return ""
            waiting.remove(fault)
            return json.dumps(asdict(fault))

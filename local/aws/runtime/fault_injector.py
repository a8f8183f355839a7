"""Faults for tests: kill a function's process at a chosen outgoing HTTP call of one event."""

import json
import re
import threading
from dataclasses import dataclass

from local.aws.runtime.functions import Function


@dataclass(frozen=True)
class CrashFault:
    """Crash `before` the call is made, when it is `sent` but not answered, or `after` its response arrived.

    `call`: the number, from 1, of the call of the event whose method, URL and AWS operation match `pattern`;
    0 never crashes and only logs the calls (`fault: call 2 POST http://…`). The fault is for the next event
    that the pattern `event` matches; with `stays` for all of them, also at the same time, until one of them
    has met it. `hangs`: the process is suspended for this number of seconds instead of killed.
    """

    moment: str = "before"
    call: int = 1
    pattern: str = ""
    event: str = ""
    hangs: float = 0.0
    stays: bool = False

    def to_json(self) -> str:
        """Return what the process needs (faults.py)."""
        fields = ("moment", "call", "pattern", "event", "hangs")
        return json.dumps({name: getattr(self, name) for name in fields})

    def __post_init__(self) -> None:
        if self.moment not in ("before", "sent", "after"):
            raise ValueError(f"{self.moment} is no moment of a call")


class FaultInjector:
    """Which fault an event has. Tests arm them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, list[CrashFault]] = {}

    def arm(self, logical_id: str, fault: CrashFault) -> None:
        with self._lock:
            self._faults.setdefault(logical_id, []).append(fault)

    def disarm(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, function: Function, payload: bytes) -> CrashFault | None:
        """Return the fault for this event of a function, None if there is none; it stays, or is removed."""
        with self._lock:
            waiting = self._faults.get(function.logical_id, [])
            if not waiting:
                return None
            event = payload.decode("utf-8", "replace")
            fault = next((each for each in waiting if re.search(each.event, event)), None)
            if fault is not None and not fault.stays:
                waiting.remove(fault)
            return fault

    def met(self, function: Function, fault: CrashFault) -> None:
        """Remove a fault that stays: an event has met it."""
        with self._lock:
            waiting = self._faults.get(function.logical_id, [])
            if fault.stays and fault in waiting:  # without it, an equal one that is armed is another fault
                waiting.remove(fault)

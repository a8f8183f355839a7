"""Faults that a test arms: a process of a function dies at a chosen outgoing HTTP call."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from local.aws.runtime.functions import Function


@dataclass(frozen=True)
class Fault:
    """Die `before` the call is made, when it is `sent` but not answered, or `after` its answer came.

    `call` counts from 1 the calls of the process whose method, URL and AWS operation match `pattern`; 0 never
    dies, and only names the calls in the function's log (`fault: call 2 POST http://…`).
    With `event`, a pattern too, the fault is for the next event that matches it, which gets a new process of
    its own; without, for the next process of the function. `hangs`: the process stops doing anything instead.
    """

    moment: str = "before"
    call: int = 1
    pattern: str = ""
    event: str = ""
    hangs: bool = False

    def __post_init__(self) -> None:
        if self.moment not in ("before", "sent", "after"):
            raise ValueError(f"{self.moment} is no moment of a call")


class Armory:
    """Each fault is for one process, and is given as a variable of its environment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, list[Fault]] = {}

    def arm(self, logical_id: str, fault: Fault) -> None:
        with self._lock:
            self._faults.setdefault(logical_id, []).append(fault)

    def disarm(self) -> None:
        with self._lock:
            self._faults.clear()

    def environment(self, function: Function) -> dict[str, str]:
        """What the next process of this function gets on top of its environment."""
        return self._take(function, lambda fault: not fault.event)

    def environment_for(self, function: Function, event: str) -> dict[str, str]:
        """What a process of its own gets for this event; nothing where no fault is meant for it."""
        return self._take(function, lambda fault: bool(fault.event and re.search(fault.event, event)))

    def _take(self, function: Function, wanted: Callable[[Fault], bool]) -> dict[str, str]:
        with self._lock:
            waiting = self._faults.get(function.logical_id, [])
            fault = next(filter(wanted, waiting), None)
            if fault is None:
                return {}
            waiting.remove(fault)
            return {"LOCAL_FAULT": json.dumps(asdict(fault))}

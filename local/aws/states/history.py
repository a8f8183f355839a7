"""The events of an execution, as in GetExecutionHistory."""

import json
import threading
from collections.abc import Callable
from typing import Any

LIMIT = 25_000


class History:
    """A growing list of events; ids count from 1."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []

    def add(self, kind: str, details: dict[str, Any] | None = None, *, key: str | None = None) -> None:
        """Add an event of type `kind`; details without a value are omitted."""
        with self._lock:
            event: dict[str, Any] = {
                "timestamp": self._now(),
                "type": kind,
                "id": len(self._events) + 1,
                "previousEventId": len(self._events),
            }
            if details is not None:
                present = {name: value for name, value in details.items() if value is not None}
                event[key or f"{kind[0].lower()}{kind[1:]}EventDetails"] = present
            self._events.append(event)

    def entered(self, kind: str, name: str, data: Any) -> None:
        details = {"name": name, "input": json.dumps(data), "inputDetails": {"truncated": False}}
        self.add(f"{kind}StateEntered", details, key="stateEnteredEventDetails")

    def exited(self, kind: str, name: str, data: Any) -> None:
        details = {"name": name, "output": json.dumps(data), "outputDetails": {"truncated": False}}
        self.add(f"{kind}StateExited", details, key="stateExitedEventDetails")

    @property
    def full(self) -> bool:
        return len(self._events) >= LIMIT

    def events(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._events)

"""EventBridge that takes events, refuses them or has its function killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError


def _pass(name: str, when: Literal["before", "after"]) -> None:
    pass


@dataclass
class FakeEvents:
    """``sent``: the accepted entries. ``refuse``: how many calls fail; ``failed_entries``: or in part."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    refuse: int = 0
    failed_entries: int = 0
    calls: int = 0
    hook: Callable[[str, Literal["before", "after"]], None] = _pass

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> Any:  # noqa: N803
        self.hook("PutEvents", "before")
        self.calls += 1
        if self.refuse:
            self.refuse -= 1
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Slow"}}, "PutEvents")
        if self.failed_entries:
            self.failed_entries -= 1
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        self.sent += Entries
        self.hook("PutEvents", "after")
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"} for _ in Entries]}

    @property
    def details(self) -> list[dict[str, Any]]:
        return [json.loads(entry["Detail"]) for entry in self.sent]

    @property
    def ids(self) -> list[str]:
        return [str(detail["event_id"]) for detail in self.details]

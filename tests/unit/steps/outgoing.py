"""What a ServiceHarness sent, in order: requests to Celonis and writes to the table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from celonis_refresh.celonis.errors import AuthenticationFailed, CelonisError, NotFound
from celonis_refresh.observability import logger
from celonis_refresh.runs.table import job_lease, model_lease, run_key, slot_key
from tests.fakes.celonis import denied
from tests.fakes.service import JOB, MODEL, RUN, ServiceHarness

STARTS = ("execute_job", "load_model", "load_tables")
WRITES = ("UpdateItem", "DeleteItem", "TransactWriteItems")
RECORD, SLOT = run_key(RUN), slot_key("otc")
JOB_LEASE, MODEL_LEASE = job_lease(JOB), model_lease(MODEL)


class SentWrite(NamedTuple):
    """One write to the table: the operation and the keys that it is about."""

    operation: str
    keys: tuple[str, ...]


@dataclass
class Outgoing:
    """Records what a ServiceHarness sends. ``log``: names of Celonis calls, and writes, in order."""

    service: ServiceHarness
    log: list[str | SentWrite] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service.celonis.hook = self._call
        self.service.dynamodb.before = self._write

    def _call(self, name: str, when: str) -> None:
        if when == "before":
            self.log.append(name)

    def _write(self, operation: str, request: dict[str, Any]) -> None:
        if operation in WRITES:
            actions = request.get("TransactItems", [{operation: request}])
            self.log.append(SentWrite(operation, tuple(_key(action) for action in actions)))

    def take(self) -> list[str | SentWrite]:
        """What went out since the last call of this method."""
        taken, self.log = self.log, []
        return taken

    @property
    def calls(self) -> list[str]:
        """The calls to Celonis."""
        return [one for one in self.log if isinstance(one, str)]

    @property
    def writes(self) -> list[SentWrite]:
        """The writes to the table."""
        return [one for one in self.log if isinstance(one, SentWrite)]


def _key(action: dict[str, Any]) -> str:
    ((_, body),) = action.items()
    key = body["Item"] if "Item" in body else body["Key"]
    return str(key["pk"]["S"])


def claims(service: ServiceHarness) -> list[SentWrite]:
    """The claims of pipelines that go out from now on: transactions about a slot."""
    found: list[SentWrite] = []
    quiet = service.dynamodb.before

    def before(operation: str, request: dict[str, Any]) -> None:
        quiet(operation, request)
        if operation == "TransactWriteItems":
            about = tuple(_key(action) for action in request["TransactItems"])
            if any(key.startswith(("slot#", "delivery#")) for key in about):
                found.append(SentWrite(operation, about))

    service.dynamodb.before = before
    return found


def starts(service: ServiceHarness) -> list[tuple[str, str, object]]:
    """The starts that got to Celonis, with their arguments."""
    return [sent for sent in service.celonis.sent if sent[0] in STARTS]


def cancels(service: ServiceHarness) -> list[str]:
    """The jobs that Celonis was asked to cancel."""
    return [target for name, target, _ in service.celonis.sent if name == "cancel_job"]


def holder(service: ServiceHarness, lease: str = JOB_LEASE) -> str | None:
    """The run that holds a lease."""
    item = service.table.get(lease) or {}
    return str(item["run_id"]) if "run_id" in item else None


def unauthorised() -> AuthenticationFailed:
    return AuthenticationFailed("No.", hint="Renew the key.", method="GET", path="/", status=401)


def unknown() -> NotFound:
    return NotFound("No such thing.", hint="Check the id.", method="GET", path="/", status=404)


def for_good() -> list[CelonisError]:
    """Errors that waiting does not fix: 401, 403, 404."""
    return [unauthorised(), denied(), unknown()]


class _RecordingHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """The lines that the service logs inside the block."""
    kept = _RecordingHandler()
    log = logging.getLogger(logger.name)
    log.addHandler(kept)
    try:
        yield kept.records
    finally:
        log.removeHandler(kept)

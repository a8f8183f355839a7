"""What went out of a bench, in order: requests to Celonis and writes to the table."""

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


class Write(NamedTuple):
    """One write to the table: the operation and the keys that it is about."""

    operation: str
    keys: tuple[str, ...]


@dataclass
class Outgoing:
    """Listens to a bench from now on. ``log``: names of Celonis's calls, and writes, as they went out."""

    bench: ServiceHarness
    log: list[str | Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bench.celonis.hook = self._call
        self.bench.dynamodb.before = self._write

    def _call(self, name: str, when: str) -> None:
        if when == "before":
            self.log.append(name)

    def _write(self, operation: str, request: dict[str, Any]) -> None:
        if operation in WRITES:
            actions = request.get("TransactItems", [{operation: request}])
            self.log.append(Write(operation, tuple(_key(action) for action in actions)))

    def take(self) -> list[str | Write]:
        """What went out since this was asked last."""
        taken, self.log = self.log, []
        return taken

    @property
    def calls(self) -> list[str]:
        """The calls to Celonis."""
        return [one for one in self.log if isinstance(one, str)]

    @property
    def writes(self) -> list[Write]:
        """The writes to the table."""
        return [one for one in self.log if isinstance(one, Write)]


def _key(action: dict[str, Any]) -> str:
    ((_, body),) = action.items()
    key = body["Item"] if "Item" in body else body["Key"]
    return str(key["pk"]["S"])


def claims(bench: ServiceHarness) -> list[Write]:
    """The claims of pipelines that go out from now on: transactions about a slot."""
    found: list[Write] = []
    quiet = bench.dynamodb.before

    def before(operation: str, request: dict[str, Any]) -> None:
        quiet(operation, request)
        if operation == "TransactWriteItems":
            about = tuple(_key(action) for action in request["TransactItems"])
            if any(key.startswith(("slot#", "delivery#")) for key in about):
                found.append(Write(operation, about))

    bench.dynamodb.before = before
    return found


def starts(bench: ServiceHarness) -> list[tuple[str, str, object]]:
    """The starts that got to Celonis, with their arguments."""
    return [sent for sent in bench.celonis.sent if sent[0] in STARTS]


def cancels(bench: ServiceHarness) -> list[str]:
    """The jobs that Celonis was asked to cancel."""
    return [target for name, target, _ in bench.celonis.sent if name == "cancel_job"]


def holder(bench: ServiceHarness, lease: str = JOB_LEASE) -> str | None:
    """The run that holds a lease."""
    item = bench.table.get(lease) or {}
    return str(item["run_id"]) if "run_id" in item else None


def unauthorised() -> AuthenticationFailed:
    return AuthenticationFailed("No.", hint="Renew the key.", method="GET", path="/", status=401)


def unknown() -> NotFound:
    return NotFound("No such thing.", hint="Check the id.", method="GET", path="/", status=404)


def for_good() -> list[CelonisError]:
    """What no waiting mends: 401, 403, 404."""
    return [unauthorised(), denied(), unknown()]


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """The lines that the service logs meanwhile."""
    kept = _Kept()
    log = logging.getLogger(logger.name)
    log.addHandler(kept)
    try:
        yield kept.records
    finally:
        log.removeHandler(kept)

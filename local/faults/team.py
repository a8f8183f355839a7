"""A Celonis team for the cases: a simulator with credentials of its own, changed through its controls."""

from __future__ import annotations

import json
import secrets
from typing import Any

from local.celonis import world
from local.celonis.ledger import describe
from local.celonis.server import CelonisSimulator
from local.celonis.starts import RequestedStart
from local.celonis.targets import JobTarget, ModelTarget

Json = dict[str, Any]
TABLES = ("VBAK", "VBAP", "LIKP")
DAY = 86_400.0
KINDS = ("client_secret", "app_key", "api_key")
"""The credentials of a team, as the simulator names them."""


class ControlRefused(Exception):
    """The simulator refuses a control: the case is wrong."""


class CelonisTeam:
    """``connection``: the name under which the stack knows this team; ``kind``: how it signs in there."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self.kind = "client_secret"
        self.secrets: list[str] = []
        """Everything that this team ever gave out or took as a proof."""
        self.celonis = CelonisSimulator(new_token=lambda: self.new_secret("token"))
        self.celonis.start()
        self.credentials = {kind: self.new_secret(kind) for kind in KINDS}
        self.install()

    def close(self) -> None:
        self.celonis.stop()

    def new_secret(self, what: str) -> str:
        """A secret that must not be found anywhere."""
        made = f"{what}-{secrets.token_hex(12)}"
        self.secrets.append(made)
        return made

    def install(self) -> None:
        """Celonis takes the credentials as they are now; others, and all tokens, are refused."""
        self.control("PUT", "/credentials", **self.credentials)
        self.control("DELETE", "/tokens")

    def document(self) -> Json:
        """The secret of the connection, as a person fills it in."""
        secret = self.credentials[self.kind]
        client = {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": secret}
        auth = client if self.kind == "client_secret" else {"type": self.kind, "key": secret}
        return {"base_url": self.celonis.url, "allow_http": True, "allow_any_host": True, "auth": auth}

    def control(self, method: str, path: str, **fields: Any) -> Any:
        """One control of the simulator. Raises ``ControlRefused``."""
        body = json.dumps(fields).encode() if fields else b""
        answer = self.celonis.controls.handle(method, path, body)
        if answer.status != 200:
            raise ControlRefused(f"{method} {path}: {answer.body.decode()}")
        return json.loads(answer.body)

    def job(self, name: str, ran: str | None, **knobs: Any) -> str:
        """The id of a new data job, whose execution a day before ended as ``ran`` says."""
        made = str(self.control("POST", "/jobs", name=name, **knobs)["id"])
        self._ran(self.celonis.model.jobs[made], ran)
        return made

    def model(self, name: str, ran: str | None, **knobs: Any) -> tuple[str, dict[str, str]]:
        """The id of a new data model and those of its tables by name; else as :meth:`job`."""
        tables = {table: f"{table.lower()}-{secrets.token_hex(4)}" for table in TABLES}
        rows = [{"id": key, "name": table, "data_source_id": "erp"} for table, key in tables.items()]
        made = str(self.control("POST", "/models", name=name, tables=rows, **knobs)["id"])
        self._ran(self.celonis.model.models[made], ran)
        return made, tables

    def _ran(self, target: JobTarget | ModelTarget, outcome: str | None) -> None:
        if outcome is None:
            return
        platform = self.celonis.model
        platform.start(
            target, RequestedStart(by="history", seconds=1, outcome=outcome), at=platform.clock() - DAY
        )
        target.stale_reads = dict.fromkeys(target.stale_reads, 0)

    def started(self, *targets: str) -> list[Json]:
        """What was really started on these jobs and models since the case began, oldest first."""
        platform = self.celonis.model
        with platform.lock:
            platform.settle()
            known = [platform.jobs.get(target) or platform.models[target] for target in targets]
            operations = [
                operation for target in known for operation in target.operations if operation.by != "history"
            ]
            return [
                describe(operation, platform.clock())
                for operation in sorted(operations, key=lambda one: one.seq)
            ]

    def requests(self, call: str, about: str = "") -> list[Json]:
        """The requests of one call whose path names ``about``, in the order of their answers."""
        rows: list[Json] = self.celonis.ledger.requests(call)
        return [row for row in rows if about in row["path"]]

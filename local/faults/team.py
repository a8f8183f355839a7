"""A Celonis team for the cases: a simulator with its own credentials, changed through its controls."""

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
    """The simulator rejected a control request: the case is wrong."""


class CelonisTeam:
    """``connection``: the name of the stack's connection to this team; ``kind``: its kind of sign-in."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self.kind = "client_secret"
        self.secrets: list[str] = []
        """Every credential and token that this team ever issued or accepted."""
        self.celonis = CelonisSimulator(new_token=lambda: self.new_secret("token"))
        self.celonis.start()
        self.credentials = {kind: self.new_secret(kind) for kind in KINDS}
        self.install()

    def close(self) -> None:
        self.celonis.stop()

    def new_secret(self, what: str) -> str:
        """Return a new secret, which must not be found anywhere."""
        secret = f"{what}-{secrets.token_hex(12)}"
        self.secrets.append(secret)
        return secret

    def install(self) -> None:
        """Let Celonis accept the current credentials; others, and all tokens, are rejected."""
        self.control("PUT", "/credentials", **self.credentials)
        self.control("DELETE", "/tokens")

    def document(self) -> Json:
        """Return the secret of the connection, as a user fills it in."""
        secret = self.credentials[self.kind]
        client = {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": secret}
        auth = client if self.kind == "client_secret" else {"type": self.kind, "key": secret}
        return {"base_url": self.celonis.url, "allow_http": True, "allow_any_host": True, "auth": auth}

    def control(self, method: str, path: str, **fields: Any) -> Any:
        """Send a control request to the simulator. Raises ``ControlRefused``."""
        body = json.dumps(fields).encode() if fields else b""
        answer = self.celonis.controls.handle(method, path, body)
        if answer.status != 200:
            raise ControlRefused(f"{method} {path}: {answer.body.decode()}")
        return json.loads(answer.body)

    def job(self, name: str, ran: str | None, **knobs: Any) -> str:
        """Create a data job whose execution a day ago ended with status ``ran``; return its id."""
        job_id = str(self.control("POST", "/jobs", name=name, **knobs)["id"])
        self._ran(self.celonis.model.jobs[job_id], ran)
        return job_id

    def model(self, name: str, ran: str | None, **knobs: Any) -> tuple[str, dict[str, str]]:
        """Create a data model like :meth:`job`; return its id and the ids of its tables by name."""
        tables = {table: f"{table.lower()}-{secrets.token_hex(4)}" for table in TABLES}
        rows = [{"id": key, "name": table, "data_source_id": "erp"} for table, key in tables.items()]
        model_id = str(self.control("POST", "/models", name=name, tables=rows, **knobs)["id"])
        self._ran(self.celonis.model.models[model_id], ran)
        return model_id, tables

    def _ran(self, target: JobTarget | ModelTarget, outcome: str | None) -> None:
        if outcome is None:
            return
        platform = self.celonis.model
        platform.start(
            target, RequestedStart(by="history", seconds=1, outcome=outcome), at=platform.clock() - DAY
        )
        target.stale_reads = dict.fromkeys(target.stale_reads, 0)

    def started(self, *targets: str) -> list[Json]:
        """Return what was really started on these jobs and models since the case began, oldest first."""
        platform = self.celonis.model
        with platform.lock:
            platform.settle()
            reached = [platform.jobs.get(target) or platform.models[target] for target in targets]
            operations = [
                operation
                for target in reached
                for operation in target.operations
                if operation.by != "history"
            ]
            return [
                describe(operation, platform.clock())
                for operation in sorted(operations, key=lambda one: one.seq)
            ]

    def requests(self, call: str, about: str = "") -> list[Json]:
        """Return the requests of one call whose path contains ``about``, in the order of their responses."""
        rows: list[Json] = self.celonis.ledger.requests(call)
        return [row for row in rows if about in row["path"]]

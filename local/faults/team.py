"""A Celonis team for the cases: a simulator with credentials of its own, steered through its controls."""

from __future__ import annotations

import json
import secrets
from typing import Any

from local.celonis import world
from local.celonis.ledger import describe
from local.celonis.server import CelonisSimulator

Json = dict[str, Any]
TABLES = ("VBAK", "VBAP", "LIKP")


class ControlRefused(Exception):
    """The simulator does not take a control: the case is written wrongly."""


class Team:
    """``connection``: the name under which the stack knows this team."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self.secrets: list[str] = []
        """Everything that this team ever gave out or took as a proof."""
        self.celonis = CelonisSimulator(new_token=lambda: self._secret("token"))
        self.celonis.start()
        self.client_secret = self._secret("client")
        self.app_key, self.api_key = self._secret("app-key"), self._secret("api-key")
        keys = {"app_key": self.app_key, "api_key": self.api_key}
        self.control("PUT", "/credentials", client_secret=self.client_secret, **keys)

    def close(self) -> None:
        self.celonis.stop()

    def _secret(self, what: str) -> str:
        made = f"{what}-{secrets.token_hex(12)}"
        self.secrets.append(made)
        return made

    def control(self, method: str, path: str, **fields: Any) -> Any:
        """One control of the simulator. Raises ``ControlRefused``."""
        body = json.dumps(fields).encode() if fields else b""
        answer = self.celonis.controls.handle(method, path, body)
        if answer.status != 200:
            raise ControlRefused(f"{method} {path}: {answer.body.decode()}")
        return json.loads(answer.body)

    def document(self, **auth: str) -> Json:
        """The secret of the connection, as a person fills it in; ``auth`` instead of the OAuth client."""
        client = {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": self.client_secret}
        return {
            "base_url": self.celonis.url,
            "allow_http": True,
            "allow_any_host": True,
            "auth": auth or client,
        }

    def rotate(self) -> None:
        """A new client secret; the old one and every token that it led to are refused from now on."""
        self.client_secret = self._secret("client")
        self.control("PUT", "/credentials", client_secret=self.client_secret)
        self.control("DELETE", "/tokens")

    def job(self, name: str, ran: str | None, **knobs: Any) -> str:
        """The id of a new data job, whose execution before ended as ``ran`` says."""
        made = self.control("POST", "/jobs", name=name, **knobs)
        if ran is not None:
            self.control("POST", f"/jobs/{made['id']}/start", by="history", seconds=0, outcome=ran)
        return str(made["id"])

    def model(self, name: str, ran: str | None, **knobs: Any) -> tuple[str, dict[str, str]]:
        """The id of a new data model and those of its tables by name."""
        tables = {table: f"{table.lower()}-{secrets.token_hex(4)}" for table in TABLES}
        rows = [{"id": key, "name": table, "data_source_id": "erp"} for table, key in tables.items()]
        made = self.control("POST", "/models", name=name, tables=rows, **knobs)
        if ran is not None:
            self.control("POST", f"/models/{made['id']}/load", by="history", seconds=0, outcome=ran)
        return str(made["id"]), tables

    def started(self, *lanes: str) -> list[Json]:
        """What was really started on these jobs and models since the case began, oldest first."""
        platform = self.celonis.model
        with platform.lock:
            platform.settle()
            known = [platform.jobs.get(lane) or platform.models[lane] for lane in lanes]
            works = [work for lane in known for work in lane.works if work.by != "history"]
            return [describe(work, platform.clock()) for work in sorted(works, key=lambda one: one.seq)]

    def requests(self, call: str, about: str = "") -> list[Json]:
        """The requests of one call whose path names ``about``, in the order of their answers."""
        rows: list[Json] = self.celonis.ledger.requests(call)
        return [row for row in rows if about in row["path"]]

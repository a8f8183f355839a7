"""The Celonis of the tests: the simulator's controls, and its ledger of what was really started."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import requests

from local.celonis import world
from local.wait import until

SECONDS = 10.0
POOL = world.POOL_ID
QUICK = 0.35
"""Seconds that a job or a load takes unless a test says otherwise: it is seen running, and ends soon."""

Json = dict[str, Any]


class CelonisTable(NamedTuple):
    """A table of a model: ``id`` is made from the model, ``alias`` may be missing."""

    id: str
    name: str
    alias: str | None = None


class CelonisModel(NamedTuple):
    """A data model and its tables by name."""

    id: str
    tables: Mapping[str, CelonisTable]

    def ids(self, *names: str) -> list[str]:
        """The ids of tables, sorted as a start sends them."""
        return sorted(self.tables[name].id for name in names)


class CelonisControls:
    """Jobs and models are made for each test, so that tests do not share them."""

    def __init__(self, control_url: str) -> None:
        self._url = control_url
        self._session = requests.Session()
        self._session.trust_env = False
        self._numbers = itertools.count(1)

    def reset(self) -> None:
        """Resets to the default world, in which everything ran once, without knobs, faults or tokens."""
        self._post("/reset")

    def close(self) -> None:
        self._session.close()

    def job(self, *, ran_before: bool = True, **knobs: object) -> str:
        """The id of a new job. ``knobs`` as the simulator's controls take them."""
        made = self._post("/jobs", name=f"job {next(self._numbers)}", **{"seconds": QUICK, **knobs})
        if ran_before:
            self._post(f"/jobs/{made['id']}/start", by="history", seconds=0, outcome="SUCCESS")
        return str(made["id"])

    def model(self, *names: str, loaded_before: bool = True, **knobs: object) -> CelonisModel:
        """A new model. ``names`` of tables, as ``"VBAK"`` or ``"VBAP=Sales order items"`` (its alias)."""
        number = next(self._numbers)
        tables = [_table(number, name) for name in names]
        shown = [{**table._asdict(), "data_source_id": world.ERP_SOURCE_ID} for table in tables]
        made = self._post("/models", name=f"model {number}", tables=shown, **{"seconds": QUICK, **knobs})
        if loaded_before:
            self._post(f"/models/{made['id']}/load", by="history", seconds=0, outcome="SUCCESS")
        return CelonisModel(str(made["id"]), {table.name: table for table in tables})

    def set_job(self, job: str, **knobs: object) -> None:
        self._send("PUT", f"/jobs/{job}", knobs)

    def set_model(self, model: str, **knobs: object) -> None:
        self._send("PUT", f"/models/{model}", knobs)

    def finish(self, job: str, outcome: str = "SUCCESS") -> None:
        """Ends what runs there, once something runs."""
        until(lambda: self._post(f"/jobs/{job}/finish", outcome=outcome)["ended"], f"a run of job {job}")

    def finish_load(self, model: CelonisModel) -> None:
        """Ends the load that runs there, once one runs."""
        until(lambda: self._post(f"/models/{model.id}/finish")["ended"], f"a load of model {model.id}")

    def start(self, job: str, **how: object) -> None:
        """Another user starts the job."""
        self._post(f"/jobs/{job}/start", **how)

    def settings(self, **settings: object) -> None:
        self._send("PUT", "/settings", settings)

    def credentials(self, **credentials: object) -> None:
        self._send("PUT", "/credentials", credentials)

    def fault(self, call: str, kind: str = "status", **fields: object) -> None:
        self._post("/faults", call=call, kind=kind, **fields)

    def clear_faults(self) -> None:
        self._send("DELETE", "/faults", None)

    def executions(self, *jobs: str) -> list[Json]:
        """What the service really started on these jobs, in order."""
        found = self._ledger()["executions"]
        return [one for one in found if one["job_id"] in jobs and one["by"] == "api"]

    def loads(self, *models: CelonisModel | str) -> list[Json]:
        """What the service really started on these models, in order."""
        ids = {model if isinstance(model, str) else model.id for model in models}
        return [one for one in self._ledger()["loads"] if one["model_id"] in ids and one["by"] == "api"]

    def requests(self, call: str, about: str = "") -> list[Json]:
        """The requests of one call whose path names ``about``, in the order of their answers."""
        return [one for one in self._ledger()["requests"] if one["call"] == call and about in one["path"]]

    def all_requests(self) -> list[Json]:
        """Every request to Celonis, in the order of the answers."""
        return list(self._ledger()["requests"])

    def starts(self) -> list[Json]:
        """Everything that the service started anywhere."""
        ledger = self._ledger()
        return [one for one in (*ledger["executions"], *ledger["loads"]) if one["by"] == "api"]

    def _ledger(self) -> Mapping[str, Sequence[Json]]:
        found: Json = self._send("GET", "/ledger", None)
        return found

    def _post(self, path: str, **fields: object) -> Json:
        return self._send("POST", path, fields)

    def _send(self, method: str, path: str, body: object) -> Json:
        answer = self._session.request(method, self._url + path, json=body, timeout=SECONDS)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


def _table(number: int, text: str) -> CelonisTable:
    name, _, alias = text.partition("=")
    return CelonisTable(f"table-{number}-{name.lower()}", name, alias or None)

"""A client for the tests: plain HTTP requests to the simulator's API and to its controls."""

from __future__ import annotations

from typing import Any

import requests

from local.celonis import world
from local.celonis.server import CelonisSimulator

START = 1_750_000_000.0
TIMEOUT = 5.0
Json = dict[str, Any]


class ManualClock:
    """A clock that moves when a test moves it."""

    def __init__(self) -> None:
        self.now = START
        self.step = 0.0
        """Seconds that pass after each reading."""

    def __call__(self) -> float:
        now = self.now
        self.now += self.step
        return now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


class SimulatorClient:
    """Calls the simulator with an API key, unless other headers are given."""

    def __init__(self, simulator: CelonisSimulator, clock: ManualClock) -> None:
        self.simulator = simulator
        self.clock = clock
        self.session = requests.Session()
        self.session.trust_env = False
        self.headers = {"Authorization": f"Bearer {world.API_KEY}"}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", self.headers)
        options.setdefault("timeout", TIMEOUT)
        return self.session.request(method, self.simulator.url + path, **options)

    def control(self, method: str, path: str, body: object = None) -> requests.Response:
        return self.session.request(method, self.simulator.control_url + path, json=body, timeout=TIMEOUT)

    def set(self, path: str, **fields: object) -> Json:
        return self.accepted(self.control("PUT", path, fields))

    def post(self, path: str, **fields: object) -> Json:
        return self.accepted(self.control("POST", path, fields))

    def fault(self, call: str, kind: str = "status", **fields: object) -> Json:
        return self.post("/faults", call=call, kind=kind, **fields)

    @staticmethod
    def accepted(answer: requests.Response) -> Json:
        assert answer.status_code == 200, answer.text
        record: Json = answer.json()
        return record

    def set_job(self, **fields: object) -> Json:
        return self.set(f"/jobs/{world.ERP_JOB_ID}", **fields)

    def set_model(self, **fields: object) -> Json:
        return self.set(f"/models/{world.MODEL_ID}", **fields)

    def execute(self, mode: str = "FULL", **options: Any) -> requests.Response:
        return self.call("POST", f"{JOB_V2}/execute?mode={mode}", **options)

    def job(self) -> Json:
        record: Json = self.call("GET", JOB).json()
        return record

    def cancel(self) -> requests.Response:
        return self.call("POST", f"{JOB}/cancel")

    def executions(self) -> list[Json]:
        items: list[Json] = self.call("GET", f"{POOL}/logs/{world.ERP_JOB_ID}/executions").json()[
            "executionItems"
        ]
        return items

    def load(self, query: str = "") -> requests.Response:
        return self.call("POST", f"{MODEL}/load{query}")

    def load_tables(self, body: object) -> requests.Response:
        return self.call("POST", f"{MODEL}/load/partial-sync", json=body)

    def last_load(self) -> Json:
        record: Json = self.call("GET", f"{MODEL}/last-load").json()
        return record

    def started(self) -> list[Json]:
        """The executions that were really started on the ERP job, but for the history."""
        found = self.control("GET", "/ledger").json()["executions"]
        return [one for one in found if one["job_id"] == world.ERP_JOB_ID and one["by"] != "history"]

    def loaded(self) -> list[Json]:
        """The loads that were really started on the first model, but for the history."""
        found = self.control("GET", "/ledger").json()["loads"]
        return [one for one in found if one["model_id"] == world.MODEL_ID and one["by"] != "history"]

    def requests_of(self, call: str) -> list[Json]:
        return [one for one in self.control("GET", "/ledger").json()["requests"] if one["call"] == call]

    def sign_in(self, scope: str = world.SCOPE, secret: str = world.CLIENT_SECRET) -> requests.Response:
        form = {"grant_type": "client_credentials", "scope": scope}
        return self.call("POST", "/oauth2/token", data=form, auth=(world.CLIENT_ID, secret), headers={})

    def use_token(self) -> None:
        """Go on with a token of the OAuth client."""
        self.headers = {"Authorization": f"Bearer {self.sign_in().json()['access_token']}"}


POOL = f"/integration/api/pools/{world.POOL_ID}"
JOB = f"{POOL}/jobs/{world.ERP_JOB_ID}"
JOB_V2 = f"/integration/api/v2/data-pools/{world.POOL_ID}/data-jobs/{world.ERP_JOB_ID}"
MODEL = f"/integration/api/v1/data-pools/{world.POOL_ID}/data-models/{world.MODEL_ID}"

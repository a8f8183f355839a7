"""The service that is measured: the real template on the local stack, with a simulated Celonis."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from local.aws.settings import Settings
from local.aws.stack import LocalStack
from local.celonis import world
from local.celonis.server import CelonisSimulator
from local.celonis.setups import JobSetup, ModelSetup
from local.serve import PARAMETERS, ROOT, STACK_NAME, STATE

Json = dict[str, Any]
EVENT = {"action": "completed", "workflow_run": {"conclusion": "success", "name": "load-erp"}}


@dataclass
class MeasuredService:
    """Set-up and results of a measurement."""

    stack: LocalStack
    celonis: CelonisSimulator
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self.store_secret("webhooks/bench", {"current": self._secret})

    def connect(self, base_url: str) -> None:
        """Point the connection of all pipelines to a Celonis at this address."""
        auth = {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": world.CLIENT_SECRET}
        connection = {"base_url": base_url, "allow_http": True, "allow_any_host": True, "auth": auth}
        self.stack.client("secretsmanager").put_secret_value(
            SecretId=self.stack.outputs["ConnectionSecret"], SecretString=json.dumps(connection)
        )

    def job(self, seconds: float) -> str:
        """Create a data job of this duration; return its id."""
        model = self.celonis.model
        return model.add_job(model.new_id(), world.POOL_ID, "a job", JobSetup(seconds=seconds)).id

    def data_model(self, seconds: float) -> str:
        """Create a data model that takes this long to load; return its id."""
        model = self.celonis.model
        return model.add_model(model.new_id(), world.POOL_ID, "a model", ModelSetup(seconds=seconds)).id

    def finish(self, target: str) -> None:
        """End the running execution of a job, or load of a data model, with success."""
        model = self.celonis.model
        model.finish(model.jobs.get(target) or model.models[target], "SUCCESS")

    def pipeline(self, job: str, *loads: str, **fields: Any) -> str:
        """Create a pipeline of one job and loads of these data models; return its name."""
        name = f"pipeline-{next(self._numbers)}"
        steps = {"jobs": [{"job": job}], "loads": [{"data_model": load} for load in loads]}
        self._store_parameter(f"pipelines/{name}", {"data_pool": world.POOL_ID, **steps, **fields})
        return name

    def source(self, pipeline: str) -> str:
        """Create a source whose every event starts the pipeline; return its name."""
        name = f"source-{next(self._numbers)}"
        rules = [{"pipeline": pipeline}]
        self._store_parameter(f"sources/{name}", {"sender": "github", "secret": "bench", "rules": rules})
        return name

    def delivery(self, number: int) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a webhook, signed as GitHub does. Each number is another delivery."""
        body = json.dumps({**EVENT, "number": number}).encode()
        digest = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        return body, {
            "content-type": "application/json",
            "x-github-event": "workflow_run",
            "x-github-delivery": f"delivery-{number}",
            "x-hub-signature-256": f"sha256={digest}",
        }

    def item(self, key: str) -> Json:
        """Return an item of the table in DynamoDB JSON; empty if there is none."""
        table, client = self.stack.outputs["TableName"], self.stack.client("dynamodb")
        answer: Json = client.get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True)
        item: Json = answer.get("Item", {})
        return item

    def status(self, run_id: str) -> str:
        """Return the status of a run; empty if it has no record yet."""
        return str(self.item(f"run#{run_id}").get("status", {}).get("S", ""))

    def empty_table(self) -> None:
        """Delete all items."""
        table, client = self.stack.outputs["TableName"], self.stack.client("dynamodb")
        for page in client.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                client.delete_item(TableName=table, Key={"pk": item["pk"]})

    def store_secret(self, name: str, document: Json) -> None:
        """Create a secret of the stack."""
        self.stack.client("secretsmanager").create_secret(
            Name=f"{STACK_NAME}/{name}", SecretString=json.dumps(document)
        )

    def _store_parameter(self, name: str, document: Json) -> None:
        self.stack.client("ssm").put_parameter(
            Name=f"/{STACK_NAME}/{name}", Value=json.dumps(document), Type="String"
        )


@contextlib.contextmanager
def serving(settings: Settings, **parameters: str) -> Iterator[MeasuredService]:
    """Starts everything; stops everything at the end. ``parameters`` are those of the template."""
    with CelonisSimulator() as celonis:
        stack = LocalStack.deploy(
            template=ROOT / "template.yaml",
            stack_name=STACK_NAME,
            parameters={**PARAMETERS, **parameters},
            state_dir=STATE / "bench",
            settings=settings,
        )
        with stack:
            service = MeasuredService(stack, celonis)
            service.connect(celonis.url)
            yield service

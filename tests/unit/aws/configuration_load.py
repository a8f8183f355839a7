"""Many processes of the trigger under load, in virtual time: how often they read the configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from threading import Thread
from typing import Any, cast

from celonis_refresh.aws.configuration import Parameters, Secrets
from celonis_refresh.aws.webhook_configuration import WebhookConfiguration
from celonis_refresh.runs.table import Table
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB

STORE_SECONDS, TABLE_SECONDS = 0.02, 0.005
"""How long Parameter Store and Secrets Manager, and the table, take to answer."""
HANDLING_SECONDS = 0.2
"""How long a process is busy with a delivery besides."""
START_SECONDS = (0.4, 1.4)
"""How long a new process takes to start."""
SECRET = "a-secret-of-a-source-that-is-long"


@dataclass
class DelayedTable:
    """A table whose writes show from the moment on at which they were answered."""

    clock: FakeClock
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)
    answered: Counter[str] = field(default_factory=Counter)

    def client(self) -> Any:
        return self

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.clock.sleep(TABLE_SECONDS)
            self.answered[operation] += 1
            return getattr(self.dynamodb, operation)(**request)

        return call


@dataclass
class CountingStore:
    """Parameter Store and Secrets Manager. ``reads``: the moments of the requests, by operation."""

    clock: FakeClock
    values: dict[str, str]
    reads: dict[str, list[float]] = field(default_factory=lambda: {"parameters": [], "secrets": []})

    def get_parameters(self, Names: list[str]) -> Mapping[str, Any]:  # noqa: N803 - AWS's name
        assert len(Names) <= 10
        self._read("parameters")
        found = [name for name in Names if name in self.values]
        return {"Parameters": [{"Name": name, "Value": self.values[name]} for name in found]}

    def get_secret_value(self, SecretId: str) -> Mapping[str, Any]:  # noqa: N803 - AWS's name
        self._read("secrets")
        return {"SecretString": self.values[SecretId], "VersionId": str(hash(self.values[SecretId]))}

    def _read(self, kind: str) -> None:
        self.reads[kind].append(self.clock.now)
        self.clock.sleep(STORE_SECONDS)

    def a_second(self, kind: str, since: float, until: float) -> float:
        """The reads of a kind, on average."""
        return sum(since <= at < until for at in self.reads[kind]) / (until - since)

    def worst_second(self, kind: str, since: float = 0.0) -> int:
        """The most reads of a kind in any second."""
        reads = sorted(at for at in self.reads[kind] if at >= since)
        worst = first = 0
        for last, at in enumerate(reads):
            while reads[first] <= at - 1.0:
                first += 1
            worst = max(worst, last - first + 1)
        return worst


@dataclass
class LoadedTrigger:
    """``processes`` of the trigger, and deliveries to random pipelines of random sources."""

    processes: int = 25
    sources: int = 50
    pipelines: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        self.clock, self.random = FakeClock(), Random(self.seed)  # noqa: S311
        self.table = DelayedTable(self.clock)
        self.store = CountingStore(self.clock, {})
        self.began = self.clock.now
        self.took: list[float] = []
        for number in range(self.sources):
            names = self.pipelines_of(number)
            document = {
                "sender": "standard_webhooks",
                "secret": f"secret-{number}",
                "rules": [{"pipeline": name} for name in names],
            }
            self.store.values[f"/stack/sources/source-{number}"] = json.dumps(document)
            self.store.values[f"stack/webhooks/secret-{number}"] = json.dumps({"current": SECRET})
            for name in names:
                self.define(name)
        self.start_processes()

    def start_processes(self) -> None:
        """All processes anew, as after a deployment. A process is free from a moment on."""
        self.configurations = [self._process() for _ in range(self.processes)]
        self.free_at = [self.clock.now + self.random.uniform(*START_SECONDS) for _ in self.configurations]

    def _process(self) -> WebhookConfiguration:
        client: Any = self.store
        table = Table(cast("Any", self.table), "table", Random(self.seed), self.clock.sleep)  # noqa: S311
        return WebhookConfiguration.of(
            Parameters(client, "stack"),
            Secrets(client, "stack"),
            table,
            self.clock,
            self.clock.sleep,
            Thread.run,
        )

    def pipelines_of(self, source: int) -> list[str]:
        each = self.pipelines // self.sources
        return [f"pipeline-{number}" for number in range(source * each, (source + 1) * each)]

    def define(self, name: str, **fields: Any) -> None:
        document = {"data_pool": "pool-1", "jobs": [{"job": f"job-of-{name}"}], **fields}
        self.store.values[f"/stack/pipelines/{name}"] = json.dumps(document)

    def run(self, seconds: float, a_second: float) -> None:
        """Deliveries at random moments, ``a_second`` of them on average."""
        at, ends = self.clock.now, self.clock.now + seconds
        while (at := at + self.random.expovariate(a_second)) < ends:
            source = self.random.randrange(self.sources)
            self.deliver(at, source, self.random.choice(self.pipelines_of(source)))
        self.clock.now = ends

    def deliver(self, at: float, source: int, pipeline: str) -> tuple[bool, float]:
        """Whether the pipeline is paused, as the process sees it that is free first, and when it did."""
        idle = [number for number, free_at in enumerate(self.free_at) if free_at <= at]
        number = (
            self.random.choice(idle) if idle else min(range(self.processes), key=self.free_at.__getitem__)
        )
        configuration = self.configurations[number]
        self.clock.now = began = max(at, self.free_at[number])
        found = configuration.source(f"source-{source}")
        assert found.secret is not None
        configuration.secrets.get(found.secret)
        paused = configuration.definition(pipeline).paused
        seen = self.clock.now
        self.took.append(seen - began)
        self.free_at[number] = seen + HANDLING_SECONDS
        self.clock.now = at
        return paused, seen

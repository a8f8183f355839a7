"""What the trigger reads for a webhook: a source, its secret, and the pipelines that its events start."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from celonis_refresh.aws.configuration import Parameters, Secrets, is_transient_error
from celonis_refresh.aws.shared_parameters import PIPELINE_SECONDS, SOURCE_SECONDS, SharedParameters
from celonis_refresh.aws.source_cache import SourceCache
from celonis_refresh.aws.ttl_cache import TtlCache
from celonis_refresh.aws.webhook_secrets import webhook_secrets
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.runs.table import Table
from celonis_refresh.timing import Clock
from celonis_refresh.webhooks.sources import Source


class WebhookConfiguration(Struct, frozen=True):
    """The configuration of one process. While reading fails, the last known values serve."""

    shared: SharedParameters
    sources: TtlCache[Source]
    definitions: TtlCache[Definition]
    secrets: TtlCache[tuple[str, ...]]

    @staticmethod
    def of(
        parameters: Parameters,
        secrets: Secrets,
        table: Table,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> WebhookConfiguration:
        shared = SharedParameters(parameters, table, clock, sleep)
        known = SourceCache(shared, clock)
        return WebhookConfiguration(
            shared,
            TtlCache(known.source, SOURCE_SECONDS, clock, is_transient_error),
            TtlCache(
                shared.pipeline,
                PIPELINE_SECONDS,
                clock,
                is_transient_error,
                lasts=lambda found: not found.paused,
            ),
            webhook_secrets(secrets.webhook, table, clock, sleep),
        )

    def source(self, name: str) -> Source:
        """The source to which a request has come. Raises ``UnknownSource``, ``InvalidSource``."""
        self.shared.enter(name)
        return self.sources.get(name)

    def definition(self, name: str) -> Definition:
        """A pipeline of that source. Raises ``UnknownPipeline``, ``InvalidDefinition``."""
        return self.definitions.get(name)

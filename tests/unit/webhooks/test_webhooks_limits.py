"""The webhooks know nothing of pipelines, but what they pass on must be what a pipeline takes."""

from __future__ import annotations

from celonis_refresh.pipelines import definition
from celonis_refresh.webhooks import sources


def test_limits_are_those_of_the_pipelines() -> None:
    assert sources.MAX_TABLES == definition.MAX_TABLES

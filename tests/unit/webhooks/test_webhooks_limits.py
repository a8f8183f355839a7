"""The webhooks do not import pipelines, but the options that they pass on must be valid for a pipeline."""

from __future__ import annotations

from celonis_refresh.pipelines import definition
from celonis_refresh.webhooks import sources


def test_limits_are_those_of_the_pipelines() -> None:
    assert sources.MAX_TABLES == definition.MAX_TABLES

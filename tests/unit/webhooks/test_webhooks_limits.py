"""The webhooks know nothing of pipelines, but what they pass on must be what a pipeline takes."""

from __future__ import annotations

from celonis_refresh.pipelines import definition
from celonis_refresh.webhooks import rule_fields, sources


def test_names_and_limits_are_those_of_the_pipelines() -> None:
    assert f"^{sources.PIPELINE_NAME}$" == definition.NAME_PATTERN
    assert rule_fields.MAX_TABLES == definition.MAX_TABLES

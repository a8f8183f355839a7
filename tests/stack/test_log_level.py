"""The parameter LogLevel decides what the functions log, and no level shows a secret or hides a metric."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.celonis import world
from tests.stack.environment import TIME_FACTOR, deployed
from tests.stack.local_fixtures import calm_settings

WRITTEN = {
    "DEBUG": {"DEBUG", "INFO", "WARN", "ERROR"},
    "INFO": {"INFO", "WARN", "ERROR"},
    "WARN": {"WARN", "ERROR"},
    "ERROR": {"ERROR"},
}


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_the_functions_log_from_the_chosen_level_on(level: str) -> None:
    with deployed(f"log-level-{level}", calm_settings(TIME_FACTOR), LogLevel=level) as environment:
        service, job = environment.service, environment.celonis.job(seconds=0.5)
        pipeline = service.pipeline(jobs=[job])
        broken = service.source({"pipeline": pipeline, "mode": {"path": "action"}})
        assert service.webhook(broken).status_code == 422
        assert service.webhook(service.source({"pipeline": pipeline})).status_code == 202
        environment.settled()
        texts = [line.text for line in service.stack.logs()]
        assert not any(world.CLIENT_SECRET in text for text in texts)
        assert not any(token in text for text in texts for token in environment.tokens)
        lines: list[dict[str, Any]] = [json.loads(text) for text in texts if text.startswith("{")]
        messages = [line["level"] for line in lines if "message" in line]
        assert set(messages) <= WRITTEN[level]
        assert ("DEBUG" in messages, "WARN" in messages) == (level == "DEBUG", level == "DEBUG")
        assert any("ConfigurationErrors" in line for line in lines)

"""Too many requests are throttled by API Gateway, before anything is started or paid for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.stack.environment import deployed
from tests.stack.local_fixtures import calm_settings

ARRIVAL_LEAD = 5.0
"""Seconds: the first answer of a cold process may be late on a slow machine."""


def test_what_comes_too_fast_is_answered_with_429() -> None:
    settings = replace(calm_settings(), arrival_lead=ARRIVAL_LEAD)
    with deployed("throttled", settings, WebhookRateLimit="1", WebhookBurstLimit="3") as environment:
        service = environment.service
        job = environment.celonis.job()
        source = service.source({"pipeline": service.pipeline(jobs=[job])})
        service.stack.warm("Trigger", 1)
        answers = [service.webhook(source, secret="a stranger's") for _ in range(12)]
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {401, 429}
        assert statuses[429] >= 3
        turned_away = next(answer for answer in answers if answer.status_code == 429)
        assert turned_away.json() == {"message": "Too Many Requests"}
        assert environment.celonis.executions(job) == []

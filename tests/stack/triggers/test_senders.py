"""Every supported sender, end to end: verified by its own rules, claimed, and run once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import requests

from celonis_refresh.webhooks.senders import SENDERS
from tests.stack.environment import StackEnvironment
from tests.stack.runs.celonis import Json
from tests.stack.runs.service import DeployedService
from tests.stack.triggers.sender_requests import CALLS, SenderRequest, source_of

SIGNED_BY_AMAZON = {"aws_sns", "snowflake"}
"""Only Amazon can sign for them; ``tests/unit/workflow`` uses a certificate of its own."""
LONG = 1000.0
"""Seconds: a job that ends once its event was sent again."""


class RepeatedEvent(NamedTuple):
    """One event of a sender, sent twice; ``record`` of the first run, ``executions`` at Celonis in all."""

    call: SenderRequest
    pipeline: str
    source: str
    first: requests.Response
    again: requests.Response
    record: Json
    executions: int


def _sent(environment: StackEnvironment, name: str) -> RepeatedEvent:
    service, call = environment.service, CALLS[name](1)
    job = environment.celonis.job(seconds=LONG)
    pipeline = service.pipeline(jobs=[job])
    source = source_of(service, call, {"pipeline": pipeline})
    first, again = call.send(service, source), call.send(service, source)
    run_id = service.item(f"slot#{pipeline}")["run_id"]["S"]
    service.running(run_id)
    environment.celonis.set_job(job, seconds=0.3)
    environment.celonis.finish(job)
    record = service.closed(run_id)
    if not call.is_identified:
        service.closed(again.json()["runs"][0]["run_id"])
    return RepeatedEvent(
        call, pipeline, source, first, again, record, len(environment.celonis.executions(job))
    )


@pytest.fixture(scope="module")
def all_sent(environment: StackEnvironment) -> dict[str, RepeatedEvent]:
    """All senders send at about the same time: most of a run is waiting."""
    environment.celonis.reset()
    with ThreadPoolExecutor(5) as pool:
        sent = dict(zip(CALLS, pool.map(lambda name: _sent(environment, name), CALLS), strict=True))
    environment.settled()
    return sent


def test_these_are_all_the_senders() -> None:
    assert set(CALLS) | SIGNED_BY_AMAZON == set(SENDERS)


@pytest.mark.parametrize("name", CALLS)
def test_an_event_of_the_sender_starts_its_pipeline(all_sent: dict[str, RepeatedEvent], name: str) -> None:
    sent = all_sent[name]
    assert sent.record["status"] == "SUCCEEDED"
    assert sent.record["options"]["reasons"][0]["by"] == sent.source
    if sent.call.sender == "salesforce_outbound_message":
        assert (sent.first.status_code, "<Ack>true</Ack>" in sent.first.text) == (200, True)
        assert sent.first.headers["content-type"].startswith("text/xml")
        return
    assert sent.first.status_code == 202, sent.first.text
    run = {"pipeline": sent.pipeline, "run_id": sent.record["run_id"], "status": "started"}
    assert sent.first.json() == {"delivery": sent.call.delivery, "runs": [run]}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_event_sent_again_starts_nothing_where_the_sender_gives_it_an_id(
    all_sent: dict[str, RepeatedEvent], name: str
) -> None:
    sent = all_sent[name]
    if not sent.call.is_identified:
        # It cannot be distinguished from another one, so it joins the next run: too much, never too little.
        assert sent.again.json()["runs"][0]["status"] == "joined"
        assert sent.executions == 2
        return
    assert sent.executions == 1
    assert sent.again.status_code == 200
    if sent.call.sender != "salesforce_outbound_message":
        (run,) = sent.first.json()["runs"]
        repeated = {"runs": [{**run, "status": "duplicate"}], "duplicate": True}
        assert sent.again.json() == {"delivery": sent.call.delivery, **repeated}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_signed_by_the_sender_is_refused(
    all_sent: dict[str, RepeatedEvent], service: DeployedService, name: str
) -> None:
    """Without any proof, and with one for another body or of another secret."""
    call, source = CALLS[name](2), all_sent[name].source
    plain = {"content-type": call.headers["content-type"]}
    bare = service.send("POST", f"/webhooks/{source}", call.body, plain)
    assert (bare.status_code, bare.json()["error"]) == (401, "NotAuthentic")
    stranger = service.secret("webhooks", {"current": "another-secret:of-a-stranger-0123456789"})
    rule = {"pipeline": all_sent[name].pipeline}
    other = service.source(rule, sender=call.sender, secret=stranger, **call.fields)
    refused = call.send(service, other)
    assert (refused.status_code, refused.json()["error"]) == (401, "NotAuthentic")

"""Ends of runs that cannot be recorded are kept in the dead-letter queue."""

from __future__ import annotations

import json

from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService


def test_an_event_that_close_run_cannot_take_lies_in_the_queue(service: DeployedService) -> None:
    event = {"detail-type": "something else", "detail": {"name": "nothing"}}
    service.hand_to("CloseRun", event)
    (letter,) = map(json.loads, until(service.dead_letters, "a dead letter"))
    assert letter["requestPayload"] == event
    assert letter["requestContext"]["condition"] == "RetriesExhausted"


def test_an_event_that_reaches_no_function_lies_in_the_queue_and_can_be_handed_over_from_there(
    service: DeployedService, celonis: CelonisControls
) -> None:
    with service.undeliverable_events() as letters:
        name = service.execute({"pipeline": service.pipeline(jobs=[celonis.job()])})
        assert service.ended(name)["status"] == "SUCCEEDED"
    event = letters[0]
    assert (event["detail"]["name"], event["detail"]["status"]) == (name, "SUCCEEDED")
    assert service.status(name) == "RUNNING"
    service.hand_to("CloseRun", event)
    assert service.closed(name)["status"] == "SUCCEEDED"

"""The events of a run, as a rule of EventBridge receives them."""

from __future__ import annotations

import json
from typing import Any

from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService
from tests.unit.notifications.test_events import check

NAME = "events-of-the-tests"


def subscribed(service: DeployedService) -> str:
    """The address of a queue that receives all events of the service."""
    sqs, events = service.stack.client("sqs"), service.stack.client("events")
    url = str(sqs.create_queue(QueueName=NAME)["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{**allowed, "Principal": {"Service": "events.amazonaws.com"}}],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    events.put_rule(Name=NAME, EventPattern=json.dumps({"source": ["celonis-refresh"]}))
    events.put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def test_the_events_of_a_run_arrive_with_all_ids_in_the_order_of_their_times(
    service: DeployedService, celonis: CelonisControls
) -> None:
    url = subscribed(service)
    model = celonis.model("VBAK")
    pipeline = service.pipeline(jobs=[celonis.job()], loads=[model.id])
    run = service.run_by_hand({"pipeline": pipeline})
    names = ("started", "job-0/started", "job-0/ended", "load-0/started", "load-0/ended", "ended")
    ids = [f"{run['run_id']}/{name}" for name in names]
    found: dict[str, dict[str, Any]] = {}

    def arrived() -> bool:
        for text in service.messages(url):
            event = json.loads(text)
            if event["detail"].get("run_id") == run["run_id"]:
                found[event["detail"]["event_id"]] = event
        return set(found) == set(ids)

    until(arrived, "the events of a run")
    times = [found[each]["time"] for each in ids]
    assert times == sorted(times)
    for event in found.values():
        check(event["detail-type"], event["detail"])

"""Notifications in every channel: a failure from which a person can act, and the recovery."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.verification import Hmac
from local.receiver import Behaviour, ReceivedRequest, Receiver, receiver
from local.serve import STACK_NAME
from local.wait import until
from tests.fakes.signing import sign
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import DeployedService

OLD_SECONDS = 60.0
"""Age of a message whose function must have ended: reconcile sends it."""
SETTLE_SECONDS = 30.0
MANY_ERRORS: tuple[Behaviour, ...] = ("500",) * 9
KINDS = ("slack", "teams", "pagerduty", "webhook")
SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def channels() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def refused(service: DeployedService, channels: Receiver, name: str) -> None:
    """Wait until a channel that answers with errors has refused a message; it takes the next ones.

    The event of the end may arrive twice, and each time the message is sent.
    """
    until(lambda: channels.requests(name), "the first attempt")
    assert service.stack.settle(SETTLE_SECONDS)
    channels.behave(name)


def stored(service: DeployedService, channels: Receiver) -> list[str]:
    """The names of one channel of each kind, after their secrets are stored."""
    for kind in KINDS:
        document: Json = {"type": kind, "url": f"{channels.url}/{kind}", "allow_http": True}
        document |= {"routing_key": "R0123"} if kind == "pagerduty" else {}
        document |= {"secret": SIGNING_SECRET} if kind == "webhook" else {}
        service.stack.client("secretsmanager").create_secret(
            Name=f"{STACK_NAME}/channels/of-{kind}", SecretString=json.dumps(document)
        )
    return [f"of-{kind}" for kind in KINDS]


def received(channels: Receiver, kind: str, number: int) -> ReceivedRequest:
    """The notification with this number; the event of an end may come twice, but its id is the same."""

    def distinct() -> list[ReceivedRequest]:
        return list({request.body: request for request in channels.requests(kind)}.values())

    until(lambda: len(distinct()) >= number, f"notification {number} in {kind}")
    assert len(distinct()) == number
    return distinct()[-1]


def test_every_channel_shows_a_failure_and_the_recovery(
    service: DeployedService, celonis: CelonisControls, channels: Receiver
) -> None:
    names = stored(service, channels)
    job = celonis.job(outcome="FAIL", error_messages=["Column VBELN is missing in VBAK."])
    pipeline = service.pipeline(jobs=[job], notify={"channels": names})
    failed = service.run_by_hand({"pipeline": pipeline})
    assert failed["status"] == "FAILED"
    for kind in KINDS:
        text = json.dumps(received(channels, kind, 1).document, ensure_ascii=False).replace("\\", "")
        for needed in (
            pipeline,
            "Column VBELN is missing in VBAK",
            job,
            STACK_NAME,
            failed["execution_arn"],
            f"data-jobs?jobId={job}",
            f"refresh --stack {STACK_NAME} --region {service.stack.region} retry {failed['run_id']}",
        ):
            assert needed in text, (kind, needed)
    assert service.notices_about(failed["run_id"]) == []

    request = received(channels, "webhook", 1)
    scheme = SENDERS["standard_webhooks"].scheme
    assert isinstance(scheme, Hmac)
    message_id = request.headers["webhook-id"]
    at = int(request.headers["webhook-timestamp"])
    expected = sign(scheme, SIGNING_SECRET, request.body, message_id=message_id, timestamp=at)
    assert expected.items() <= request.headers.items()

    celonis.set_job(job, outcome="SUCCESS")
    answer = service.call("POST", f"/runs/{failed['run_id']}/retry")
    assert service.closed(answer.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    for kind in ("slack", "teams", "webhook"):
        assert "recovered" in received(channels, kind, 2).body.decode()
    received(channels, "pagerduty", 2)
    events = {one.document["event_action"]: one.document for one in channels.requests("pagerduty")}
    assert set(events) == {"trigger", "resolve"}
    assert {event["dedup_key"] for event in events.values()} == {f"{STACK_NAME}/{pipeline}"}


def test_reconcile_sends_what_a_channel_did_not_take(
    service: DeployedService, celonis: CelonisControls, channels: Receiver
) -> None:
    document: Json = {"type": "slack", "url": f"{channels.url}/later", "allow_http": True}
    service.stack.client("secretsmanager").create_secret(
        Name=f"{STACK_NAME}/channels/of-later", SecretString=json.dumps(document)
    )
    channels.behave("later", *MANY_ERRORS)
    job = celonis.job(outcome="FAIL")
    failed = service.run_by_hand(
        {"pipeline": service.pipeline(jobs=[job], notify={"channels": ["of-later"]})}
    )
    refused(service, channels, "later")
    before = len(channels.requests("later"))
    service.age(f"outbox#{failed['run_id']}/ended/of-later", OLD_SECONDS)

    def is_sent_again() -> bool:
        service.stack.invoke("Reconcile", b"{}")
        return len(channels.requests("later")) > before

    until(is_sent_again, "another attempt")
    assert failed["run_id"] in channels.requests("later")[-1].body.decode()


def test_an_invalid_definition_that_kept_an_event_from_starting_a_run_is_notified(
    service: DeployedService,
) -> None:
    source = service.source({"pipeline": "nobody-defined-it"})
    assert service.webhook(source).status_code == 404

    def is_notified() -> bool:
        for item in service.items():
            if item["pk"]["S"].startswith("outbox#") and source in json.dumps(item):
                service.age(item["pk"]["S"], OLD_SECONDS)
        service.stack.invoke("Reconcile", b"{}")
        return any(source in message for message in service.notices_about("nobody-defined-it"))

    until(is_notified, "the notification")


def _actions(channels: Receiver) -> list[str]:
    """What PagerDuty received, in order."""
    return [one.document["event_action"] for one in channels.requests("order")]


def test_a_failure_that_pagerduty_did_not_take_does_not_open_an_incident_after_the_recovery(
    service: DeployedService, celonis: CelonisControls, channels: Receiver
) -> None:
    document: Json = {"type": "pagerduty", "url": f"{channels.url}/order", "allow_http": True}
    service.stack.client("secretsmanager").create_secret(
        Name=f"{STACK_NAME}/channels/of-order", SecretString=json.dumps(document | {"routing_key": "R0123"})
    )
    channels.behave("order", *MANY_ERRORS)
    job = celonis.job(outcome="FAIL")
    failed = service.run_by_hand(
        {"pipeline": service.pipeline(jobs=[job], notify={"channels": ["of-order"]})}
    )
    refused(service, channels, "order")
    celonis.set_job(job, outcome="SUCCESS")
    answer = service.call("POST", f"/runs/{failed['run_id']}/retry")
    assert service.closed(answer.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    until(lambda: "resolve" in _actions(channels), "the recovery")
    message = f"outbox#{failed['run_id']}/ended/of-order"
    service.age(message, OLD_SECONDS)

    def is_settled() -> bool:
        service.stack.invoke("Reconcile", b"{}")
        key = {"pk": {"S": message}}
        table = service.stack.outputs["TableName"]
        return "Item" not in service.stack.client("dynamodb").get_item(TableName=table, Key=key)

    until(is_settled, "the failure")
    actions = _actions(channels)
    assert set(actions[actions.index("resolve") :]) == {"resolve"}

"""PutEvents: rules match events of functions like events of AWS."""

import datetime
import json
import uuid

from local.aws.clients import Clients
from local.aws.delivery.rules import RuleTargets, as_event
from local.aws.gateway.calls import AwsCall
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse


class EventBus:
    """A layer of the gateway. Entries that moto would reject are left to moto."""

    def __init__(self, clients: Clients, targets: RuleTargets) -> None:
        self._clients = clients
        self._targets = targets

    def __call__(self, call: AwsCall, _request: HttpRequest, proceed: Next) -> HttpResponse:
        if (call.service, call.operation) != ("events", "PutEvents"):
            return proceed()
        entries = call.parameters.get("Entries", [])
        if len(entries) > 10 or not all(_is_sound(entry) for entry in entries):
            return proceed()
        results = []
        for entry in entries:
            event_id = str(uuid.uuid4())
            base = {
                "version": "0",
                "id": event_id,
                "account": self._clients.account,
                "time": _time(entry).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "region": self._clients.region,
            }
            bus = str(entry.get("EventBusName") or "default").rsplit("/", 1)[-1]
            self._targets.publish(as_event(entry, base), bus)
            results.append({"EventId": event_id})
        body = json.dumps({"FailedEntryCount": 0, "Entries": results}).encode()
        return HttpResponse(200, body, [("Content-Type", "application/x-amz-json-1.1")])


def _time(entry: dict[str, object]) -> datetime.datetime:
    """Return the time of an entry in epoch seconds, or now."""
    given = entry.get("Time")
    if isinstance(given, int | float):
        return datetime.datetime.fromtimestamp(given, datetime.UTC)
    return datetime.datetime.now(datetime.UTC)


def _is_sound(entry: dict[str, object]) -> bool:
    try:
        detail = json.loads(str(entry["Detail"]))
    except (KeyError, ValueError):
        return False
    return isinstance(detail, dict) and bool(entry.get("Source")) and bool(entry.get("DetailType"))

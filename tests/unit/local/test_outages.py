"""Outages of the local AWS: which calls are not served, and for how long."""

from __future__ import annotations

import json

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.outages import Outage, Outages
from local.aws.http_server import HttpRequest, HttpResponse


def _answer(outages: Outages, operation: str, body: bytes) -> HttpResponse:
    call = AwsCall("events", operation, "key", "json", {})
    served = HttpResponse(200, b"{}", [])
    return outages(call, HttpRequest("POST", "/", [], body), lambda: served)


def test_calls_that_fit_are_not_served_until_the_outage_ends() -> None:
    outages = Outages()
    throttled = Outage("PutEvents", mentions="order-to-cash", code="ThrottlingException", status=400)
    with outages.begin(throttled):
        refused = _answer(outages, "PutEvents", b"about order-to-cash")
        assert _answer(outages, "PutEvents", b"about billing").status == 200
        assert _answer(outages, "ListRules", b"about order-to-cash").status == 200
    assert (refused.status, json.loads(refused.body)["__type"]) == (400, "ThrottlingException")
    assert throttled.calls == 1
    assert _answer(outages, "PutEvents", b"about order-to-cash").status == 200


def test_a_call_that_hangs_is_answered_when_the_outage_has_ended() -> None:
    outages, hanging = Outages(), Outage("PutEvents", seconds=3600)
    with outages.begin(hanging):
        pass
    hanging_again = Outage("PutEvents", seconds=3600, ended=hanging.ended)
    with outages.begin(hanging_again):
        assert _answer(outages, "PutEvents", b"").status == 503

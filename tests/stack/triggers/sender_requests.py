"""One request of every sender, as the sender itself would make it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from tests.stack.runs.service import DeployedService

Json = dict[str, Any]
WHSEC = "whsec_" + base64.b64encode(b"a key of twenty-four oct").decode()
SECRET = "a-secret-of-one-sender-0123456789"
CREDENTIALS = "refresh:pass:word-with-colons"


@dataclass(frozen=True)
class SenderRequest:
    """``secret``: what Secrets Manager holds; ``fields``: of the source, beside sender, secret and rules.

    ``delivery``: the id that the answer names. ``has_callback``: its callback address identifies the event.
    """

    sender: str
    body: bytes
    headers: Json = field(default_factory=dict)
    query: str = ""
    secret: str = SECRET
    fields: Json = field(default_factory=dict)
    delivery: str | None = None
    has_callback: bool = False

    @property
    def is_identified(self) -> bool:
        """Whether the same event sent again is recognised."""
        return self.delivery is not None or self.has_callback

    def send(self, service: DeployedService, source: str) -> requests.Response:
        return service.send("POST", f"/webhooks/{source}{self.query}", self.body, self.headers)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


def _typed(**headers: str) -> Json:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return {"content-type": "application/json", **named}


def _standard(sender: str, prefix: str, event: Json, number: int) -> SenderRequest:
    body, at, message_id = _json(event), str(int(time.time())), f"msg_{sender}_{number}"
    key = base64.b64decode(WHSEC.removeprefix("whsec_"))
    signature = base64.b64encode(_mac(key, f"{message_id}.{at}.".encode() + body)).decode()
    headers = _typed() | {
        f"{prefix}-id": message_id,
        f"{prefix}-timestamp": at,
        f"{prefix}-signature": f"v1,{signature}",
    }
    return SenderRequest(sender, body, headers, secret=WHSEC, delivery=message_id)


def _basic() -> str:
    return f"Basic {base64.b64encode(CREDENTIALS.encode()).decode()}"


def standard_webhooks(number: int) -> SenderRequest:
    return _standard("standard_webhooks", "webhook", {"type": "load.finished", "n": number}, number)


def svix(number: int) -> SenderRequest:
    return _standard("svix", "svix", {"type": "load.finished", "n": number}, number)


def github(number: int) -> SenderRequest:
    run = {"id": number, "run_attempt": 1, "conclusion": "success"}
    body = _json({"action": "completed", "workflow_run": run})
    headers = _typed(
        x_github_event="workflow_run",
        x_github_delivery=f"72d3162e-{number}",
        x_hub_signature_256=f"sha256={_mac(SECRET.encode(), body).hex()}",
    )
    return SenderRequest("github", body, headers, delivery=f"72d3162e-{number}")


def _pipeline_event(number: int) -> Json:
    return {"object_kind": "pipeline", "object_attributes": {"id": number, "status": "success"}}


def gitlab(number: int) -> SenderRequest:
    headers = _typed(x_gitlab_token=SECRET, idempotency_key=f"key-{number}", x_gitlab_event="Pipeline Hook")
    delivery = f"pipeline:null:{number}:success:null"
    return SenderRequest("gitlab", _json(_pipeline_event(number)), headers, delivery=delivery)


def gitlab_standard(number: int) -> SenderRequest:
    call = _standard("gitlab_standard", "webhook", _pipeline_event(number), number)
    return replace(call, delivery=f"pipeline:null:{number}:success:null")


def dbt_cloud(number: int) -> SenderRequest:
    event = {"eventId": f"wev_{number}", "eventType": "job.run.completed", "data": {"runStatus": "Success"}}
    body = _json(event)
    headers = _typed(authorization=_mac(SECRET.encode(), body).hex())
    return SenderRequest("dbt_cloud", body, headers, delivery=f"wev_{number}")


def fivetran(number: int) -> SenderRequest:
    event = {"event": "sync_end", "connector_id": "erp", "sync_id": number, "data": {"status": "SUCCESSFUL"}}
    body = _json(event)
    headers = _typed(x_fivetran_signature_256=_mac(SECRET.encode(), body).hex().upper())
    return SenderRequest("fivetran", body, headers, delivery=f"erp:{number}:sync_end")


def airbyte(number: int) -> SenderRequest:
    data = {"connection": {"id": "c"}, "jobId": number, "success": True, "finishedAt": "2026-01-01T00:00:00Z"}
    return SenderRequest(
        "airbyte", _json({"data": data}), _typed(), query=f"?token={SECRET}", delivery=f"c:{number}"
    )


def databricks(number: int) -> SenderRequest:
    body = _json({"event_type": "jobs.on_success", "run": {"run_id": number}})
    headers = _typed(authorization=_basic())
    return SenderRequest(
        "databricks", body, headers, secret=CREDENTIALS, delivery=f"{number}:jobs.on_success"
    )


def _cloud_event(number: int) -> bytes:
    return _json([{"id": f"event-{number}", "eventType": "Load.Finished", "data": {}}])


def azure_event_grid(number: int) -> SenderRequest:
    query, delivery = f"?token={SECRET}", f"event-{number}"
    return SenderRequest("azure_event_grid", _cloud_event(number), _typed(), query=query, delivery=delivery)


def azure_event_grid_header(number: int) -> SenderRequest:
    headers = _typed(x_hook_token=SECRET)
    return SenderRequest("azure_event_grid_header", _cloud_event(number), headers, delivery=f"event-{number}")


NOTIFICATION = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>00D000000000001</OrganizationId>
<Notification><Id>{id}</Id><sObject xsi:type="sf:Opportunity"><sf:StageName>Closed Won</sf:StageName>
</sObject></Notification></notifications></soapenv:Body></soapenv:Envelope>"""


def salesforce_outbound_message(number: int) -> SenderRequest:
    return SenderRequest(
        "salesforce_outbound_message",
        NOTIFICATION.format(id=f"04l{number}").encode(),
        {"content-type": "text/xml; charset=UTF-8", "soapaction": '""'},
        query=f"?token={SECRET}",
        fields={"expect": {"OrganizationId": "00D000000000001"}},
        delivery=f"04l{number}",
    )


def servicenow(number: int) -> SenderRequest:
    body = _json({"event": "load.finished", "n": number})
    return SenderRequest("servicenow", body, _typed(authorization=_basic()), secret=CREDENTIALS)


def sap(number: int) -> SenderRequest:
    body = _json({"event": "load.finished", "n": number})
    return SenderRequest("sap", body, _typed(authorization=_basic()), secret=CREDENTIALS)


def qlik(number: int) -> SenderRequest:
    event = {"id": f"q-{number}", "type": "com.qlik.v1.reload.finished", "data": {"succeeded": True}}
    body = _json(event)
    headers = _typed(qlik_signature=_mac(SECRET.encode(), body).hex())
    return SenderRequest("qlik", body, headers, delivery=f"q-{number}")


def celonis(number: int) -> SenderRequest:
    body = _json({"triggerId": "t", "offset": number, "event": {"id": "case.closed"}})
    return SenderRequest("celonis", body, _typed(authorization=SECRET), delivery=f"-:t:{number}:case.closed")


def stripe(number: int) -> SenderRequest:
    body, at = _json({"id": f"evt_{number}", "type": "report.ready"}), int(time.time())
    signature = _mac(WHSEC.encode(), f"{at}.".encode() + body).hex()
    headers = _typed(stripe_signature=f"t={at},v1={signature}")
    return SenderRequest("stripe", body, headers, secret=WHSEC, delivery=f"evt_{number}")


def slack(number: int) -> SenderRequest:
    at = int(time.time())
    body = _json({"event_id": f"Ev{number}", "type": "event_callback", "event": {"type": "x"}})
    signature = _mac(SECRET.encode(), f"v0:{at}:".encode() + body).hex()
    headers = _typed(x_slack_request_timestamp=str(at), x_slack_signature=f"v0={signature}")
    return SenderRequest("slack", body, headers, delivery=f"Ev{number}")


def shopify(number: int) -> SenderRequest:
    body = _json({"id": number})
    headers = _typed(
        x_shopify_topic="orders/updated",
        x_shopify_webhook_id=f"hook-{number}",
        x_shopify_hmac_sha256=base64.b64encode(_mac(SECRET.encode(), body)).decode(),
    )
    return SenderRequest("shopify", body, headers, delivery=f"hook-{number}")


def eventbridge(number: int) -> SenderRequest:
    event = {"id": f"e-{number}", "detail-type": "Glue Job State Change", "detail": {"state": "SUCCEEDED"}}
    headers = _typed(authorization=_basic())
    return SenderRequest("eventbridge", _json(event), headers, secret=CREDENTIALS, delivery=f"e-{number}")


def azure_devops(number: int) -> SenderRequest:
    build = {"eventType": "build.complete", "resource": {"result": "succeeded"}}
    body = _json({"subscriptionId": "s-1", "notificationId": number, **build})
    headers = _typed(authorization=_basic())
    return SenderRequest("azure_devops", body, headers, secret=CREDENTIALS, delivery=f"s-1:{number}")


def azure_data_factory(number: int) -> SenderRequest:
    address = f"https://dpeastus.svc.datafactory.azure.com/callback/{number}?callbackUrl=AAEA"
    body, headers = _json({"pipeline": "load", "callBackUri": address}), _typed(authorization=_basic())
    return SenderRequest("azure_data_factory", body, headers, secret=CREDENTIALS, has_callback=True)


def bitbucket(number: int) -> SenderRequest:
    body = _json({"commit_status": {"state": "SUCCESSFUL", "updated_on": f"2026-01-01T00:00:{number:02}"}})
    headers = _typed(
        x_event_key="repo:commit_status_updated",
        x_request_uuid=f"request-{number}",
        x_hub_signature=f"sha256={_mac(SECRET.encode(), body).hex()}",
    )
    return SenderRequest("bitbucket", body, headers, delivery=f"request-{number}")


def stitch(number: int) -> SenderRequest:
    table = {"integration_name": "erp", "destination_root_table_name": "orders"}
    load = {"minimum_sdc_batched_at": f"2026-{number}", "tables": [{"num_rows": 7}]}
    body, delivery = _json({**table, **load}), f"erp:orders:2026-{number}:-"
    return SenderRequest("stitch", body, _typed(), query=f"?token={SECRET}", delivery=delivery)


def custom(number: int) -> SenderRequest:
    fields = {"header": "X-Batch-Token", "delivery_id": [{"path": "batch"}], "event_name": {"path": "what"}}
    body = _json({"batch": number, "what": "loaded"})
    return SenderRequest("custom", body, _typed(x_batch_token=SECRET), fields=fields, delivery=str(number))


CALLS: dict[str, Callable[[int], SenderRequest]] = {
    make.__name__: make
    for make in (
        standard_webhooks, svix, github, gitlab, gitlab_standard, dbt_cloud, fivetran, airbyte, databricks,
        azure_event_grid, azure_event_grid_header, salesforce_outbound_message, servicenow, sap, qlik,
        celonis, stripe, slack, shopify, eventbridge, azure_devops, azure_data_factory, bitbucket, stitch,
        custom,
    )
}  # fmt: skip


def source_of(service: DeployedService, call: SenderRequest, *rules: Json) -> str:
    """The name of a new source of this call's sender, with a secret of its own."""
    secret = service.secret("webhooks", {"current": call.secret})
    return service.source(*rules, sender=call.sender, secret=secret, **call.fields)

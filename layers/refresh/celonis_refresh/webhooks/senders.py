"""The systems that can call: one row per sender, no code.

A row says how the sender proves itself, where the delivery id and the event's name stand, which of its
events means "start" unless a rule says otherwise, and what it asks when a subscription is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from celonis_refresh.webhooks.media_types import BodyKind
from celonis_refresh.webhooks.schemes.models import BasicAuth, Hmac, Scheme, Sns, StaticToken, UrlToken


class Place(Struct, frozen=True, kw_only=True):
    """Where a value stands: in a header (lower-case name), or in the event's body (JMESPath)."""

    header: str = ""
    path: str = ""


class Start(Struct, frozen=True, kw_only=True):
    """Which events start something: one of these names (any, if there is none), and this JMESPath holds."""

    events: tuple[str, ...] = ()
    when: str = "`true`"


class Sender(Struct, frozen=True, kw_only=True):
    """One row of the table.

    ``delivery_id``  places whose values, joined, tell one delivery from another and stay the same when it is
                     sent again; none: the sender has no such thing.
    ``run``          places in a signed body that together name the sender's own run, where it signs neither
                     id nor time: two bodies of the same bytes are the same event, whatever their ids say.
    ``probes``       names of events that only ask whether somebody answers.
    ``body``         one JSON event; one or many in a list; an SNS envelope; a SOAP message.
    """

    name: str
    scheme: Scheme
    delivery_id: tuple[Place, ...] = ()
    run: tuple[Place, ...] = ()
    event_name: Place | None = None
    start: Start = Start()
    handshake: Literal["none", "sns", "event_grid", "slack"] = "none"
    probes: tuple[str, ...] = ()
    body: BodyKind = "json"


def _paths(*paths: str) -> tuple[Place, ...]:
    return tuple(Place(path=path) for path in paths)


def _standard(prefix: str) -> Hmac:
    return Hmac(
        header=f"{prefix}-signature",
        encoding="base64",
        key="whsec",
        layout="versions",
        template="{id}.{timestamp}.{body}",
        id_header=f"{prefix}-id",
        timestamp_header=f"{prefix}-timestamp",
    )


_GITHUB_RUN = (
    "workflow_run.id || workflow_job.id || check_run.id || check_suite.id || deployment_status.id || after"
)
_GITLAB_START = Start(events=("pipeline",), when="object_attributes.status == 'success'")
_TYPE = Place(path="type")

# Snowflake sends a task graph's success to one topic and failures to the same or another: whatever says
# that it failed, or carries an error, is no success.
_SNOWFLAKE_WHEN = (
    "Message.rootTaskName != `null` && Message.errorMessage == `null`"
    " && Message.messages[0].errorMessage == `null`"
    " && !contains(to_string(Message.messageType), 'FAILED')"
)

_TABLE: Final = (
    Sender(
        name="standard_webhooks",
        scheme=_standard("webhook"),
        delivery_id=(Place(header="webhook-id"),),
        event_name=_TYPE,
    ),
    Sender(
        name="svix",
        scheme=_standard("svix"),
        delivery_id=(Place(header="svix-id"),),
        event_name=_TYPE,
    ),
    Sender(
        name="github",
        scheme=Hmac(header="x-hub-signature-256", prefix="sha256="),
        delivery_id=(Place(header="x-github-delivery"),),
        run=_paths(_GITHUB_RUN),
        event_name=Place(header="x-github-event"),
        start=Start(
            events=("workflow_run",), when="action == 'completed' && workflow_run.conclusion == 'success'"
        ),
        probes=("ping",),
    ),
    Sender(
        name="gitlab",
        scheme=StaticToken(header="x-gitlab-token"),
        delivery_id=(Place(header="idempotency-key"),),
        event_name=Place(path="object_kind"),
        start=_GITLAB_START,
    ),
    Sender(
        name="gitlab_standard",
        scheme=_standard("webhook"),
        delivery_id=(Place(header="webhook-id"),),
        event_name=Place(path="object_kind"),
        start=_GITLAB_START,
    ),
    Sender(
        name="dbt_cloud",
        scheme=Hmac(header="authorization"),
        delivery_id=_paths("eventId"),
        event_name=Place(path="eventType"),
        start=Start(events=("job.run.completed",), when="data.runStatus == 'Success'"),
    ),
    Sender(
        name="fivetran",
        scheme=Hmac(header="x-fivetran-signature-256", encoding="hex_any_case"),
        delivery_id=_paths("connector_id", "sync_id", "event"),
        event_name=Place(path="event"),
        start=Start(events=("sync_end",), when="data.status == 'SUCCESSFUL'"),
        probes=("test_event",),
    ),
    Sender(
        name="airbyte",
        scheme=UrlToken(),
        delivery_id=_paths("data.connection.id", "data.jobId"),
        start=Start(when="data.success == `true` && data.finishedAt != `null`"),
    ),
    Sender(
        name="databricks",
        scheme=BasicAuth(),
        delivery_id=_paths("run.run_id", "event_type"),
        event_name=Place(path="event_type"),
        start=Start(events=("jobs.on_success",)),
    ),
    Sender(
        name="aws_sns",
        scheme=Sns(topics=()),
        delivery_id=_paths("MessageId"),
        event_name=Place(path="Type"),
        start=Start(events=("Notification",)),
        handshake="sns",
        body="sns",
    ),
    Sender(
        name="snowflake",
        scheme=Sns(topics=()),
        delivery_id=_paths("MessageId"),
        event_name=Place(path="Type"),
        start=Start(events=("Notification",), when=_SNOWFLAKE_WHEN),
        handshake="sns",
        body="sns",
    ),
    Sender(
        name="azure_event_grid",
        scheme=UrlToken(),
        delivery_id=_paths("id"),
        event_name=Place(path="eventType || type"),
        handshake="event_grid",
        body="list",
    ),
    Sender(
        name="azure_event_grid_header",
        scheme=StaticToken(header="x-hook-token"),
        delivery_id=_paths("id"),
        event_name=Place(path="eventType || type"),
        handshake="event_grid",
        body="list",
    ),
    Sender(
        name="salesforce_outbound_message",
        scheme=UrlToken(),
        delivery_id=_paths("Notification.Id"),
        event_name=Place(path="Notification.sObject.type"),
        body="soap",
    ),
    Sender(
        name="servicenow",
        scheme=BasicAuth(),
        event_name=Place(path="event"),
    ),
    Sender(
        name="sap",
        scheme=BasicAuth(),
        event_name=Place(path="event"),
    ),
    Sender(
        name="qlik",
        scheme=Hmac(header="qlik-signature", encoding="hex_any_case"),
        delivery_id=_paths("id"),
        event_name=_TYPE,
        start=Start(
            events=("com.qlik.v1.reload.finished",),
            when="data.succeeded == `true` || data.status == 'SUCCEEDED'",
        ),
    ),
    Sender(
        name="celonis",
        scheme=StaticToken(header="authorization"),
        delivery_id=_paths("triggerId", "offset"),
        event_name=Place(path="event.id"),
    ),
    Sender(
        name="stripe",
        scheme=Hmac(header="stripe-signature", layout="pairs", template="{timestamp}.{body}"),
        delivery_id=_paths("id"),
        event_name=_TYPE,
    ),
    Sender(
        name="slack",
        scheme=Hmac(
            header="x-slack-signature",
            prefix="v0=",
            template="v0:{timestamp}:{body}",
            timestamp_header="x-slack-request-timestamp",
        ),
        delivery_id=_paths("event_id"),
        event_name=Place(path="event.type || type"),
        handshake="slack",
    ),
    Sender(
        name="shopify",
        scheme=Hmac(header="x-shopify-hmac-sha256", encoding="base64"),
        delivery_id=(Place(header="x-shopify-webhook-id"),),
        event_name=Place(header="x-shopify-topic"),
    ),
    Sender(name="custom", scheme=StaticToken(header="")),  # the source names header, or another scheme
)

SENDERS: Final[Mapping[str, Sender]] = {sender.name: sender for sender in _TABLE}

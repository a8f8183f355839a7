"""The systems that can call: one row per sender, no code.

A row says how the sender proves itself, where the delivery id and the event's name stand, which of its
events means "start" unless a rule says otherwise, and what it asks when a subscription is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from celonis_refresh.webhooks import conditions
from celonis_refresh.webhooks.media_types import BodyKind
from celonis_refresh.webhooks.schemes.models import BasicAuth, Hmac, Scheme, Sns, StaticToken, UrlToken


class Place(Struct, frozen=True, kw_only=True):
    """Where a value stands: in the event's body (JMESPath), or in a header (lower-case name). With both, the
    header counts where the body has no value.
    """

    header: str = ""
    path: str = ""


class StartingEvents(Struct, frozen=True, kw_only=True):
    """Which events start something: one of these names (any, if there is none), with a body for which this
    JMESPath gives true.
    """

    events: tuple[str, ...] = ()
    when: str = "`true`"


class Sender(Struct, frozen=True, kw_only=True):
    """One row of the table.

    ``delivery_id``  places whose values, joined, tell one delivery from another and stay the same when it is
                     sent again; none: the sender has no such thing.
    ``run``          places in a signed body that together name the sender's own run, where it signs neither
                     id nor time: two bodies of the same bytes are the same event, whatever their ids say.
    ``probes``       names of events that only check the address.
    ``test``         JMESPath: holds for what is sent by a test button or a setup, whatever else it says.
    ``test_header``  a header that is ``true`` for what is sent by a test button.
    ``body``         one JSON event; one or many in a list; an SNS envelope; a SOAP message.
    """

    name: str
    scheme: Scheme
    delivery_id: tuple[Place, ...] = ()
    run: tuple[Place, ...] = ()
    event_name: Place | None = None
    start: StartingEvents = StartingEvents()
    handshake: Literal["none", "sns", "event_grid", "slack"] = "none"
    probes: tuple[str, ...] = ()
    test: str = ""
    test_header: str = ""
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
_GITLAB_START = StartingEvents(events=("pipeline",), when=conditions.GITLAB_SUCCESS)
_GITLAB_NAME = Place(path="object_kind || event_name")
_EVENT_GRID_START = StartingEvents(when=conditions.EVENT_GRID_SUCCESS)
_TYPE = Place(path="type")

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
        start=StartingEvents(events=("workflow_run",), when=conditions.GITHUB_SUCCESS),
        probes=("ping",),
    ),
    Sender(
        name="gitlab",
        scheme=StaticToken(header="x-gitlab-token"),
        delivery_id=(Place(path=conditions.GITLAB_ID, header="idempotency-key"),),
        event_name=_GITLAB_NAME,
        start=_GITLAB_START,
    ),
    Sender(
        name="gitlab_standard",
        scheme=_standard("webhook"),
        delivery_id=(Place(path=conditions.GITLAB_ID, header="webhook-id"),),
        event_name=_GITLAB_NAME,
        start=_GITLAB_START,
    ),
    Sender(
        name="dbt_cloud",
        scheme=Hmac(header="authorization"),
        delivery_id=_paths("eventId"),
        event_name=Place(path="eventType"),
        start=StartingEvents(events=("job.run.completed",), when="data.runStatus == 'Success'"),
    ),
    Sender(
        name="fivetran",
        scheme=Hmac(header="x-fivetran-signature-256", encoding="hex_any_case"),
        delivery_id=_paths("connector_id", "sync_id", "event"),
        event_name=Place(path="event"),
        start=StartingEvents(events=("sync_end",), when="data.status == 'SUCCESSFUL'"),
        probes=("test_event",),
        test=conditions.FIVETRAN_TEST,
    ),
    Sender(
        name="airbyte",
        scheme=UrlToken(),
        delivery_id=_paths("data.connection.id", "data.jobId"),
        start=StartingEvents(when=conditions.AIRBYTE_SUCCESS),
        test=conditions.AIRBYTE_TEST,
    ),
    Sender(
        name="databricks",
        scheme=BasicAuth(),
        delivery_id=_paths("run.run_id", "event_type"),
        event_name=Place(path="event_type"),
        start=StartingEvents(events=("jobs.on_success",), when=conditions.DATABRICKS_SUCCESS),
    ),
    Sender(
        name="aws_sns",
        scheme=Sns(topics=()),
        delivery_id=_paths("MessageId"),
        event_name=Place(path="Type"),
        start=StartingEvents(events=("Notification",)),
        handshake="sns",
        test=conditions.SNS_TEST,
        body="sns",
    ),
    Sender(
        name="snowflake",
        scheme=Sns(topics=()),
        delivery_id=_paths("Message.messageId || MessageId"),
        event_name=Place(path="Type"),
        start=StartingEvents(events=("Notification",), when=conditions.SNOWFLAKE_SUCCESS),
        handshake="sns",
        body="sns",
    ),
    Sender(
        name="azure_event_grid",
        scheme=UrlToken(),
        delivery_id=_paths("id"),
        event_name=Place(path="eventType || type"),
        start=_EVENT_GRID_START,
        handshake="event_grid",
        body="list",
    ),
    Sender(
        name="azure_event_grid_header",
        scheme=StaticToken(header="x-hook-token"),
        delivery_id=_paths("id"),
        event_name=Place(path="eventType || type"),
        start=_EVENT_GRID_START,
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
        delivery_id=(Place(path="type && id", header="ce-id"),),  # CloudEvents; its own JSON has another id
        event_name=Place(path="event || type", header="ce-type"),
    ),
    Sender(
        name="qlik",
        scheme=Hmac(header="qlik-signature", encoding="hex_any_case"),
        delivery_id=_paths("id"),
        event_name=_TYPE,
        start=StartingEvents(
            events=("com.qlik.v1.reload.finished",),
            when=conditions.QLIK_SUCCESS,
        ),
    ),
    Sender(
        name="celonis",
        scheme=StaticToken(header="authorization"),
        delivery_id=_paths(
            "subscriberId || subscriptionId || '-'", "triggerId", "offset", "event.id || eventId || '-'"
        ),
        event_name=Place(path="triggerId"),
    ),
    Sender(
        name="stripe",
        scheme=Hmac(header="stripe-signature", layout="pairs", template="{timestamp}.{body}"),
        delivery_id=_paths("id"),
        event_name=_TYPE,
        probes=("v2.core.event_destination.ping",),
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
        probes=("app_rate_limited",),
    ),
    Sender(
        name="shopify",
        scheme=Hmac(header="x-shopify-hmac-sha256", encoding="base64"),
        delivery_id=(Place(header="x-shopify-webhook-id"),),
        event_name=Place(header="x-shopify-topic"),
        test_header="x-shopify-test",
    ),
    Sender(
        name="eventbridge",
        scheme=BasicAuth(key_header="x-api-key"),
        delivery_id=_paths("id"),
        event_name=Place(path='"detail-type"'),
        start=StartingEvents(when=conditions.EVENTBRIDGE_SUCCESS),
    ),
    Sender(
        name="azure_devops",
        scheme=BasicAuth(),
        delivery_id=_paths("subscriptionId", "notificationId"),
        event_name=Place(path="eventType"),
        start=StartingEvents(events=("build.complete",), when=conditions.AZURE_DEVOPS_SUCCESS),
        test=conditions.AZURE_DEVOPS_TEST,
    ),
    Sender(
        name="bitbucket",
        scheme=Hmac(header="x-hub-signature", prefix="sha256="),
        delivery_id=(Place(header="x-request-uuid"),),
        run=_paths("commit_status.updated_on"),
        event_name=Place(header="x-event-key"),
        start=StartingEvents(
            events=("repo:commit_status_created", "repo:commit_status_updated"),
            when=conditions.BITBUCKET_SUCCESS,
        ),
        probes=("diagnostics:ping",),
    ),
    Sender(
        name="stitch",
        scheme=UrlToken(),
        delivery_id=_paths(
            "integration_name",
            "destination_root_table_name",
            "minimum_sdc_batched_at",
            "tables[0].max_time_extracted || '-'",
        ),
        start=StartingEvents(when=conditions.STITCH_SUCCESS),
    ),
    Sender(name="custom", scheme=StaticToken(header="")),  # the source names header, or another scheme
)

SENDERS: Final[Mapping[str, Sender]] = {sender.name: sender for sender in _TABLE}

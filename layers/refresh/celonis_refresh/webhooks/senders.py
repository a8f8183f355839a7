"""Senders: one row per system that can send webhooks, no code.

A row has the scheme of verification, the locations of the delivery id and of the event's name, the events
that start a pipeline by default, and the handshake of the sender.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from celonis_refresh.webhooks.request import BodyKind
from celonis_refresh.webhooks.verification import BasicAuth, Hmac, Scheme, Sns, StaticToken, UrlToken

# A pull request's workflow runs under its own event; a fork has another repository. Both may have a branch
# with the name of the default branch.
GITHUB_SUCCESS: Final = (
    "action == 'completed' && workflow_run.conclusion == 'success'"
    " && (repository.default_branch == `null` || workflow_run.head_branch == repository.default_branch)"
    " && (workflow_run.head_repository == `null`"
    " && !contains(keys(workflow_run), 'head_repository')"
    " || workflow_run.head_repository.full_name == repository.full_name)"
    " && !contains(to_string(workflow_run.event), 'pull_request')"
)

# A child pipeline ends before its parent. A pipeline of a merge request has the branch it comes from, or the
# target, as its ref. A tag may have the name of the branch.
GITLAB_SUCCESS: Final = (
    "object_attributes.status == 'success'"
    " && (project.default_branch == `null` || object_attributes.ref == project.default_branch)"
    " && merge_request == `null` && !(object_attributes.tag || `false`)"
    " && (object_attributes.source == `null` || contains("
    "['push', 'web', 'webide', 'schedule', 'api', 'trigger', 'pipeline', 'chat'], object_attributes.source))"
)
# The keys of one pipeline event differ when GitLab sends it twice; a pipeline that runs again ends again.
GITLAB_ID: Final = (
    "(object_kind || event_name) == 'pipeline' && object_attributes.id && join(':', ['pipeline',"
    " to_string(project.id || project.path_with_namespace),"
    " to_string(object_attributes.id), to_string(object_attributes.status),"
    " to_string(object_attributes.finished_at)]) || `null`"
)

FIVETRAN_TEST: Final = "connector_id == '_connector_1'"

AIRBYTE_SUCCESS: Final = "data.success == `true` && data.finishedAt != `null`"
AIRBYTE_TEST: Final = (
    "contains(to_string(text), 'THIS IS A TEST NOTIFICATION')"
    " || data.connection.name == 'Connection' && data.workspace.name == 'Workspace'"
)

# A task may succeed while its job is still running.
DATABRICKS_SUCCESS: Final = "task == `null`"

# Amazon S3, EC2 Auto Scaling and Amazon SES, when a topic is set up.
SNS_TEST: Final = (
    "Message.Event == 's3:TestEvent' || Message.Event == 'autoscaling:TEST_NOTIFICATION'"
    " || Message.notificationType == 'AmazonSnsSubscriptionSucceeded'"
    " || starts_with(to_string(Message), 'Successfully validated SNS topic')"
)
SNOWFLAKE_SUCCESS: Final = "Message.messageType == 'GRAPH_SUCCEEDED'"

# Of Azure's own events, a blob that was written; of custom topics, any. An ADLS file and an SFTP upload are
# announced when they are created, before they have content, and once more when they are complete.
EVENT_GRID_SUCCESS: Final = (
    "!starts_with(to_string(eventType || type), 'Microsoft.')"
    " || (eventType || type) == 'Microsoft.Storage.BlobCreated'"
    " && !contains(['CreateFile', 'SftpCreate'], data.api || '')"
)

# A child of an array job of AWS Batch ends before its parent.
EVENTBRIDGE_SUCCESS: Final = (
    "(detail.state == 'SUCCEEDED' || detail.status == 'SUCCEEDED') && detail.arrayProperties.index == `null`"
)

AZURE_DEVOPS_SUCCESS: Final = (
    "(resource.result || resource.status) == 'succeeded'"
    " && !(resource.reason == 'pullRequest' || resource.reason == 'validateShelveset'"
    " || starts_with(to_string(resource.sourceBranch), 'refs/pull/'))"
)
AZURE_DEVOPS_TEST: Final = "subscriptionId == '00000000-0000-0000-0000-000000000000'"

BITBUCKET_SUCCESS: Final = "commit_status.state == 'SUCCESSFUL'"

# One event per table, even if all rows of a load were rejected.
STITCH_SUCCESS: Final = "length(tables[?num_rows > `0`] || `[]`) > `0`"

QLIK_SUCCESS: Final = "data.succeeded == `true` || data.status == 'SUCCEEDED'"


CallbackFormat: TypeAlias = Literal["run", "azure_data_factory"]
"""Formats of a callback: the result of a run, or the format that Azure Data Factory reads."""


class Location(Struct, frozen=True, kw_only=True):
    """Location of a value: in the body of the event (JMESPath) or in a header (lower case).

    With both, the header is used if the body has no value.
    """

    header: str = ""
    path: str = ""


class StartingEvents(Struct, frozen=True, kw_only=True):
    """Events that start a pipeline by default.

    ``events``: their names; empty: any. ``when``: JMESPath that gives true for their body.
    """

    events: tuple[str, ...] = ()
    when: str = "`true`"


class Sender(Struct, frozen=True, kw_only=True):
    """One sender.

    ``delivery_id``  locations whose joined values identify a delivery, also if it is sent again; none: no id
    ``run``          locations in a signed body that together identify the sender's run, for a sender that
                     signs neither id nor time: equal bodies are the same event, whatever their ids
    ``probes``       names of events that only test the address
    ``test``         JMESPath that is true for events of a test button or a setup
    ``test_header``  a header that is ``true`` for events of a test button
    ``body``         one JSON event; one event or a list; an SNS envelope; a SOAP message
    ``callback``     JMESPath of the address to which the result of a run is posted, for a sender that waits
    ``callback_hosts``  hosts of callback addresses; ``callback_format``: what is posted
    """

    name: str
    scheme: Scheme
    delivery_id: tuple[Location, ...] = ()
    run: tuple[Location, ...] = ()
    event_name: Location | None = None
    start: StartingEvents = StartingEvents()
    handshake: Literal["none", "sns", "event_grid", "slack"] = "none"
    probes: tuple[str, ...] = ()
    test: str = ""
    test_header: str = ""
    body: BodyKind = "json"
    callback: str = ""
    callback_hosts: tuple[str, ...] = ()
    callback_format: CallbackFormat = "run"


def _paths(*paths: str) -> tuple[Location, ...]:
    return tuple(Location(path=path) for path in paths)


def standard_webhooks(prefix: str) -> Hmac:
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
_GITLAB_START = StartingEvents(events=("pipeline",), when=GITLAB_SUCCESS)
_GITLAB_NAME = Location(path="object_kind || event_name")
_EVENT_GRID_START = StartingEvents(when=EVENT_GRID_SUCCESS)
_TYPE = Location(path="type")

_TABLE: Final = (
    Sender(
        name="standard_webhooks",
        scheme=standard_webhooks("webhook"),
        delivery_id=(Location(header="webhook-id"),),
        event_name=_TYPE,
    ),
    Sender(
        name="svix",
        scheme=standard_webhooks("svix"),
        delivery_id=(Location(header="svix-id"),),
        event_name=_TYPE,
    ),
    Sender(
        name="github",
        scheme=Hmac(header="x-hub-signature-256", prefix="sha256="),
        delivery_id=(Location(header="x-github-delivery"),),
        run=_paths(_GITHUB_RUN),
        event_name=Location(header="x-github-event"),
        start=StartingEvents(events=("workflow_run",), when=GITHUB_SUCCESS),
        probes=("ping",),
    ),
    Sender(
        name="gitlab",
        scheme=StaticToken(header="x-gitlab-token"),
        delivery_id=(Location(path=GITLAB_ID, header="idempotency-key"),),
        event_name=_GITLAB_NAME,
        start=_GITLAB_START,
    ),
    Sender(
        name="gitlab_standard",
        scheme=standard_webhooks("webhook"),
        delivery_id=(Location(path=GITLAB_ID, header="webhook-id"),),
        event_name=_GITLAB_NAME,
        start=_GITLAB_START,
    ),
    Sender(
        name="dbt_cloud",
        scheme=Hmac(header="authorization"),
        delivery_id=_paths("eventId"),
        event_name=Location(path="eventType"),
        start=StartingEvents(events=("job.run.completed",), when="data.runStatus == 'Success'"),
    ),
    Sender(
        name="fivetran",
        scheme=Hmac(header="x-fivetran-signature-256", encoding="hex_any_case"),
        delivery_id=_paths("connector_id", "sync_id", "event"),
        event_name=Location(path="event"),
        start=StartingEvents(events=("sync_end",), when="data.status == 'SUCCESSFUL'"),
        probes=("test_event",),
        test=FIVETRAN_TEST,
    ),
    Sender(
        name="airbyte",
        scheme=UrlToken(),
        delivery_id=_paths("data.connection.id", "data.jobId"),
        start=StartingEvents(when=AIRBYTE_SUCCESS),
        test=AIRBYTE_TEST,
    ),
    Sender(
        name="databricks",
        scheme=BasicAuth(),
        delivery_id=_paths("run.run_id", "event_type"),
        event_name=Location(path="event_type"),
        start=StartingEvents(events=("jobs.on_success",), when=DATABRICKS_SUCCESS),
    ),
    Sender(
        name="aws_sns",
        scheme=Sns(topics=()),
        delivery_id=_paths("MessageId"),
        event_name=Location(path="Type"),
        start=StartingEvents(events=("Notification",)),
        handshake="sns",
        test=SNS_TEST,
        body="sns",
    ),
    Sender(
        name="snowflake",
        scheme=Sns(topics=()),
        delivery_id=_paths("Message.messageId || MessageId"),
        event_name=Location(path="Type"),
        start=StartingEvents(events=("Notification",), when=SNOWFLAKE_SUCCESS),
        handshake="sns",
        body="sns",
    ),
    Sender(
        name="azure_event_grid",
        scheme=UrlToken(),
        delivery_id=_paths("id"),
        event_name=Location(path="eventType || type"),
        start=_EVENT_GRID_START,
        handshake="event_grid",
        body="list",
    ),
    Sender(
        name="azure_event_grid_header",
        scheme=StaticToken(header="x-hook-token"),
        delivery_id=_paths("id"),
        event_name=Location(path="eventType || type"),
        start=_EVENT_GRID_START,
        handshake="event_grid",
        body="list",
    ),
    Sender(
        name="salesforce_outbound_message",
        scheme=UrlToken(),
        delivery_id=_paths("Notification.Id"),
        event_name=Location(path="Notification.sObject.type"),
        body="soap",
    ),
    Sender(
        name="servicenow",
        scheme=BasicAuth(),
        event_name=Location(path="event"),
    ),
    Sender(
        name="sap",
        scheme=BasicAuth(),
        delivery_id=(
            Location(path="type && id", header="ce-id"),
        ),  # CloudEvents; its own JSON has another id
        event_name=Location(path="event || type", header="ce-type"),
    ),
    Sender(
        name="qlik",
        scheme=Hmac(header="qlik-signature", encoding="hex_any_case"),
        delivery_id=_paths("id"),
        event_name=_TYPE,
        start=StartingEvents(
            events=("com.qlik.v1.reload.finished",),
            when=QLIK_SUCCESS,
        ),
    ),
    Sender(
        name="celonis",
        scheme=StaticToken(header="authorization"),
        delivery_id=_paths(
            "subscriberId || subscriptionId || '-'", "triggerId", "offset", "event.id || eventId || '-'"
        ),
        event_name=Location(path="triggerId"),
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
        event_name=Location(path="event.type || type"),
        handshake="slack",
        probes=("app_rate_limited",),
    ),
    Sender(
        name="shopify",
        scheme=Hmac(header="x-shopify-hmac-sha256", encoding="base64"),
        delivery_id=(Location(header="x-shopify-webhook-id"),),
        event_name=Location(header="x-shopify-topic"),
        test_header="x-shopify-test",
    ),
    Sender(
        name="eventbridge",
        scheme=BasicAuth(key_header="x-api-key"),
        delivery_id=_paths("id"),
        event_name=Location(path='"detail-type"'),
        start=StartingEvents(when=EVENTBRIDGE_SUCCESS),
    ),
    Sender(
        name="azure_devops",
        scheme=BasicAuth(),
        delivery_id=_paths("subscriptionId", "notificationId"),
        event_name=Location(path="eventType"),
        start=StartingEvents(events=("build.complete",), when=AZURE_DEVOPS_SUCCESS),
        test=AZURE_DEVOPS_TEST,
    ),
    # Its Webhook activity adds callBackUri to the body, and waits until it is called.
    Sender(
        name="azure_data_factory",
        scheme=BasicAuth(key_header="x-api-key"),
        event_name=Location(path="event"),
        callback="callBackUri",
        callback_hosts=("*.svc.datafactory.azure.com",),
        callback_format="azure_data_factory",
    ),
    Sender(
        name="bitbucket",
        scheme=Hmac(header="x-hub-signature", prefix="sha256="),
        delivery_id=(Location(header="x-request-uuid"),),
        run=_paths("commit_status.updated_on"),
        event_name=Location(header="x-event-key"),
        start=StartingEvents(
            events=("repo:commit_status_created", "repo:commit_status_updated"),
            when=BITBUCKET_SUCCESS,
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
        start=StartingEvents(when=STITCH_SUCCESS),
    ),
    Sender(name="custom", scheme=StaticToken(header="")),  # the source names header, or another scheme
)

SENDERS: Final[Mapping[str, Sender]] = {sender.name: sender for sender in _TABLE}

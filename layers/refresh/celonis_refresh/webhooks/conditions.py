"""What each sender calls finished, and what it sends as a test: JMESPath over the body of an event.

A condition that cannot be applied to a body does not hold for it. The fields are those of the senders' own
payloads. What a sender always sends is compared only where it is there.
"""

from __future__ import annotations

from typing import Final

# A pull request's workflow runs under its own event; a fork has another repository. Both may have a branch
# that is called like the default branch.
GITHUB_SUCCESS: Final = (
    "action == 'completed' && workflow_run.conclusion == 'success'"
    " && (repository.default_branch == `null` || workflow_run.head_branch == repository.default_branch)"
    " && (workflow_run.head_repository == `null`"
    " && !contains(keys(workflow_run), 'head_repository')"
    " || workflow_run.head_repository.full_name == repository.full_name)"
    " && !contains(to_string(workflow_run.event), 'pull_request')"
)

# A child pipeline ends before its parent. A pipeline of a merge request has the branch it comes from, or the
# target, as its ref. A tag may be called like the branch.
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

# The success of a task comes while its job still runs.
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
    " && !(resource.reason == 'pullRequest' || starts_with(to_string(resource.sourceBranch), 'refs/pull/'))"
)
AZURE_DEVOPS_TEST: Final = "subscriptionId == '00000000-0000-0000-0000-000000000000'"

BITBUCKET_SUCCESS: Final = "commit_status.state == 'SUCCESSFUL'"

# One call a table, also for a load whose rows were all rejected.
STITCH_SUCCESS: Final = "length(tables[?num_rows > `0`] || `[]`) > `0`"

QLIK_SUCCESS: Final = "data.succeeded == `true` || data.status == 'SUCCEEDED'"

"""What ``make local`` prints: how to use the stack, and what differs from AWS."""

from __future__ import annotations

from local.celonis import world

TEXT = """\
The stack is running. See it in the browser (the link is for you alone, until the stack stops):

  <page>

In another shell, in this folder, the tool refresh (docs/refresh.md) needs no options:

.venv/bin/refresh start order-to-cash --watch

For the commands of the AWS CLI and curl, load the environment of the stack; it adds the tool to PATH as well:

. .local/env.sh

Then the aws and curl commands of README.md and docs/ work as they are written; docs/deployment.md defines the
variable STACK and the function output, which they use. If you have no AWS CLI, run make awscli, then
export PATH="$PWD/.awscli/bin:$PATH". The connection to the simulated Celonis is already stored; its value is
in .local/connection.json. Some commands to start with:

# a signed webhook, as GitHub sends it
BODY='{"action":"completed","workflow_run":{"conclusion":"success","name":"load-erp"}}'
SIGNATURE=$(printf %s "$BODY" | openssl dgst -sha256 -hmac "$WEBHOOK_SECRET" | sed 's/.* //')
curl -i "$API_URL/webhooks/github" -H 'content-type: application/json' \\
  -H 'x-github-event: workflow_run' -H "x-github-delivery: $(openssl rand -hex 16)" \\
  -H "x-hub-signature-256: sha256=$SIGNATURE" -d "$BODY"

# the runs API (IAM)
curl -sS --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" \\
  --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$API_URL/runs"

# let a job take 30 s from now on; list what was started in Celonis
curl -sS -X PUT "$CELONIS_CONTROL_URL/jobs/<job>" -d '{"seconds": 30}'
curl -sS "$CELONIS_CONTROL_URL/ledger"

What differs from AWS:

- Logs are in .local/logs/, a file for each function, and in the answer to
  curl -sS "$CONTROL_URL/logs/Trigger" (or OpenRun, StartStep, CheckStep, CloseRun, Reconcile, Api).
  CloudWatch Logs stays empty.
- <schedules>
- AWS may deliver an event late or twice, and may cancel transactions that conflict on one item. Here this
  happens on purpose, to one in five: the service must lose nothing and start nothing twice. To turn it off:
  curl -sS -X PATCH "$CONTROL_URL/settings" \\
    -d '{"events": {"twice_ratio": 0, "late_ratio": 0}, "transactions": {"conflict_ratio": 0}}'
- SNS sends no e-mail, and alarms send no notification. To see notifications, run make receiver in another
  shell: docs/local.md says how. Callbacks may go to http://127.0.0.1, which AWS refuses.
- Jobs and loads take a few seconds. Everything but the logs is lost when the stack stops.

local/aws/README.md lists all differences; local/celonis/README.md says what the simulated Celonis can do.
Ctrl-C stops the stack.
"""

SCHEDULES = {
    "hand": """\
Schedules fire only when you fire them, unless you run make local SCHEDULES=clock. To fire one:
  curl -sS -X POST "$CONTROL_URL/schedules/<stack>-full-refresh/fire"   # the schedule of the sample pipeline
  curl -sS -X POST "$CONTROL_URL/schedules/<stack>-reconcile/fire"      # in AWS, every 5 minutes""",
    "clock": """\
Schedules fire at their times, and each prints a line here. To fire one now:
  curl -sS -X POST "$CONTROL_URL/schedules/<stack>-full-refresh/fire"   # or <stack>-reconcile""",
}
"""Descriptions of the values of ``--schedules``."""


def help_text(stack: str, schedules: str, page: str) -> str:
    """Return the text for a stack of this name. ``schedules``: a key of ``SCHEDULES``; ``page``: the link."""
    text = TEXT.replace("<schedules>", SCHEDULES[schedules]).replace("<page>", page)
    return text.replace("<stack>", stack).replace("<job>", world.ERP_JOB_ID)

"""The whole service on this machine: the Celonis simulator, and the real template deployed against it."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.stack import LocalStack
from local.celonis import world
from local.celonis.server import CelonisSimulator

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".local"
STACK_NAME = "celonis-refresh"
REGION = "eu-central-1"

SAMPLE = "order-to-cash"
"""The pipeline of the template."""
JOB_SECONDS, LOAD_SECONDS = 4.0, 4.0

PARAMETERS = {
    "DataPool": world.POOL_ID,
    "DataJob": world.ERP_JOB_ID,
    "DataModel": world.MODEL_ID,
    "Tables": "VBAK,VBAP",
    "ScheduleState": "ENABLED",
}
"""What a person would answer to ``sam deploy --guided``, for the simulator's world."""


@dataclass(frozen=True)
class Standing:
    """A stack and the Celonis that it talks to."""

    stack: LocalStack
    celonis: CelonisSimulator

    def addresses(self) -> dict[str, Any]:
        """Where everything is, for any tool that wants to talk to it."""
        return {
            "api_url": self.stack.api_url,
            "aws_endpoint_url": self.stack.aws_endpoint_url,
            "control_url": self.stack.control_url,
            "region": REGION,
            "celonis_url": self.celonis.url,
            "celonis_control_url": self.celonis.control_url,
            "stack_name": STACK_NAME,
            "outputs": self.stack.outputs,
        }

    def webhook_secret(self) -> str:
        """What the sample source signs with, as a person would copy it from Secrets Manager."""
        stored = self.stack.client("secretsmanager").get_secret_value(
            SecretId=self.stack.outputs["WebhookSecret"]
        )
        return str(json.loads(stored["SecretString"])["current"])


@contextlib.contextmanager
def standing(state: Path = STATE) -> Iterator[Standing]:
    """Everything up and connected; everything gone at the end."""
    with CelonisSimulator() as celonis:
        stack = LocalStack.deploy(
            template=ROOT / "template.yaml", stack_name=STACK_NAME, parameters=PARAMETERS, state_dir=state
        )
        with stack:
            connect(stack, celonis)
            look_often(stack)
            slow_down(celonis)
            yield Standing(stack, celonis)


def connect(stack: LocalStack, celonis: CelonisSimulator) -> None:
    """Fills in the connection's secret, as a person does after the first deployment."""
    secret = {
        "base_url": celonis.url,
        "allow_http": True,
        "allow_any_host": True,
        "auth": {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": world.CLIENT_SECRET},
    }
    stack.client("secretsmanager").put_secret_value(
        SecretId=stack.outputs["ConnectionSecret"], SecretString=json.dumps(secret)
    )


def look_often(stack: LocalStack) -> None:
    """The sample pipeline with a ceiling of its own, because here a job takes seconds."""
    client, name = stack.client("ssm"), f"/{STACK_NAME}/pipelines/{SAMPLE}"
    definition = json.loads(client.get_parameter(Name=name)["Parameter"]["Value"])
    value = json.dumps({**definition, "poll": {"floor": 1, "ceiling": 1}})
    client.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def slow_down(celonis: CelonisSimulator) -> None:
    """Jobs and loads that last long enough to be seen under way, as real ones do.

    What is only ever seen at its end may be yesterday's, and is believed no sooner than after ``settle``.
    """
    for job in celonis.model.jobs.values():
        job.change(seconds=JOB_SECONDS)
    for model in celonis.model.models.values():
        model.change(seconds=LOAD_SECONDS)


def _curl_lines(place: Standing) -> str:
    stack, outputs = place.stack, place.stack.outputs
    keys = stack.credentials
    signed = f"--aws-sigv4 aws:amz:{REGION}:execute-api --user {keys.access_key}:{keys.secret_key}"
    return f"""
The stack stands. Its addresses are in .local/stack.json. Play with it:

# a signed webhook, as GitHub sends it
BODY='{{"action":"completed","workflow_run":{{"conclusion":"success","name":"load-erp"}}}}'
SIGNATURE=$(printf %s "$BODY" | openssl dgst -sha256 -hmac '{place.webhook_secret()}' | sed 's/.* //')
curl -i {stack.api_url}/webhooks/github -H 'content-type: application/json' \\
  -H 'x-github-event: workflow_run' -H "x-github-delivery: $(openssl rand -hex 16)" \\
  -H "x-hub-signature-256: sha256=$SIGNATURE" -d "$BODY"

# the runs API (IAM)
curl -s {signed} {stack.api_url}/runs
curl -s {signed} {stack.api_url}/runs -H 'content-type: application/json' -d '{{"pipeline":"order-to-cash"}}'

# the schedule, now
curl -s -X POST {stack.control_url}/schedules/{STACK_NAME}-full-refresh/fire

# an execution by hand, with the AWS CLI
export AWS_ENDPOINT_URL={stack.aws_endpoint_url} AWS_DEFAULT_REGION={REGION}
export AWS_ACCESS_KEY_ID={keys.access_key} AWS_SECRET_ACCESS_KEY={keys.secret_key}
aws stepfunctions start-execution --state-machine-arn {outputs["StateMachineArn"]} \\
  --input '{{"pipeline":"order-to-cash"}}'

# what was really started at Celonis, and a job that takes 30 s from now on
curl -s {place.celonis.control_url}/ledger
curl -s -X PUT {place.celonis.control_url}/jobs/{world.ERP_JOB_ID} -d '{{"seconds": 30}}'

Ctrl-C ends everything.
"""


def main() -> None:
    """``make local``: stands until Ctrl-C."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with standing() as place:
        (STATE / "stack.json").write_text(json.dumps(place.addresses(), indent=2) + "\n")
        print(_curl_lines(place), flush=True)
        ended.wait()
        (STATE / "stack.json").unlink(missing_ok=True)
    print("everything is down", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The whole service on this machine: the Celonis simulator, and the real template deployed against it."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import state_files
from local.aws.stack import LocalStack
from local.celonis import world
from local.celonis.server import CelonisSimulator
from local.help_text import help_text
from local.schedule_clock import run_clock

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
class LocalService:
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
            "outputs": self.stack.local_outputs,
        }

    def environment(self) -> dict[str, str]:
        """What a shell needs for the AWS CLI, and for ``curl``."""
        keys = self.stack.credentials
        return {
            "AWS_ENDPOINT_URL": self.stack.aws_endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": str(keys.access_key),
            "AWS_SECRET_ACCESS_KEY": str(keys.secret_key),
            "API_URL": self.stack.api_url,
            "WEBHOOK_SECRET": self.webhook_secret(),
            "CONTROL_URL": self.stack.control_url,
            "CELONIS_CONTROL_URL": self.celonis.control_url,
        }

    def webhook_secret(self) -> str:
        """What the sample source signs with, as a person would copy it from Secrets Manager."""
        stored = self.stack.client("secretsmanager").get_secret_value(
            SecretId=self.stack.outputs["WebhookSecret"]
        )
        return str(json.loads(stored["SecretString"])["current"])


@contextlib.contextmanager
def run_local_service(state: Path = STATE) -> Iterator[LocalService]:
    """Starts everything; stops everything at the end."""
    with CelonisSimulator() as celonis:
        stack = LocalStack.deploy(
            template=ROOT / "template.yaml", stack_name=STACK_NAME, parameters=PARAMETERS, state_dir=state
        )
        with stack:
            connect(stack, celonis)
            shorten_poll_interval(stack)
            slow_down(celonis)
            yield LocalService(stack, celonis)


def connect(stack: LocalStack, celonis: CelonisSimulator) -> None:
    """Fills in the connection's secret, as a person does after the first deployment."""
    stack.client("secretsmanager").put_secret_value(
        SecretId=stack.outputs["ConnectionSecret"], SecretString=json.dumps(connection(celonis))
    )


def connection(celonis: CelonisSimulator) -> dict[str, Any]:
    """The connection secret for the simulated Celonis."""
    return {
        "base_url": celonis.url,
        "allow_http": True,
        "allow_any_host": True,
        "auth": {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": world.CLIENT_SECRET},
    }


def shorten_poll_interval(stack: LocalStack) -> None:
    """The sample pipeline with a ceiling of its own, because here a job takes seconds."""
    set_poll(stack, {"floor": 1, "ceiling": 1})


def set_poll(stack: LocalStack, poll: dict[str, int]) -> None:
    """Change ``poll`` of the sample pipeline."""
    client, name = stack.client("ssm"), f"/{STACK_NAME}/pipelines/{SAMPLE}"
    definition = json.loads(client.get_parameter(Name=name)["Parameter"]["Value"])
    value = json.dumps({**definition, "poll": poll})
    client.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def slow_down(celonis: CelonisSimulator) -> None:
    """Jobs and loads that last long enough to be seen running, as real ones do.

    What is only ever seen at its end may be yesterday's, and is believed no sooner than after ``settle``.
    """
    for job in celonis.model.jobs.values():
        job.change(seconds=JOB_SECONDS)
    for model in celonis.model.models.values():
        model.change(seconds=LOAD_SECONDS)


@contextlib.contextmanager
def published(state: Path = STATE) -> Iterator[LocalService]:
    """The stack, with its addresses and its environment in files. Raises ``AlreadyRunningError``."""
    with state_files.only_one(state), run_local_service(state) as local_service:
        state_files.write(
            state, local_service.addresses(), local_service.environment(), connection(local_service.celonis)
        )
        yield local_service


def serve(schedules: str, ended: threading.Event) -> None:
    """Runs the stack until ``ended``. Raises ``AlreadyRunningError``."""
    with published() as local_service:
        print(help_text(STACK_NAME, schedules), flush=True)
        if schedules == "clock":
            run_clock(local_service.stack, ended, lambda line: print(line, flush=True))
        ended.wait()


def main() -> int:
    """``make local``: serves until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make local", description="The whole stack on this machine.")
    parser.add_argument("--schedules", choices=("hand", "clock"), default="hand")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        serve(arguments.schedules, ended)
    except state_files.AlreadyRunningError as error:
        print(f"make local: {error}", file=sys.stderr)
        return 1
    print("The stack has stopped.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

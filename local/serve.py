"""The whole service on this machine: the Celonis simulator, and the real template deployed against it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celonis_refresh.aws.environment import ALLOW_HTTP_CALLBACKS, LOCAL_STACK
from local import state_files
from local.aws.settings import Settings
from local.aws.stack import LocalStack
from local.celonis import world
from local.celonis.server import CelonisSimulator
from local.help_text import help_text
from local.page import serving
from local.receiver import PORT
from local.runs_api import RunsApi
from local.schedule_clock import run_clock
from local.stop_request import StopRequest
from local.week.fill import fill, start_runs
from refresh_cli.local_stack import LocalStackFile
from refresh_cli.page.viewer import Viewer
from refresh_cli.stack import Stack

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

RECEIVER_URL = f"http://127.0.0.1:{PORT}"
"""Where ``make receiver`` listens."""
RECEIVES_CALLBACKS = {ALLOW_HTTP_CALLBACKS: "true"}
"""The environment of functions that post callbacks to a receiver without a certificate, on this machine."""
LOCAL_ENVIRONMENT = {**RECEIVES_CALLBACKS, LOCAL_STACK: "true"}
"""The environment of functions of ``make local``. Commands in their notifications have no options."""


@dataclass(frozen=True)
class LocalService:
    """A stack and the Celonis that it talks to. ``receiver_url``: of a receiver of notifications."""

    stack: LocalStack
    celonis: CelonisSimulator
    receiver_url: str = RECEIVER_URL

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
            "DATA_JOB": world.ERP_JOB_ID,
            "RECEIVER_URL": self.receiver_url,
        }

    def webhook_secret(self) -> str:
        """What the sample source signs with, as a person would copy it from Secrets Manager."""
        stored = self.stack.client("secretsmanager").get_secret_value(
            SecretId=self.stack.outputs["WebhookSecret"]
        )
        return str(json.loads(stored["SecretString"])["current"])


@contextlib.contextmanager
def run_local_service(
    state: Path = STATE, receiver_url: str = RECEIVER_URL, time_factor: float = 1.0
) -> Iterator[LocalService]:
    """Start everything; stop everything at the end. ``time_factor`` shortens the waits of state machines."""
    with CelonisSimulator() as celonis:
        stack = LocalStack.deploy(
            template=ROOT / "template.yaml",
            stack_name=STACK_NAME,
            parameters=PARAMETERS,
            state_dir=state,
            settings=Settings(time_factor=time_factor, environment=LOCAL_ENVIRONMENT),
        )
        with stack:
            connect(stack, celonis)
            shorten_poll_interval(stack)
            slow_down(celonis)
            yield LocalService(stack, celonis, receiver_url)


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


def slow_down(
    celonis: CelonisSimulator, job_seconds: float = JOB_SECONDS, load_seconds: float = LOAD_SECONDS
) -> None:
    """Jobs and loads that last long enough to be seen running, as real ones do.

    What is only ever seen at its end may be yesterday's, and is believed no sooner than after ``settle``.
    """
    for job in celonis.model.jobs.values():
        job.change(seconds=job_seconds)
    for model in celonis.model.models.values():
        model.change(seconds=load_seconds)


@contextlib.contextmanager
def published(
    state: Path = STATE,
    receiver_url: str = RECEIVER_URL,
    tool_file: Path | None = None,
    time_factor: float = 1.0,
) -> Iterator[LocalService]:
    """The stack, with its addresses and its environment in files. Raises ``AlreadyRunningError``.

    ``tool_file``: where ``refresh`` finds it; None is that of the user.
    """
    with state_files.only_one(state), run_local_service(state, receiver_url, time_factor) as local_service:
        addresses, environment = local_service.addresses(), local_service.environment()
        state_files.write(state, addresses, environment, connection(local_service.celonis))
        with state_files.announced(tool_file or state_files.tool_file(), addresses, environment):
            yield local_service


def page_of(local_service: LocalService, port: int | None = None) -> AbstractContextManager[str]:
    """Serve the page of a stack, and yield its link. ``port``: 0 for a free one."""
    found = LocalStackFile(
        STACK_NAME,
        REGION,
        local_service.stack.api_url,
        local_service.stack.aws_endpoint_url,
        str(local_service.stack.credentials.access_key),
        str(local_service.stack.credentials.secret_key),
        local_service.stack.local_outputs,
    )
    return serving(Viewer(lambda: Stack.local(found)), port)


def fill_week(local_service: LocalService, seed: int) -> None:
    """Write a week of runs into the stack, and start some runs."""
    stack = local_service.stack
    fill(stack, local_service.celonis.model, seed, time.time())
    api = RunsApi(stack.api_url, stack.credentials, REGION)
    start_runs(lambda name, why: api.post("/runs", json.dumps({"pipeline": name, "reason": why}).encode()))


def serve(schedules: str, stop: StopRequest, seed: int | None = None, state: Path = STATE) -> None:
    """Run the stack until ``stop``; ``seed``: of a week to fill it with. Raises ``AlreadyRunningError``."""
    with published(state) as local_service, page_of(local_service) as link:
        if seed is not None:
            fill_week(local_service, seed)
        print(help_text(STACK_NAME, schedules, link), flush=True)
        if schedules == "clock":
            run_clock(local_service.stack, stop, lambda line: print(line, flush=True))
        stop.wait()


def main() -> int:
    """``make local``: serves until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make local", description="The whole stack on this machine.")
    parser.add_argument("--schedules", choices=("hand", "clock"), default="hand")
    parser.add_argument("--week", type=int, metavar="SEED", help="fill the stack with a week of runs")
    parser.add_argument("--state", type=Path, default=STATE, help="the folder of its files and logs")
    arguments = parser.parse_args()
    try:
        serve(arguments.schedules, StopRequest(), arguments.week, arguments.state)
    except state_files.AlreadyRunningError as error:
        print(f"make local: {error}", file=sys.stderr)
        return 1
    print("The stack has stopped.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

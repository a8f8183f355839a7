"""``make demo``: runs from a signed webhook to a loaded data model, on the real template.

Three runs, one for each kind of trigger: a webhook (DELTA job, partial load), a schedule (FULL job, complete
load), and an execution started manually (with its own tables). The jobs have earlier executions, so that the
first run is polled when it is likely to end.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from rich.console import Console

from local.celonis import defaults
from local.celonis.operations import Operation
from local.display import Durations, RunDisplay, end_line, step_lines, summary_of
from local.runs_api import RunsApi
from local.serve import REGION, ROOT, STACK_NAME, LocalService, run_local_service, set_poll
from local.webhooks import send_github

JOB_SECONDS, LOAD_SECONDS = 12.0, 12.0
"""Long enough to show the intervals between polls; earlier executions took about as long."""
RUN_SECONDS = 300
"""Longer than a run whose end is only confirmed after `settle`."""
POLL_SECONDS = 0.25
EVENTS = ROOT / "events"
ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}


@dataclass
class Demo:
    """One run after the other, each followed through the runs API."""

    local_service: LocalService
    console: Console
    durations: Durations = field(default_factory=Durations)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        stack = self.local_service.stack
        self.api = RunsApi(stack.api_url, stack.credentials, REGION)

    def run(self) -> bool:
        """Run all three and show the table; return True if all succeeded."""
        ways: list[tuple[str, Callable[[], str]]] = [
            ("webhook", self._webhook),
            ("schedule", self._schedule),
            ("by hand", self._by_hand),
        ]
        for name, start in ways:
            self.console.rule(name)
            run = self._watch(start(), name)
            self._show_delays(run)
            self.runs.append({**run, "started_by": name})
        self.console.print(summary_of(list(self.runs), self.console))
        succeeded = sum(run["status"] == "SUCCEEDED" for run in self.runs)
        print(f"demo: {len(self.runs)} runs, {succeeded} SUCCEEDED", flush=True)
        return bool(succeeded == len(ways))

    def _webhook(self) -> str:
        """Send a source system's webhook, which is answered after its first job has started."""
        file = EVENTS / "webhook-github.json"
        secret = self.local_service.webhook_secret()
        answer = send_github(self.local_service.stack.api_url, secret, file, delivery=str(uuid.uuid4()))
        self._say(
            f"POST {json.loads(file.read_text())['path']} -> {answer.status_code} {answer.text.rstrip()}"
        )
        answer.raise_for_status()
        return str(answer.json()["runs"][0]["run_id"])

    def _schedule(self) -> str:
        """Let EventBridge Scheduler start the state machine."""
        fired = self.local_service.stack.fire_schedule(f"{STACK_NAME}-full-refresh")
        return self._started("the schedule fired", fired["executionArn"])

    def _by_hand(self) -> str:
        """Start an execution as in the Step Functions console."""
        text = (EVENTS / "execution-by-hand.json").read_text()
        machine = self.local_service.stack.outputs["StateMachineArn"]
        client = self.local_service.stack.client("stepfunctions")
        started = client.start_execution(
            stateMachineArn=machine, name=f"by-hand-{uuid.uuid4().hex[:8]}", input=text
        )
        return self._started(f"StartExecution {json.dumps(json.loads(text))}", started["executionArn"])

    def _started(self, how: str, execution_arn: str) -> str:
        self._say(f"{how} -> {execution_arn.rsplit(':', 1)[1]}")
        return execution_arn.rsplit(":", 1)[1]

    def _watch(self, run_id: str, title: str) -> dict[str, Any]:
        """Show the run until its record is closed. Raises ``TimeoutError``."""
        until = time.monotonic() + RUN_SECONDS
        with RunDisplay(self.console, title) as show:
            while time.monotonic() < until:
                run = self._run(run_id)
                now = datetime.now(UTC).isoformat()
                show.update(run, list(step_lines(run, now, self.durations)))
                if run.get("status") in ENDED:
                    self._say(end_line(run))
                    return run
                time.sleep(POLL_SECONDS)
        raise TimeoutError(f"run {run_id} has not ended within {RUN_SECONDS} s")

    def _show_delays(self, run: dict[str, Any]) -> None:
        """Show the delay from the end of each step in Celonis until it was detected."""
        model = self.local_service.celonis.model
        executions = [one for job in model.jobs.values() for one in job.operations]
        loads = [one for target in model.models.values() for one in target.operations]
        operations: list[Operation] = [*executions, *loads]
        ends = {one.id: (one.ended_at, one.ended_at - one.started_at) for one in operations}
        for step, state in run.get("steps", {}).items():
            ended, took = ends.get(str(state.get("id")), (None, 0.0))
            if ended is not None and "ended_at" in state:
                late = datetime.fromisoformat(state["ended_at"]).timestamp() - ended
                shown = f"its end was seen after {late:.1f} s ({late / took:.0%})"
                self._say(f"{step} took {took:.1f} s in Celonis; {shown}, with {state.get('polls')} polls")

    def _run(self, run_id: str) -> dict[str, Any]:
        """Return the record; empty until the execution has opened it."""
        try:
            run: dict[str, Any] = self.api.get(f"/runs/{run_id}")
        except requests.HTTPError as error:
            if error.response.status_code == requests.codes.not_found:
                return {}
            raise
        return run

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def add_past_executions(local_service: LocalService) -> None:
    """Add past executions of the jobs: Celonis lists their durations, and the service reads them."""
    platform = local_service.celonis.model
    for job in platform.jobs.values():
        job.change(seconds=JOB_SECONDS)
    for model in platform.models.values():
        model.change(seconds=LOAD_SECONDS)
    defaults.add_past_runs(platform)
    set_poll(local_service.stack, {"floor": 1})


def main() -> int:
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if has_width else 120)
    console.print("Deploying template.yaml on this machine, with a simulated Celonis …", highlight=False)
    with run_local_service() as local_service:
        try:
            add_past_executions(local_service)
            return 0 if Demo(local_service, console).run() else 1
        except (TimeoutError, requests.RequestException) as error:
            print(f"demo: {error}", file=sys.stderr, flush=True)
            return 1


if __name__ == "__main__":
    sys.exit(main())

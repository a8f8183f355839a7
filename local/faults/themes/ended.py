"""What comes after the end of a run: its event once more, a redrive, a second start."""

from __future__ import annotations

import json
from collections.abc import Iterator

from local.aws.delivery.status_events import status_event
from local.faults.case import Case, Expected, job_case
from local.faults.scene import Scene
from local.faults.themes.acts import join, stop_while_running
from local.faults.themes.together import at_once


def cases() -> Iterator[Case]:
    stopped = Expected(("ABORTED Aborted",), 1, 0)
    yield job_case("redriven after its end", stopped, job={"seconds": 30}, during=_redriven, also=_closed)
    yield job_case("started again under the same name", during=_same_name)
    yield job_case("a closed run started under another name", during=_other_name, also=_refused)
    yield job_case("the event of its end comes five times at once", during=_five_events, also=_one_record)
    yield job_case(
        "the event of a stop comes five times at once, a trigger waits",
        Expected(("ABORTED Aborted", "SUCCEEDED"), 2, 0),
        job={"seconds": 60},
        during=_stopped_with_five_events,
    )


def _redriven(scene: Scene) -> None:
    stop_while_running(scene)
    scene.until(lambda: scene.runs()[0]["status"] == "ABORTED", "the end of the run")
    scene.ground.stack.client("stepfunctions").redrive_execution(executionArn=scene.execution().arn)
    scene.until(lambda: scene.execution().status != "RUNNING", "the end of what was redriven")


def _closed(scene: Scene) -> Iterator[str]:
    if scene.execution().error != "RunClosed":
        yield f"the redriven execution ended with {scene.execution().error}"


def _ended(scene: Scene) -> None:
    scene.until(lambda: [run["status"] for run in scene.runs()] == ["SUCCEEDED"], "the end of the run")


def _same_name(scene: Scene) -> None:
    _ended(scene)
    client = scene.ground.stack.client("stepfunctions")
    try:
        scene.ground.start_execution(f"{scene.name}-1", {"run_id": f"{scene.name}-1"})
    except client.exceptions.ExecutionAlreadyExists:
        return
    scene.complaints.append("an execution was started twice under one name")


def _other_name(scene: Scene) -> None:
    _ended(scene)
    scene.ground.start_execution(f"{scene.name}-again", {"run_id": f"{scene.name}-1"})


def _refused(scene: Scene) -> Iterator[str]:
    again = scene.execution(f"{scene.name}-again")
    if again.error != "InvalidTrigger":
        yield f"the second execution ended with {again.status} {again.error}"


def _send_end(scene: Scene) -> None:
    event = json.dumps(status_event(scene.execution())).encode()
    outcomes = at_once(*[lambda: scene.ground.stack.invoke("CloseRun", event)] * 5)
    failed = [outcome for outcome in outcomes if getattr(outcome, "failed", True)]
    scene.complaints += [f"close_run failed: {outcome}" for outcome in failed]


def _five_events(scene: Scene) -> None:
    scene.until(lambda: scene.execution().status != "RUNNING", "the end of the execution")
    _send_end(scene)


def _one_record(scene: Scene) -> Iterator[str]:
    if len(scene.runs()) != 1:
        yield "there is not exactly one record"


def _stopped_with_five_events(scene: Scene) -> None:
    scene.until(lambda: scene.runs(), "the run's record")
    join(scene)
    stop_while_running(scene)
    _send_end(scene)

"""What the definition does: how many transitions a run costs, and which end each outcome leads to."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from celonis_refresh.passage.opening import Opened, PlannedStep
from celonis_refresh.passage.progress import Progress
from local.aws.states.errors import StateError
from tests.template.passages import Answers, Passage, entered, fails, opened, running, succeeds_at_look

JOB: PlannedStep = {"step": "job-0", "stage": 0}
LOAD: PlannedStep = {"step": "load-0"}
LARGEST_RUN = 42
"""State transitions, which is what Step Functions bills, of one job and one load with five looks each."""


def answers(**changes: object) -> Answers:
    usual = {
        "OpenRun": opened([JOB], [LOAD]),
        "StartJob": running,
        "CheckJob": succeeds_at_look(1),
        "StartLoad": running,
        "CheckLoad": succeeds_at_look(1),
    }
    return {**usual, **changes}  # type: ignore[dict-item]


def test_a_run_of_one_job_and_one_load_stays_within_its_budget() -> None:
    looks = succeeds_at_look(5)
    execution = Passage(answers(CheckJob=looks, CheckLoad=looks)).run({"pipeline": "p"})
    assert execution.status == "SUCCEEDED"
    visited = entered(execution)
    assert visited.count("CheckJob") == visited.count("CheckLoad") == 5
    assert len(visited) <= LARGEST_RUN


def test_a_look_costs_three_transitions_and_eleven_events() -> None:
    """What a long run grows by: at most 25,000 events fit into the history of an execution."""
    few, many = (
        Passage(answers(CheckJob=succeeds_at_look(looks))).run({"pipeline": "p"}) for looks in (1, 11)
    )
    assert len(entered(many)) - len(entered(few)) == 10 * 3
    assert len(many.history.events()) - len(few.history.events()) <= 10 * 11


def test_stages_start_one_after_the_other_and_loads_after_them() -> None:
    jobs: list[PlannedStep] = [
        {"step": f"job-{number}", "stage": stage} for number, stage in enumerate([0, 0, 1])
    ]
    passage = Passage(answers(OpenRun=opened(jobs, [LOAD, {"step": "load-1"}])))
    assert passage.run({"pipeline": "p"}).status == "SUCCEEDED"
    started = [arguments["step"] for task, arguments in passage.calls if task.startswith("Start")]
    assert sorted(started[:2]) == ["job-0", "job-1"]
    assert started[2] == "job-2"
    assert sorted(started[3:]) == ["load-0", "load-1"]


def test_a_pipeline_without_jobs_loads_at_once() -> None:
    passage = Passage(answers(OpenRun=opened([], [LOAD])))
    assert passage.run({"pipeline": "p"}).status == "SUCCEEDED"
    assert [task for task, _ in passage.calls] == ["OpenRun", "StartLoad", "CheckLoad"]


@pytest.mark.parametrize("status", ["joined", "skipped"])
def test_a_trigger_that_opens_nothing_ends_at_once_and_green(status: Literal["joined", "skipped"]) -> None:
    answer: Opened = {"status": status, "run_id": "another", "jobs": [], "loads": []}
    passage = Passage(answers(OpenRun=lambda *_: answer))
    execution = passage.run({"pipeline": "p"})
    assert execution.status == "SUCCEEDED"
    assert json.loads(execution.output or "") == {"status": status, "run_id": "another"}
    assert [task for task, _ in passage.calls] == ["OpenRun"]


@pytest.mark.parametrize("task", ["OpenRun", "StartJob", "CheckJob", "StartLoad", "CheckLoad"])
def test_a_failure_is_red_under_its_own_name_with_its_own_sentence(task: str) -> None:
    failing = fails("PermissionDenied", "Celonis denied it. Ask for Edit on the data pool.")
    execution = Passage(answers(**{task: failing})).run({"pipeline": "p"})
    assert execution.status == "FAILED"
    assert execution.error == "PermissionDenied"
    assert execution.cause == "Celonis denied it. Ask for Edit on the data pool."


def test_what_runs_beside_a_failed_job_is_watched_to_its_end_and_nothing_follows() -> None:
    def look(arguments: dict[str, str], known: int) -> object:
        if arguments["step"] == "job-0":
            return fails("JobFailed", "It failed.")()
        return succeeds_at_look(4)(arguments, known)

    jobs: list[PlannedStep] = [{"step": f"job-{number}", "stage": number // 2} for number in range(3)]
    passage = Passage(answers(OpenRun=opened(jobs, [LOAD]), CheckJob=look))
    assert passage.run({"pipeline": "p"}).status == "FAILED"
    looked = [arguments["step"] for task, arguments in passage.calls if task == "CheckJob"]
    assert looked.count("job-1") == 4
    started = {arguments["step"] for task, arguments in passage.calls if task.startswith("Start")}
    assert started == {"job-0", "job-1"}


def test_a_step_that_has_to_wait_for_its_turn_is_started_again() -> None:
    def start(_: object, known: int) -> Progress:
        return {"status": "WAITING" if known < 2 else "RUNNING", "wait": 5}

    def look(_: object, known: int) -> Progress:
        return {"status": "WAITING" if known < 2 else "SUCCEEDED", "wait": 5}

    passage = Passage(answers(StartJob=start, CheckJob=look))
    assert passage.run({"pipeline": "p"}).status == "SUCCEEDED"
    assert [task for task, _ in passage.calls].count("StartJob") == 3


def test_what_passes_by_itself_is_tried_again() -> None:
    def look(arguments: dict[str, str], known: int) -> object:
        if known < 3:
            return fails("CelonisUnavailable", "No answer.")()
        return succeeds_at_look(1)(arguments, known)

    assert Passage(answers(CheckLoad=look)).run({"pipeline": "p"}).status == "SUCCEEDED"


def test_a_cause_that_is_no_json_is_shown_as_it_is() -> None:
    def look(*_: object) -> object:
        raise StateError("Lambda.ResourceNotFoundException", "Function not found")

    execution = Passage(answers(CheckJob=look)).run({"pipeline": "p"})
    assert (execution.error, execution.cause) == ("Lambda.ResourceNotFoundException", "Function not found")

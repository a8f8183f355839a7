"""What the definition does: how many transitions a run costs, and which end each outcome leads to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Literal

import pytest

from celonis_refresh.steps.step import Progress
from celonis_refresh.workflow.open import Opened, PlannedStep
from local.aws.states.errors import StateError
from tests.template.machine_runs import Answer, MachineRun, entered, fails, opened, running, succeeds_at_poll

HOUR = 3600
TIMEOUT = 6 * HOUR
JOB: PlannedStep = {"step": "job-0", "stage": 0, "timeout": TIMEOUT}
LOAD: PlannedStep = {"step": "load-0", "timeout": TIMEOUT}
LARGEST_RUN = 42
"""State transitions, which is what Step Functions bills, of one job and one load with five polls each."""


def answers(**changes: object) -> dict[str, Answer]:
    usual = {
        "OpenRun": opened([JOB], [LOAD]),
        "StartJob": running,
        "CheckJob": succeeds_at_poll(1),
        "StartLoad": running,
        "CheckLoad": succeeds_at_poll(1),
    }
    return {**usual, **changes}  # type: ignore[dict-item]


def test_a_run_of_one_job_and_one_load_stays_within_its_budget() -> None:
    polls = succeeds_at_poll(5)
    execution = MachineRun(answers(CheckJob=polls, CheckLoad=polls)).run({"pipeline": "p"})
    assert execution.status == "SUCCEEDED"
    visited = entered(execution)
    assert visited.count("CheckJob") == visited.count("CheckLoad") == 5
    assert len(visited) <= LARGEST_RUN


def test_a_poll_costs_three_transitions_and_eleven_events() -> None:
    """What a long run grows by: at most 25,000 events fit into the history of an execution."""
    few, many = (
        MachineRun(answers(CheckJob=succeeds_at_poll(polls))).run({"pipeline": "p"}) for polls in (1, 11)
    )
    assert len(entered(many)) - len(entered(few)) == 10 * 3
    assert len(many.history.events()) - len(few.history.events()) <= 10 * 11


def test_stages_start_one_after_the_other_and_loads_after_them() -> None:
    jobs: list[PlannedStep] = [
        {"step": f"job-{number}", "stage": stage, "timeout": TIMEOUT}
        for number, stage in enumerate([0, 0, 1])
    ]
    machine_run = MachineRun(answers(OpenRun=opened(jobs, [LOAD, {**LOAD, "step": "load-1"}])))
    assert machine_run.run({"pipeline": "p"}).status == "SUCCEEDED"
    started = [arguments["step"] for task, arguments in machine_run.calls if task.startswith("Start")]
    assert sorted(started[:2]) == ["job-0", "job-1"]
    assert started[2] == "job-2"
    assert sorted(started[3:]) == ["load-0", "load-1"]


def test_a_pipeline_without_jobs_loads_at_once() -> None:
    machine_run = MachineRun(answers(OpenRun=opened([], [LOAD])))
    assert machine_run.run({"pipeline": "p"}).status == "SUCCEEDED"
    assert [task for task, _ in machine_run.calls] == ["OpenRun", "StartLoad", "CheckLoad"]


@pytest.mark.parametrize("status", ["joined", "skipped"])
def test_a_trigger_that_opens_nothing_succeeds_at_once(status: Literal["joined", "skipped"]) -> None:
    answer: Opened = {"status": status, "run_id": "another", "jobs": [], "loads": [], "wait": 0}
    machine_run = MachineRun(answers(OpenRun=lambda *_: answer))
    execution = machine_run.run({"pipeline": "p"})
    assert execution.status == "SUCCEEDED"
    assert json.loads(execution.output or "") == {"status": status, "run_id": "another"}
    assert [task for task, _ in machine_run.calls] == ["OpenRun"]


@pytest.mark.parametrize("task", ["OpenRun", "StartJob", "CheckJob", "StartLoad", "CheckLoad"])
def test_a_failure_is_red_under_its_own_name_with_its_own_sentence(task: str) -> None:
    failing = fails("PermissionDenied", "Celonis denied it. Ask for Edit on the data pool.")
    execution = MachineRun(answers(**{task: failing})).run({"pipeline": "p"})
    assert execution.status == "FAILED"
    assert execution.error == "PermissionDenied"
    assert execution.cause == "Celonis denied it. Ask for Edit on the data pool."


def test_what_runs_beside_a_failed_job_is_watched_to_its_end_and_nothing_follows() -> None:
    def poll(arguments: dict[str, str], known: int) -> object:
        if arguments["step"] == "job-0":
            return fails("JobFailed", "It failed.")()
        return succeeds_at_poll(4)(arguments, known)

    jobs: list[PlannedStep] = [
        {"step": f"job-{number}", "stage": number // 2, "timeout": TIMEOUT} for number in range(3)
    ]
    machine_run = MachineRun(answers(OpenRun=opened(jobs, [LOAD]), CheckJob=poll))
    assert machine_run.run({"pipeline": "p"}).status == "FAILED"
    polled = [arguments["step"] for task, arguments in machine_run.calls if task == "CheckJob"]
    assert polled.count("job-1") == 4
    started = {arguments["step"] for task, arguments in machine_run.calls if task.startswith("Start")}
    assert started == {"job-0", "job-1"}


def test_a_step_that_has_to_wait_is_started_again() -> None:
    def start(_: object, known: int) -> Progress:
        return {"status": "WAITING" if known < 2 else "RUNNING", "wait": 5}

    def poll(_: object, known: int) -> Progress:
        return {"status": "WAITING" if known < 2 else "SUCCEEDED", "wait": 5}

    machine_run = MachineRun(answers(StartJob=start, CheckJob=poll))
    assert machine_run.run({"pipeline": "p"}).status == "SUCCEEDED"
    assert [task for task, _ in machine_run.calls].count("StartJob") == 3


def test_what_passes_by_itself_is_tried_again() -> None:
    def poll(arguments: dict[str, str], known: int) -> object:
        if known < 3:
            return fails("CelonisUnavailable", "No answer.")()
        return succeeds_at_poll(1)(arguments, known)

    assert MachineRun(answers(CheckLoad=poll)).run({"pipeline": "p"}).status == "SUCCEEDED"


def test_a_cause_that_is_no_json_is_shown_as_it_is() -> None:
    def poll(*_: object) -> object:
        raise StateError("Lambda.ResourceNotFoundException", "Function not found")

    execution = MachineRun(answers(CheckJob=poll)).run({"pipeline": "p"})
    assert (execution.error, execution.cause) == ("Lambda.ResourceNotFoundException", "Function not found")


# ---------------------------------------------------------------- transient errors of AWS


def throttled(*_: object) -> object:
    raise StateError("Lambda.TooManyRequestsException", "Rate Exceeded.")


def failing_for(
    machine_run: MachineRun, seconds: float, then: Callable[[Mapping[str, str], int], object]
) -> Answer:
    """Throttled for so many seconds from the first call on."""
    began: list[float] = []

    def answer(arguments: Mapping[str, str], known: int) -> object:
        now = machine_run.clock.now()
        began.append(now)
        return throttled() if now - began[0] < seconds else then(arguments, known)

    return answer


def during_trouble(task: str, seconds: float, timeout: int = TIMEOUT) -> MachineRun:
    """A run in which one task fails for so long."""
    machine_run = MachineRun({})
    job: PlannedStep = {"step": "job-0", "stage": 0, "timeout": timeout}
    usual = answers(OpenRun=opened([job], [{"step": "load-0", "timeout": timeout}]))
    started: set[str] = set()

    def start(arguments: Mapping[str, str], known: int) -> object:
        started.add(arguments["step"])
        return running()

    def poll(arguments: Mapping[str, str], known: int) -> object:
        done = arguments["step"] in started
        return {"status": "SUCCEEDED", "wait": 0} if done else {"status": "WAITING", "wait": 5}

    usual |= {"StartJob": start, "CheckJob": poll, "StartLoad": start, "CheckLoad": poll}
    machine_run.answers = {**usual, task: failing_for(machine_run, seconds, usual[task])}
    return machine_run


TASKS = ["OpenRun", "StartJob", "CheckJob", "StartLoad", "CheckLoad"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("hours", [0.1, 1, 5.5])
def test_trouble_of_aws_shorter_than_the_timeout_fails_no_run(task: str, hours: float) -> None:
    machine_run = during_trouble(task, hours * HOUR)
    assert machine_run.run({"pipeline": "p"}).status == "SUCCEEDED"


@pytest.mark.parametrize("task", TASKS)
def test_trouble_of_aws_longer_than_the_timeout_ends_the_run_under_its_own_name(task: str) -> None:
    machine_run = during_trouble(task, 2 * TIMEOUT)
    execution = machine_run.run({"pipeline": "p"})
    assert (execution.status, execution.error) == ("FAILED", "Lambda.TooManyRequestsException")
    assert execution.cause == "Rate Exceeded."
    calls = [at for (name, _), at in zip(machine_run.calls, machine_run.times, strict=True) if name == task]
    assert TIMEOUT - 1 <= calls[-1] - calls[0] <= TIMEOUT + 60, "the last attempt falls on the timeout"


def test_a_call_that_succeeds_starts_the_time_anew() -> None:
    """Two outages of four hours each, with a timeout of six."""
    machine_run = MachineRun({})
    succeeded: list[float] = []
    failing: list[float] = []

    def poll(*_: object) -> object:
        now = machine_run.clock.now()
        failing.append(now)
        if now - failing[0] < 4 * HOUR:
            return throttled()
        failing.clear()
        succeeded.append(now)
        return {"status": "RUNNING" if len(succeeded) < 2 else "SUCCEEDED", "wait": 600}

    machine_run.answers = answers(CheckJob=poll)
    assert machine_run.run({"pipeline": "p"}).status == "SUCCEEDED"
    assert machine_run.times[-1] - machine_run.times[0] > 8 * HOUR


def test_after_an_outage_the_next_call_comes_within_two_fifths_of_its_length() -> None:
    machine_run = during_trouble("CheckJob", 4 * HOUR)
    machine_run.run({"pipeline": "p"})
    calls = [
        at for (name, _), at in zip(machine_run.calls, machine_run.times, strict=True) if name == "CheckJob"
    ]
    assert 4 * HOUR <= calls[-1] - calls[0] <= 4 * HOUR * 1.4 + 60


@pytest.mark.parametrize(("task", "most"), [("StartJob", 900), ("CheckJob", 600)])
def test_a_week_of_trouble_takes_a_small_part_of_the_history(task: str, most: int) -> None:
    """Polls may use 12,500 of the 25,000 events, and twenty jobs run side by side at most."""
    week = 7 * 24 * HOUR
    execution = during_trouble(task, 2 * week, week).run({"pipeline": "p"})
    assert execution.error == "Lambda.TooManyRequestsException"
    assert len(execution.history.events()) <= most


def test_a_permanent_error_is_not_retried() -> None:
    machine_run = MachineRun(answers(CheckJob=fails("KeyError", "'id'")))
    assert machine_run.run({"pipeline": "p"}).error == "KeyError"
    assert [task for task, _ in machine_run.calls].count("CheckJob") == 1


def test_a_run_that_cannot_be_opened_yet_is_opened_later_with_the_same_input() -> None:
    def opening(_: object, known: int) -> Opened:
        if known < 3:
            return {"status": "waiting", "run_id": "by-hand", "jobs": [], "loads": [], "wait": 900}
        return opened([JOB], [LOAD])()

    machine_run = MachineRun(answers(OpenRun=opening))
    assert machine_run.run({"pipeline": "p"}).status == "SUCCEEDED"
    inputs = [arguments["input"] for task, arguments in machine_run.calls if task == "OpenRun"]
    assert inputs == [{"pipeline": "p"}] * 4
    assert machine_run.times[3] - machine_run.times[0] >= 3 * 900


@pytest.mark.parametrize("document", [[], "otc", {"failingSince": "yesterday"}, {}])
def test_any_input_survives_an_outage(document: object) -> None:
    machine_run = during_trouble("OpenRun", HOUR)
    assert machine_run.run(document).status == "SUCCEEDED"
    assert {json.dumps(arguments["input"]) for task, arguments in machine_run.calls if task == "OpenRun"} == {
        json.dumps(document)
    }


# ---------------------------------------------------------------- what a Catch has to bear


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ('{"errorType": "KeyError"}', '{"errorType": "KeyError"}'),
        ('{"errorMessage": null}', '{"errorMessage": null}'),
        ('{"errorMessage": {"a": 1}}', '{"errorMessage": {"a": 1}}'),
        ('{"errorMessage": ""}', ""),
        ('{"errorMessage": "It said \\"no\\"."}', 'It said "no".'),
        ("{}", "{}"),
        ("", ""),
        (None, ""),
        ("[1]", "[1]"),
        ("{half", "{half"),
    ],
)
def test_an_error_without_a_message_is_caught_like_any_other(
    task: str, cause: str | None, shown: str
) -> None:
    def breaks(*_: object) -> object:
        raise StateError("KeyError", cause)

    execution = MachineRun(answers(**{task: breaks})).run({"pipeline": "p"})
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "KeyError", shown)


@pytest.mark.parametrize("task", TASKS)
def test_an_error_without_a_name_still_fails_the_run(task: str) -> None:
    def breaks(*_: object) -> object:
        raise StateError("", "Something broke.")

    machine_run = MachineRun(answers(**{task: breaks}))
    execution = machine_run.run({"pipeline": "p"})
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "Unknown", "Something broke.")

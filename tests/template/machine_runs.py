"""The real definition, run in no time, with tasks that answer from a script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from celonis_refresh.steps.step import Progress
from celonis_refresh.workflow.open import Opened, PlannedStep
from local.aws.states.branch import StatesClock
from local.aws.states.errors import StateError
from local.aws.states.execution import MachineExecution, MachineFacts
from tests.template import documents

SECONDS = 20.0
WEEK = 7 * 24 * 3600
"""Waits up to this are skipped; the timeout of the machine is longer, and those of tasks are made so."""

Answer = Callable[[Mapping[str, Any], int], Any]
Answers = Mapping[str, Answer]
"""What each task answers, given its arguments and how often it was called before for that step."""


class SkippingClock(StatesClock):
    """Skips every wait. ``skipped``: the seconds of all skipped waits, by which ``now`` is ahead."""

    skipped = 0.0

    def now(self) -> float:
        return time.time() + self.skipped

    def shortened(self, seconds: float) -> float:
        if seconds > WEEK:
            return seconds
        self.skipped += seconds
        return 0.0


@dataclass
class MachineRun:
    """One execution from its start to its end. ``times``: the clock at each of ``calls``."""

    answers: Answers
    calls: list[tuple[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    clock: SkippingClock = field(default_factory=SkippingClock)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self, document: object) -> MachineExecution:
        definition = documents.substituted(documents.machine())
        for _, state in documents.states(definition):
            if state["Type"] == "Task":
                state["TimeoutSeconds"] = WEEK + 1
        facts = MachineFacts("arn:machine", "refresh", "arn:role", definition, json.dumps(definition))
        execution = MachineExecution(
            arn="arn:execution",
            name="by-hand",
            machine=facts,
            input_text=json.dumps(document),
            clock=self.clock,
            call=self._call,
            seed=lambda: 0.5,
            changed=self._changed,
        )
        execution.start()
        assert self.ended.wait(SECONDS), "the execution did not end"
        return execution

    def _call(self, resource: str, arguments: Any) -> Any:
        task = next(name for name in self.answers if resource == arn_of(name, arguments))
        known = self.calls.count((task, arguments))
        self.calls.append((task, arguments))
        self.times.append(self.clock.now())
        return self.answers[task](arguments, known)

    def _changed(self, execution: MachineExecution) -> None:
        if execution.status != "RUNNING":
            self.ended.set()


def arn_of(state: str, arguments: Mapping[str, Any]) -> str:
    """The function of a state; one serves the states of jobs and of loads, distinguished by the step."""
    kind = "Job" if str(arguments.get("step", "")).startswith("job-") else "Load"
    return documents.FUNCTION_ARN.format(state.replace(kind, "Step") if state.endswith(kind) else state)


def opened(jobs: list[PlannedStep], loads: list[PlannedStep]) -> Callable[..., Opened]:
    answer: Opened = {"status": "opened", "run_id": "by-hand", "jobs": jobs, "loads": loads, "wait": 0}
    return lambda *_: answer


def running(*_: object) -> Progress:
    return {"status": "RUNNING", "wait": 5}


def succeeds_at_poll(number: int) -> Callable[[Mapping[str, Any], int], Progress]:
    """RUNNING until poll ``number``, counted from 1."""
    done: Progress = {"status": "SUCCEEDED", "wait": 0}
    return lambda arguments, known: done if known + 1 >= number else running(arguments, known)


def fails(name: str, sentence: str) -> Callable[..., Any]:
    """An error as Lambda reports it: the class's name, and a cause with the message."""
    cause = json.dumps({"errorMessage": sentence, "errorType": name, "stackTrace": []})

    def answer(*_: object) -> Any:
        raise StateError(name, cause)

    return answer


def entered(execution: MachineExecution) -> list[str]:
    """The states in the order in which they were entered, each as often as it was."""
    events = execution.history.events()
    return [
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    ]

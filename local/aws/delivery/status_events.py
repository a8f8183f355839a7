"""`Step Functions Execution Status Change` events: delayed at random, delivered at least once."""

import datetime
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any

from local.aws.arns import Arn
from local.aws.delivery.background import DelayedTasks
from local.aws.settings import EventSettings
from local.aws.states.execution import MachineExecution
from local.aws.states.service import description


class StatusEvents:
    """Turns each change of an execution's status into an event and passes it to `publish`."""

    def __init__(
        self,
        publish: Callable[[dict[str, Any]], None],
        delayed_tasks: DelayedTasks,
        settings: EventSettings,
        chance: random.Random,
    ) -> None:
        self._publish = publish
        self._delayed_tasks = delayed_tasks
        self._settings = settings
        self._chance = chance
        self._lock = threading.Lock()

    def changed(self, execution: MachineExecution) -> None:
        event = status_event(execution)
        for delay in (0.0, 0.0) if execution.name in self._settings.twice_at_once else self._delays():
            self._delayed_tasks.after(delay, lambda: self._publish(event))

    def _delays(self) -> list[float]:
        settings = self._settings
        with self._lock:
            copies = 2 if self._chance.random() < settings.twice_ratio else 1
            late = [self._chance.random() < settings.late_ratio for _ in range(copies)]
            return [
                self._chance.uniform(0, settings.late_seconds if each else settings.prompt_seconds)
                for each in late
            ]


def status_event(execution: MachineExecution) -> dict[str, Any]:
    """Return the event in EventBridge's format; times in the detail are epoch milliseconds."""
    arn = Arn.parse(execution.arn)
    described = description(execution)
    detail = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine.arn,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(execution.stop_date),
        "input": execution.input_text,
        "inputDetails": {"included": True},
        "output": execution.output,
        "outputDetails": described.get("outputDetails"),
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrive_count,
        "redriveDate": _milliseconds(execution.redrive_date),
        "redriveStatus": described["redriveStatus"],
        "redriveStatusReason": None,
    }
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": arn.account,
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": arn.region,
        "resources": [execution.arn],
        "detail": detail,
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)

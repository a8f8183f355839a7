"""Reconcile dies at one call after the other; the rounds that follow finish what it was at."""

from __future__ import annotations

import json
from itertools import count

import pytest

from local.aws.runtime.armory import Fault
from tests.stack.crashes.matrix import await_end, grow_old, left_over, reconcile, runs_of
from tests.stack.ground import Ground
from tests.stack.passages.permissions import withheld

MOST_ROUNDS = 60
"""Far more than a round has calls."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_rounds_that_die_one_call_later_each_time_finish_everything_once(ground: Ground, moment: str) -> None:
    service, celonis = ground.service, ground.celonis
    lost, ended, paused = (celonis.job(seconds=1) for _ in range(3))
    model = celonis.model("VBAK", seconds=60)
    handed_to_nobody, unnoticed = service.pipeline(jobs=[lost]), service.pipeline(jobs=[ended])
    waits, loads = service.pipeline(jobs=[paused], paused=True), service.pipeline(loads=[model.id])

    with withheld(service.stack, "TriggerRole", "states:StartExecution"):
        assert service.webhook(service.source({"pipeline": handed_to_nobody})).status_code == 202
    assert service.webhook(service.source({"pipeline": waits})).status_code == 202
    celonis.set_job(ended, seconds=60)
    first = service.execute({"pipeline": unnoticed})
    service.running(first)
    assert service.call("POST", "/runs", {"pipeline": unnoticed}).status_code == 202
    stopped = service.execute({"pipeline": loads})
    service.running(stopped, "load-0")
    service.stop(stopped)
    assert service.closed(stopped)["status"] == "ABORTED"
    assert service.item(f"lease#model#{model.id}")
    with service.unheard():
        celonis.set_job(ended, seconds=1)
        celonis.finish(ended, "FAIL")
        assert service.ended(first)["status"] == "FAILED"
    celonis.finish_load(model)
    service.define(waits, jobs=[paused])

    rounds = _rounds_that_die(ground, moment)
    assert rounds > 5
    pipelines = [handed_to_nobody, unnoticed, waits]
    await_end(service, pipelines)
    reconcile(service)
    statuses = {name: [run["status"]["S"] for run in runs_of(service, name)] for name in pipelines}
    assert statuses == {
        handed_to_nobody: ["SUCCEEDED"],
        unnoticed: ["FAILED", "SUCCEEDED"],
        waits: ["SUCCEEDED"],
    }
    assert [len(celonis.executions(job)) for job in (lost, ended, paused)] == [1, 2, 1]
    assert [
        left_over(service, name, job) for name, job in zip(pipelines, (lost, ended, paused), strict=True)
    ] == [
        [],
        [],
        [],
    ]
    assert service.item(f"lease#model#{model.id}") == {}
    assert 1 <= len(service.notices_about(first)) <= 2
    ground.settled()


def _rounds_that_die(ground: Ground, moment: str) -> int:
    """How many rounds died until one came to its end: the first at its first call, the next at its second."""
    for number in count(1):
        assert number < MOST_ROUNDS
        grow_old(ground.service)
        ground.service.stack.arm("Reconcile", Fault(moment, number))
        outcome = ground.service.stack.invoke("Reconcile", json.dumps({"round": number}).encode())
        if not outcome.failed:
            ground.service.stack.disarm()
            return number - 1
    raise AssertionError

"""A channel with state shows what is true, whatever fails and in whichever order messages arrive.

Runs of a pipeline fail and succeed and its data becomes stale, while PagerDuty cannot be reached or takes a
request at the same time as another function. In the end, the last event of each incident agrees with the
state of the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests import ConnectionError as NoConnection

from celonis_refresh.notifications.channels import PagerDutyChannel
from celonis_refresh.notifications.outbox import CLAIM_SECONDS
from celonis_refresh.runs.table import pipeline_key
from tests.fakes.service import RUN, Crashed, job_definition
from tests.properties.hypothesis_settings import examples
from tests.unit.workflow.commands_harness import CommandsHarness

DAY = 86_400
Action = Literal["fail", "succeed", "day", "round", "down", "up"]
ACTIONS: tuple[Action, ...] = ("fail", "succeed", "day", "round", "down", "up")
ACTIONS_DURING: tuple[Action, ...] = ("fail", "succeed", "round", "down")
MAX_CALLS = 25
"""More than the end of a run makes."""
Moment = Literal["before", "after"]
DuringPost = tuple[int, Moment, Action]
"""The number of the request during which an action happens, before or after its effect, and the action."""


class PagerHarness:
    """A pipeline whose only channel is a service of PagerDuty."""

    def __init__(self, during: Sequence[DuringPost] = ()) -> None:
        definition = job_definition(fresh_within=DAY, notify={"channels": ["pager"]})
        self.commands = CommandsHarness(definition)
        self.service = self.commands.service
        self.service.channels["pager"] = PagerDutyChannel(type="pagerduty", routing_key="R0123")
        self.receiver = self.service.receiver
        self.receiver.hook = self._at_request
        self._during = {(number, moment): action for number, moment, action in during}
        self._requests = 0
        self.commands.succeed(RUN)
        self.do("round")

    def do(self, action: Action) -> None:
        match action:
            case "fail" | "succeed":
                run_id = str(self.commands.start()["runs"][0]["run_id"])
                self.commands.fail(run_id) if action == "fail" else self.commands.succeed(run_id)
            case "day":
                self.service.clock.sleep(DAY - 3600)
            case "round":
                self.commands.round()
            case "down" | "up":
                self.receiver.error = NoConnection() if action == "down" else None
        self.service.clock.sleep(CLAIM_SECONDS + 1 if action == "round" else 1.0)

    def _at_request(self, moment: Moment) -> None:
        self._requests += moment == "before"
        if action := self._during.pop((self._requests, moment), None):
            self.do(action)

    def settle(self) -> None:
        """PagerDuty can be reached, and reconcile sends what is left."""
        self._during.clear()
        self.receiver.error = None
        for _ in range(4):
            self.service.clock.sleep(CLAIM_SECONDS + 1)
            self.commands.round()

    def shown(self) -> dict[str, str]:
        """The last event of each incident that PagerDuty has taken."""
        events = [self.receiver.body_of(request) for request in self.receiver.taken]
        return {event["dedup_key"]: event["event_action"] for event in events}

    def state(self) -> dict[str, bool]:
        """Whether each incident is open."""
        pipeline: dict[str, Any] = self.service.table.get(pipeline_key("otc")) or {}
        is_fresh = pipeline["freshness"]["state"] == "FRESH"
        return {"shop/otc": bool(self.commands.slot()["incident"]), "shop/otc/freshness": not is_fresh}


def check(actions: Sequence[Action], during: Sequence[DuringPost] = ()) -> None:
    harness = PagerHarness(during)
    for action in actions:
        harness.do(action)
    harness.settle()
    shown = harness.shown()
    assert {key: shown.get(key, "resolve") == "trigger" for key in harness.state()} == harness.state()


@given(
    st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from(["before", "after"]), st.sampled_from(ACTIONS_DURING)),
        max_size=3,
    ),
)
@example(["down", "fail", "up", "succeed", "round"], [])
@example(["day", "day", "round", "succeed", "fail", "round"], [])
@example(["fail"], [(1, "before", "succeed")])
@example(["fail", "succeed"], [(2, "before", "fail")])
@example(["down", "fail", "succeed", "up", "fail"], [])
@examples(150)
def test_the_last_event_of_each_incident_agrees_with_the_state(
    actions: list[Action], during: list[DuringPost]
) -> None:
    check(actions, during)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("action", ["fail", "succeed"])
def test_a_function_that_dies_anywhere_leaves_nothing_wrong(moment: Moment, action: Action) -> None:
    """It dies at each of its calls of the table, one after the other; the next run ends differently."""
    for calls in range(MAX_CALLS):
        harness = PagerHarness()
        if action == "succeed":
            harness.do("fail")
        run_id = str(harness.commands.start()["runs"][0]["run_id"])
        records, deadline = harness.service.records, harness.service.deadline()
        if action == "succeed":
            records.save_step(records.get(run_id), "job-0", harness.commands.done(), deadline)
        harness.commands.executions.start(run_id)
        harness.commands.executions.end(run_id, "SUCCEEDED" if action == "succeed" else "FAILED", "JobFailed")
        harness.service.crash([(calls, moment)])
        with suppress(Crashed):
            harness.commands.close(run_id)
        harness.service.crash([])
        harness.service.clock.sleep(CLAIM_SECONDS + 1)
        harness.commands.close(run_id)  # Lambda repeats the invocation
        harness.do("succeed" if action == "fail" else "fail")
        harness.settle()
        shown = harness.shown()
        assert {key: shown.get(key, "resolve") == "trigger" for key in harness.state()} == harness.state()

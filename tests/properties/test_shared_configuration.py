"""What processes of the trigger share of the configuration: never older than it may be, whatever happens."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from celonis_refresh.aws.configuration import ConfigurationUnavailable, UnknownSource
from celonis_refresh.aws.webhook_configuration import PIPELINE_SECONDS, SOURCE_SECONDS
from celonis_refresh.pipelines.errors import UnknownPipeline
from tests.unit.aws.configuration_load import LoadedTrigger

SOURCE, PIPELINE = "/stack/sources/source-0", "/stack/pipelines/pipeline-0"
Event = tuple[float, str, int]


@dataclass
class Histories:
    """What each parameter was, and since when; None where it did not exist."""

    trigger: LoadedTrigger
    changes: dict[str, list[tuple[float, str | None]]] = field(default_factory=dict)

    def put(self, name: str, text: str | None) -> None:
        values = self.trigger.store.values
        values.pop(name, None)
        if text is not None:
            values[name] = text
        self.changes.setdefault(name, []).append((self.trigger.clock.now, text))

    def was(self, name: str, seconds: float) -> set[str | None]:
        """The values that ``name`` had in the last ``seconds``."""
        since, found = self.trigger.clock.now - seconds, set[str | None]()
        changes = self.changes[name]
        for number, (_, text) in enumerate(changes):
            until = changes[number + 1][0] if number + 1 < len(changes) else self.trigger.clock.now
            if until >= since:
                found.add(text)
        return found


def pipeline_text(number: int) -> str:
    return json.dumps({"data_pool": f"pool-{number}", "jobs": [{"job": "job-1"}]})


def source_text(number: int) -> str:
    rules = [{"pipeline": "pipeline-0", "reason": f"reason-{number}"}]
    return json.dumps({"sender": "standard_webhooks", "secret": "secret-0", "rules": rules})


CHANGES = ["pipeline", "source", "remove pipeline", "table down", "table up"]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 5.0, 9.9, 30.0]),
        st.sampled_from(
            ["deliver"] * 6 + ["pipeline", "source", "remove pipeline", "table down", "table up"]
        ),
        st.integers(0, 1),
    ),
    max_size=60,
)


@given(EVENTS)
@example([(0.0, "deliver", 0), (0.0, "pipeline", 0), (9.9, "deliver", 1), (5.0, "deliver", 1)])
def test_no_process_uses_a_configuration_that_is_older_than_it_may_be(events: list[Event]) -> None:
    trigger = LoadedTrigger(processes=2, sources=1, pipelines=1)
    histories = Histories(trigger)
    histories.put(SOURCE, source_text(0))
    histories.put(PIPELINE, pipeline_text(0))
    for number, (pause, event, process) in enumerate(events, start=1):
        trigger.clock.sleep(pause)
        if event == "deliver":
            _check(trigger, histories, process)
        elif event == "pipeline":
            histories.put(PIPELINE, pipeline_text(number))
        elif event == "remove pipeline":
            histories.put(PIPELINE, None)
        elif event == "source":
            histories.put(SOURCE, source_text(number))
        else:
            trigger.table.dynamodb.before = _throttled if event == "table down" else _quiet


def _check(trigger: LoadedTrigger, histories: Histories, process: int) -> None:
    configuration = trigger.configurations[process]
    began = trigger.clock.now
    try:
        source = configuration.source("source-0")
    except (UnknownSource, ConfigurationUnavailable) as error:
        raise AssertionError("the source exists, and can be read") from error
    took = trigger.clock.now - began
    reasons = {
        json.loads(text or "")["rules"][0]["reason"] for text in histories.was(SOURCE, SOURCE_SECONDS + took)
    }
    assert source.rules[0].reason in reasons
    began = trigger.clock.now
    try:
        seen: str | None = configuration.definition("pipeline-0").data_pool_id
    except UnknownPipeline:
        seen = None
    took = trigger.clock.now - began
    texts = histories.was(PIPELINE, PIPELINE_SECONDS + took)
    assert seen in {text and json.loads(text)["data_pool"] for text in texts}


def _quiet(operation: str, request: dict[str, Any]) -> None:
    """Everything works."""


def _throttled(operation: str, request: dict[str, Any]) -> None:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)

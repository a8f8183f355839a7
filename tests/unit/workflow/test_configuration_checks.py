"""Reconcile reports unusable definitions and channels once, and resolves reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from celonis_refresh.aws.configuration import ConfigurationUnavailable
from celonis_refresh.errors import RefreshError, UnusableConfiguration
from celonis_refresh.notifications.channels import ChannelUnusable
from celonis_refresh.pipelines.definition import Definition, parse_definition
from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.webhooks.errors import InvalidSource, RuleError
from celonis_refresh.workflow.configuration_checks import QUIET_SECONDS, ConfigurationChecks
from celonis_refresh.workflow.configuration_reports import REPORT_SECONDS, ConfigurationReports
from tests.fakes.service import RUN
from tests.fakes.wiring import PLACE, make_reconciler
from tests.unit.workflow.commands_harness import ROUND_SECONDS, CommandsHarness


@dataclass
class ChecksHarness(CommandsHarness):
    """Definitions as texts. ``channels``: the problem of each channel; "" for none.

    ``sources``: the pipelines that each names; None if it is not valid.
    """

    texts: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)
    sources: dict[str, list[str] | None] = field(default_factory=lambda: {"shop": ["otc"]})
    unavailable: bool = False

    def define(self, name: str = "otc", **fields: object) -> None:
        self.texts[name] = json.dumps({"data_pool": "p", "jobs": [{"job": "j"}], **fields})

    def read(self, name: str) -> Definition:
        if name not in self.texts:
            raise UnknownPipeline(name, where=f"/stack/pipelines/{name}")
        return parse_definition(name, self.texts[name])

    def read_source(self, name: str) -> list[str] | None:
        if name not in self.sources:
            return None
        if (named := self.sources[name]) is None:
            raise InvalidSource(name, [])
        return named

    def check_channel(self, name: str) -> None:
        if self.unavailable:
            raise ConfigurationUnavailable("the secret")
        if problem := self.channels.get(name, "the secret does not exist"):
            raise ChannelUnusable(name, problem)

    @property
    def checks(self) -> ConfigurationChecks:
        reports = ConfigurationReports(self.closer.outbox, PLACE.stack, self.service.clock)
        return ConfigurationChecks(
            reports, self.read, self.read_source, self.check_channel, self.service.clock
        )

    def rounds(self, count: int = 1) -> list[str]:
        """Check all definitions, then reconcile; return the titles of notifications since."""
        before = len(self.notices)
        for _ in range(count):
            self.service.clock.sleep(300.0)
            self.checks.check(self.texts, self.service.deadline())
            reconciler = make_reconciler(self.service, self.executions, self.closer, {}, self.checks)
            reconciler.reconcile(self.service.deadline(ROUND_SECONDS))
        return [title for title, _, _ in self.notices[before:]]

    def event(self, error: RefreshError, pipeline: str = "otc") -> None:
        """An event of source shop could not start a run; its report is sent by reconcile."""
        self.checks.reports.report([UnusableConfiguration(error, "shop", pipeline, "d-1")])
        self.service.clock.sleep(300.0)

    def facts(self) -> Mapping[str, Any]:
        return self.notices[-1][2]


@pytest.fixture
def harness() -> ChecksHarness:
    made = ChecksHarness()
    made.succeed(RUN)
    made.notices.clear()
    made.define()
    return made


NOT_USABLE = "otc: configuration not usable (shop)"
USABLE = "otc: configuration usable again (shop)"


def test_a_definition_that_is_not_valid_is_reported_once_without_an_event(harness: ChecksHarness) -> None:
    assert harness.rounds(2) == []
    harness.define(fresh_within="soon")
    assert harness.rounds(30) == [NOT_USABLE]
    assert harness.facts()["fields"] == ["fresh_within"]
    harness.define()
    assert harness.rounds(3) == [USABLE]
    harness.define(fresh_within="soon")
    assert harness.rounds(3) == [NOT_USABLE]


def test_both_have_one_incident_which_is_not_that_of_the_pipelines_runs(harness: ChecksHarness) -> None:
    harness.define(fresh_within="soon")
    harness.rounds()
    incident = harness.facts()["incident"]
    harness.define()
    harness.rounds()
    assert harness.facts()["what"] == "configuration usable"
    assert harness.facts()["incident"] == incident == "configuration/otc/InvalidDefinition-fresh_within"


def test_a_channel_without_a_secret_is_reported_with_its_field(harness: ChecksHarness) -> None:
    harness.channels["pager"] = ""
    harness.define(notify={"channels": ["topic", "pager", "nope"]})
    # One to the topic, and one to a channel that the fake outbox cannot send to: it falls back to the topic.
    titles = harness.rounds(3)
    assert len(titles) == 2
    assert all(title.startswith("otc: channel nope cannot be used (shop)") for title in titles)
    facts = harness.facts()
    assert (facts["fields"], facts["parameter"]) == (["notify.channels.2"], "/shop/pipelines/otc")
    assert "'nope'" in facts["outcome"]


@pytest.mark.parametrize("repaired", ["secret", "definition", "removed"])
def test_a_channel_that_can_be_used_or_is_not_named_any_more_is_resolved(
    harness: ChecksHarness, repaired: str
) -> None:
    harness.define(notify={"channels": ["nope"]})
    assert len(harness.rounds(2)) == 1
    if repaired == "secret":
        harness.channels["nope"] = ""
    elif repaired == "definition":
        harness.define(notify={"channels": ["topic"]})
    else:
        harness.texts.clear()
    assert harness.rounds(2) == [USABLE]


def test_a_channel_that_cannot_be_read_now_changes_nothing(harness: ChecksHarness) -> None:
    harness.define(notify={"channels": ["nope"]})
    harness.unavailable = True
    assert harness.rounds() == []
    harness.unavailable = False
    assert len(harness.rounds()) == 1
    harness.unavailable = True
    assert harness.rounds() == []


def test_channels_of_the_stack_are_checked_once_for_all_pipelines(harness: ChecksHarness) -> None:
    outbox = harness.closer.outbox
    reports = ConfigurationReports(
        type(outbox)(outbox.table, {}, outbox.clock, ("nope",)), PLACE.stack, outbox.clock
    )
    checks = ConfigurationChecks(
        reports, harness.read, harness.read_source, harness.check_channel, outbox.clock
    )
    harness.define("p2p")
    assert checks.check(harness.texts, harness.service.deadline()) == ["NotificationChannels"]
    assert checks.check(harness.texts, harness.service.deadline()) == []


@pytest.mark.parametrize("error", ["InvalidDefinition", "UnknownPipeline"])
def test_an_error_of_a_pipeline_that_an_event_found_is_resolved_by_a_readable_definition(
    harness: ChecksHarness, error: str
) -> None:
    if error == "UnknownPipeline":
        harness.texts.clear()
    else:
        harness.define(fresh_within="soon")
        harness.rounds()
    with pytest.raises(RefreshError) as caught:
        harness.read("otc")
    harness.event(caught.value)
    assert harness.rounds(2) == ([NOT_USABLE] if error == "UnknownPipeline" else [])
    harness.define()
    assert harness.rounds(2) == [USABLE]


def test_a_source_is_resolved_when_it_can_be_read(harness: ChecksHarness) -> None:
    harness.sources["shop"] = None
    harness.event(InvalidSource("shop", []), pipeline="")
    assert harness.rounds(2) == ["source shop: configuration not usable (shop)"]
    harness.sources["shop"] = []
    assert harness.rounds(2) == ["source shop: configuration usable again (shop)"]


def test_an_error_that_only_events_show_is_resolved_after_two_quiet_days(harness: ChecksHarness) -> None:
    harness.event(RuleError(0, "mode", "gave neither FULL nor DELTA nor null"))
    assert harness.rounds(2) == [NOT_USABLE]
    harness.service.clock.sleep(QUIET_SECONDS - REPORT_SECONDS)
    assert harness.rounds() == []
    harness.service.clock.sleep(2 * REPORT_SECONDS)
    assert harness.rounds() == [USABLE]


@pytest.mark.parametrize("event_first", [True, False])
def test_one_mistake_is_one_notification_and_one_incident_if_an_event_and_reconcile_find_it(
    harness: ChecksHarness, *, event_first: bool
) -> None:
    harness.define(fresh_within="soon")
    with pytest.raises(RefreshError) as caught:
        harness.read("otc")
    if event_first:
        harness.event(caught.value)
    titles = harness.rounds(2)
    if not event_first:
        harness.event(caught.value)
        titles += harness.rounds(2)
    assert titles == [NOT_USABLE]
    assert harness.facts()["incident"] == "configuration/otc/InvalidDefinition-fresh_within"
    harness.define()
    assert harness.rounds(3) == [USABLE]


@pytest.mark.parametrize(
    ("sources", "reason", "command"),
    [
        ({}, "Source 'shop' was removed.", ""),
        ({"shop": ["p2p"]}, "Source 'shop' does not name pipeline 'otc' any more.", "deliveries shop"),
    ],
)
@pytest.mark.parametrize("error", [RuleError(0, "mode", "gave neither"), UnknownPipeline("otc", where="")])
def test_an_error_of_a_rule_is_resolved_when_the_rule_is_gone(
    harness: ChecksHarness, error: RefreshError, sources: dict[str, Any], reason: str, command: str
) -> None:
    if isinstance(error, UnknownPipeline):
        harness.texts.clear()
    harness.event(error)
    assert harness.rounds(2) == [NOT_USABLE]
    harness.sources = sources
    assert harness.rounds(2) == [USABLE]
    assert harness.facts()["outcome"] == reason
    text = harness.notices[-1][1]
    assert (command in text) if command else ("What to do: Nothing." in text)
    assert "Error:" not in text
    assert "Fields:" not in text


def test_a_channel_is_reported_as_a_warning_with_its_command_and_solved_without_advice(
    harness: ChecksHarness,
) -> None:
    harness.channels["topic"] = ""
    harness.define(notify={"channels": ["own-slak"]})
    harness.rounds(2)
    ((title, text, _),) = harness.notices
    assert title == "otc: channel own-slak cannot be used (shop)"
    assert "Runs go on." in text
    assert "secret channel own-slak\n" in text
    assert "{" not in text
    assert text.count("cannot be used") == 1
    assert [each["target"] for each in harness.service.dynamodb.documents("outbox#")] == []
    harness.define(notify={"channels": ["topic"]})
    assert harness.rounds(2) == [USABLE]
    assert "What to do: Nothing." in harness.notices[-1][1]


def test_the_end_of_an_error_is_not_sent_to_a_channel_that_cannot_be_used(harness: ChecksHarness) -> None:
    notify = {"channels": ["own-slak"]}
    harness.define(notify=notify, fresh_within="soon")
    assert len(harness.rounds(2)) == 2
    harness.define(notify=notify)
    assert harness.rounds(2) == [USABLE]

"""Freshness: one notification when a pipeline becomes stale, for any reason, and one when it is fresh."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from celonis_refresh.metrics import NAMESPACE
from celonis_refresh.notifications.messages import shown_time
from celonis_refresh.notifications.outbox import CLAIM_SECONDS
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.table import job_durations, pipeline_key, run_key
from celonis_refresh.steps.target import FAIL_HINT
from celonis_refresh.timing import epoch, iso
from celonis_refresh.validation.convert import to_json
from celonis_refresh.workflow.freshness import (
    EXPECTED_SECONDS,
    MAX_PAGES,
    SEND_SECONDS,
    FreshnessFindings,
    FreshnessMonitor,
)
from celonis_refresh.workflow.pause import PipelinePauses
from tests.fakes.dynamodb import client_error
from tests.fakes.service import JOB, RUN, Crashed, job_definition
from tests.fakes.wiring import definition_pages, make_freshness_monitor, make_outbox
from tests.unit.steps.outgoing import logged
from tests.unit.workflow.commands_harness import CommandsHarness

HOUR = 3600
DAY = 24 * HOUR
ROUND = 300.0
Moment = Literal["before", "after"]


def monitored(**fields: object) -> Definition:
    return job_definition(**{"fresh_within": DAY, **fields})


@dataclass
class FreshnessHarness(CommandsHarness):
    """The pipeline "otc" with ``fresh_within``, and one open run of it."""

    definition: Definition = field(default_factory=monitored)

    def rounds(self, seconds: float) -> list[str]:
        """Rounds of reconcile every five minutes for so long. Returns the changes."""
        changes: list[str] = []
        for _ in range(round(seconds / ROUND)):
            self.service.clock.sleep(ROUND)
            changes += self.round().freshness
        return changes

    def define(self, **fields: object) -> None:
        self.definitions["otc"] = monitored(**fields)

    def run(self, run_id: str | None = None) -> str:
        """Starts a run, which succeeds."""
        name = run_id or str(self.start()["runs"][0]["run_id"])
        self.succeed(name)
        return name

    def notified(self) -> list[tuple[str, str]]:
        """Of each notification of freshness, what and the cause."""
        freshness = [facts for _, _, facts in self.notices if "state" in facts]
        return [(facts["what"], facts.get("cause", "")) for facts in freshness]

    def events(self) -> list[str]:
        """The types of the events of pipelines."""
        types = [str(entry["DetailType"]) for entry in self.service.events.sent]
        return [each for each in types if each.startswith("Pipeline")]

    def item(self) -> dict[str, Any]:
        return self.service.table.get(pipeline_key("otc")) or {}

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.run_commands.show_pipeline("otc", self.service.deadline())["freshness"]
        return found


def fresh(**fields: object) -> FreshnessHarness:
    """A pipeline whose run has just succeeded; a round has seen it."""
    harness = FreshnessHarness(monitored(**fields))
    harness.run(RUN)
    assert harness.round().freshness == []
    return harness


# ---------------------------------------------------------------- each reason


def nothing_starts(harness: FreshnessHarness) -> None:
    """A missed schedule, a disabled source and a dead webhook look the same: no run begins."""


def is_paused_by_the_api(harness: FreshnessHarness) -> None:
    service = harness.service
    pauses = PipelinePauses(
        service.table, harness.executions, lambda name: harness.definitions[name], service.clock
    )
    pauses.pause("otc", "arn:aws:iam::123456789012:role/admin", "month end", service.deadline())


def is_paused(harness: FreshnessHarness) -> None:
    harness.define(paused=True)


def a_run_is_pending_behind_a_pause(harness: FreshnessHarness) -> None:
    harness.paused = True
    harness.define(paused=True)
    harness.start()


def a_run_waits(harness: FreshnessHarness) -> None:
    run_id = str(harness.start()["runs"][0]["run_id"])
    harness.service.records.set_facts(
        harness.service.records.get(run_id),
        {
            "status": "RUNNING",
            "execution_arn": f"arn:{run_id}",
            "steps": {"job-0": {"rev": 1, "waiting_for": "run p2p-1"}},
        },
        harness.service.deadline(),
    )


WAITED = {"rev": 1, "began": 1.0, "waiting_for": "run p2p-1"}
STARTED = {"noted_at": "2026-01-01T00:00:00.000Z", "sent_by": 2.0}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "has not ended since"),
        ({"last_error": "The host was not found."}, ", and step job-0 waits: The host was not found."),
    ],
)
def test_what_a_step_waited_for_before_its_start_is_no_reason(state: dict[str, Any], sentence: str) -> None:
    harness = fresh()
    run_id = str(harness.start()["runs"][0]["run_id"])
    run = harness.service.records.get(run_id)
    facts = {"status": "RUNNING", "steps": {"job-0": WAITED | STARTED | state}}
    harness.service.records.set_facts(run, facts, harness.service.deadline())
    harness.rounds(3 * DAY)
    (text,) = [text for _, text, facts in harness.notices if facts.get("state") == "STALE"]
    assert sentence in text
    assert "p2p-1" not in text


def runs_fail(harness: FreshnessHarness) -> None:
    harness.fail(str(harness.start()["runs"][0]["run_id"]))


def the_definition_is_not_valid(harness: FreshnessHarness) -> None:
    harness.definitions["otc"] = Definition(data_pool="not a pool/", fresh_within=None)  # type: ignore[arg-type]


REASONS: list[tuple[Callable[[FreshnessHarness], None], str, str, str]] = [
    (nothing_starts, "no_run", "check its schedule, its source and the sender", "start otc"),
    (
        is_paused_by_the_api,
        "paused",
        "by arn:aws:iam::123456789012:role/admin (reason: month end): resume it",
        "resume otc",
    ),
    (is_paused, "paused_in_definition", "It is paused", "show otc"),
    (a_run_is_pending_behind_a_pause, "paused_in_definition", "It is paused", "show otc"),
    (a_run_waits, "slow_run", "step job-0 waits: run p2p-1", "show otc-101"),
    (runs_fail, "failed_run", "failed (JobFailed)", "retry otc-101"),
    (the_definition_is_not_valid, "invalid_definition", "Its definition is not valid", "show otc"),
]


@pytest.mark.parametrize(
    ("happens", "cause", "sentence", "command"), REASONS, ids=lambda each: getattr(each, "__name__", "")
)
def test_a_pipeline_becomes_stale_once_and_on_time_for_every_reason(
    happens: Callable[[FreshnessHarness], None], cause: str, sentence: str, command: str
) -> None:
    harness = fresh()
    due = harness.service.clock.now + DAY
    happens(harness)
    assert harness.rounds(DAY - ROUND) == []
    assert harness.rounds(3 * DAY) == ["otc: STALE"]
    assert harness.notified() == [("stale", cause)]
    ((_, text, facts),) = [each for each in harness.notices if "state" in each[2]]
    assert sentence in text
    assert sentence in facts["outcome"]
    assert f"refresh --stack shop --region eu-central-1 {command}\n" in text
    assert "#dashboards/dashboard/shop-eu-central-1" in text
    assert ("Execution in the AWS console" in text) == (cause in ("slow_run", "failed_run"))
    assert "Fresh within: 24 h" in text
    assert "is older than its limit of 24 h." in text
    assert abs(epoch(facts["since"]) - due) < 1.0
    assert facts["last_success_started_at"] < facts["since"]
    assert harness.item()["freshness"]["state"] == "STALE"


def test_a_retry_is_not_advised_for_stale_data_if_it_fails_again() -> None:
    harness = fresh()
    run_id = str(harness.start()["runs"][0]["run_id"])
    table, options = harness.service.table, RunOptions(tables=frozenset({"NO_SUCH"})).to_json()
    change = table.change(
        run_key(run_id), "SET #options = :options", "attribute_exists(#pk)", {"options": options}
    )
    table.update(change, harness.service.deadline())
    harness.end("FAILED", "UnknownTable", "No table NO_SUCH in data model x.", run_id)
    harness.rounds(3 * DAY)
    ((_, text, facts),) = [each for each in harness.notices if "state" in each[2]]
    assert (facts["cause"], facts["can_retry"]) == ("failed_run", False)
    assert "start otc\n" in text
    assert "retry otc" not in text


def test_a_success_makes_it_fresh_again_once() -> None:
    harness = fresh()
    assert harness.rounds(2 * DAY) == ["otc: STALE"]
    harness.run()
    assert harness.rounds(HOUR) == ["otc: FRESH"]
    assert harness.notified() == [("stale", "no_run"), ("fresh again", "")]
    assert harness.events() == ["Pipeline Stale", "Pipeline Fresh"]
    assert harness.rounds(2 * DAY) == ["otc: STALE"]
    assert len(harness.notified()) == 3


def test_a_stale_pipeline_is_counted_and_named_in_every_round() -> None:
    harness = fresh()
    harness.rounds(2 * DAY)
    assert harness.round().stale == ["otc"]
    harness.run()
    assert harness.round().stale == []


def test_data_that_was_old_when_its_run_ended_stays_stale_without_another_notification() -> None:
    harness = fresh()
    run_id = str(harness.start()["runs"][0]["run_id"])
    assert harness.rounds(3 * DAY) == ["otc: STALE"]
    harness.run(run_id)
    assert harness.rounds(HOUR) == []
    assert harness.item()["last_run_id"] == run_id
    assert harness.shown()["state"] == "STALE"


def test_a_pipeline_that_never_succeeded_counts_from_the_first_round() -> None:
    harness = FreshnessHarness()
    harness.fail(RUN)
    harness.service.clock.sleep(10 * DAY)
    assert harness.rounds(DAY) == []
    assert harness.rounds(2 * ROUND) == ["otc: STALE"]
    assert harness.notified() == [("stale", "failed_run")]
    assert "No run has succeeded yet" in harness.notices[-1][1]


def test_a_pipeline_without_a_run_is_stale_too() -> None:
    harness = FreshnessHarness()
    harness.definitions["new"] = monitored()
    harness.run(RUN)
    harness.rounds(HOUR)
    harness.start()
    harness.rounds(23 * HOUR - 2 * ROUND)
    harness.notices.clear()
    assert "new: STALE" in harness.rounds(HOUR)
    assert ("new", "no_run") in [(facts["pipeline"], facts["cause"]) for _, _, facts in harness.notices]


def test_a_deadline_is_missed_at_its_minute_and_not_on_the_weekend() -> None:
    """The clock of the tests starts on Thursday, 1 January 2026, at 00:00 UTC."""
    harness = fresh(fresh_within="06:30 Europe/Berlin, Monday to Friday")
    assert harness.shown()["due_at"] == "2026-01-02T05:30:00.000Z"
    assert harness.rounds(29.4 * HOUR) == []
    harness.run()
    assert harness.rounds(2.5 * DAY) == []
    assert harness.rounds(DAY) == ["otc: STALE"]
    assert harness.shown()["since"] == "2026-01-05T05:30:00.000Z"


# ---------------------------------------------------------------- since when


def test_fresh_data_is_fresh_since_the_success_and_not_since_the_round_or_the_request() -> None:
    harness = FreshnessHarness()
    harness.run(RUN)
    succeeded_at = harness.item()["last_success_at"]
    harness.service.clock.sleep(60.0)
    assert harness.shown()["since"] == succeeded_at
    harness.rounds(2 * DAY)
    harness.run()
    succeeded_at = harness.item()["last_success_at"]
    harness.service.clock.sleep(60.0)
    assert harness.round().freshness == ["otc: FRESH"]
    assert harness.shown()["since"] == succeeded_at


def test_data_that_a_changed_rule_makes_fresh_is_fresh_since_the_round() -> None:
    harness = fresh()
    harness.rounds(2 * DAY)
    harness.define(fresh_within=10 * DAY)
    harness.rounds(ROUND)
    assert harness.shown()["since"] == iso(harness.service.clock.now)


# ---------------------------------------------------------------- failures and freshness


def notices(harness: FreshnessHarness, what: str) -> tuple[str, dict[str, Any]]:
    """The text and the facts of the last notification of a kind."""
    return [(text, facts) for _, text, facts in harness.notices if facts["what"] == what][-1]


def test_a_failure_says_since_when_the_data_is_stale_or_when_it_will_be() -> None:
    harness = fresh()
    due = harness.shown()["due_at"]
    harness.fail(str(harness.start()["runs"][0]["run_id"]))
    text, facts = notices(harness, "failed")
    assert f"Due: {shown_time(due)}" in text
    assert "stale_since" not in facts
    harness.rounds(2 * DAY)
    harness.fail(str(harness.start()["runs"][0]["run_id"]))
    text, facts = notices(harness, "failed")
    assert f"Stale since: {shown_time(due)}" in text
    assert f"Data from: {shown_time(harness.item()['last_success_started_at'])}" in text


def test_a_recovery_of_stale_data_says_that_it_is_still_stale() -> None:
    """A retry counts from the start of the run that it continues."""
    harness = fresh(fresh_within=2 * HOUR, jobs=[{"job": JOB}, {"job": "job-b"}])
    records, deadline = harness.service.records, harness.service.deadline()
    run_id = str(harness.start()["runs"][0]["run_id"])
    records.save_step(records.get(run_id), "job-0", harness.done(), deadline)
    harness.fail(run_id)
    harness.rounds(3 * HOUR)
    assert harness.shown()["state"] == "STALE"
    retry = str(harness.retry(run_id)["runs"][0]["run_id"])
    harness.succeed(retry)
    text, facts = notices(harness, "recovered")
    assert harness.shown()["state"] == "STALE"
    assert "the pipeline has recovered, but its data is still stale." in text
    assert facts["stale_since"] == harness.shown()["since"]
    assert "refresh --stack shop --region eu-central-1 start otc" in text


@pytest.mark.parametrize("rule", [{}, {"fresh_within": None}])
def test_a_recovery_says_nothing_of_the_data_where_it_is_not_stale(rule: dict[str, Any]) -> None:
    harness = fresh()
    harness.definitions["otc"] = monitored(**rule)
    harness.fail(str(harness.start()["runs"][0]["run_id"]))
    harness.run()
    text, _ = notices(harness, "recovered")
    assert "What to do: Nothing.\n" in text
    assert "stale" not in text


# ---------------------------------------------------------------- at risk


def with_durations(harness: FreshnessHarness, seconds: float) -> FreshnessHarness:
    key = job_durations(JOB, "FULL")
    known = {"successes": [seconds] * 5, "rev": 5, "expires": int(harness.service.clock.now) + 100 * DAY}
    harness.service.table.update(harness.service.table.set(key, known, ""), harness.service.deadline())
    return harness


def slow(seconds: float = 2.0 * HOUR) -> FreshnessHarness:
    """A fresh pipeline whose job takes two hours."""
    harness = FreshnessHarness()
    harness.service.clock.sleep(seconds)
    harness.run(RUN)
    harness.round()
    return with_durations(harness, seconds)


def test_a_run_that_would_end_too_late_is_notified_before_the_deadline() -> None:
    harness = slow()
    assert harness.rounds(19.5 * HOUR) == []
    assert harness.rounds(HOUR) == ["otc: AT_RISK"]
    ((_, text, facts),) = harness.notices
    assert facts["what"] == "will be late"
    assert facts["expected_end"] > facts["due_at"] > iso(harness.service.clock.now)
    assert "will not be refreshed by" in text
    assert harness.rounds(3 * HOUR) == ["otc: STALE"]
    assert harness.notified() == [("will be late", "no_run"), ("stale", "no_run")]


def a_run_starts_its_job(harness: FreshnessHarness) -> str:
    """Start a run, whose job is started in Celonis now; return its id."""
    run_id = str(harness.start()["runs"][0]["run_id"])
    harness.service.records.set_facts(
        harness.service.records.get(run_id),
        {"status": "RUNNING", "steps": {"job-0": {"rev": 1, "noted_at": iso(harness.service.clock.now)}}},
        harness.service.deadline(),
    )
    return run_id


def test_a_run_that_starts_in_time_is_not_at_risk() -> None:
    harness = slow()
    harness.rounds(19.5 * HOUR)
    run_id = a_run_starts_its_job(harness)
    assert harness.rounds(2 * HOUR) == []
    harness.run(run_id)
    assert harness.rounds(HOUR) == []


def test_a_run_that_waits_too_long_is_at_risk() -> None:
    harness = slow()
    harness.rounds(12 * HOUR)
    a_run_waits(harness)
    assert harness.rounds(9 * HOUR) == ["otc: AT_RISK"]
    assert harness.notified() == [("will be late", "slow_run")]


def test_a_run_that_exceeds_its_usual_duration_is_at_risk() -> None:
    harness = slow()
    harness.rounds(16 * HOUR)
    a_run_starts_its_job(harness)
    assert harness.rounds(5 * HOUR) == ["otc: AT_RISK"]


def test_a_pipeline_at_risk_that_succeeds_in_time_is_fresh_again() -> None:
    harness = slow()
    assert harness.rounds(21 * HOUR) == ["otc: AT_RISK"]
    harness.run()
    assert harness.rounds(HOUR) == ["otc: FRESH"]
    assert [what for what, _ in harness.notified()] == ["will be late", "fresh again"]


def test_unusable_durations_are_as_none() -> None:
    harness = slow()
    key = job_durations(JOB, "FULL")
    harness.service.table.update(
        harness.service.table.set(key, {"successes": ["x"]}, ""), harness.service.deadline()
    )
    assert harness.rounds(21 * HOUR) == []


def after_quick_runs(seconds: float = 4.0 * HOUR, **fields: Any) -> FreshnessHarness:
    """A fresh pipeline whose last run was quick, although its job usually takes four hours."""
    harness = with_durations(FreshnessHarness(monitored(**fields)), seconds)
    harness.run(RUN)
    assert harness.round().freshness == []
    return harness


def minutes_before_due(harness: FreshnessHarness) -> float:
    return (epoch(harness.shown()["due_at"]) - harness.service.clock.now) / 60


def test_a_quick_last_run_does_not_delay_the_notification_of_a_long_plan() -> None:
    harness = after_quick_runs()
    assert harness.rounds(19.5 * HOUR) == []
    while harness.rounds(ROUND) == []:
        pass
    assert 235 <= minutes_before_due(harness) <= 240
    assert harness.notified() == [("will be late", "no_run")]


@pytest.mark.parametrize("happens", ["a run", "a definition", "hours"])
def test_the_expected_duration_is_read_again_when_it_may_have_changed(happens: str) -> None:
    harness = fresh()
    with_durations(harness, 10.0 * HOUR)
    assert harness.rounds(ROUND) == []
    if happens == "a run":
        harness.run()
    if happens == "a definition":
        harness.define(notify={"repeat_after": 60})
    if happens == "hours":
        harness.rounds(EXPECTED_SECONDS - 2 * ROUND)
        assert harness.item()["expected"]["seconds"] == 0
    harness.rounds(3 * ROUND)
    assert round(harness.item()["expected"]["seconds"]) == 10 * HOUR
    while harness.shown()["state"] == "FRESH":
        harness.rounds(ROUND)
    assert 595 <= minutes_before_due(harness) <= 600


def test_a_long_run_of_another_plan_is_at_risk_as_soon_as_it_is_known() -> None:
    """The plan of the definition is quick, so the deadline is far away in its terms."""
    harness = fresh(jobs=[{"job": JOB, "mode": "DELTA"}])
    with_durations(harness, 12.0 * HOUR)
    assert harness.rounds(13 * HOUR) == []
    run_id = str(harness.start(mode="FULL")["runs"][0]["run_id"])
    noted = {"job-0": {"rev": 1, "noted_at": iso(harness.service.clock.now)}}
    facts = {"status": "RUNNING", "execution_arn": f"arn:{run_id}", "steps": noted}
    harness.service.records.set_facts(harness.service.records.get(run_id), facts, harness.service.deadline())
    assert harness.rounds(ROUND) == ["otc: AT_RISK"]
    assert harness.notified() == [("will be late", "slow_run")]


def test_a_remembered_duration_costs_no_read_of_healthy_pipelines() -> None:
    harness = FreshnessHarness()
    harness.definitions = {f"p-{number:02}": monitored() for number in range(50)}
    with_durations(harness, 4.0 * HOUR)
    now = iso(harness.service.clock.now)
    success = {"last_success_started_at": now, "last_success_at": now, "last_run_id": "x"}
    for name in harness.definitions:
        change = harness.service.table.set(pipeline_key(name), success, "")
        harness.service.table.update(change, harness.service.deadline())
    harness.round()
    requests: list[str] = []
    harness.service.dynamodb.before = lambda operation, request: requests.append(operation)
    harness.rounds(ROUND)
    with_names = Counter(requests)
    requests.clear()
    for name, each in list(harness.definitions.items()):
        harness.definitions[name] = replace(each, fresh_within=None)
    harness.rounds(ROUND)  # removes the freshness
    requests.clear()
    harness.rounds(ROUND)
    without = Counter(requests)
    assert with_names["TransactGetItems"] == without["TransactGetItems"] == 5
    assert with_names["GetItem"] == without["GetItem"]
    assert with_names["Query"] <= without["Query"] + 2  # the active runs of all pipelines
    assert with_names["UpdateItem"] == without["UpdateItem"]


# ---------------------------------------------------------------- changes of the definition


def test_a_longer_age_makes_it_fresh_and_a_shorter_one_stale() -> None:
    harness = fresh()
    harness.rounds(2 * DAY)
    harness.define(fresh_within=10 * DAY)
    assert harness.rounds(ROUND) == ["otc: FRESH"]
    harness.define(fresh_within=HOUR)
    assert harness.rounds(ROUND) == ["otc: STALE"]


def test_a_pipeline_that_is_monitored_no_more_is_reported_once_if_it_was_stale() -> None:
    harness = fresh()
    harness.rounds(2 * DAY)
    harness.define(fresh_within=None)
    assert harness.rounds(HOUR) == ["otc: FRESH"]
    assert harness.notified()[-1] == ("fresh again", "not_monitored")
    assert "freshness" not in harness.item()
    assert harness.run_commands.show_pipeline("otc", harness.service.deadline())["freshness"] is None


def test_a_fresh_pipeline_that_is_monitored_no_more_is_not_reported() -> None:
    harness = fresh()
    harness.define(fresh_within=None)
    assert harness.rounds(2 * DAY) == []
    assert harness.notices == []
    assert "freshness" not in harness.item()


def test_the_api_shows_freshness_at_once_and_for_all_pipelines() -> None:
    harness = FreshnessHarness()
    assert harness.shown()["state"] == "FRESH"
    harness.run(RUN)
    deadline = harness.service.deadline()
    assert harness.run_commands.list_pipelines({}, deadline)["freshness"] == {}
    harness.round()
    shown = harness.run_commands.list_pipelines({}, harness.service.deadline())
    assert shown == {"pipelines": ["otc"], "freshness": {"otc": harness.shown()}, "next": None}
    assert set(harness.shown()) == {
        *("state", "since", "due_at", "fresh_within", "last_success_started_at", "last_success_at")
    }
    harness.service.clock.sleep(2 * DAY)
    assert harness.shown()["state"] == "STALE"  # before the next round


def test_a_pipeline_that_is_not_valid_any_more_keeps_the_freshness_of_its_last_rule() -> None:
    harness = fresh()
    harness.service.clock.sleep(2 * DAY)
    harness.round()
    (valid,) = harness.run_commands.list_pipelines({"runs": "0"}, harness.service.deadline())["details"]
    the_definition_is_not_valid(harness)
    (invalid,) = harness.run_commands.list_pipelines({"runs": "0"}, harness.service.deadline())["details"]
    assert "invalid" in invalid
    assert invalid["freshness"] == valid["freshness"]
    assert invalid["freshness"]["state"] == "STALE"


@pytest.mark.parametrize("rule", [{}, {"fresh_within": None}])
def test_the_age_of_the_last_success_is_a_metric_of_each_pipeline(
    rule: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    harness = fresh(**rule)
    capsys.readouterr()
    harness.rounds(ROUND)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    (line,) = [one for one in lines if "SecondsSinceSuccess" in one]
    assert line["pipeline"] == "otc"
    assert line["SecondsSinceSuccess"] == [ROUND] or line["SecondsSinceSuccess"] == ROUND
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == NAMESPACE


# ---------------------------------------------------------------- crashes and concurrency


@dataclass
class MonitorHarness:
    """A monitor of "otc", which is stale; ``sent``: what its outbox sends."""

    harness: FreshnessHarness
    sent: list[dict[str, Any]] = field(default_factory=list)
    die_at: tuple[int, Moment] | None = None
    calls: int = 0

    def __post_init__(self) -> None:
        table = self.harness.service.dynamodb
        table.before = lambda operation, request: self._call("before")
        table.after = lambda operation, request: self._call("after")

    def _call(self, moment: Moment) -> None:
        self.calls += moment == "before"
        if self.die_at == (self.calls, moment):
            raise Crashed

    def _publish(self, title: str, text: str, facts: dict[str, Any]) -> None:
        self._call("before")
        self.sent.append(facts)
        self._call("after")

    @property
    def monitor(self) -> FreshnessMonitor:
        outbox = make_outbox(self.harness.service, self._publish)
        return make_freshness_monitor(self.harness.service, outbox, definition_pages({}))

    def evaluate(self) -> FreshnessFindings:
        findings = FreshnessFindings()
        texts = {name: to_json(each) for name, each in self.harness.definitions.items()}
        self.monitor.evaluate(texts, self.harness.service.deadline(), findings)
        return findings

    def resend(self) -> None:
        """What reconcile does with messages that were not sent, once their claims have ended."""
        self.harness.service.clock.sleep(CLAIM_SECONDS)
        outbox = self.monitor.outbox
        ids = [str(one["message_id"]) for one in self.harness.service.dynamodb.documents("outbox#")]
        outbox.send_unsent(ids, self.harness.service.deadline())


def just_stale() -> MonitorHarness:
    harness = fresh()
    harness.service.clock.sleep(2 * DAY)
    return MonitorHarness(harness)


def just_fresh() -> MonitorHarness:
    harness = fresh()
    harness.rounds(2 * DAY)
    harness.run()
    return MonitorHarness(harness)


def late() -> MonitorHarness:
    harness = slow()
    harness.service.clock.sleep(21 * HOUR)
    return MonitorHarness(harness)


MAKERS = [(just_stale, "stale"), (just_fresh, "fresh again"), (late, "will be late")]


@pytest.mark.parametrize(("make", "what"), MAKERS)
def test_a_crash_at_any_call_loses_no_notification_and_doubles_none_but_after_sending(
    make: Callable[[], MonitorHarness], what: str
) -> None:
    whole = make()
    whole.evaluate()
    assert [facts["what"] for facts in whole.sent] == [what]
    events = len(set(whole.harness.service.events.ids))
    for number in range(1, whole.calls + 1):
        for moment in ("before", "after"):
            crashing = make()
            crashing.die_at = (number, moment)
            with pytest.raises(Crashed):
                crashing.evaluate()
            sent = len(crashing.sent)
            crashing.die_at = None
            crashing.resend()
            crashing.evaluate()
            crashing.evaluate()
            names = {facts["what"] for facts in crashing.sent}
            assert names == {what}, (number, moment)
            assert len(set(crashing.harness.service.events.ids)) == events, (number, moment)
            assert len(crashing.sent) <= 1 + sent, (number, moment)
            assert not list(crashing.harness.service.dynamodb.documents("outbox#"))


def test_two_rounds_at_the_same_time_notify_once() -> None:
    stale = just_stale()
    service, other = stale.harness.service, stale.monitor
    texts = {"otc": to_json(stale.harness.definition)}
    before = service.dynamodb.before
    raced: list[str] = []

    def race(operation: str, request: dict[str, Any]) -> None:
        before(operation, request)
        if operation == "TransactWriteItems" and not raced:
            raced.append(operation)
            other.evaluate(texts, service.deadline(), FreshnessFindings())

    service.dynamodb.before = race
    findings = stale.evaluate()
    assert raced == ["TransactWriteItems"]
    assert findings.changes == []
    assert len(stale.sent) == 1


def test_a_success_between_reading_and_writing_is_not_reported_as_stale() -> None:
    stale = just_stale()
    service = stale.harness.service
    raced: list[str] = []

    def race(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems" and not raced:
            raced.append(operation)
            stale.harness.run()

    service.dynamodb.before = race
    assert stale.evaluate().changes == []
    assert raced == ["TransactWriteItems"]
    assert stale.evaluate() == FreshnessFindings()
    assert stale.sent == []


def test_one_pipeline_that_cannot_be_evaluated_hides_no_other() -> None:
    harness = fresh()
    harness.definitions["p2p"] = monitored()
    monitor = MonitorHarness(harness)
    monitor.evaluate()
    table = harness.service.table
    broken = {"last_success_started_at": "yesterday"}
    table.update(table.set(pipeline_key("otc"), broken, ""), harness.service.deadline())
    harness.service.clock.sleep(2 * DAY)
    with logged() as lines:
        findings = monitor.evaluate()
    assert (findings.failed, findings.stale) == (["otc"], ["p2p"])
    assert "freshness is not known" in [line.getMessage() for line in lines]


def test_a_stored_rule_that_cannot_be_read_any_more_is_written_anew() -> None:
    """A new version of the time zones may lack one."""
    harness = fresh()
    stored = harness.item()["freshness"] | {"fresh_within": "06:30 Europe/Nowhere"}
    table = harness.service.table
    table.update(table.set(pipeline_key("otc"), {"freshness": stored}, ""), harness.service.deadline())
    assert harness.run_commands.list_pipelines({}, harness.service.deadline())["freshness"] == {}
    assert harness.round().failed == []
    assert harness.item()["freshness"]["fresh_within"] == DAY


def test_a_table_that_is_busy_is_left_to_the_next_round() -> None:
    stale = just_stale()
    service = stale.harness.service

    def refuse(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            raise client_error("ProvisionedThroughputExceededException", operation)

    service.dynamodb.before = refuse
    assert stale.evaluate().failed == ["otc"]
    service.dynamodb.before = lambda operation, request: None
    assert stale.evaluate().changes == ["otc: STALE"]


def test_slow_channels_delay_a_page_by_a_bounded_time() -> None:
    harness = FreshnessHarness()
    harness.definitions = {f"p-{number}": monitored() for number in range(10)}
    monitor = MonitorHarness(harness)
    monitor.evaluate()
    harness.service.clock.sleep(2 * DAY)
    monitor._publish = lambda title, text, facts: harness.service.clock.sleep(15.0)  # type: ignore[method-assign]
    began = harness.service.clock.now
    assert len(monitor.evaluate().changes) == 10
    assert harness.service.clock.now - began <= SEND_SECONDS + 15.0
    assert len(list(harness.service.dynamodb.documents("outbox#"))) == 2 * 8  # and as many events


# ---------------------------------------------------------------- many pipelines


def test_a_round_evaluates_500_pipelines_with_a_bounded_number_of_requests() -> None:
    harness = FreshnessHarness()
    harness.definitions = {f"p-{number:03}": monitored() for number in range(10 * MAX_PAGES)}
    harness.round()
    requests: list[str] = []
    harness.service.dynamodb.before = lambda operation, request: requests.append(operation)
    harness.service.clock.sleep(ROUND)
    began = harness.service.clock.now
    harness.round()
    assert requests.count("TransactGetItems") == MAX_PAGES
    assert set(requests) <= {"TransactGetItems", "GetItem", "Query"}
    assert harness.service.clock.now - began < 60.0


def test_more_pipelines_are_evaluated_in_turn() -> None:
    harness = FreshnessHarness()
    count = 10 * MAX_PAGES + 20
    harness.definitions = {f"p-{number:04}": monitored() for number in range(count)}
    harness.round()
    seen = len(list(harness.service.dynamodb.documents("pipeline#")))
    assert seen == 10 * MAX_PAGES
    harness.round()
    assert len(list(harness.service.dynamodb.documents("pipeline#"))) == count


def test_data_that_is_stale_after_a_failure_names_the_step_and_the_reason_of_celonis() -> None:
    harness = fresh()
    run_id = str(harness.start()["runs"][0]["run_id"])
    service = harness.service
    message = f"Data job {JOB} failed in Celonis: no space left. {FAIL_HINT}"
    failed = {"outcome": "FAILED", "error": "JobFailed", "message": message, "name": "ERP extraction"}
    service.records.save_step(service.records.get(run_id), "job-0", failed, service.deadline())
    harness.fail(run_id)
    harness.rounds(2 * DAY)
    text, facts = notices(harness, "stale")
    assert facts["step"] == f'data job "ERP extraction" ({JOB})'
    reason = f'Data job "ERP extraction" ({JOB}) failed in Celonis: no space left.'
    assert f"Its last run, {run_id}, failed (JobFailed). {reason}\n" in text

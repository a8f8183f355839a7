"""The state of many pipelines in one answer, and runs of a time span."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import job_durations
from celonis_refresh.steps.polling.durations import add_duration
from celonis_refresh.timing import epoch, iso
from celonis_refresh.workflow.pause import PipelinePauses
from tests.fakes.clock import START
from tests.fakes.service import JOB, RUN, job_definition
from tests.unit.workflow.commands_harness import CommandsHarness


def details(harness: CommandsHarness, **query: str) -> dict[str, Any]:
    return harness.run_commands.list_pipelines({"runs": "5", **query}, harness.service.deadline())


def pause(harness: CommandsHarness, name: str) -> None:
    service = harness.service
    pauses = PipelinePauses(service.table, harness.executions, harness.defined, service.clock)
    pauses.pause(name, "me", "audit", service.deadline())


def learn(harness: CommandsHarness, seconds: float) -> None:
    document = add_duration(None, seconds, succeeded=True)
    item = {"pk": job_durations(JOB, "FULL"), **document, "expires": int(START) * 2}
    harness.service.table.transact([harness.service.table.put(item)], harness.service.deadline())


def test_each_pipeline_is_shown_with_its_state_and_its_last_runs() -> None:
    harness = CommandsHarness()
    learn(harness, 300.0)
    harness.succeed(RUN)
    waits = harness.start()["runs"][0]["run_id"]
    harness.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}], fresh_within=86400)
    pause(harness, "p2p")
    answer = details(harness)
    assert answer["pipelines"] == ["otc", "p2p"]
    otc, p2p = answer["details"]
    assert [run["run_id"] for run in otc["runs"]] == [waits, RUN]
    assert otc["runs"][1]["duration_seconds"] >= 0
    assert (otc["active_run"], otc["last_success"]["run_id"], otc["expected_seconds"]) == (waits, RUN, 300)
    assert otc["seconds_since_last_success"] >= 0
    assert (p2p["paused"], p2p["pause"]["reason"], p2p["runs"]) == (True, "audit", [])
    assert p2p["freshness"]["fresh_within"] == 86400
    assert list(answer["freshness"]) == ["p2p"]
    assert p2p["expected_seconds"] is None


def test_a_success_before_the_last_runs_is_shown() -> None:
    harness = CommandsHarness()
    harness.succeed(RUN)
    later = harness.start()["runs"][0]["run_id"]
    (otc,) = details(harness, runs="1")["details"]
    assert [run["run_id"] for run in otc["runs"]] == [later]
    assert otc["last_success"]["run_id"] == RUN


def test_fifty_pipelines_cost_a_bounded_number_of_requests() -> None:
    harness = CommandsHarness()
    for number in range(60):
        harness.definitions[f"p-{number:02d}"] = job_definition(jobs=[{"job": f"job-{number}"}])
    harness.service.dynamodb.calls.clear()
    first = details(harness)
    assert len(first["details"]) == 50
    calls = harness.service.dynamodb.calls
    assert (calls.count("TransactGetItems"), calls.count("Query")) == (2, 50)
    assert len(details(harness, after=first["next"])["details"]) == 11
    harness.service.dynamodb.calls.clear()
    details(harness, runs="0")
    assert "Query" not in harness.service.dynamodb.calls


def test_an_open_run_is_shown_with_what_is_expected_of_it() -> None:
    harness = CommandsHarness()
    learn(harness, 300.0)
    shown = harness.requests.show(RUN, {}, harness.service.deadline())
    assert shown["expected_seconds"] == shown["expected_seconds_left"] == 300
    assert shown["steps"]["job-0"]["expected_seconds"] == 300
    assert epoch(shown["expected_end"]) == harness.service.clock.now + 300


def test_a_run_that_waits_has_no_expected_end() -> None:
    harness = CommandsHarness()
    learn(harness, 300.0)
    records, deadline = harness.service.records, harness.service.deadline()
    state = {"began": harness.service.clock.now, "waiting_for": "run other-1"}
    records.save_step(records.get(RUN), "job-0", state, deadline)
    shown = harness.show(RUN)
    assert (shown["expected_end"], shown["expected_seconds_left"]) == (None, 300)


def test_without_the_duration_of_each_step_nothing_is_expected_of_a_run() -> None:
    harness = CommandsHarness()
    harness.definitions["p2p"] = job_definition(jobs=[{"job": JOB}, {"job": "job-b"}])
    learn(harness, 300.0)
    p2p = details(harness)["details"][1]
    assert p2p["expected_seconds"] is None
    harness.succeed(RUN)
    shown = harness.show(harness.start("p2p")["runs"][0]["run_id"])
    names = ("expected_seconds", "expected_seconds_left", "expected_end")
    assert [shown[name] for name in names] == [None, None, None]
    assert shown["steps"]["job-0"]["expected_seconds"] == 300


@pytest.mark.parametrize("limit", ["1", "2", "100"])
def test_runs_of_a_span_are_listed_page_by_page(limit: str) -> None:
    harness = CommandsHarness()
    started = [RUN]
    times = [START]
    for _ in range(5):
        harness.fail(started[-1])
        harness.service.clock.sleep(3600)
        times.append(harness.service.clock.now)
        started.append(harness.start()["runs"][0]["run_id"])
    created = [harness.service.records.get(run_id).item["created_at"] for run_id in started]
    query = {"since": created[1], "until": created[4], "limit": limit}
    found: list[str] = []
    before: str | None = ""
    while before is not None:
        page = harness.requests.list({**query, "before": before} if before else query)
        found += [run["run_id"] for run in page["runs"]]
        before = page["before"]
    assert found == started[3:0:-1]
    offset = {"since": created[4].replace("Z", "+00:00")}
    assert [run["run_id"] for run in harness.requests.list(offset)["runs"]] == started[:3:-1]
    assert harness.requests.list({"until": iso(START)})["runs"] == []
    assert harness.service.records.get(started[-1]).status is RunStatus.OPENING

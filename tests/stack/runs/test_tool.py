"""The command line tool against the local stack, without options, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import state_files
from local.serve import LocalService
from tests.cli.fake_api import ToolProcess, environment
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import WORKFLOW_SUCCEEDED, DeployedService


@pytest.fixture
def tool(tmp_path: Path, local_service: LocalService) -> Iterator[ToolProcess]:
    home = {"HOME": str(tmp_path)}
    path = state_files.tool_file({"XDG_STATE_HOME": str(tmp_path / ".local" / "state")})
    with state_files.announced(path, local_service.addresses(), local_service.environment()):
        yield ToolProcess(tmp_path, {**environment(tmp_path), **home})


def test_a_run_is_started_watched_failed_retried_and_succeeds(
    service: DeployedService, celonis: CelonisControls, tool: ToolProcess
) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    pipeline = service.pipeline(jobs=[job], loads=[model.id])
    good = tool("start", pipeline, "--watch", "--reason", "the first", "--json")
    assert good.code == 0, good
    assert (good.json["status"], good.json["options"]["reasons"][0]["text"]) == ("SUCCEEDED", "the first")
    assert f"run {good.json['run_id']} SUCCEEDED" in good.err

    celonis.set_job(job, outcome="FAIL", error_messages=["Column VBELN is missing."])
    started = tool("start", pipeline)
    assert started.code == 0
    failed = tool("watch", pipeline)
    assert (failed.code, failed.err) == (1, "")
    assert "JobFailed" in failed.out
    assert "Column VBELN is missing." in failed.out
    shown = tool("show", pipeline, "--json").json
    assert (shown["active_run"], shown["last_success"]["run_id"]) == (None, good.json["run_id"])

    celonis.set_job(job, outcome="SUCCESS")
    retried = tool("retry", pipeline, "--watch")
    assert (retried.code, retried.err) == (0, ""), retried
    assert "Retried" in retried.out
    listed = tool("runs", pipeline, "--json").json["runs"]
    assert [run["status"] for run in listed] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]


def test_a_run_is_cancelled(service: DeployedService, celonis: CelonisControls, tool: ToolProcess) -> None:
    pipeline = service.pipeline(jobs=[celonis.job(seconds=60)])
    run_id = tool("start", pipeline, "--json").json["runs"][0]["run_id"]
    service.running(run_id)
    ended = tool("cancel", pipeline)
    assert (ended.code, ended.err) == (0, "")
    assert f"Cancelling run {run_id}." in ended.out
    watched = tool("watch", run_id)
    assert watched.code == 1
    assert f"run {run_id} ABORTED" in watched.out


def test_bad_input_is_refused_by_the_service_in_one_sentence(
    service: DeployedService, tool: ToolProcess
) -> None:
    for arguments in (("start", "unknown"), ("show", "unknown"), ("retry", "unknown"), ("watch", "unknown")):
        ended = tool(*arguments)
        assert (ended.code, ended.out) == (2, ""), ended
        assert ended.err.startswith("Error: ")
        assert ended.err.count("\n") == 1


def test_the_doctor_finds_nothing_wrong_with_the_stack_and_a_pipeline_that_lacks_its_job(
    service: DeployedService, celonis: CelonisControls, tool: ToolProcess
) -> None:
    good, bad = service.pipeline(jobs=[celonis.job()]), service.pipeline(jobs=["no-such-job"])
    ended = tool("doctor", "--json")
    assert ended.code == 1, ended
    found = ended.json["findings"]
    levels = {each["check"]: each["level"] for each in found if each["check"] != "pipelines"}
    assert levels.pop("version") == "ok", found
    assert {levels[name] for name in ("credentials", "stack", "alarms", "dead letters")} == {"ok"}, found
    # Other tests of this stack make connections that Celonis refuses.
    signed_in = [each for each in found if each["check"] == "celonis" and each["level"] == "ok"]
    assert any(each["message"].startswith("default: ") for each in signed_in), found
    errors = [each["subject"] for each in found if each["check"] == "pipelines" and each["level"] == "error"]
    assert any(bad in subject for subject in errors)
    assert not any(good in subject for subject in errors)


def test_redrive_records_an_end_and_starts_what_a_schedule_could_not(
    service: DeployedService, celonis: CelonisControls, tool: ToolProcess
) -> None:
    with service.undeliverable_events() as letters:
        name = service.execute({"pipeline": service.pipeline(jobs=[celonis.job()])})
        assert service.ended(name)["status"] == "SUCCEEDED"
    missed = {"pipeline": service.pipeline(jobs=[celonis.job()]), "delivery": f"schedule/{name}"}
    given_up = {"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": letters[0]}
    for body in (given_up, missed):
        service.stack.client("sqs").send_message(
            QueueUrl=service.stack.outputs["DeadLettersUrl"], MessageBody=json.dumps(body)
        )
    counted = [each for each in tool("doctor", "--json").json["findings"] if each["check"] == "dead letters"]
    assert counted[0]["message"].startswith("2 messages")
    ended = tool("doctor", "--redrive", "--yes", "--json")
    assert ended.code == 0, ended
    assert {each["subject"] for each in ended.json["processed"]} == {name, missed["pipeline"]}
    assert service.closed(name)["status"] == "SUCCEEDED"
    (started,) = [each for each in ended.json["processed"] if each["kind"] == "start by a schedule"]
    assert service.closed(f"redrive-{started['message_id']}")["status"] == "SUCCEEDED"


def test_deliveries_say_what_became_of_each_event(
    service: DeployedService, celonis: CelonisControls, tool: ToolProcess
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    events = {name: service.name(name) for name in ("first", "second", "other")}
    started = service.webhook(source, delivery=events["first"]).json()["runs"][0]
    merged = service.webhook(source, delivery=events["second"]).json()["runs"][0]
    service.webhook(source, {**WORKFLOW_SUCCEEDED, "action": "requested"}, delivery=events["other"])
    service.webhook(source, delivery=events["first"])

    listed = tool("deliveries", source, "--json")
    assert (listed.code, listed.err) == (0, ""), listed
    found = {(each["delivery"], each["result"]): each for each in listed.json["deliveries"]}
    assert set(found) == {
        (events["first"], "started"),
        (events["second"], "merged"),
        (events["other"], "ignored"),
        (events["first"], "duplicate"),
    }
    assert found[events["first"], "started"]["runs"] == [started]
    assert found[events["second"], "merged"]["runs"] == [merged]
    assert found[events["other"], "ignored"]["reason"]
    times = [each["received_at"] for each in listed.json["deliveries"]]
    assert times == sorted(times, reverse=True)

    shown = tool("deliveries", source)
    assert (shown.code, shown.err) == (0, ""), shown
    for name, result, run in (("first", "started", started), ("second", "merged", merged)):
        (line,) = [line for line in shown.out.splitlines() if events[name] in line and result in line.split()]
        assert f"{pipeline} {run['run_id']}" in line
    newest = tool("deliveries", source, "--limit", "2", "--json").json
    older = tool("deliveries", source, "--before", newest["before"], "--json").json
    assert newest["deliveries"] + older["deliveries"] == listed.json["deliveries"]
    of_all = tool("deliveries", "--limit", "1000", "--json").json["deliveries"]
    assert [each for each in of_all if each["source"] == source] == listed.json["deliveries"]

    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    assert {service.closed(run["run_id"])["status"] for run in (started, merged)} == {"SUCCEEDED"}


def test_sources_test_explains_each_rule_and_starts_nothing(
    service: DeployedService, celonis: CelonisControls, tool: ToolProcess
) -> None:
    job = celonis.job()
    good, failed = service.pipeline(jobs=[job]), service.pipeline(jobs=[job])
    source = service.source(
        {"pipeline": good},
        {"pipeline": failed, "when": "workflow_run.conclusion == 'failure'"},
        {"pipeline": failed, "events": ["push"], "when": "ref == 'refs/heads/main'"},
        {"pipeline": "no-such-pipeline"},
    )
    (tool.home / "event.json").write_text(json.dumps(WORKFLOW_SUCCEEDED), encoding="utf-8")
    before = everything_that_went_out(service, celonis)
    arguments = ("sources", "test", source, "event.json", "-H", "x-github-event:workflow_run")
    tried = tool(*arguments, "--json")
    assert (tried.code, tried.err) == (1, ""), tried  # one rule cannot be applied
    (event,) = tried.json["events"]
    assert [rule["action"] for rule in event["rules"]] == ["start", "nothing", "nothing", "error"]
    assert all(rule["reason"] for rule in event["rules"])
    lines = tool(*arguments).out.splitlines()
    for number, (pipeline, action) in enumerate(
        [(good, "start"), (failed, "nothing"), (failed, "nothing"), ("no-such-pipeline", "error")], start=1
    ):
        assert any(line.split()[:3] == [str(number), pipeline, action] for line in lines), lines
    assert everything_that_went_out(service, celonis) == before
    assert tool("deliveries", source, "--json").json["deliveries"] == []
    assert service.is_free(good)


def everything_that_went_out(service: DeployedService, celonis: CelonisControls) -> dict[str, object]:
    """What an event leaves behind: requests to Celonis, executions, items of the table, notifications."""
    return {
        "requests": celonis.all_requests(),
        "executions": [one.name for one in service.stack.executions],
        "items": sorted(json.dumps(item, sort_keys=True) for item in service.items()),
        "notices": service.notices(),
    }

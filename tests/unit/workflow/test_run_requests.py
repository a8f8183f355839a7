"""The runs API: starting, showing and listing runs."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.pipelines.definition import Mode
from celonis_refresh.pipelines.errors import InvalidTrigger, UnknownPipeline
from celonis_refresh.runs.errors import PipelineSkips, RunNotFound, TableBusy
from celonis_refresh.workflow.requests import principal, read_cancel, read_json
from tests.fakes.dynamodb import client_error
from tests.fakes.service import JOB, RUN, job_definition
from tests.unit.workflow.commands_harness import CALLER, CommandsHarness

KEY = "2f1c7c1e-idempotency"


def started(harness: CommandsHarness, key: str | None = None, **body: Any) -> dict[str, Any]:
    return harness.requests.start({"pipeline": "p2p", **body}, CALLER, key, harness.service.deadline())


@pytest.fixture
def harness() -> CommandsHarness:
    made = CommandsHarness()
    made.definitions["p2p"] = job_definition(jobs=[{"job": "job-b"}], loads=[{"data_model": "model-b"}])
    return made


def test_a_start_is_claimed_and_handed_over(harness: CommandsHarness) -> None:
    reported = started(harness, mode="DELTA", tables=["VBAK"], reason="why")
    run_id = reported["runs"][0]["run_id"]
    assert reported == {"runs": [{"pipeline": "p2p", "run_id": run_id, "status": "started"}]}
    assert harness.executions.start_requests == [run_id]
    run = harness.service.records.get(run_id)
    (reason,) = run.options.reasons
    assert (run.options.mode, sorted(run.options.tables)) == (Mode.DELTA, ["VBAK"])
    assert (reason.by, reason.text) == (CALLER, "why")


def test_a_start_of_a_busy_pipeline_joins_and_starts_nothing(harness: CommandsHarness) -> None:
    reported = harness.start()
    assert reported["runs"][0]["status"] == "joined"
    assert harness.executions.start_requests == []
    assert harness.slot()["pending"]["run_id"] == reported["runs"][0]["run_id"]


def test_a_start_that_is_skipped_is_an_error_that_names_the_run(harness: CommandsHarness) -> None:
    harness.definitions["otc"] = job_definition(when_running="skip")
    with pytest.raises(PipelineSkips) as reported:
        harness.start()
    assert reported.value.run_id == RUN
    assert "pending" not in harness.slot()


def test_a_key_is_accepted_once(harness: CommandsHarness) -> None:
    first, again = started(harness, KEY), started(harness, KEY)
    run = {**first["runs"][0], "status": "duplicate"}
    assert again == {"runs": [run], "duplicate": True}
    assert "duplicate" not in started(harness, "another key")
    assert harness.start("p2p")["runs"][0]["status"] == "joined"


def test_a_key_of_one_request_swallows_no_other(harness: CommandsHarness) -> None:
    harness.definitions["q"] = job_definition(jobs=[{"job": "job-c"}])
    ann = [started(harness, KEY), started(harness, KEY, pipeline="q"), started(harness, KEY, mode="FULL")]
    ann.append(started(harness, KEY, mode="FULL", tables=["VBAK"]))
    bob = harness.requests.start({"pipeline": "p2p"}, f"{CALLER}-bob", KEY, harness.service.deadline())
    statuses = [one["runs"][0]["status"] for one in (*ann, bob)]
    assert statuses == ["started", "started", "joined", "joined", "joined"]
    assert ann[1]["runs"][0]["pipeline"] == "q"
    assert started(harness, KEY, pipeline="q")["duplicate"] is True


ROLE = "arn:aws:sts::123456789012:assumed-role/Loader"


def _sent_by(harness: CommandsHarness, caller: str) -> str:
    reported = harness.requests.start({"pipeline": "p2p"}, caller, KEY, harness.service.deadline())
    return str(reported["runs"][0]["status"])


def test_a_key_is_the_same_in_the_next_session_of_a_role(harness: CommandsHarness) -> None:
    assert _sent_by(harness, f"{ROLE}/session-1") == "started"
    assert _sent_by(harness, f"{ROLE}/session-2") == "duplicate"
    (run,) = (one for one in harness.service.dynamodb.documents("run#p2p"))
    assert run["options"]["reasons"][0]["by"] == f"{ROLE}/session-1"


@pytest.mark.parametrize(
    "other",
    [
        "arn:aws:sts::210987654321:assumed-role/Loader/session-1",
        "arn:aws:sts::123456789012:assumed-role/Other/session-1",
        "arn:aws-cn:sts::123456789012:assumed-role/Loader/session-1",
        "arn:aws:sts::123456789012:federated-user/Loader",
        "arn:aws:iam::123456789012:user/Loader",
        "arn:aws:iam::123456789012:user/team/Loader",
        "arn:aws:iam::123456789012:root",
    ],
)
def test_a_key_of_one_role_or_user_is_none_of_another(harness: CommandsHarness, other: str) -> None:
    assert _sent_by(harness, f"{ROLE}/session-1") == "started"
    assert _sent_by(harness, other) == "joined"
    assert _sent_by(harness, other) == "duplicate"


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (f"{ROLE}/session", "arn:aws:iam::123456789012:role/Loader"),
        (
            "arn:aws-us-gov:sts::1:assumed-role/AWSReservedSSO_Admin_0a1b/ann@example.com",
            "arn:aws-us-gov:iam::1:role/AWSReservedSSO_Admin_0a1b",
        ),
        ("arn:aws:iam::1:user/assumed-role/x", "arn:aws:iam::1:user/assumed-role/x"),
        ("arn:aws:sts::1:federated-user/ann", "arn:aws:sts::1:federated-user/ann"),
        ("api", "api"),
    ],
)
def test_the_principal_of_a_session_is_its_role(caller: str, expected: str) -> None:
    assert principal(caller) == expected


def test_a_key_sent_again_finishes_what_a_crash_left_undone(harness: CommandsHarness) -> None:
    run_id = started(harness, KEY)["runs"][0]["run_id"]
    harness.executions.known.clear()
    started(harness, KEY)
    assert run_id in harness.executions.known


def test_an_execution_that_cannot_be_started_is_left_to_reconcile(harness: CommandsHarness) -> None:
    def fails(name: str, when: str) -> None:
        raise client_error("ThrottlingException", name)

    harness.executions.hook = fails
    assert started(harness)["runs"][0]["status"] == "started"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "otc",
        {},
        {"pipeline": 1},
        {"pipeline": {"name": "inline"}},
        {"pipeline": "p" * 65},
        {"pipeline": "otc", "mode": "SOMETIMES"},
        {"pipeline": "otc", "mode": {}},
        {"pipeline": "otc", "tables": []},
        {"pipeline": "otc", "tables": [1]},
        {"pipeline": "otc", "tables": ["x" * 257]},
        {"pipeline": "otc", "reason": "x" * 257},
        {"pipeline": "otc", "reason": None},
        {"pipeline": "otc", "run_id": "mine"},
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    harness: CommandsHarness, body: object
) -> None:
    harness.service.dynamodb.calls.clear()
    with pytest.raises(InvalidTrigger) as reported:
        harness.requests.start(body, CALLER, KEY, harness.service.deadline())
    assert reported.value.problems
    assert harness.service.dynamodb.calls == []


@pytest.mark.parametrize("tables", [["VBAK"], "all"])
def test_tables_of_a_pipeline_without_loads_are_refused_and_nothing_is_written(
    harness: CommandsHarness, tables: object
) -> None:
    harness.service.dynamodb.calls.clear()
    with pytest.raises(InvalidTrigger) as caught:
        harness.start("otc", tables=tables)
    assert [problem.field for problem in caught.value.problems] == ["tables"]
    assert harness.service.dynamodb.calls == []


def test_an_unknown_pipeline_is_reported(harness: CommandsHarness) -> None:
    with pytest.raises(UnknownPipeline):
        harness.start("none")


@pytest.mark.parametrize(
    "text",
    ["", "{", "NaN", '{"a": 1, "a": 2}', '{"a": "\\ud800"}', "[" * 100_000, "1" * 5000, '{"a": 1e999}', None],
)
def test_a_body_that_is_no_json_is_refused(text: str | None) -> None:
    with pytest.raises(InvalidTrigger, match="expected a JSON object"):
        read_json(text)


@pytest.mark.parametrize(
    ("text", "drop"), [(None, False), ("", False), ("{}", False), ('{"drop_pending": true}', True)]
)
def test_a_cancel_may_say_nothing(text: str | None, *, drop: bool) -> None:
    assert read_cancel(text).drop_pending is drop


@pytest.mark.parametrize(
    "text", ["null", "[]", '{"drop_pending": 1}', '{"drop_pending": "yes"}', '{"drop": true}']
)
def test_a_cancel_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidTrigger):
        read_cancel(text)


def test_a_run_is_shown_and_an_impossible_id_is_not_read(harness: CommandsHarness) -> None:
    assert harness.show(RUN)["run_id"] == RUN
    harness.service.dynamodb.calls.clear()
    for unknown, calls in (("none", 3), ("x" * 81, 3), ("x" * 3000, 3)):
        with pytest.raises(RunNotFound):
            harness.show(unknown)
        assert len(harness.service.dynamodb.calls) == calls


def test_a_table_that_does_not_answer_is_busy(harness: CommandsHarness) -> None:
    def fails(operation: str, request: dict[str, Any]) -> None:
        raise client_error("ProvisionedThroughputExceededException", operation)

    harness.service.dynamodb.before = fails
    with pytest.raises(TableBusy):
        harness.show(RUN)
    with pytest.raises(TableBusy):
        harness.requests.list({})


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "501"},
        {"since": "yesterday"},
        {"since": "2026-01-01"},
        {"until": "2026-01-01T00:00:00"},
        {"until": "2026-13-01T00:00:00Z"},
        {"since": "0001-01-01T00:00:00+23:59"},
        {"limit": "many"},
        {"limit": "1,2"},
        {"status": "GREEN"},
        {"status": ""},
        {"pipeline": ""},
        {"pipeline": "p" * 65},
        {"before": "x" * 129},
        {"after": "x"},
    ],
)
def test_a_query_that_makes_no_sense_is_refused(harness: CommandsHarness, query: dict[str, str]) -> None:
    with pytest.raises(InvalidTrigger):
        harness.requests.list(query)


def test_runs_are_listed_by_pipeline_and_status(harness: CommandsHarness) -> None:
    harness.fail()
    other = harness.start("p2p")["runs"][0]["run_id"]
    assert [run["run_id"] for run in harness.requests.list({"limit": "1"})["runs"]] == [other]
    assert [run["run_id"] for run in harness.requests.list({"limit": "1", "before": ""})["runs"]] == [other]
    assert [run["run_id"] for run in harness.requests.list({"pipeline": "otc"})["runs"]] == [RUN]
    assert [run["run_id"] for run in harness.requests.list({"status": "FAILED"})["runs"]] == [RUN]
    assert harness.requests.list({"status": "SUCCEEDED"}) == {"runs": [], "before": None}
    assert harness.service.celonis.jobs[JOB].mine == []

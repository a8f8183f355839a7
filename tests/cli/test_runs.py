"""The commands on runs, as they are sent and as they are shown."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from refresh_cli.commands.show import RETRY
from tests.cli.fake_api import CONTROL, ODD, PLAIN, Ended, FakeApi, Tool

RUN = "orders-20261128T100000Z-aaaa1111"
OLD = "orders-20261128T090000Z-bbbb2222"
JOB = "0b8a1f2e-7c4d-4f6a-8e21-3a9d5c7b1e10"
MODEL = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"
OPTIONS = {
    "mode": None,
    "as_defined": True,
    "complete": False,
    "tables": [],
    "united": False,
    "merged": False,
    "warnings": [],
    "reasons": [{"at": "2026-11-28T10:00:00+00:00", "trigger": "t", "by": "arn:x", "text": "by hand"}],
}
DEFINITION = {
    "data_pool": "6f3ad3a2-5b0e-4c7f-9a43-1d2f8c6e0b71",
    "jobs": [{"job": JOB, "mode": "DELTA"}],
    "loads": [{"data_model": MODEL}],
}


def summary(run_id: str = RUN, status: str = "SUCCEEDED", **fields: Any) -> dict[str, Any]:
    known = {
        "run_id": run_id,
        "pipeline": "orders",
        "status": status,
        "created_at": "2026-11-28T10:00:00+00:00",
    }
    return known | fields


def record(status: str = "RUNNING", **fields: Any) -> dict[str, Any]:
    known = {
        **summary(status=status),
        "started_at": "2026-11-28T10:00:01+00:00",
        "options": OPTIONS,
        "definition": DEFINITION,
        "steps": {
            "job-0": {"job": JOB, "name": "ERP", "mode": "DELTA", "noted_at": "2026-11-28T10:00:02+00:00"}
        },
    }
    return known | fields


def pipeline(name: str = "orders", **fields: Any) -> dict[str, Any]:
    """The state of a pipeline; without ``fields``, of one that has never run."""
    known = dict.fromkeys(
        ("pause", "active_run", "waiting", "last_success", "seconds_since_last_success", "freshness")
    )
    return {"pipeline": name, "paused": False, **known, "expected_seconds": None} | fields


def freshness(state: str = "FRESH", **fields: Any) -> dict[str, Any]:
    at = "2026-11-28T10:00:00+00:00"
    known = {"fresh_within": 3600, "last_success_started_at": at, "last_success_at": at}
    return {"state": state, "since": at, "due_at": at, **known} | fields


SUCCEEDED = record("SUCCEEDED", ended_at="2026-11-28T10:05:00+00:00", outcome="Succeeded: all. Good.")
FAILED = record(
    "FAILED",
    ended_at="2026-11-28T10:05:00+00:00",
    error="JobFailed",
    outcome="Data job ERP failed in Celonis: no table. Fix it.",
)


def page(*runs: dict[str, Any], before: str | None = None) -> tuple[int, dict[str, Any]]:
    return 200, {"runs": list(runs), "before": before}


def done(ended: Ended) -> str:
    assert (ended.code, ended.err) == (0, ""), ended
    return ended.out


def test_runs_are_listed_with_their_outcome(tool: Tool, api: FakeApi) -> None:
    ended = summary(ended_at="2026-11-28T10:05:00+00:00", outcome="Succeeded: all. Good.")
    api.answer("GET /runs", page(ended, summary(OLD, "RUNNING"), before="position 1"))
    lines = done(tool("runs", "orders", "--status", "failed")).splitlines()
    assert api.sent[0].query == {"pipeline": "orders", "status": "FAILED", "limit": "20"}
    assert lines[0].split() == ["run", "status", "created", "(UTC)", "took", "pipeline", "outcome"]
    assert lines[1].split() == [
        RUN, "SUCCEEDED", "2026-11-28", "10:00:00", "5", "min", "00", "s", "orders", "Succeeded:", "all.",
    ]  # fmt: skip
    assert lines[2].split()[:2] == [OLD, "RUNNING"]
    assert lines[-1] == "Older runs: refresh runs orders --status FAILED --before 'position 1'"


def test_a_narrow_terminal_shows_whole_ids(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", page(summary()))
    lines = done(tool("runs", COLUMNS="80")).splitlines()
    assert lines[0].split() == ["run", "status", "created", "(UTC)", "took"]
    assert RUN in lines[1]


def test_more_runs_than_a_page_has_are_read_page_by_page(tool: Tool, api: FakeApi) -> None:
    first, second = [summary(f"r{number}") for number in range(100)], [summary("last")]
    api.answer("GET /runs", page(*first, before="p"), page(*second, before="q"))
    ended = tool("runs", "--limit", "101", "--json")
    assert len(ended.json["runs"]) == 101
    assert ended.json["before"] == "q"
    assert [each.query for each in api.sent] == [{"limit": "100"}, {"limit": "1", "before": "p"}]


def test_a_text_of_others_cannot_control_the_terminal(tool: Tool, api: FakeApi) -> None:
    odd = summary(status="FAILED", error="JobFailed", outcome=f"Celonis says {ODD}.")
    api.answer("GET /runs", (200, {"runs": [odd], "before": None}))
    for command in (tool("runs"), tool("runs", FORCE_COLOR="1", TERM="xterm", COLUMNS="200")):
        assert command.code == 0
        shown = re.sub(r"\x1b\[[0-9;]*m", "", command.out)  # the colours of the tool
        assert f"Celonis says {PLAIN}." in shown
        assert not re.search(CONTROL, shown)


def test_times_have_the_zone_of_the_machine_once(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", page(summary(created_at="2026-07-28T10:00:00+00:00")))
    api.answer(f"GET /runs/{RUN}", (200, SUCCEEDED))
    api.answer("GET /pipelines/orders", (200, pipeline()))
    api.answer(
        "GET /pipelines", (200, {"pipelines": ["orders"], "freshness": {}, "details": [], "next": None})
    )
    berlin = {"TZ": "Europe/Berlin"}
    assert "2026-07-28 12:00:00" in done(tool("runs", **berlin))
    for words in (("runs",), ("show",), ("show", RUN), ("show", "orders"), ("watch", RUN)):
        assert done(tool(*words, **berlin)).count("CET/CEST") == 1, words


def test_no_runs(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", page())
    assert done(tool("runs")).startswith("No runs found: stack celonis-refresh (profile")


def test_a_run_is_shown_with_what_to_do(tool: Tool, api: FakeApi) -> None:
    api.answer(f"GET /runs/{RUN}", (200, FAILED))
    out = done(tool("show", RUN))
    for text in (
        "JobFailed",
        "Data job ERP failed in Celonis: no table. Fix it.",
        "arn:x: by hand",
        "4 min 59 s",
    ):
        assert text in out
    assert "data job ERP (DELTA)" in out
    assert out.endswith(f"\n{FIXED}: refresh retry {RUN}\n")
    assert api.sent[1].query == {"pipeline": "orders", "since": FAILED["created_at"], "limit": "100"}


FIXED = f"{RETRY}, once the cause is fixed"
NEW = "orders-20261128T110000Z-cccc3333"
LATE = "orders-20261128T120000Z-dddd4444"
SINCE = "Its pipeline has succeeded since. If that run did less than this one, start the rest"
INLINE = {**DEFINITION, "name": "orders"}


@pytest.mark.parametrize(
    ("fields", "later", "row", "advice"),
    [
        ({}, [], "", f"{FIXED}: refresh retry {RUN}"),
        ({}, [summary(NEW, "FAILED")], "", f"{FIXED}: refresh retry {RUN}"),
        (
            {"definition": INLINE},
            [],
            "",
            "The definition of the run was inline, so it cannot be retried: start its execution again.",
        ),
        (
            {"retried_by": NEW},
            [summary(NEW, "FAILED", ended_at="2026-11-28T11:05:00+00:00")],
            f"retried by  {NEW}, FAILED at 2026-11-28 11:05:00",
            f"To see its retry, and what to do: refresh show {NEW}",
        ),
        (
            {"retried_by": NEW},
            [summary(NEW, "RUNNING")],
            f"retried by  {NEW}, RUNNING",
            f"To follow the run that is active now: refresh watch {NEW}",
        ),
        (
            {"retried_by": NEW},
            [summary(NEW, ended_at="2026-11-28T11:05:00+00:00")],
            f"retried by  {NEW}, SUCCEEDED at 2026-11-28 11:05:00\ns",
            "Its retry has succeeded: there is nothing left to do.",
        ),
        (
            {"retried_by": NEW},
            [summary(LATE, ended_at="2026-11-28T12:05:00+00:00"), summary(NEW, "FAILED")],
            f"later success  {LATE}, SUCCEEDED at 2026-11-28 12:05:00",
            f"{SINCE}: refresh start orders",
        ),
    ],
)
def test_a_failed_run_says_what_happened_since(
    tool: Tool, api: FakeApi, fields: dict[str, Any], later: list[dict[str, Any]], row: str, advice: str
) -> None:
    api.answer(f"GET /runs/{RUN}", (200, FAILED | fields))
    api.answer("GET /runs", page(*later, summary(RUN, "FAILED")))
    out = done(tool("show", RUN))
    assert row in re.sub(" {2,}", "  ", out)
    assert out.splitlines()[-1] == advice


def test_steps_that_a_run_did_not_reach_are_not_pending(tool: Tool, api: FakeApi) -> None:
    api.answer(f"GET /runs/{RUN}", (200, FAILED))
    assert re.search("load-0 .* not started", done(tool("show", RUN)))


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"status": "SUCCESS"}, "ended  status in Celonis: SUCCESS"),
        ({"status": "CANCELLING", "cancel_requested": True}, "not ended  status in Celonis: CANCELLING"),
        ({"stopping": 1, "last_error": "No answer."}, "not ended"),
    ],
)
def test_a_step_does_not_run_any_longer_than_its_run(
    tool: Tool, api: FakeApi, status: dict[str, Any], shown: str
) -> None:
    step = {**record()["steps"]["job-0"], **status}
    cancelled = record("ABORTED", ended_at="2026-11-28T10:05:00+00:00", outcome="Cancelled.")
    api.answer(f"GET /runs/{RUN}", (200, {**cancelled, "steps": {"job-0": step}}))
    row = next(line for line in done(tool("show", RUN)).splitlines() if line.startswith("job-0"))
    assert re.sub(" {2,}", "  ", row) == f"job-0  data job ERP (DELTA)  {shown}"


def test_a_step_that_waited_when_its_run_ended_has_not_started(tool: Tool, api: FakeApi) -> None:
    waited = {"job-0": {"job": JOB, "mode": "DELTA", "waiting_for": "run other"}}
    api.answer(f"GET /runs/{RUN}", (200, {**FAILED, "steps": waited}))
    assert re.search("job-0 .* not started +run other", done(tool("show", RUN)))


def test_jobs_and_models_have_the_names_of_the_definition(tool: Tool, api: FakeApi) -> None:
    named = {
        **DEFINITION,
        "jobs": [{"job": JOB, "mode": "DELTA", "name": "Extraction"}],
        "loads": [{"data_model": MODEL, "name": "Order to cash"}],
    }
    loads = {"load-0": {"data_model": MODEL, "kind": "partial", "tables": ["VBAK"], "waiting_for": "run x"}}
    waits = {"job-0": {"job": JOB, "mode": "DELTA", "waiting_for": "run other"}}
    for steps in ({}, waits, waits | loads):
        api.answer(f"GET /runs/{RUN}", (200, record(definition=named, steps=steps)))
        out = done(tool("show", RUN))
        assert "data job Extraction (DELTA)" in out
        assert "load of Order to cash" in out
        assert MODEL not in out


@pytest.mark.parametrize("command", ["show", "watch", "retry", "cancel"])
def test_a_name_of_nothing_names_the_known_pipelines(tool: Tool, api: FakeApi, command: str) -> None:
    hint = "Check the name. Known pipelines: orders."
    unknown = {
        "error": "UnknownPipeline",
        "message": f"There is no pipeline named 'ordrs'. {hint}",
        "hint": hint,
    }
    api.answer("GET /pipelines/ordrs", (404, unknown))
    api.answer("GET /runs/ordrs", (404, {"error": "RunNotFound", "message": "There is no record."}))
    api.answer("GET /runs", page())
    ended = tool(command, "ordrs")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"Error: There is neither a pipeline nor a run of this name: ordrs. {hint}\n"


def test_a_failed_run_is_shown_even_if_others_cannot_be_listed(tool: Tool, api: FakeApi) -> None:
    api.answer(f"GET /runs/{RUN}", (200, FAILED))
    api.answer("GET /runs", (403, {"message": "Forbidden"}))
    assert f"{FIXED}: refresh retry {RUN}" in done(tool("show", RUN))


def test_a_run_that_requested_an_unknown_table_is_not_retried(tool: Tool, api: FakeApi) -> None:
    failed = {**FAILED, "error": "UnknownTable", "can_retry": False}
    api.answer(f"GET /runs/{RUN}", (200, failed))
    api.answer("GET /runs", page())
    out = done(tool("show", RUN))
    assert out.endswith("A retry would fail in the same way. To start a new run: refresh start orders\n")


def test_a_pipeline_whose_last_run_cannot_be_retried_is_started(tool: Tool, api: FakeApi) -> None:
    failed = summary(RUN, "FAILED", error="UnknownTable")
    api.answer("GET /pipelines/orders", (200, pipeline()))
    api.answer("GET /runs", page(failed))
    api.answer(f"GET /runs/{RUN}", (200, {**FAILED, "error": "UnknownTable", "can_retry": False}))
    out = done(tool("show", "orders"))
    assert out.endswith("A retry would fail in the same way. To start a new run: refresh start orders\n")
    for unreadable in ((403, {"message": "Forbidden"}), (200, b"<html>")):
        api.answer(f"GET /runs/{RUN}", unreadable)
        assert f"{FIXED}: refresh retry {RUN}\n" in done(tool("show", "orders"))


def test_a_pipeline_whose_last_run_had_an_inline_definition_is_not_started_instead(
    tool: Tool, api: FakeApi
) -> None:
    inline = {**DEFINITION, "name": "orders"}
    api.answer("GET /pipelines/orders", (200, pipeline()))
    api.answer("GET /runs", page(summary(RUN, "FAILED")))
    api.answer(f"GET /runs/{RUN}", (200, {**FAILED, "definition": inline, "can_retry": False}))
    out = done(tool("show", "orders"))
    assert out.endswith("was inline, so it cannot be retried: start its execution again.\n")


def test_a_run_that_waits_for_the_end_of_a_pause_names_the_command(tool: Tool, api: FakeApi) -> None:
    waiting = {"run_id": RUN, "pipeline": "orders", "status": "WAITING", "options": OPTIONS}
    api.answer(f"GET /runs/{RUN}", (200, {**waiting, "waiting_for_run": None}))
    assert done(tool("show", RUN)).endswith("To let it begin: refresh resume orders\n")
    api.answer(f"GET /runs/{RUN}", (200, {**waiting, "waiting_for_run": OLD}))
    assert done(tool("show", RUN)).endswith(f"To follow it: refresh watch {RUN}\n")


def ended_at(hour: int, run_id: str, status: str, **fields: Any) -> dict[str, Any]:
    return summary(run_id, status, ended_at=f"2026-11-28T{hour:02}:05:00+00:00", **fields)


def test_a_pipeline_that_fails_says_what_since_when_and_what_to_do(tool: Tool, api: FakeApi) -> None:
    bad = [
        ended_at(12, LATE, "FAILED", error="JobFailed", outcome="Data job ERP failed. Fix it."),
        ended_at(11, "cancelled", "ABORTED"),
        ended_at(10, NEW, "TIMED_OUT"),
    ]
    api.answer("GET /pipelines/orders", (200, pipeline()))
    api.answer("GET /runs", page(*bad, summary(OLD), ended_at(8, "before", "FAILED")))
    out = re.sub(" {2,}", "  ", done(tool("show", "orders")))
    for text in (
        f"last run  FAILED at 2026-11-28 12:05:00, run {LATE}\n",
        "error  JobFailed (docs/errors.md)\n",
        "outcome  Data job ERP failed. Fix it.\n",
        "failing since  2026-11-28 10:05:00, 2 runs\n",
        f"To see each step of the last run: refresh show {LATE}\n{FIXED}: refresh retry {LATE}\n",
    ):
        assert text in out
    api.answer("GET /pipelines/orders", (200, pipeline(active_run=RUN)))
    assert "refresh retry" not in done(tool("show", "orders")), "the API refuses a retry during a run"


def test_a_pipeline_whose_last_run_was_cancelled_has_no_cause_to_fix(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines/orders", (200, pipeline()))
    api.answer("GET /runs", page(ended_at(9, OLD, "ABORTED", error="Canceled"), summary()))
    out = done(tool("show", "orders"))
    assert "Canceled\n" in out
    assert "failing since" not in out
    assert f"{RETRY}: refresh retry {OLD}\n" in out


def test_a_pipeline_whose_last_run_succeeded_has_no_failure(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines/orders", (200, pipeline()))
    api.answer("GET /runs", page(summary(), ended_at(9, OLD, "FAILED")))
    out = done(tool("show", "orders"))
    assert "FAILED" not in out
    assert "refresh" not in out


def test_a_list_of_pipelines_names_the_command_that_says_what_is_wrong(tool: Tool, api: FakeApi) -> None:
    failed = pipeline(runs=[summary(RUN, "FAILED")])
    good = pipeline("billing", runs=[summary()])
    bad = pipeline("bad", invalid="The definition …", runs=[])

    def shown(*details: dict[str, Any]) -> str:
        names = [each["pipeline"] for each in details]
        found: dict[str, Any] = {"pipelines": names, "freshness": {}, "details": list(details), "next": None}
        api.answer("GET /pipelines", (200, found))
        return done(tool("show"))

    hint = "To see what is wrong, and what to do: refresh show"
    assert shown(failed, good).endswith(f"{hint} orders\n")
    assert shown(failed, bad).endswith(f"{hint} PIPELINE\n")
    assert hint not in shown(good)


def test_a_run_in_aws_is_shown_with_its_execution(tool: Tool, api: FakeApi) -> None:
    arn = f"arn:aws:states:eu-central-1:123456789012:execution:m:{RUN}"
    api.answer(f"GET /runs/{RUN}", (200, {**SUCCEEDED, "execution_arn": arn}))
    assert (
        f"https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1#/v2/executions/details/{arn}"
        in (done(tool("show", RUN, COLUMNS="300")))
    )


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_a_run_in_another_partition_has_a_link_to_its_console(
    tool: Tool, api: FakeApi, partition: str, region: str, host: str
) -> None:
    arn = f"arn:{partition}:states:{region}:123456789012:execution:m:{RUN}"
    api.answer(f"GET /runs/{RUN}", (200, {**SUCCEEDED, "execution_arn": arn}))
    assert f"https://{host}/states/home?region={region}#/v2/executions/details/{arn}" in done(
        tool("show", RUN, COLUMNS="300")
    )


def test_a_pipeline_is_shown(tool: Tool, api: FakeApi) -> None:
    state = {
        "pipeline": "orders",
        "paused": True,
        "pause": {"by": "arn:x", "at": "2026-11-28T10:00:00+00:00", "reason": "release"},
        "active_run": RUN,
        "waiting": {"run_id": OLD},
        "last_success": summary(ended_at="2026-11-28T10:05:00+00:00"),
        "seconds_since_last_success": 7500,
        "freshness": freshness("STALE"),
        "expected_seconds": 312,
    }
    api.answer("GET /pipelines/orders", (200, state))
    api.answer("GET /runs", page(summary(RUN, "RUNNING"), summary()))
    out = done(tool("show", "orders"))
    for text in (
        "since 2026-11-28 10:00:00 by arn:x: release\n",
        "To end the pause: refresh resume orders\n",
        f"To follow the active run: refresh watch {RUN}\n",
        f"2026-11-28 10:05:00, run {RUN}",
        "STALE since",
        "5 min 12 s",
        OLD,
    ):
        assert text in out
    assert "last run" not in out
    assert tool("show", "orders", "--json").json == state


def shown_pipeline(tool: Tool, api: FakeApi, **fields: Any) -> str:
    api.answer("GET /pipelines/orders", (200, pipeline(**fields)))
    api.answer("GET /runs", page())
    return re.sub(" {2,}", "  ", done(tool("show", "orders")))


DUE = "2026-11-28T11:00:00+00:00"
NEVER: dict[str, Any] = {"last_success_started_at": None, "last_success_at": None, "due_at": DUE}


def test_the_age_of_data_counts_from_the_start_of_the_run_like_freshness(tool: Tool, api: FakeApi) -> None:
    began = (datetime.now(UTC) - timedelta(hours=3, minutes=1)).isoformat()
    success = {"last_success": summary(ended_at=DUE), "seconds_since_last_success": 60}
    state = freshness(last_success_started_at=began, due_at=DUE)
    out = shown_pipeline(tool, api, freshness=state, **success)
    assert "data  3 h 01 min old\n" in out
    assert "freshness  FRESH since 2026-11-28 10:00:00, stale from 2026-11-28 11:00:00\n" in out
    assert "data  1 min 00 s old\n" in shown_pipeline(tool, api, **success)


def test_a_pipeline_that_never_succeeded_is_not_fresh(tool: Tool, api: FakeApi) -> None:
    out = shown_pipeline(tool, api, freshness=freshness(**NEVER))
    assert "freshness  no run has succeeded, stale from 2026-11-28 11:00:00\n" in out
    stale = shown_pipeline(tool, api, freshness=freshness("STALE", **NEVER))
    assert "freshness  STALE since 2026-11-28 10:00:00, no run has succeeded\n" in stale
    found = {
        "pipelines": ["orders"],
        "freshness": {"orders": freshness(**NEVER)},
        "details": [pipeline(runs=[])],
        "next": None,
    }
    api.answer("GET /pipelines", (200, found))
    assert done(tool("show")).splitlines()[1].split() == ["orders", "no", "success"]


def test_an_execution_with_a_name_of_its_own_is_shown(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines/by-hand-1", (404, {"error": "UnknownPipeline", "message": "No."}))
    api.answer("GET /runs/by-hand-1", (200, {**SUCCEEDED, "run_id": "by-hand-1"}))
    assert "by-hand-1" in done(tool("show", "by-hand-1"))


def test_all_pipelines_are_shown(tool: Tool, api: FakeApi) -> None:
    detail = pipeline(active_run=RUN, runs=[summary(duration_seconds=65)])
    first = {
        "pipelines": ["orders"],
        "freshness": {"orders": freshness()},
        "details": [detail],
        "next": "n",
    }
    others = [
        pipeline("billing", paused=True, runs=[]),
        pipeline("bad", invalid="The definition …", runs=[]),
    ]
    second: dict[str, Any] = {
        "pipelines": ["billing", "bad"],
        "freshness": {},
        "details": others,
        "next": None,
    }
    api.answer("GET /pipelines", (200, first), (200, second))
    lines = done(tool("show")).splitlines()
    assert lines[1].split() == [
        "orders",
        "running",
        "FRESH",
        "SUCCEEDED",
        "2026-11-28",
        "10:00:00",
        "1",
        "min",
        "05",
        "s",
    ]
    assert [line.split() for line in lines[2:4]] == [["billing", "paused"], ["bad", "invalid"]]
    assert [each.query for each in api.sent] == [{"runs": "1"}, {"runs": "1", "after": "n"}]


def started(status: str = "started") -> tuple[int, dict[str, Any]]:
    return 202, {"runs": [{"pipeline": "orders", "run_id": RUN, "status": status}]}


def test_a_start_says_what_it_changed(tool: Tool, api: FakeApi) -> None:
    api.answer("POST /runs", started())
    out = done(
        tool("start", "orders", "--mode", "full", "--table", "VBAK", "--table", "VBAP", "--reason", "why")
    )
    where = f"stack celonis-refresh (profile default, eu-central-1; API {api.url})"
    assert out.splitlines() == [
        f"Started run {RUN} of pipeline orders, {where}.",
        f"To follow it: refresh watch {RUN}",
    ]
    (sent,) = api.sent
    assert sent.body == {"pipeline": "orders", "mode": "FULL", "tables": ["VBAK", "VBAP"], "reason": "why"}
    assert len(sent.headers["idempotency-key"]) == 36


def test_a_start_without_an_answer_is_sent_again_under_its_key(tool: Tool, api: FakeApi) -> None:
    api.answer("POST /runs", None, (503, {"error": "TableBusy", "message": "Busy."}), started("duplicate"))
    out = done(tool("start", "orders", "--all-tables", "--key", "nightly"))
    assert out.startswith(f"Nothing was started: an earlier request has started run {RUN}.")
    assert [each.headers["idempotency-key"] for each in api.sent] == ["nightly"] * 3
    assert api.sent[0].body == {"pipeline": "orders", "tables": "all"}


def test_a_start_that_joins_says_so(tool: Tool, api: FakeApi) -> None:
    api.answer("POST /runs", started("joined"))
    assert f"Joined run {RUN}, which begins when" in done(tool("start", "orders"))


@pytest.mark.parametrize("arguments", [("--table", "a", "--all-tables"), ("--mode", "slow")])
def test_options_that_cannot_be_meant_are_refused(
    tool: Tool, api: FakeApi, arguments: tuple[str, ...]
) -> None:
    assert tool("start", "orders", *arguments).code == 2
    assert api.sent == []


def test_an_unknown_pipeline_is_not_started(tool: Tool, api: FakeApi) -> None:
    body = {
        "error": "UnknownPipeline",
        "message": "Pipeline 'x' is not defined. Define it.",
        "hint": "Define it.",
    }
    api.answer("POST /runs", (404, body))
    ended = tool("start", "x")
    assert (ended.code, ended.out, ended.err) == (2, "", "Error: Pipeline 'x' is not defined. Define it.\n")


def test_a_retry_of_a_pipeline_is_that_of_its_newest_run(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", page(before="p"), page(summary(OLD, "FAILED")))
    api.answer(f"POST /runs/{OLD}/retry", (202, {"retry_of": OLD, **started()[1]}))
    out = done(tool("retry", "orders"))
    assert out.startswith(f"Retried {OLD}: run {RUN} of pipeline orders")
    assert api.requests() == ["GET /runs", "GET /runs", f"POST /runs/{OLD}/retry"]


def test_a_pipeline_without_runs_is_not_retried(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", page())
    api.answer("GET /pipelines/orders", (200, pipeline()))
    ended = tool("retry", "orders")
    assert (ended.code, ended.err) == (
        2,
        "Error: The pipeline has no runs: orders. Start one: refresh start orders\n",
    )


def test_a_cancel_of_a_pipeline_is_that_of_its_active_run(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines/orders", (200, pipeline(active_run=RUN, waiting={"run_id": OLD})))
    dropped = {"run_id": OLD, "options": OPTIONS}
    api.answer(f"POST /runs/{RUN}/cancel", (202, {"run_id": RUN, "status": "cancelling", "dropped": dropped}))
    out = done(tool("cancel", "orders", "--drop-pending"))
    assert out.splitlines() == [
        f"Cancelling run {RUN}.",
        f"Dropped run {OLD}, which waited for it.",
        f"To see its end: refresh watch {RUN}",
    ]
    assert api.sent[1].body == {"drop_pending": True}


def test_a_run_that_waits_is_dropped(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines/orders", (200, pipeline(waiting={"run_id": OLD})))
    api.answer(f"POST /runs/{OLD}/cancel", (200, {"run_id": OLD, "status": "dropped", "options": OPTIONS}))
    assert done(tool("cancel", "orders")) == f"Dropped run {OLD}, which had not begun.\n"


def test_nothing_to_cancel(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines/orders", (200, pipeline()))
    ended = tool("cancel", "orders")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "Error: No run is active or waiting: pipeline orders. To see what ran: refresh runs orders\n"
    )


def test_a_pause_has_a_reason(tool: Tool, api: FakeApi) -> None:
    pause = {"by": "x", "at": "2026-11-28T10:00:00+00:00", "reason": "release"}
    answer = {"pipeline": "orders", "paused": True, "pause": pause}
    api.answer("POST /pipelines/orders/pause", (200, answer))
    assert done(tool("pause", "orders", "--reason", "release")).startswith("Paused pipeline orders, stack")
    assert api.sent[0].body == {"reason": "release"}
    assert tool("pause", "orders", "--json").json == answer
    assert api.sent[1].body == {}


def test_a_pause_of_a_paused_pipeline_names_the_pause_before(tool: Tool, api: FakeApi) -> None:
    before = {"by": "m.keller", "at": "2026-11-28T10:00:00+00:00", "reason": "migration"}
    after = {"by": "x", "at": "2026-11-28T11:00:00+00:00", "reason": "release"}
    answer = {"pipeline": "orders", "paused": True, "pause": after, "previous": before}
    api.answer("POST /pipelines/orders/pause", (200, answer), (200, {**answer, "pause": before}))
    known = "was already paused since 2026-11-28 10:00:00 by m.keller: migration, stack"
    replaced = done(tool("pause", "orders", "--reason", "release"))
    assert known in replaced
    assert "The new pause replaces that one." in replaced
    kept = done(tool("pause", "orders"))
    assert known in kept
    assert "Nothing has changed." in kept


def test_a_resume_names_the_run_that_it_started(tool: Tool, api: FakeApi) -> None:
    run = {"pipeline": "orders", "run_id": RUN, "status": "started"}
    answer = {"pipeline": "orders", "paused": False, "pause": None, "started": run}
    api.answer("POST /pipelines/orders/resume", (200, answer))
    out = done(tool("resume", "orders"))
    assert out.startswith("Pipeline orders is not paused any more, stack")
    assert f"Started run {RUN}, which had waited." in out


def test_a_pipeline_that_its_definition_pauses_stays_paused(tool: Tool, api: FakeApi) -> None:
    api.answer("POST /pipelines/orders/resume", (200, {"pipeline": "orders", "paused": True, "pause": None}))
    ended = tool("resume", "orders")
    assert ended.code == 1
    assert "still paused by its definition" in ended.out


def watched(api: FakeApi, *records: dict[str, Any]) -> None:
    api.answer(f"GET /runs/{RUN}", *((200, each) for each in records))


def test_a_watched_run_that_succeeds_is_exit_code_0(tool: Tool, api: FakeApi) -> None:
    end: dict[str, Any] = {"expected_end": "2026-11-28T10:05:00+00:00", "expected_seconds_left": 299}
    watched(api, record("OPENING", steps={}, **end), record(**end), SUCCEEDED)
    lines = done(tool("watch", RUN)).splitlines()
    assert f"run {RUN} is OPENING, expected to end at 10:05:00" in lines[0]
    assert "job-0 data job ERP (DELTA) is running: " in lines[2]
    assert lines[-2].endswith(f"run {RUN} SUCCEEDED after 4 min 59 s")
    assert lines[-1] == "Succeeded: all. Good."
    assert api.requests() == [f"GET /runs/{RUN}"] * 3
    assert [each.query.get("wait") for each in api.sent] == [None, "2", "2"]


def test_a_watched_run_that_fails_is_exit_code_1(tool: Tool, api: FakeApi) -> None:
    watched(api, FAILED)
    ended = tool("watch", RUN)
    assert (ended.code, ended.err) == (1, "")
    assert "JobFailed: Data job ERP failed in Celonis: no table. Fix it." in ended.out
    assert f"refresh retry {RUN}" in ended.out


REASON = "Data job ERP failed in Celonis: no table. Fix it."


def test_a_watched_failure_says_why_and_what_to_do_once(tool: Tool, api: FakeApi) -> None:
    begun = record()["steps"]["job-0"]
    failed = {"job-0": {**begun, "ended_at": DUE, "outcome": "FAILED", "error": "E", "message": REASON}}
    other = {"load-0": {"data_model": MODEL, "noted_at": DUE, "ended_at": DUE, "outcome": "FAILED"}}
    both = failed | {"load-0": {**other["load-0"], "message": "Another reason."}}
    advice = f"To retry, send POST /runs/{RUN}/retry: it skips {JOB}, which succeeded."
    watched(api, record(steps=failed), {**FAILED, "steps": both, "outcome": f"{REASON} {advice}"})
    out = tool("watch", RUN).out
    assert out.count("job-0 data job ERP (DELTA) FAILED") == 1
    assert (out.count("no table"), out.count("Another reason.")) == (1, 1)
    assert f"A retry skips {JOB}, which succeeded." in out
    assert "POST" not in out
    assert out.count(f"refresh retry {RUN}") == 1
    shown = done(tool("show", RUN))
    assert "POST" not in shown


@pytest.mark.parametrize("status", ["TIMED_OUT", "ABORTED"])
def test_any_other_end_is_exit_code_1(tool: Tool, api: FakeApi, status: str) -> None:
    watched(api, record(status, ended_at="2026-11-28T10:05:00+00:00", outcome="It ended."))
    assert tool("watch", RUN).code == 1


def test_watching_survives_an_api_that_does_not_answer(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", page())
    api.answer(f"GET /runs/{RUN}", (200, record()), None, (200, SUCCEEDED))
    out = done(tool("watch", RUN))
    assert "The API did not answer" in out
    assert "The API answers again." in out


def test_a_run_that_is_dropped_while_it_waits_is_exit_code_1(tool: Tool, api: FakeApi) -> None:
    waiting = {
        "run_id": RUN,
        "pipeline": "orders",
        "status": "WAITING",
        "waiting_for_run": OLD,
        "options": OPTIONS,
    }
    api.answer("GET /runs", page())
    gone = (404, {"error": "RunNotFound", "message": "There is no record."})
    api.answer(f"GET /runs/{RUN}", (200, waiting), gone)
    ended = tool("watch", RUN)
    assert ended.code == 1
    assert f"run {RUN} is waiting for run {OLD}" in ended.out
    assert "The run was dropped before it began" in ended.err


def test_a_run_that_does_not_exist_is_exit_code_2(tool: Tool) -> None:
    ended = tool("watch", "orders-20261128T100000Z-cccc3333")
    assert (ended.code, ended.out) == (2, "")


def test_watching_stops_after_a_given_time(tool: Tool, api: FakeApi) -> None:
    watched(api, record())
    ended = tool("watch", RUN, "--timeout", "1")
    assert ended.code == 2
    assert f"Error: The run has not ended within 1 s: {RUN}. It continues. To watch it again" in ended.err


def test_with_json_only_the_record_is_on_stdout(tool: Tool, api: FakeApi) -> None:
    watched(api, record(), FAILED)
    api.answer("POST /runs", started())
    ended = tool("start", "orders", "--watch", "--json")
    assert ended.code == 1
    assert json.loads(ended.out) == FAILED
    assert f"Started run {RUN}" in ended.err
    assert "is running" in ended.err


def test_a_pipeline_is_watched_by_its_active_run(tool: Tool, api: FakeApi) -> None:
    watched(api, SUCCEEDED)
    api.answer("GET /pipelines/orders", (200, pipeline(active_run=RUN)))
    ended = tool("watch", "orders")
    assert ended.code == 0
    assert f"run {RUN} SUCCEEDED" in ended.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(tool: Tool, api: FakeApi, shell: str) -> None:
    assert "_REFRESH_COMPLETE" in done(tool("completion", shell))
    assert api.sent == []


def complete(tool: Tool, *words: str) -> list[str]:
    variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return done(tool(**variables, _REFRESH_COMPLETE="bash_complete")).split()


def test_commands_and_pipelines_are_completed(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines", (200, {"pipelines": ["orders", "billing"], "freshness": {}, "next": None}))
    assert complete(tool, "refresh", "sta") == ["plain,start"]
    assert complete(tool, "refresh", "start", "or") == ["plain,orders"]


def test_nothing_is_completed_without_an_answer(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /pipelines", (503, {}))
    assert complete(tool, "refresh", "start", "or") == []

"""``sources test`` and ``deliveries`` against a fake API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.cli.fake_api import Answer, FakeApi, Sent, Tool
from tests.cli.fake_stack import write_files

JsonObject = Mapping[str, Any]
OPTIONS = {"mode": "DELTA", "tables": ["A"]}


def rule(number: int, pipeline: str, action: str, reason: str) -> dict[str, object]:
    starts = action in ("start", "join", "wait")
    return {
        "rule": number,
        "events": [],
        "when": None,
        "pipeline": pipeline,
        "starts": starts,
        "action": action,
        "options": OPTIONS if starts else None,
        "reason": reason,
    }


def answer(*rules: dict[str, object], reason: str | None = None, errors: Sequence[str] = ()) -> JsonObject:
    events = [{"event_id": "d-1", "event_name": "completed", "rules": list(rules)}] if rules else []
    return {"source": "github", "events": events, "reason": reason, "errors": list(errors)}


ANSWER = answer(rule(0, "billing", "start", "It starts a run."), rule(1, "sales", "nothing", "when is false"))


def test_rules_are_shown_one_by_one(tool: Tool, api: FakeApi) -> None:
    write_files(tool.home, {"event.json": '{"action": "completed"}'})
    api.answer("POST /sources/github/test", (200, ANSWER))
    ended = tool(
        "sources", "test", "github", "event.json", "-H", "X-GitHub-Event: workflow_run", "-q", "a=b=c"
    )
    assert (ended.code, ended.err) == (0, "")
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["1", "billing", "start", "mode=DELTA,", 'tables=["A"]', "It", "starts", "a", "run."] in rows
    assert ["2", "sales", "nothing", "when", "is", "false"] in rows
    (sent,) = api.sent
    assert sent.body == {
        "body": {"action": "completed"},
        "headers": {"x-github-event": "workflow_run"},
        "query": {"a": "b=c"},
    }


def test_a_source_from_a_file_is_tried_instead(tool: Tool, api: FakeApi) -> None:
    source = {"sender": "github", "secret": "s", "rules": [{"pipeline": "p"}]}
    write_files(tool.home, {"s.yaml": json.dumps(source)})
    api.answer("POST /sources/github/test", (200, ANSWER))
    ended = tool("sources", "test", "github", "-", "--source", "s.yaml", "--json", stdin="a=1")
    assert (ended.code, ended.json) == (0, ANSWER)
    assert (api.sent[0].body["source"], api.sent[0].body["body"]) == (source, "a=1")


def test_a_source_with_mistakes_is_not_sent(tool: Tool, api: FakeApi) -> None:
    write_files(tool.home, {"s.yaml": "sender: githup\nsecret: s\nrules: []\n"})
    ended = tool("sources", "test", "github", "-", "--source", "s.yaml", stdin="{}")
    assert (ended.code, api.sent) == (2, [])
    assert "The source has mistakes: s.yaml" in ended.err


def test_an_event_that_cannot_be_read_fails(tool: Tool, api: FakeApi) -> None:
    api.answer("POST /sources/github/test", (200, answer(errors=["The body is not JSON."])))
    ended = tool("sources", "test", "github", "-", stdin="<")
    assert (ended.code, ended.out) == (1, "error: The body is not JSON.\n")


def test_a_request_that_starts_nothing_says_why(tool: Tool, api: FakeApi) -> None:
    api.answer("POST /sources/github/test", (200, answer(reason="This is a ping of the sender.")))
    ended = tool("sources", "test", "github", "-", stdin="{}")
    assert (ended.code, ended.out) == (0, "Nothing is started: This is a ping of the sender.\n")


def test_a_rule_that_cannot_be_applied_fails(tool: Tool, api: FakeApi) -> None:
    rules = (
        rule(0, "billing", "start", "It starts a run."),
        rule(1, "gone", "error", "Pipeline gone not found."),
    )
    api.answer("POST /sources/github/test", (200, answer(*rules)))
    ended = tool("sources", "test", "github", "-", stdin="{}")
    rows = [line.split() for line in ended.out.splitlines()]
    assert ended.code == 1
    assert ["2", "gone", "error", "Pipeline", "gone", "not", "found."] in rows


@pytest.mark.parametrize("action", ["join", "wait", "skip"])
def test_the_action_of_a_rule_is_shown(tool: Tool, api: FakeApi, action: str) -> None:
    api.answer("POST /sources/github/test", (200, answer(rule(0, "billing", action, "Because."))))
    ended = tool("sources", "test", "github", "-", stdin="{}")
    assert ended.code == 0
    assert ["1", "billing", action] in [line.split()[:3] for line in ended.out.splitlines()]


def test_a_header_without_a_value(tool: Tool, api: FakeApi) -> None:
    ended = tool("sources", "test", "github", "-", "-H", "x", stdin="{}")
    assert (ended.code, api.sent) == (2, [])
    assert "--header is not valid: x. Write NAME:VALUE." in ended.err


def delivery(
    number: int, result: str = "started", source: str = "github", hour: int = 10
) -> dict[str, object]:
    return {
        "source": source,
        "delivery": f"d-{number}",
        "received_at": f"2026-11-28T{hour}:00:00+00:00",
        "result": result,
        "reason": None if result == "started" else "when is false",
        "runs": [{"pipeline": "billing", "run_id": "r-1", "status": "started"}]
        if result == "started"
        else [],
        "errors": [],
    }


def test_deliveries_of_a_source_over_pages(tool: Tool, api: FakeApi) -> None:
    api.answer(
        "GET /deliveries",
        (200, {"deliveries": [delivery(1), delivery(2, "ignored")], "before": "c"}),
        (200, {"deliveries": [delivery(3)], "before": None}),
    )
    ended = tool("deliveries", "github", "--limit", "5")
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["2026-11-28", "10:00:00", "github", "d-1", "started", "billing", "r-1"] in rows
    assert ["2026-11-28", "10:00:00", "github", "d-2", "ignored", "when", "is", "false"] in rows
    assert [each.query for each in api.sent] == [
        {"source": "github", "limit": "5"},
        {"source": "github", "limit": "3", "before": "c"},
    ]


def test_no_deliveries(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /sources", (200, {"sources": ["github"], "next": None}))
    api.answer("GET /deliveries", (200, {"deliveries": [], "before": None}))
    assert "No deliveries in the last 14 days." in tool("deliveries").out


def test_deliveries_of_all_sources_are_merged_newest_first(tool: Tool, api: FakeApi) -> None:
    api.answer(
        "GET /sources", (200, {"sources": ["github"], "next": "n"}), (200, {"sources": ["dbt"], "next": None})
    )
    pages = {
        ("github", None): ([delivery(4, hour=14), delivery(2, hour=12)], "c"),
        ("github", "c"): ([delivery(1, hour=11)], None),
        ("dbt", None): ([delivery(3, source="dbt", hour=13)], None),
    }

    def page(sent: Sent) -> Answer:
        found, before = pages[sent.query["source"], sent.query.get("before")]
        return 200, {"deliveries": found, "before": before}

    api.answer("GET /deliveries", page)
    ended = tool("deliveries", "--json")
    assert [each["delivery"] for each in ended.json["deliveries"]] == ["d-4", "d-3", "d-2", "d-1"]
    assert ended.json["before"] is None
    assert api.sent[1].query == {"after": "n"}
    api.answer("GET /sources", (200, {"sources": ["dbt", "github"], "next": None}))
    newest = tool("deliveries", "--limit", "1", "--json").json["deliveries"]
    assert [each["delivery"] for each in newest] == ["d-4"]


def test_a_position_belongs_to_one_source(tool: Tool, api: FakeApi) -> None:
    ended = tool("deliveries", "--before", "c")
    assert (ended.code, api.sent) == (2, [])
    text = "--before needs SOURCE, because each source has its own positions"
    assert f"Error: {text}: refresh deliveries SOURCE --before c\n" in ended.err


def test_the_command_for_older_deliveries_names_source_and_stack(tool: Tool, api: FakeApi) -> None:
    api.answer("GET /deliveries", (200, {"deliveries": [delivery(1)], "before": "p 1"}))
    out = tool("--stack", "prod", "deliveries", "github", "--limit", "1").out
    assert "Older deliveries: refresh --stack prod deliveries github --before 'p 1'" in out

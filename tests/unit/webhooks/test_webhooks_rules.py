from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.webhooks.errors import RuleError
from celonis_refresh.webhooks.events import Event
from celonis_refresh.webhooks.rules import RuleMatch, apply_rules
from celonis_refresh.webhooks.sources import Source, parse_source
from tests.unit.webhooks.sns_messages import TOPIC


def source(*rules: dict[str, Any], sender: str = "custom") -> Source:
    own: dict[str, dict[str, Any]] = {"custom": {"header": "x"}, "snowflake": {"topics": [TOPIC]}}
    fields = own.get(sender, {})
    secret = {} if sender == "snowflake" else {"secret": "name"}
    given = [{"pipeline": "p", **rule} for rule in rules or ({},)]
    return parse_source("erp", {"sender": sender, **secret, **fields, "rules": given})


def event(body: Any = None, name: str | None = None) -> Event:
    return Event("d-1", name, {} if body is None else body)


def match(given: Source, happened: Event) -> list[RuleMatch]:
    verdict = apply_rules(given, happened)
    for error in verdict.errors:
        raise error
    return list(verdict.matches)


def why_nothing(given: Source, happened: Event) -> str:
    return apply_rules(given, happened).ignored


def one(rule: dict[str, Any], body: Any) -> RuleMatch:
    (found,) = match(source(rule), event(body))
    return found


FINISHED = [
    ("github", "workflow_run", {"action": "completed", "workflow_run": {"conclusion": "success"}}),
    ("gitlab", "pipeline", {"object_attributes": {"status": "success"}}),
    ("gitlab_standard", "pipeline", {"object_attributes": {"status": "success"}}),
    ("dbt_cloud", "job.run.completed", {"data": {"runStatus": "Success"}}),
    ("fivetran", "sync_end", {"data": {"status": "SUCCESSFUL"}}),
    ("airbyte", None, {"data": {"success": True, "finishedAt": "2026-01-01T00:00:00Z"}}),
    ("databricks", "jobs.on_success", {"run": {"run_id": "1"}}),
    ("snowflake", "Notification", {"Message": {"messageType": "GRAPH_SUCCEEDED"}}),
    ("qlik", "com.qlik.v1.reload.finished", {"data": {"succeeded": True}}),
    ("qlik", "com.qlik.v1.reload.finished", {"data": {"status": "SUCCEEDED"}}),
    ("stripe", "anything", {"id": "evt_1"}),
    ("servicenow", None, {"batch": 1}),
]


@pytest.mark.parametrize(("sender", "name", "body"), FINISHED)
def test_starts_on_what_the_sender_calls_finished(sender: str, name: str | None, body: Any) -> None:
    assert match(source(sender=sender), event(body, name)) == [
        RuleMatch(0, "p", None, None, " ".join(part for part in (sender, name, "d-1") if part))
    ]


UNFINISHED = [
    ("github", "push", {"action": "completed", "workflow_run": {"conclusion": "success"}}),
    ("github", "workflow_run", {"action": "requested", "workflow_run": {"conclusion": "success"}}),
    ("github", "workflow_run", {"action": "completed", "workflow_run": {"conclusion": "failure"}}),
    ("github", "workflow_run", {}),
    ("gitlab", "build", {"object_attributes": {"status": "success"}}),
    ("gitlab", "pipeline", {"object_attributes": {"status": "failed"}}),
    ("dbt_cloud", "job.run.completed", {"data": {"runStatus": "Errored"}}),
    ("dbt_cloud", "job.run.started", {"data": {"runStatus": "Success"}}),
    ("fivetran", "sync_end", {"data": {"status": "FAILURE"}}),
    ("fivetran", "sync_start", {"data": {"status": "SUCCESSFUL"}}),
    ("airbyte", None, {"data": {"success": True}}),
    ("airbyte", None, {"data": {"success": False, "finishedAt": "x"}}),
    ("airbyte", None, {"data": {"success": "true", "finishedAt": "x"}}),
    ("databricks", "jobs.on_failure", {}),
    ("databricks", None, {}),
    ("snowflake", "Notification", {"Message": {"rootTaskName": "x", "messageType": "USER_TASK_FAILED"}}),
    ("snowflake", "Notification", {"Message": {"rootTaskName": "x", "messages": [{"errorMessage": "e"}]}}),
    ("snowflake", "Notification", {"Message": "text"}),
    ("qlik", "com.qlik.v1.reload.finished", {"data": {"succeeded": False, "status": "FAILED"}}),
    ("qlik", "com.qlik.v1.app.created", {"data": {"succeeded": True}}),
]


@pytest.mark.parametrize(("sender", "name", "body"), UNFINISHED)
def test_starts_nothing_on_anything_else_and_says_why(sender: str, name: str | None, body: Any) -> None:
    assert match(source(sender=sender), event(body, name)) == []
    reason = why_nothing(source(sender=sender), event(body, name))
    assert sender in reason
    assert "rule 1 (" in reason


def test_every_rule_that_matches_starts_its_pipeline() -> None:
    given = [{"pipeline": "a"}, {"pipeline": "b", "when": "x == `2`"}, {"pipeline": "c", "when": "x == `1`"}]
    assert [(m.rule_index, m.pipeline) for m in match(source(*given), event({"x": 1}))] == [
        (0, "a"),
        (2, "c"),
    ]


def test_a_rules_own_condition_takes_the_place_of_the_senders() -> None:
    given = source({"when": "ref == 'refs/heads/main'"}, sender="github")
    assert match(given, event({"ref": "refs/heads/main"}, "push"))
    assert not match(given, event({"ref": "refs/heads/x"}, "workflow_run"))


def test_a_rule_for_certain_events_ignores_others() -> None:
    given = source({"events": ["push"], "when": "`true`"}, sender="github")
    assert match(given, event({}, "push"))
    assert not match(given, event({}, "release"))
    assert "the rule is for push, the event is not" in why_nothing(given, event({}, "release"))


def test_a_rule_about_the_senders_event_keeps_the_senders_condition() -> None:
    given = source({"events": ["sync_end"]}, sender="fivetran")
    assert match(given, event({"data": {"status": "SUCCESSFUL"}}, "sync_end"))
    assert not match(given, event({"data": {"status": "FAILURE"}}, "sync_end"))


@pytest.mark.parametrize("body", [{"ok": True}, {"ok": False}, {"ok": None}, {}])
def test_a_condition_holds_only_if_it_gives_true(body: Any) -> None:
    assert bool(match(source({"when": "ok"}), event(body))) is (body.get("ok") is True)


@pytest.mark.parametrize("value", ["true", "false", 1, 0, [True], {"a": 1}, ""])
def test_a_condition_that_gives_no_truth_value_is_an_error_of_the_rule(value: Any) -> None:
    with pytest.raises(RuleError, match="neither true nor false") as error:
        match(source({}, {"when": "ok"}), event({"ok": value}))
    assert (error.value.rule_index, error.value.field) == (1, "when")


@pytest.mark.parametrize(
    "when",
    [
        "length(n) > `0`",
        "x[::0]",
        "join('', x)",
        "sort(mixed)",
        "sum(mixed)",
        "max_by(x, &a) == `1`",
        "abs('a')",
        "abs()",
    ],
)
def test_a_condition_that_cannot_be_applied_is_an_error_of_the_rule(when: str) -> None:
    with pytest.raises(RuleError, match="cannot be applied") as error:
        match(source({"when": when}), event({"x": [1, 2], "n": 5, "mixed": ["a", 1]}))
    assert (error.value.rule_index, error.value.field) == (0, "when")


def test_a_rule_that_cannot_be_applied_keeps_no_other_from_its_event() -> None:
    given = source({"when": "ok"}, {"pipeline": "q"}, {"when": "`false`"}, {"mode": {"path": "ok"}})
    verdict = apply_rules(given, event({"ok": "yes"}))
    assert [found.pipeline for found in verdict.matches] == ["q"]
    assert [(error.rule_index, error.field) for error in verdict.errors] == [(0, "when"), (3, "mode")]
    assert verdict.ignored == ""
    why = why_nothing(source({"when": "ok"}, {"when": "`false`"}), event({"ok": "yes"}))
    assert (why.count("rule 1: when gave"), why.count("rule 2 (p): its condition does not hold")) == (1, 1)
    assert "rules." not in why


@pytest.mark.parametrize("mode", ["FULL", "DELTA"])
def test_the_mode_is_a_constant_or_read_from_the_event(mode: str) -> None:
    assert one({"mode": mode}, {"n": 1}).mode == mode
    assert one({"mode": {"path": "how.mode"}}, {"how": {"mode": mode}}).mode == mode
    assert one({"mode": {"path": "how.mode"}}, {"n": 1}).mode is None


@pytest.mark.parametrize("mode", ["full", "", 1, ["FULL"], {}, True])
def test_another_mode_in_the_event_is_an_error_of_the_rule(mode: Any) -> None:
    with pytest.raises(RuleError) as error:
        one({"mode": {"path": "m"}}, {"m": mode})
    assert error.value.field == "mode"


@pytest.mark.parametrize(
    ("tables", "expected"),
    [(None, None), ("all", "all"), (["a", "b", "a"], ("a", "b")), ([f"t{n}" for n in range(201)], "all")],
)
def test_tables_stand_in_the_event(tables: Any, expected: object) -> None:
    assert one({"tables": {"path": "data.tables"}}, {"data": {"tables": tables}}).tables == expected


def test_tables_are_constant() -> None:
    assert one({"tables": ["a", "b"]}, {"n": 1}).tables == ("a", "b")
    assert one({"tables": "all"}, {"n": 1}).tables == "all"
    assert one({}, {"n": 1}).tables is None


@pytest.mark.parametrize("tables", ["a", 1, [1], [""], [None], ["x" * 257], {"a": 1}, [["a"]], True])
def test_other_tables_in_the_event_are_an_error_of_the_rule(tables: Any) -> None:
    with pytest.raises(RuleError) as error:
        one({"tables": {"path": "t"}}, {"t": tables})
    assert error.value.field == "tables"


def test_an_event_that_names_no_tables_starts_nothing() -> None:
    given = source({"tables": {"path": "t"}})
    assert match(given, event({"t": []})) == []
    assert "names no tables" in why_nothing(given, event({"t": []}))


def test_tables_are_picked_by_an_expression() -> None:
    body = {"tables": [{"name": "VBAK", "rows": 5}, {"name": "VBAP", "rows": 0}]}
    assert one({"tables": {"path": "tables[?rows > `0`].name"}}, body).tables == ("VBAK",)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("nightly load", "nightly load"),
        ({"path": "text"}, "from the  event"),
        ({"path": "nothing"}, "custom d-1"),
        ({"path": "number"}, "custom d-1"),
        ({"path": "long"}, "x" * 256),
    ],
)
def test_the_reason_is_short_and_printable(reason: Any, expected: str) -> None:
    body = {"text": "from the \nevent", "number": 7, "long": "x" * 1000}
    assert one({"reason": reason}, body).reason == expected


def test_an_error_does_not_repeat_the_event() -> None:
    with pytest.raises(RuleError) as error:
        one({"mode": {"path": "m"}}, {"m": "s3cret"})
    assert "s3cret" not in str(error.value)

"""``check``: every mistake with file, line, field and what was expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from refresh_cli.configuration.files import Configuration, read_configuration
from tests.cli.fake_api import FakeApi, Tool
from tests.cli.fake_stack import NAME, fake_stack, write_files

CRON_FIELDS = 'minute, hour, day of the month, month, day of the week, year, such as "0 4 ? * MON-FRI *"'
GOOD = "data_pool: pool\nloads:\n  - data_model: model\n"


def checked(tmp_path: Path, files: dict[str, str]) -> Configuration:
    return read_configuration([write_files(tmp_path, files)])


def findings(tmp_path: Path, files: dict[str, str]) -> list[tuple[str, int, str, str]]:
    found = checked(tmp_path, files)
    return [
        (str(Path(each.file).relative_to(tmp_path)), each.line, each.field, each.expected)
        for each in found.findings
    ]


def test_a_good_folder_has_no_findings(tmp_path: Path) -> None:
    files = {
        "pipelines/billing.yaml": GOOD,
        "sources/github.json": '{"sender": "github", "secret": "gh", "rules": [{"pipeline": "billing"}]}',
        "channels/ops.yaml": "type: slack\nurl: https://hooks.slack.com/services/x\n",
        "pipelines/README.md": "text",
        "pipelines/.hidden.yaml": "a: [",
    }
    found = checked(tmp_path, files)
    assert (found.findings, found.exit_code, len(found.files)) == ([], 0, 3)


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = """\
data_pool: pool
jobs:
  - job: a
    mode: FAST
  - - job: b
      timeout: 5
loads:
  - data_model: m
    kind: partial
speed: 9
paused: yes
schedules:
  - cron: 0 4 * * *
  - rate: 6 hours
    timezone: Europe/Belrin
"""
    assert findings(tmp_path, {"pipelines/a.yaml": text}) == [
        ("pipelines/a.yaml", 4, "jobs.0.mode", 'expected "DELTA" or "FULL"'),
        ("pipelines/a.yaml", 6, "jobs.1.0.timeout", "expected a whole number from 10 to 604800"),
        ("pipelines/a.yaml", 8, "loads.0", "a partial load needs tables: a list of ids, names or aliases"),
        ("pipelines/a.yaml", 10, "speed", "is not a known field"),
        ("pipelines/a.yaml", 11, "paused", "expected true or false"),
        (
            "pipelines/a.yaml",
            13,
            "schedules.0.cron",
            f"expected six fields: {CRON_FIELDS}",
        ),
        (
            "pipelines/a.yaml",
            15,
            "schedules.1.timezone",
            'expected a time zone of the IANA database, such as "Europe/Berlin"',
        ),
    ]


def test_lines_of_json(tmp_path: Path) -> None:
    text = '{\n"data_pool": "p",\n\t"loads": [\n{"data_model": "m"},\n {"data_model": "n", "timeout": "1"}]}'
    assert [each[1:3] for each in findings(tmp_path, {"pipelines/a.json": text})] == [(5, "loads.1.timeout")]


def test_what_is_missing_is_reported_where_it_belongs(tmp_path: Path) -> None:
    files = {"sources/a.yaml": "sender: github\nsecret: s\nrules:\n  - pipeline: p\n  - events: [push]\n"}
    assert [each[1:] for each in findings(tmp_path, files)] == [(5, "rules.1.pipeline", "is required")]


@pytest.mark.parametrize(
    ("name", "text", "line", "expected"),
    [
        ("a.yaml", "a: 1\nb: [", 2, "not YAML: "),
        ("a.yaml", "a: 1\na: 2\n", 2, "the field a appears twice"),
        ("a.yaml", "a: !!python/name:os.system x\n", 1, "the tag"),
        ("a.yaml", "", 1, "the file is empty"),
        ("a.yaml", "a: 1\n---\nb: 2\n", 2, "not YAML: "),
        ("a.yaml", "- 1\n", 1, "expected an object"),
        ("a.yaml", "a: \x00", 1, "not YAML: a character"),
        ("a.yaml", "1: x\n", 1, "expected a text as the name of a field"),
        ("a.json", "{\n'a': 1}", 2, "not JSON: "),
        ("a.json", '{"a": 1,\n"a": 2}', 2, "the field a appears twice"),
        ("a.json", '{"a": NaN}', 1, "not JSON: "),
        ("a.json", "[" * 100 + "]" * 100, 1, "nested deeper than 64 levels"),
        ("a.json", "[" * 200_000, 1, "nested deeper than 64 levels"),
        ("a.yaml", "[" * 300 + "]" * 300, 1, "nested deeper than 64 levels"),
        ("a.yaml", "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
        ), None, "too many values"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, text: str, line: int | None, expected: str
) -> None:
    found = checked(tmp_path, {f"pipelines/{name}": text})
    (finding,) = found.findings
    assert expected in finding.expected
    assert line in (None, finding.line)
    assert found.exit_code == 2


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    write_files(tmp_path, {"pipelines/a.yaml": ""})
    (tmp_path / "pipelines/a.yaml").write_bytes(b"\xff\xfe\x00")
    found = read_configuration([tmp_path])
    assert [each.expected for each in found.findings] == ["expected a text file in UTF-8"]


def test_two_definitions_of_one_name_are_refused_with_both_paths(tmp_path: Path) -> None:
    found = checked(tmp_path, {"pipelines/a.yaml": GOOD, "pipelines/a.json": "{}"})
    (finding,) = found.findings
    assert str(tmp_path / "pipelines/a.yaml") in finding.expected
    assert str(tmp_path / "pipelines/a.json") in finding.expected
    assert found.exit_code == 2


def test_the_same_file_may_be_given_twice(tmp_path: Path) -> None:
    write_files(tmp_path, {"pipelines/a.yaml": GOOD})
    path = tmp_path / "pipelines/a.yaml"
    assert read_configuration([path, path, tmp_path]).findings == []


def test_a_file_elsewhere_is_known_by_its_fields(tmp_path: Path) -> None:
    write_files(tmp_path, {"x.yaml": GOOD, "y.json": "{}"})
    assert read_configuration([tmp_path / "x.yaml"]).findings == []
    (finding,) = read_configuration([tmp_path / "y.json"]).findings
    assert finding.expected.startswith("expected a pipeline (with data_pool)")


def test_subfolders_are_not_missed_silently(tmp_path: Path) -> None:
    assert [each[3] for each in findings(tmp_path, {"pipelines/erp/a.yaml": GOOD})] == [
        "files in subfolders are not read; move them up"
    ]


def test_a_definition_that_no_parameter_can_hold(tmp_path: Path) -> None:
    tables = json.dumps([f"{number:0200}" for number in range(50)])
    text = f"data_pool: p\nloads: [{{data_model: m, kind: partial, tables: {tables}}}]\n"
    assert [each[3][:24] for each in findings(tmp_path, {"pipelines/a.yaml": text})] == [
        "expected at most 8192 by"
    ]


def test_a_rule_of_a_pipeline_without_a_file_is_only_noticed(tmp_path: Path) -> None:
    files = {"pipelines/a.yaml": GOOD, "sources/s.yaml": "sender: github\nsecret: s\nrules:\n- pipeline: b\n"}
    found = checked(tmp_path, files)
    assert [(each.line, each.field, each.severity) for each in found.findings] == [
        (4, "rules.0.pipeline", "warning")
    ]
    assert found.exit_code == 0


def test_no_value_of_a_secret_is_repeated(tmp_path: Path) -> None:
    value = "hunter2-hunter2"
    files = {
        "channels/a.yaml": f"type: slack\nurl: http://{value}\n{value}: 1\n",
        "connections/default.yaml": f"base_url: https://{value}\nauth: {{type: app_key, key: {value} x}}\n",
        "sources/s.yaml": f"sender: github\nsecret: {value * 20}\nrules: [{{pipeline: p}}]\n",
    }
    found = checked(tmp_path, files)
    assert {Path(each.file).name for each in found.findings} == {"a.yaml", "default.yaml", "s.yaml"}
    assert value not in " ".join(map(str, found.findings))


@pytest.mark.parametrize(
    "text",
    [
        "url: *{value}",
        "url: !{value}",
        "url: !{value}!x y",
        "url: !<{value}> y",
        "url: &{value} a\nsecret: &{value} b",
        "url: |{value}",
        'url: "a\\{value}"',
        "url: [a, *{value}]",
        "%TAG {value}",
        "%{value}\n---\n",
        "!{value}!x: 1",
        "url: %{value}",
        "url: 'a'{value}",
    ],
)
@pytest.mark.parametrize("path", ["channels/ops.yaml", "connections/default.yaml", "pipelines/p.yaml"])
def test_no_value_is_repeated_from_a_file_that_is_not_yaml(tmp_path: Path, path: str, text: str) -> None:
    found = checked(tmp_path, {path: text.format(value="hunter2")})
    assert found.findings
    assert "unter2" not in " ".join(map(str, found.findings))


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({}, "schedules.0"),
        ({"cron": "0 4 * * ? *", "rate": "1 hour"}, "schedules.0"),
        ({"cron": "0 4 * * * *"}, "schedules.0.cron"),
        ({"cron": "0 4 ? * ? *"}, "schedules.0.cron"),
        ({"cron": "60 4 * * ? *"}, "schedules.0.cron"),
        ({"cron": "0 4 ? * MONDAY *"}, "schedules.0.cron"),
        ({"cron": "0 18-8 ? * MON *"}, "schedules.0.cron"),
        ({"cron": "cron(0 4 * * ? *)"}, "schedules.0.cron"),
        ({"rate": "0 hours"}, "schedules.0.rate"),
        ({"rate": "1 week"}, "schedules.0.rate"),
        ({"at": "2027-02-30T04:00:00"}, "schedules.0.at"),
        ({"at": "2027-02-20T04:00"}, "schedules.0.at"),
        ({"rate": "1 hour", "name": "a.b"}, "schedules.0.name"),
        ({"rate": "1 hour", "name": "n" * 60}, "schedules.0.name"),
        ({"rate": "1 hour", "options": {"mode": "FAST"}}, "schedules.0.options.mode"),
        ({"rate": "1 hour", "options": {"mode": "FULL"}}, "schedules.0.options.mode"),
        ({"rate": "1 hour", "options": {"tables": []}}, "schedules.0.options.tables"),
        ({"rate": "1 hour", "options": {"reason": ""}}, "schedules.0.options.reason"),
        ({"rate": "1 hour", "options": {"delivery": "x"}}, "schedules.0.options.delivery"),
    ],
)
def test_mistakes_of_schedules(tmp_path: Path, entry: dict[str, Any], field: str) -> None:
    """The pipeline has no job, so that a mode does not apply to it."""
    document = {"data_pool": "p", "loads": [{"data_model": "m"}], "schedules": [entry]}
    assert [each[2] for each in findings(tmp_path, {"pipelines/pipeline.json": json.dumps(document)})] == [
        field
    ]


@pytest.mark.parametrize(
    "cron",
    [
        "0 4 * * ? *",
        "0 4 ? * MON-FRI *",
        "0/15 8-18 ? JAN,MAR MON#1 2027",
        "0 4 L * ? *",
        "0 4 15W * ? *",
        "0 4 ? * 6L *",
    ],
)
def test_expressions_of_eventbridge_scheduler(tmp_path: Path, cron: str) -> None:
    document = {"data_pool": "p", "loads": [{"data_model": "m"}], "schedules": [{"cron": cron}]}
    assert findings(tmp_path, {"pipelines/p.json": json.dumps(document)}) == []


def test_two_schedules_of_one_name(tmp_path: Path) -> None:
    entries = [{"rate": "1 hour", "name": "2"}, {"rate": "2 hours"}]
    document = {"data_pool": "p", "loads": [{"data_model": "m"}], "schedules": entries}
    (finding,) = findings(tmp_path, {"pipelines/p.json": json.dumps(document)})
    assert finding[2:] == ("schedules.1.name", "two schedules of the pipeline have this name")


# ----------------------------------------------------------------------------------------- the command


def test_the_command_needs_no_stack(no_aws: Tool) -> None:
    write_files(no_aws.home, {"pipelines/a.yaml": GOOD, "pipelines/b.yaml": "data_pool: 1\n"})
    ended = no_aws("check")
    assert (ended.code, ended.err) == (1, "")
    assert "pipelines/b.yaml:1: mistake: data_pool: " in ended.out
    assert ended.out.endswith("2 pipelines: 1 mistake\n")
    assert no_aws("check", "pipelines/a.yaml").out == "1 pipeline: no mistakes\n"


def test_json(no_aws: Tool) -> None:
    write_files(no_aws.home, {"pipelines/a.yaml": "x: [", "sources/.keep": ""})
    ended = no_aws("check", ".", "--json")
    assert ended.code == 2
    assert ended.json["ok"] is False
    (finding,) = ended.json["findings"]
    assert (finding["file"], finding["line"]) == ("pipelines/a.yaml", 1)
    assert (finding["field"], finding["severity"]) == ("(the whole document)", "unusable")


def test_a_folder_without_configuration(no_aws: Tool) -> None:
    ended = no_aws("check")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(f"Error: There are no files to check: {no_aws.home}. Name files or a folder")


def test_a_finding_about_a_whole_file_names_no_field(no_aws: Tool) -> None:
    write_files(no_aws.home, {"pipelines/a.yaml": GOOD, "pipelines/a.json": "{}", "pipelines/more/.keep": ""})
    ended = no_aws("check")
    assert ended.code == 2
    assert "pipelines/a.json:1: unusable: a is defined more than once" in ended.out
    assert "pipelines/more: mistake: files in subfolders are not read" in ended.out
    assert "(the whole document)" not in ended.out


def test_online_sends_the_definition_of_the_file(tool: Tool, api: FakeApi) -> None:
    text = "# new\n" + GOOD + "schedules: [{rate: 6 hours}]\n"
    write_files(tool.home, {"pipelines/a.yaml": text, "pipelines/b.yaml": "data_pool: [\n"})
    finding = {"level": "error", "field": "loads.0.data_model", "subject": "model", "message": "not found"}
    api.answer("POST /pipelines/a/check", (200, {"pipeline": "a", "ok": False, "findings": [finding]}))
    ended = tool("check", "--online", "pipelines/a.yaml")
    assert ended.code == 1, ended
    assert "pipelines/a.yaml:4: error: loads.0.data_model: model: not found" in ended.out
    (sent,) = api.sent
    assert sent.body == {"definition": {"data_pool": "pool", "loads": [{"data_model": "model"}]}}


def test_online_without_errors(tool: Tool, api: FakeApi) -> None:
    write_files(tool.home, {"pipelines/a.yaml": GOOD})
    finding = {"level": "ok", "field": "data_pool", "subject": "pool", "message": "exists"}
    api.answer("POST /pipelines/a/check", (200, {"pipeline": "a", "ok": True, "findings": [finding]}))
    ended = tool("check", "--online", "--json")
    assert ended.code == 0
    assert ended.json["online"] == [{"pipeline": "a", "file": "pipelines/a.yaml", "line": 1, **finding}]
    assert (ended.json["ok"], ended.json["errors"]) == (True, [])


def test_an_api_that_fails_keeps_what_was_found_offline_and_before(tool: Tool, api: FakeApi) -> None:
    files = {"pipelines/a.yaml": GOOD, "pipelines/b.yaml": GOOD, "pipelines/c.yaml": "data_pool: 1\n"}
    write_files(tool.home, files)
    finding = {"level": "warning", "field": "data_pool", "subject": "pool", "message": "of a"}
    api.answer("POST /pipelines/a/check", (200, {"pipeline": "a", "ok": True, "findings": [finding]}))
    api.answer("POST /pipelines/b/check", (503, {"error": "TableBusy", "message": "Busy."}))
    ended = tool("check", "--online")
    assert ended.code == 2
    assert "pipelines/c.yaml:1: mistake: data_pool: " in ended.out
    assert "pipelines/a.yaml:1: warning: data_pool: pool: of a\n" in ended.out
    assert ended.out.endswith("3 pipelines: 1 mistake, not all of it was checked online\n")
    assert ended.err == "Error: Busy: pipeline b. docs/errors.md describes TableBusy.\n"
    document = tool("check", "--online", "--json").json
    assert (document["ok"], len(document["findings"]), len(document["online"])) == (False, 1, 1)
    assert document["errors"][0]["error"] == "TableBusy"


def test_an_api_that_does_not_answer_is_one_error(tool: Tool) -> None:
    write_files(
        tool.home, {"sources/s.yaml": SOURCE.format(secret="s", pipeline="b"), "pipelines/a.yaml": GOOD}
    )
    ended = tool("check", "--online", REFRESH_API_URL="http://127.0.0.1:1")
    assert (ended.code, ended.err.count("Error: The API did not answer")) == (2, 1)


def test_without_credentials_the_offline_findings_are_kept(no_aws: Tool) -> None:
    write_files(no_aws.home, {"pipelines/a.yaml": GOOD, "pipelines/c.yaml": "data_pool: 1\n"})
    ended = no_aws("check", "--online", AWS_REGION="eu-central-1")
    assert ended.code == 2
    assert "pipelines/c.yaml:1: mistake: data_pool: " in ended.out
    assert ended.err.startswith("Error: There are no AWS credentials")
    assert ended.err.count("Error:") == 1


def test_a_connection_that_fails_says_what_to_do(tool: Tool, api: FakeApi) -> None:
    write_files(tool.home, {"pipelines/a.yaml": GOOD})
    finding = {"level": "error", "field": "connection", "subject": "default", "message": "Refused. Do this."}
    finding |= {"error": "AuthenticationFailed", "hint": "Do this."}
    api.answer("POST /pipelines/a/check", (200, {"pipeline": "a", "ok": False, "findings": [finding]}))
    advice = "Do this. To enter the credentials again: refresh --stack s secret connection default"
    ended = tool("--stack", "s", "check", "--online")
    assert f"a.yaml:1: error: connection: default: Refused. {advice}\n" in ended.out
    (shown,) = tool("--stack", "s", "check", "--online", "--json").json["online"]
    assert shown["action"] == advice


SOURCE = "sender: github\nsecret: {secret}\nrules:\n- pipeline: {pipeline}\n"


def test_pipelines_of_rules_exist_in_the_files_or_in_the_stack(tool: Tool, api: FakeApi) -> None:
    sources = {
        f"sources/{name}.yaml": SOURCE.format(secret="s", pipeline=name) for name in ("a", "other", "gone")
    }
    write_files(tool.home, {"pipelines/a.yaml": GOOD, **sources})
    api.answer("POST /pipelines/a/check", (200, {"pipeline": "a", "ok": True, "findings": []}))
    first = {"pipelines": ["x"], "freshness": {}, "next": "n"}
    api.answer("GET /pipelines", (200, first), (200, {**first, "pipelines": ["other"], "next": None}))
    ended = tool("check", "--online")
    assert ended.code == 1, ended
    text = "The pipeline exists neither in these files nor in the stack. Add its file, or correct the rule."
    assert f"sources/gone.yaml:4: error: rules.0.pipeline: gone: {text}\n" in ended.out
    assert (
        "sources/other.yaml:4: ok: rules.0.pipeline: other: The pipeline exists in the stack.\n" in ended.out
    )
    assert "sources/a.yaml:4: " not in ended.out
    assert "has no file here" not in ended.out, "the stack has answered"
    assert set(api.requests()) == {"POST /pipelines/a/check", "GET /pipelines"}, "nothing is started"
    assert "warning: secrets: Not checked: REFRESH_API_URL does not say which stack it is." in ended.out


def test_secrets_that_files_name_exist_and_can_be_used(tmp_path: Path, api: FakeApi) -> None:
    pipeline = GOOD + "connection: team-b\nnotify:\n  channels: [topic, ops, good]\n"
    files = {
        "pipelines/a.yaml": pipeline,
        "sources/dbt.yaml": SOURCE.format(secret="missing", pipeline="a"),
        "sources/git.yaml": SOURCE.format(secret="github", pipeline="a"),
        "sources/sap.yaml": SOURCE.replace("github", "sap", 1).format(secret="github", pipeline="a"),
    }
    write_files(tmp_path, files)
    api.answer("POST /pipelines/a/check", (200, {"pipeline": "a", "ok": True, "findings": []}))
    with fake_stack() as stack:
        client = stack.client("secretsmanager")
        for name, document in {
            "webhooks/github": {"current": "value-to-hide"},
            "channels/ops": {"type": "slack", "url": "ftp://value-to-hide"},
            "channels/good": {"type": "pagerduty", "routing_key": "a" * 32},
        }.items():
            client.create_secret(Name=f"{NAME}/{name}", SecretString=json.dumps(document))
        arguments = ("--stack", NAME, "check", "--online", str(tmp_path))
        ended = stack.run(*arguments, api_url=api.url)
        assert (ended.exit_code, stack.written) == (1, [])
        assert "value-to-hide" not in ended.output
        shown = [line.removeprefix(f"{tmp_path}/") for line in ended.stdout.splitlines()]
        starts = {line.partition(f" {NAME}/")[0]: line for line in shown if f" {NAME}/" in line}
        assert set(starts) == {
            "sources/dbt.yaml:2: error: secret:",
            "sources/git.yaml:2: ok: secret:",
            "sources/sap.yaml:2: error: secret:",
            "pipelines/a.yaml:6: error: notify.channels:",
            "pipelines/a.yaml:6: ok: notify.channels:",
        }
        missing = starts["sources/dbt.yaml:2: error: secret:"]
        assert missing.endswith(f"Enter it: refresh --stack {NAME} secret webhook missing")

        def refuse(model: object, **_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetSecretValue")

        events, event = client.meta.events, "before-parameter-build.secretsmanager.GetSecretValue"
        events.register(event, refuse)
        denied = stack.run(*arguments, api_url=api.url)
        events.unregister(event, refuse)
        assert denied.exit_code == 0, denied.output
        assert (
            "warning: secrets: Not checked: you may not call secretsmanager:GetSecretValue" in denied.stdout
        )

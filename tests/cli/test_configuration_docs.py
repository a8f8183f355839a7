"""docs/configuration-files.md says what the tool reads and calls."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from msgspec import structs

from refresh_cli.configuration.files import MAX_PARAMETER, read_configuration
from refresh_cli.configuration.schedules import MAX_SCHEDULES, ScheduleEntry, ScheduleOptions
from tests.cli.fake_stack import fake_stack, write_files
from tests.template.pages import NAME, page, section, tables

PAGE = "docs/configuration-files.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page(PAGE), re.MULTILINE | re.DOTALL)


def test_the_example_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    found = read_configuration([write_files(tmp_path, {"pipelines/billing.yaml": text})])
    assert found.findings == []
    assert [key.name for key in found.items] == ["billing", "billing.nightly", "billing.weekend"]


def test_every_field_of_a_schedule_is_described() -> None:
    (table,) = tables(PAGE, "Schedules")
    assert set(table) == {field.encode_name for field in structs.fields(ScheduleEntry)}
    options = {field.encode_name for field in structs.fields(ScheduleOptions)}
    assert set(NAME.findall(table["options"][1])) == options


def test_the_limits_are_those_in_the_code() -> None:
    assert f"at most {MAX_SCHEDULES} entries" in section(PAGE, "Schedules")
    assert f"at most {MAX_PARAMETER:,} bytes" in section(PAGE, "Pipelines and sources")


def test_the_policy_allows_exactly_what_the_commands_call(tmp_path: Path) -> None:
    called: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        called.add(f"{model.service_model.signing_name}:{model.name}")

    text = "data_pool: p\nloads: [{data_model: m}]\nschedules: [{rate: 1 hour}]\nnotify: {channels: [ops]}\n"
    source = "sender: github\nsecret: s\nrules: [{pipeline: a}]\n"
    folder = write_files(tmp_path, {"pipelines/a.yaml": text, "sources/s.yaml": source})
    with fake_stack() as stack:
        for service in ("cloudformation", "ssm", "scheduler", "secretsmanager"):
            stack.client(service).meta.events.register("before-call.*.*", note)
        stack.run("push", str(folder), "--yes")
        write_files(folder, {"pipelines/a.yaml": text.replace("1 hour", "2 hours").replace("m}", "n}")})
        stack.run("push", str(folder), "--yes")
        stack.run("pull", str(tmp_path / "pulled"))
        (folder / "pipelines/a.yaml").unlink()
        stack.run("push", str(folder), "--yes", "--prune")
        for value in ("one", "two"):
            stack.run("secret", "webhook", "s", "--from-file", "-", stdin=value)
        by_commands = set(called)  # without those that remove the stack
    (policy,) = map(json.loads, blocks("json"))
    actions: set[str] = set()
    for statement in policy["Statement"]:
        named = statement["Action"]
        actions |= {named} if isinstance(named, str) else set(named)
    not_seen = {"iam:PassRole", "cloudformation:DescribeStacks"}
    assert by_commands == actions - not_seen

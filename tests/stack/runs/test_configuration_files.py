"""``refresh push`` against the deployed stack: its schedules fire by the clock and start its pipelines."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from click.testing import CliRunner

from local.aws.delivery.schedules import list_schedules
from local.schedule_clock import fire_due
from local.serve import REGION, STACK_NAME
from refresh_cli.app import App
from refresh_cli.configuration.documents import read_file, to_yaml
from refresh_cli.main import cli
from refresh_cli.stack import Stack
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import SAMPLE, DeployedService, definition, until

DUE = datetime(2031, 1, 6, 3, 0, tzinfo=UTC)
"""A Monday, 04:00 in Berlin."""


def refresh(service: DeployedService, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
    """Run the tool against the stack; return its JSON."""
    keys = service.stack.credentials
    session = boto3.Session(
        aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key, region_name=REGION
    )
    app = App()
    endpoint = service.stack.aws_endpoint_url
    app.__dict__["stack"] = Stack(STACK_NAME, session, endpoint, service.stack.local_outputs)
    ended = CliRunner().invoke(cli, [*arguments, "--json"], obj=app, catch_exceptions=False)
    assert ended.exit_code in codes, ended.output
    return json.loads(ended.stdout)


def test_a_pushed_schedule_fires_by_the_clock_and_starts_its_pipeline(
    service: DeployedService, celonis: CelonisControls, tmp_path: Path
) -> None:
    name, job = service.name("pushed"), celonis.job()
    entry = {
        "name": "early",
        "cron": "0 4 ? * MON *",
        "timezone": "Europe/Berlin",
        "options": {"mode": "DELTA", "reason": "every Monday"},
    }
    document = json.loads(json.dumps(definition(jobs=[job])))
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / f"{name}.yaml").write_text(
        to_yaml({**document, "schedules": [entry, {**entry, "name": "off", "enabled": False}]})
    )

    outcome = refresh(service, "push", str(tmp_path), "--yes")
    assert [each["name"] for each in outcome["written"]] == [name, f"{name}.early", f"{name}.off"]
    assert refresh(service, "push", str(tmp_path), "--yes")["written"] == []
    pulled = tmp_path / "pulled"
    refresh(service, "pull", str(pulled), codes=(0, 1))  # 1: a parameter of another test is not JSON
    assert not (pulled / "pipelines" / f"{SAMPLE}.yaml").exists()
    (pulled_entries,) = [read_file(path).value["schedules"] for path in pulled.rglob(f"{name}.yaml")]
    assert pulled_entries == [entry, {**entry, "name": "off", "enabled": False}]

    due = [schedule for _, schedule in service.stack.due_schedules(DUE)]
    assert [schedule for schedule in due if schedule.startswith(name)] == [f"{name}.early"]
    fired = [line for line in fire_due(service.stack, DUE) if name in line]
    assert fired == [f"03:00 UTC: the schedule {name}.early fired"]
    started = next(each.name for each in service.stack.executions if name in each.input_text)
    run = service.closed(started)
    assert (run["status"], run["pipeline"]) == ("SUCCEEDED", name)
    assert run["options"]["reasons"][0]["text"] == "every Monday"
    assert [each["mode"] for each in celonis.executions(job)] == ["DELTA"]
    occurrence = json.loads(service.execution(started)["input"])["delivery"]
    assert re.fullmatch(
        rf"arn:aws:scheduler:.*:schedule/{STACK_NAME}/{name}\.early/2031-01-06T03:00:00Z", occurrence
    )

    until(lambda: service.is_free(name), "the end of the run")
    remove(service, name)


def remove(service: DeployedService, prefix: str) -> None:
    """Remove what a test has pushed; other tests share the stack."""
    scheduler, ssm = service.stack.client("scheduler"), service.stack.client("ssm")
    for each in list_schedules(scheduler):
        if each["Name"].startswith(prefix):
            scheduler.delete_schedule(Name=each["Name"], GroupName=each["GroupName"])
    path = f"/{STACK_NAME}/pipelines/"
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=path):
        for parameter in page["Parameters"]:
            if parameter["Name"].startswith(path + prefix):
                ssm.delete_parameter(Name=parameter["Name"])


def test_the_local_stack_fires_more_schedules_than_one_page_shows(
    service: DeployedService, tmp_path: Path
) -> None:
    (tmp_path / "pipelines").mkdir()
    document = definition(jobs=["00000000-0000-4000-8000-000000000001"])
    entries = [{"cron": "0 5 1 1 ? 2032"} for _ in range(20)]
    for number in range(3):
        text = to_yaml({**json.loads(json.dumps(document)), "schedules": entries})
        (tmp_path / "pipelines" / f"paged-{number}.yaml").write_text(text)
    refresh(service, "push", str(tmp_path), "--yes")
    try:
        due = service.stack.due_schedules(datetime(2032, 1, 1, 5, 0, tzinfo=UTC))
        assert len([name for _, name in due if name.startswith("paged-")]) == 60
    finally:
        remove(service, "paged-")

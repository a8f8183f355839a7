"""``diff``, ``push`` and ``pull`` against a stack in moto."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.cli.fake_stack import NAME, OUTPUTS, OWNED, OWNED_PIPELINE, FakeStack, fake_stack, write_files

BILLING = """\
# what the comment says
data_pool: pool-1
loads:
  - data_model: model-1
fresh_within: 06:30 Europe/Berlin, Monday to Friday
schedules:
  - name: nightly
    cron: 0 4 ? * MON-FRI *
    timezone: Europe/Berlin
    options: {tables: all, reason: every night}
  - rate: 6 hours
    enabled: false
"""
FILES = {
    "pipelines/billing.yaml": BILLING,
    "pipelines/sales.json": json.dumps({"data_pool": "p", "jobs": [{"job": "j", "mode": "DELTA"}]}),
    "sources/dbt.yaml": "sender: dbt_cloud\nsecret: dbt\nrules:\n  - pipeline: billing\n",
}


@pytest.fixture
def stack() -> Iterator[FakeStack]:
    with fake_stack() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "config", FILES)


def push(stack: FakeStack, folder: Path, *options: str) -> Any:
    return stack.run("push", str(folder), "--yes", *options)


def test_push_writes_parameters_and_schedules_that_start_the_state_machine(
    stack: FakeStack, folder: Path
) -> None:
    ended = push(stack, folder)
    assert ended.exit_code == 0, ended.output
    assert stack.written == ["PutParameter"] * 3 + ["CreateSchedule"] * 2
    parameters = stack.parameters()
    assert json.loads(parameters[f"/{NAME}/pipelines/billing"]) == {
        "data_pool": "pool-1",
        "loads": [{"data_model": "model-1"}],
        "fresh_within": "06:30 Europe/Berlin, Monday to Friday",
    }
    assert {name: parameters[name] for name in OWNED} == {name: json.dumps(OWNED[name]) for name in OWNED}
    schedules = stack.schedules()
    assert set(schedules) == {"billing.nightly", "billing.2"}
    nightly = schedules["billing.nightly"]
    assert (nightly["ScheduleExpression"], nightly["ScheduleExpressionTimezone"]) == (
        "cron(0 4 ? * MON-FRI *)",
        "Europe/Berlin",
    )
    assert nightly["Target"]["Arn"] == OUTPUTS["StateMachineArn"]
    assert nightly["Target"]["RoleArn"] == OUTPUTS["ScheduleRoleArn"]
    assert nightly["Target"]["DeadLetterConfig"]["Arn"].endswith(":123456789012:dead-letters")
    assert json.loads(nightly["Target"]["Input"]) == {
        "pipeline": "billing",
        "tables": "all",
        "reason": "every night",
        "delivery": "<aws.scheduler.schedule-arn>/<aws.scheduler.scheduled-time>",
    }
    assert (schedules["billing.2"]["State"], nightly["State"]) == ("DISABLED", "ENABLED")


def test_push_of_an_unchanged_folder_writes_nothing(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    ended = stack.run("push", str(folder))
    assert (ended.exit_code, stack.calls) == (0, [])
    assert "No differences; 5 unchanged." in ended.output


def test_push_writes_only_what_changed(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    text = BILLING.replace("0 4 ?", "0 5 ?")
    write_files(folder, {"pipelines/billing.yaml": text})
    shown = stack.run("diff", str(folder))
    assert "-cron: 0 4 ? * MON-FRI *\n+cron: 0 5 ? * MON-FRI *" in shown.output
    assert stack.calls == []
    assert push(stack, folder).exit_code == 0
    assert stack.written == ["UpdateSchedule"]
    assert stack.schedules()["billing.nightly"]["ScheduleExpression"] == "cron(0 5 ? * MON-FRI *)"


def test_a_text_of_the_same_content_is_not_written(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    name = f"/{NAME}/pipelines/sales"
    value = json.dumps({"jobs": [{"mode": "DELTA", "job": "j"}], "data_pool": "p"}, indent=4)
    stack.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    assert push(stack, folder).exit_code == 0
    assert stack.calls == []
    assert stack.parameters()[name] == value


def test_numbers_and_flags_that_python_calls_equal_differ(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    name = f"/{NAME}/sources/dbt"
    before = json.loads(stack.parameters()[name])
    changed = json.dumps({**before, "expect": {"accountId": 1.0}})
    stack.client("ssm").put_parameter(Name=name, Value=changed, Type="String", Overwrite=True)
    write_files(
        folder,
        {"sources/dbt.yaml": FILES["sources/dbt.yaml"] + "expect: {accountId: 1}\n"},
    )
    push(stack, folder)
    assert stack.written == ["PutParameter"]


def test_push_removes_only_with_prune_and_says_what_is_left(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    (folder / "pipelines" / "billing.yaml").unlink()
    write_files(folder, {"sources/dbt.yaml": FILES["sources/dbt.yaml"].replace("billing", "sales")})
    ended = push(stack, folder)
    assert ended.exit_code == 0
    assert "only in the stack" in ended.output
    assert stack.written == ["PutParameter"]
    assert push(stack, folder, "--prune").exit_code == 0
    assert stack.written == ["DeleteSchedule", "DeleteSchedule", "DeleteParameter"]
    assert set(stack.parameters()) == {*OWNED, f"/{NAME}/pipelines/sales", f"/{NAME}/sources/dbt"}
    assert stack.schedules() == {}


def test_prune_of_a_folder_without_sources_deletes_no_source(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    (folder / "sources" / "dbt.yaml").unlink()
    (folder / "sources").rmdir()
    assert push(stack, folder, "--prune").exit_code == 0
    assert stack.calls == []


@pytest.mark.parametrize("prune", [[], ["--prune"]])
def test_what_belongs_to_the_stack_is_never_written(stack: FakeStack, folder: Path, prune: list[str]) -> None:
    write_files(folder, {f"pipelines/{OWNED_PIPELINE}.yaml": "data_pool: mine\nloads: [{data_model: m}]\n"})
    ended = push(stack, folder, *prune)
    assert ended.exit_code == 1
    assert f"not written: pipeline {OWNED_PIPELINE}" in ended.output
    assert "CloudFormation" in ended.output
    assert {name: stack.parameters()[name] for name in OWNED} == {
        name: json.dumps(value) for name, value in OWNED.items()
    }
    assert stack.written == ["PutParameter"] * 3 + ["CreateSchedule"] * 2


def test_a_schedule_that_refresh_did_not_write_stays(stack: FakeStack, folder: Path) -> None:
    target = {"Arn": OUTPUTS["StateMachineArn"], "RoleArn": OUTPUTS["ScheduleRoleArn"], "Input": "{}"}
    stack.client("scheduler").create_schedule(
        Name="by-hand",
        GroupName=NAME,
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    ended = push(stack, folder, "--prune")
    assert ended.exit_code == 0
    assert "by-hand was not written by refresh" in ended.output
    assert "by-hand" in stack.schedules()


def test_nothing_is_written_without_a_confirmation(stack: FakeStack, folder: Path) -> None:
    ended = stack.run("push", str(folder))
    assert (ended.exit_code, stack.calls) == (2, [])
    assert "Add --yes." in ended.stderr


def test_a_folder_with_mistakes_is_not_pushed(stack: FakeStack, folder: Path) -> None:
    write_files(folder, {"pipelines/broken.yaml": "data_pool: p\nloads: []\nspeed: 9\n"})
    ended = push(stack, folder)
    assert (ended.exit_code, stack.calls) == (2, [])
    assert "broken.yaml:3: speed: is not a known field" in ended.stderr


class Interruption:
    """Something that happens right before a call to AWS."""

    def __init__(self, stack: FakeStack, operation: str, mentions: str, act: Any) -> None:
        self.mentions, self.act, self.is_over = mentions, act, False
        for service in ("ssm", "scheduler"):
            stack.client(service).meta.events.register(f"before-call.{service}.{operation}", self)

    def __call__(self, params: Any, **_: Any) -> None:
        if not self.is_over and self.mentions in str(params["body"]) + str(params["url_path"]):
            self.is_over = True
            self.act()


def test_a_parameter_that_changed_after_the_comparison_is_refused(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    write_files(
        folder,
        {
            "pipelines/sales.json": json.dumps({"data_pool": "q", "jobs": [{"job": "j"}]}),
            "sources/dbt.yaml": FILES["sources/dbt.yaml"].replace("billing", "sales"),
        },
    )
    theirs = json.dumps({"data_pool": "theirs", "jobs": [{"job": "j"}]})
    name = f"/{NAME}/pipelines/sales"

    def change() -> None:
        stack.client("ssm").put_parameter(Name=name, Value=theirs, Type="String", Overwrite=True)

    Interruption(stack, "GetParameter", name, change)
    ended = push(stack, folder)
    assert ended.exit_code == 1
    assert f"not written: pipeline sales: {name} was changed in the meantime" in ended.output
    assert "updated source dbt" in ended.output
    assert stack.parameters()[name] == theirs
    assert push(stack, folder).exit_code == 0
    assert json.loads(stack.parameters()[name])["data_pool"] == "q"


@pytest.mark.parametrize("prune", [False, True])
def test_a_parameter_that_was_replaced_after_the_comparison_is_refused(
    stack: FakeStack, folder: Path, prune: bool
) -> None:
    """A new parameter begins with version 1 again."""
    push(stack, folder)
    if prune:
        (folder / "pipelines/sales.json").unlink()
    else:
        write_files(folder, {"pipelines/sales.json": json.dumps({"data_pool": "q", "jobs": [{"job": "j"}]})})
    name, theirs = f"/{NAME}/pipelines/sales", json.dumps({"data_pool": "theirs", "jobs": [{"job": "j"}]})

    def replace() -> None:
        stack.client("ssm").delete_parameter(Name=name)
        stack.client("ssm").put_parameter(Name=name, Value=theirs, Type="String")

    Interruption(stack, "GetParameter", name, replace)
    ended = push(stack, folder, *(["--prune"] if prune else []))
    assert ended.exit_code == 1
    assert f"not written: pipeline sales: {name} was changed in the meantime" in ended.output
    assert stack.parameters()[name] == theirs


@pytest.mark.parametrize("action", ["change", "delete"])
def test_a_schedule_that_changed_after_the_comparison_is_refused(
    stack: FakeStack, folder: Path, action: str
) -> None:
    push(stack, folder)
    write_files(folder, {"pipelines/billing.yaml": BILLING.replace("0 4 ?", "0 5 ?")})
    scheduler = stack.client("scheduler")
    seen: list[str] = []

    def interrupt() -> None:
        if action == "delete":
            scheduler.delete_schedule(Name="billing.nightly", GroupName=NAME)
            return
        now = stack.schedules()["billing.nightly"]
        fields = ("Name", "GroupName", "FlexibleTimeWindow", "Target")
        same = {name: now[name] for name in fields}
        scheduler.update_schedule(**same, ScheduleExpression="rate(9 days)")

    class Second(Interruption):
        """The first read is that of the comparison."""

        def __call__(self, params: Any, **more: Any) -> None:
            if self.mentions in str(params["url_path"]) and not self.is_over:
                seen.append(self.mentions)
                if len(seen) == 2:
                    super().__call__(params, **more)

    Second(stack, "GetSchedule", "billing.nightly", interrupt)
    ended = push(stack, folder)
    assert ended.exit_code == 1
    assert f"{NAME}/billing.nightly was {action}d in the meantime" in ended.output


def test_a_parameter_that_was_created_after_the_comparison_is_refused(stack: FakeStack, folder: Path) -> None:
    name = f"/{NAME}/pipelines/sales"

    def create() -> None:
        stack.client("ssm").put_parameter(Name=name, Value='{"theirs": 1}', Type="String")

    Interruption(stack, "PutParameter", f"{NAME}/pipelines/billing", create)
    ended = push(stack, folder)
    assert ended.exit_code == 1
    assert f"not written: pipeline sales: {name} was created in the meantime" in ended.output
    assert stack.parameters()[name] == '{"theirs": 1}'


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ClientError(
                {
                    "Error": {
                        "Code": "AccessDeniedException",
                        "Message": "User: u is not authorized to perform: ssm:PutParameter on resource: x",
                    }
                },
                "PutParameter",
            ),
            "failed: source dbt was not created. A permission is missing: PutParameter",
        ),
        (
            EndpointConnectionError(endpoint_url="https://ssm"),
            "failed: source dbt may or may not have been created. AWS did not answer",
        ),
    ],
)
def test_a_push_that_breaks_off_says_exactly_what_was_written(
    stack: FakeStack, folder: Path, error: Exception, says: str
) -> None:
    def fail() -> None:
        raise error

    Interruption(stack, "PutParameter", f"{NAME}/sources/dbt", fail)
    ended = push(stack, folder)
    assert ended.exit_code == 2
    assert "created pipeline billing" in ended.output
    assert "created pipeline sales" in ended.output
    assert says in ended.output
    assert "not tried: create schedule billing.nightly" in ended.output
    again = push(stack, folder)
    assert again.exit_code == 0
    assert stack.written == ["PutParameter", "CreateSchedule", "CreateSchedule"]


@pytest.fixture
def termination() -> Iterator[Any]:
    """The handler of SIGTERM, which is restored."""
    before = signal.getsignal(signal.SIGTERM)
    yield before
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_push_says_exactly_what_was_written(
    stack: FakeStack, folder: Path, termination: Any, times: int
) -> None:
    def interrupt() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            if times > 1:
                signal.raise_signal(signal.SIGTERM)

    Interruption(stack, "PutParameter", f"{NAME}/sources/dbt", interrupt)
    ended = push(stack, folder)
    assert ended.exit_code == 130
    assert "created pipeline billing" in ended.output
    assert "failed: source dbt may or may not have been created. Interrupted." in ended.output
    assert "not tried: create schedule billing.nightly" in ended.output
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, "the report follows"


def test_a_push_that_is_not_interrupted_leaves_sigterm_as_it_was(
    stack: FakeStack, folder: Path, termination: Any
) -> None:
    assert push(stack, folder).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) == termination


CHANNELS = json.dumps({"data_pool": "p", "jobs": [{"job": "j"}], "notify": {"channels": ["topic", "ops"]}})


def test_push_warns_of_a_channel_without_a_secret(stack: FakeStack, folder: Path) -> None:
    write_files(folder, {"pipelines/sales.json": CHANNELS, "pipelines/other.json": CHANNELS})
    warning = (
        "The secret of channel ops does not exist: pipeline other, sales. "
        "Enter it: refresh secret channel ops"
    )
    ended = push(stack, folder)
    assert ended.exit_code == 0
    assert f"warning: {warning}\n" in ended.output
    assert ended.output.index("warning:") < ended.output.index("created pipeline sales")
    assert "warning" not in push(stack, folder).output, "nothing is written"
    write_files(folder, {"pipelines/sales.json": CHANNELS.replace("ops", "gone")})
    assert stack.json("push", str(folder), "--yes")["warnings"] == [
        "The secret of channel gone does not exist: pipeline sales. Enter it: refresh secret channel gone"
    ]
    stack.client("secretsmanager").create_secret(Name=f"{NAME}/channels/ops", SecretString="{}")
    write_files(folder, {"pipelines/sales.json": CHANNELS})
    assert "warning" not in push(stack, folder).output


def test_push_does_not_need_to_list_secrets(stack: FakeStack, folder: Path) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListSecrets")

    write_files(folder, {"pipelines/sales.json": CHANNELS})
    event = "before-parameter-build.secretsmanager.ListSecrets"
    stack.client("secretsmanager").meta.events.register(event, refuse)
    ended = push(stack, folder)
    assert ended.exit_code == 0
    assert "created pipeline sales" in ended.output


def test_a_write_in_the_same_moment_is_noticed_by_the_version(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    name = f"/{NAME}/pipelines/sales"
    write_files(folder, {"pipelines/sales.json": json.dumps({"data_pool": "q", "jobs": [{"job": "j"}]})})

    def change() -> None:
        stack.client("ssm").put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)

    Interruption(stack, "PutParameter", name, change)
    ended = push(stack, folder)
    assert ended.exit_code == 0
    assert f"{name} was changed twice in the same moment; check the versions 2 to 3" in ended.output


def test_json_of_push_and_diff(stack: FakeStack, folder: Path) -> None:
    changes = stack.json("diff", str(folder))["changes"]
    created = [each["name"] for each in changes if each["action"] == "create"]
    names = ["billing", "sales", "dbt", "billing.2", "billing.nightly"]
    assert created == names
    outcome = stack.json("push", str(folder), "--yes")
    assert [each["name"] for each in outcome["written"]] == names
    assert (outcome["failed"], outcome["not_written"], outcome["not_tried"]) == (None, [], [])


def test_diff_can_fail_a_job_that_watches_for_drift(stack: FakeStack, folder: Path) -> None:
    assert stack.run("diff", str(folder), "--exit-code").exit_code == 1
    push(stack, folder)
    ended = stack.run("diff", str(folder), "--exit-code")
    assert ended.exit_code == 0
    assert "No differences; 5 unchanged." in ended.stdout
    (folder / "sources/dbt.yaml").unlink()
    ended = stack.run("diff", str(folder), "--exit-code")
    assert ended.exit_code == 1
    assert "Nothing to write; 1 only in the stack; 4 unchanged." in ended.stdout


# -------------------------------------------------------------------------------------------------- pull


def test_pull_writes_yaml_and_no_file_of_what_belongs_to_the_stack(
    stack: FakeStack, folder: Path, tmp_path: Path
) -> None:
    push(stack, folder)
    there = tmp_path / "pulled"
    ended = stack.run("pull", str(there))
    assert (ended.exit_code, stack.calls) == (0, [])
    names = sorted(str(path.relative_to(there)) for path in there.rglob("*") if path.is_file())
    assert names == ["pipelines/billing.yaml", "pipelines/sales.yaml", "sources/dbt.yaml"]
    assert (there / "pipelines/billing.yaml").read_text() == (
        "data_pool: pool-1\n"
        "loads:\n"
        "  - data_model: model-1\n"
        "fresh_within: 06:30 Europe/Berlin, Monday to Friday\n"
        "schedules:\n"
        '  - name: "2"\n'
        "    rate: 6 hours\n"
        "    enabled: false\n"
        "  - name: nightly\n"
        "    cron: 0 4 ? * MON-FRI *\n"
        "    timezone: Europe/Berlin\n"
        "    options:\n"
        "      tables: all\n"
        "      reason: every night\n"
    )
    assert push(stack, there).exit_code == 0
    assert stack.calls == []


@pytest.mark.parametrize("inside", [".", "pipelines", "channels", ".git"])
def test_pull_into_a_folder_without_files(
    stack: FakeStack, folder: Path, tmp_path: Path, inside: str
) -> None:
    push(stack, folder)
    there = tmp_path / "there"
    (there / inside).mkdir(parents=True)
    ended = stack.run("pull", str(there))
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert (there / "sources/dbt.yaml").is_file()


def test_pull_does_not_touch_files_of_equal_content(stack: FakeStack, folder: Path) -> None:
    push(stack, folder)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.*")}
    ended = stack.run("pull", str(folder))
    assert ended.exit_code == 0
    assert "3 files unchanged." in ended.output
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.*")}


def test_pull_writes_a_file_that_differs_in_its_format_after_a_confirmation(
    stack: FakeStack, folder: Path
) -> None:
    push(stack, folder)
    changed = {"data_pool": "new", "jobs": [{"job": "j"}]}
    stack.client("ssm").put_parameter(
        Name=f"/{NAME}/pipelines/sales", Value=json.dumps(changed), Type="String", Overwrite=True
    )
    before = (folder / "pipelines/sales.json").read_text()
    refused = stack.run("pull", str(folder))
    assert (refused.exit_code, (folder / "pipelines/sales.json").read_text()) == (2, before)
    assert stack.run("pull", str(folder), "--yes").exit_code == 0
    assert json.loads((folder / "pipelines/sales.json").read_text()) == changed
    assert "# what the comment says" in (folder / "pipelines/billing.yaml").read_text()


def test_pull_deletes_files_only_with_prune(stack: FakeStack, folder: Path) -> None:
    assert stack.run("pull", str(folder), "--yes").exit_code == 0
    assert (folder / "pipelines/sales.json").exists()
    assert stack.run("pull", str(folder), "--yes", "--prune").exit_code == 0
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_parameter_that_no_file_can_hold_is_named(stack: FakeStack, tmp_path: Path) -> None:
    stack.client("ssm").put_parameter(Name=f"/{NAME}/pipelines/odd", Value="not json", Type="String")
    ended = stack.run("pull", str(tmp_path / "pulled"))
    assert ended.exit_code == 1
    assert f"/{NAME}/pipelines/odd has an invalid name, or is not a JSON object" in ended.output


def test_a_stack_of_an_earlier_version(stack: FakeStack, folder: Path) -> None:
    stack.stack.known_outputs = {name: OUTPUTS[name] for name in OUTPUTS if name != "ScheduleGroup"}
    ended = stack.run("diff", str(folder))
    assert ended.exit_code == 2
    assert "The stack has no output ScheduleGroup" in ended.stderr

"""What every function has: a description, a trace, a log group with a retention time."""

from __future__ import annotations

import pytest
from aws_lambda_powertools.shared import constants

from tests.template import documents

FUNCTIONS = documents.functions()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_described_and_traced(name: str) -> None:
    function = FUNCTIONS[name]
    assert function["Description"]
    assert function["Tracing"] == "Active"
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == ["arm64"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_logs_json_into_a_group_of_its_own(name: str) -> None:
    logging = FUNCTIONS[name]["LoggingConfig"]
    assert logging == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": {"Ref": "LogLevel"},
        "LogGroup": {"Ref": f"{name}Logs"},
    }


def test_the_log_level_is_one_that_lambda_and_powertools_know() -> None:
    levels = documents.template()["Parameters"]["LogLevel"]["AllowedValues"]
    assert set(levels) <= set(constants.LAMBDA_ADVANCED_LOGGING_LEVELS)


def test_every_log_group_has_a_retention_and_a_user() -> None:
    groups = documents.resources("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    text = documents.template_text()
    users = {"RefreshLogs": "!GetAtt RefreshLogs.Arn", "AccessLogs": "!GetAtt AccessLogs.Arn"}
    users |= {f"{name}Logs": f"!Ref {name}Logs" for name in FUNCTIONS}
    assert set(groups) == set(users)
    assert all(use in text for use in users.values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_layer_and_publishes_versions_of_every_change(name: str) -> None:
    function = FUNCTIONS[name]
    assert function["Layers"] == [{"Ref": "RefreshLayer"}]
    assert function["AutoPublishAlias"] == "live"
    assert function["AutoPublishAliasAllProperties"] is True


@pytest.mark.parametrize("name", ["Trigger", "Api"])
def test_a_function_of_the_api_ends_before_the_api_times_out(name: str) -> None:
    assert FUNCTIONS[name]["Timeout"] < 30  # what an HTTP API waits for an integration


def test_the_layer_is_built_for_what_the_functions_run_on() -> None:
    resource = documents.template()["Resources"]["RefreshLayer"]
    shared = documents.template()["Globals"]["Function"]
    assert resource["Metadata"] == {
        "BuildMethod": "makefile",
        "BuildArchitecture": shared["Architectures"][0],
    }
    makefile = (documents.LAYER / "Makefile").read_text(encoding="utf-8")
    assert f"PYTHON := {shared['Runtime']}\n" in makefile
    assert f"--python-version {shared['Runtime'].removeprefix('python')} " in makefile
    assert "_aarch64" in makefile
    assert resource["Properties"]["CompatibleRuntimes"] == [shared["Runtime"]]
    assert resource["Properties"]["CompatibleArchitectures"] == shared["Architectures"]
    assert (documents.ROOT / resource["Properties"]["ContentUri"]).resolve() == documents.LAYER

"""The error names that the state machine matches, and the statuses that errors become."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import pytest

from celonis_refresh.errors import RefreshError
from celonis_refresh.responses import STATUS
from tests.template import documents

OF_AWS = {
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.EC2ThrottledException",
    "Lambda.EC2UnexpectedException",
    "Lambda.ENILimitReachedException",
    "Lambda.ResourceNotReadyException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.SubnetIPAddressLimitReachedException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "States.ALL",
    "States.Timeout",
}
"""Names that Step Functions and Lambda document or report."""

GROUPS = {"CelonisError", "InvalidInput", "StepFailed", "WebhookError"}
"""Base classes of errors, which are never raised themselves."""


def below(root: type[RefreshError]) -> Iterator[type[RefreshError]]:
    for each in root.__subclasses__():
        yield each
        yield from below(each)


def errors() -> dict[str, type[RefreshError]]:
    """Every error of the layer by name."""
    for path in documents.sources(documents.PACKAGE):
        module = path.relative_to(documents.LAYER).with_suffix("").as_posix().replace("/", ".")
        importlib.import_module(module.removesuffix(".__init__"))
    classes = {each for each in below(RefreshError) if each.__module__.startswith("celonis_refresh.")}
    named = {each.__name__: each for each in classes}
    assert len(named) == len(classes), "two errors share a name"
    return named


def raised() -> set[str]:
    """The names that can end a run or a request."""
    return set(errors()) - GROUPS


def matched() -> set[str]:
    found = documents.states(documents.machine())
    rules = [rule for _, state in found for rule in (*state.get("Retry", []), *state.get("Catch", []))]
    return {name for rule in rules for name in rule["ErrorEquals"]}


def test_every_name_that_is_matched_is_an_error_of_the_layer_or_of_aws() -> None:
    assert matched() <= raised() | OF_AWS


def test_every_task_catches_everything_and_retries_what_passes() -> None:
    tasks = [state for _, state in documents.states(documents.machine()) if state["Type"] == "Task"]
    retries = {tuple(rule["ErrorEquals"]) for state in tasks for rule in state["Retry"]}
    assert len(retries) == 1
    assert all([rule["ErrorEquals"] for rule in state["Catch"]] == [["States.ALL"]] for state in tasks)


def test_what_is_retried_once_is_retried_until_the_timeout_as_well() -> None:
    """The quick retrier of each task and the choice after it name the same errors."""
    found = [state for _, state in documents.states(documents.machine())]
    (quick,) = {tuple(rule["ErrorEquals"]) for state in found for rule in state.get("Retry", [])}
    conditions = [rule["Condition"] for state in found for rule in state.get("Choices", [])]
    lists = [names[1] for text in conditions if (names := re.search(r"Error in \[(.*?)\]", text))]
    assert lists == [", ".join(f"'{name}'" for name in quick)] * 3


@pytest.mark.parametrize("name", ["CelonisThrottled", "CelonisUnavailable", "TableBusy", "StepMoved"])
def test_what_passes_by_itself_is_retried(name: str) -> None:
    assert name in matched()


def test_what_passes_of_lambda_is_retried_also_in_a_vpc_and_after_an_idle_time() -> None:
    assert OF_AWS - {"States.ALL"} <= matched()


@pytest.mark.parametrize("name", ["RunClosed", "AuthenticationFailed", "JobFailed", "InvalidDefinition"])
def test_what_does_not_pass_is_not_retried(name: str) -> None:
    assert name in raised()
    assert name not in matched()


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_is_only_a_group(group: str) -> None:
    assert errors()[group].__subclasses__()
    raising = [f"raise {group}(", f"errors.{group}(", f"return {group}("]
    texts = [path.read_text(encoding="utf-8") for path in documents.sources(documents.PACKAGE)]
    assert not any(words in text for words in raising for text in texts)


SHOWN_TO_CALLERS = (
    "webhooks.errors",
    "pipelines.errors",
    "runs.errors",
    "aws.configuration",
    "aws.executions",
    "aws.sns_certificates",
    "workflow.commands",
)
"""The modules whose errors a webhook or a request of the runs API can meet."""


def test_every_error_that_a_caller_can_meet_has_a_status() -> None:
    modules = {f"celonis_refresh.{name}" for name in SHOWN_TO_CALLERS}
    met = {name for name in raised() if errors()[name].__module__ in modules}
    assert met - {"StepMoved", "StaleBaseline"} <= set(STATUS)  # only the tasks of a run change steps


def test_every_status_belongs_to_an_error() -> None:
    assert set(STATUS) <= raised()
    assert all(400 <= status < 600 for status in STATUS.values())

"""A check reads what a pipeline names in Celonis, reports what is missing, and starts nothing."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisError,
    CelonisThrottled,
    CelonisUnavailable,
    ConnectionInvalid,
    NotFound,
    PermissionDenied,
    SecretProblem,
)
from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.errors import RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import UnknownPipeline
from celonis_refresh.workflow.pipeline_check import CheckRequest, PipelineChecker
from tests.fakes.service import JOB, MODEL, POOL, ServiceHarness, job_definition

TABLE = ModelTable(id="t-1", name="VBAK", alias=None, alias_or_name="VBAK")
LOADS = [{"data_model": MODEL, "kind": "partial", "tables": ["VBAK"]}]


def facts(kind: type[CelonisError], message: str = "It failed.") -> CelonisError:
    return kind(message, hint="Do this.", method="GET", path="/x")


def service_of() -> ServiceHarness:
    service = ServiceHarness()
    service.job(JOB)
    service.model(MODEL)
    service.celonis.model_tables[MODEL] = [TABLE]
    return service


def checked(
    service: ServiceHarness,
    definition: Definition | None = None,
    request: CheckRequest | None = None,
    seconds: float = 25.0,
) -> dict[str, Any]:
    known = definition or job_definition(loads=LOADS)
    checker = PipelineChecker(lambda _: known, lambda _: service.celonis.client)
    return checker.check("otc", request or CheckRequest(), service.deadline(seconds))


def levels(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["level"], each["field"]) for each in answer["findings"]]


def test_what_exists_is_reported_and_nothing_is_started() -> None:
    service = service_of()
    answer = checked(service)
    assert answer["ok"], answer
    assert levels(answer) == [
        ("ok", "jobs.0.job"),
        ("ok", "loads.0.data_model"),
        ("ok", "loads.0.tables"),
        ("ok", "connection"),
        ("ok", "data_pool"),
    ]
    assert set(service.celonis.names()) == {"job", "executions", "tables", "last_load"}


def test_a_data_model_that_was_never_loaded_is_no_error() -> None:
    service = service_of()
    service.celonis.faults["last_load"] = [facts(NotFound)]
    assert checked(service)["ok"]


def test_an_unknown_table_is_named_with_those_that_exist() -> None:
    answer = checked(service_of(), job_definition(loads=[{**LOADS[0], "tables": ["VBAK", "VBAP"]}]))
    (finding,) = [each for each in answer["findings"] if each["level"] == "error"]
    assert (answer["ok"], finding["field"], finding["subject"]) == (False, "loads.0.tables", MODEL)
    assert "No table VBAP" in finding["message"]
    assert "VBAK" in finding["message"]
    assert "started" not in finding["message"]


@pytest.mark.parametrize("kind", [NotFound, PermissionDenied])
def test_a_job_that_is_missing_or_denied_keeps_the_rest_from_nothing(kind: type[CelonisError]) -> None:
    service = service_of()
    service.celonis.faults["job"] = [facts(kind, "Data job missing.")]
    answer = checked(service)
    assert levels(answer)[0] == ("error", "jobs.0.job")
    assert ("ok", "loads.0.data_model") in levels(answer)
    assert "Do this." in answer["findings"][0]["message"]


def test_a_pool_of_which_nothing_is_visible_is_an_error() -> None:
    service = service_of()
    service.celonis.faults["job"] = [facts(NotFound)]
    answer = checked(service, job_definition())
    assert levels(answer) == [("error", "jobs.0.job"), ("error", "data_pool")]
    assert answer["findings"][1]["subject"] == POOL


@pytest.mark.parametrize("status", [None, 502])
def test_an_error_has_its_name_what_to_do_and_the_status_of_celonis(status: int | None) -> None:
    service = service_of()
    error = CelonisUnavailable("It failed.", hint="Do this.", method="GET", path="/x", status=status)
    service.celonis.faults["job"] = [error]
    (finding,) = checked(service)["findings"]
    assert finding["message"] == "It failed. The rest was not checked. Do this."
    details = {"error": "CelonisUnavailable", "hint": "Do this.", **({"status": status} if status else {})}
    assert {name: finding[name] for name in ("error", "hint", "status") if name in finding} == details


@pytest.mark.parametrize("kind", [AuthenticationFailed, CelonisUnavailable])
def test_credentials_that_are_refused_and_an_outage_end_the_check(kind: type[CelonisError]) -> None:
    service = service_of()
    service.celonis.faults["job"] = [facts(kind)]
    answer = checked(service)
    assert levels(answer) == [("error", "connection")]
    assert service.celonis.names().count("tables") == 0


def test_a_rate_limit_ends_the_check() -> None:
    service = service_of()
    service.celonis.faults["job"] = [
        CelonisThrottled("Too many.", retry_after=9.0, hint="Wait.", method="GET", path="/x")
    ]
    answer = checked(service)
    assert levels(answer) == [("error", "connection")]
    assert "The rest was not checked." in answer["findings"][0]["message"]


def test_a_secret_that_cannot_be_used_is_an_error_without_its_values() -> None:
    service = service_of()

    def refuse(_: Definition) -> Any:
        raise ConnectionInvalid("default", [SecretProblem("base_url", "is missing", "an address")])

    checker = PipelineChecker(lambda _: job_definition(), refuse)
    answer = checker.check("otc", CheckRequest(), service.deadline())
    assert levels(answer) == [("error", "connection")]
    assert service.celonis.sent == []


def test_a_definition_that_is_not_valid_is_reported_by_field_and_nothing_is_sent() -> None:
    service = service_of()
    request = CheckRequest(definition={"data_pool": POOL, "jobs": [{"jobb": JOB}], "paused": 3})
    answer = checked(service, request=request)
    assert {each["field"] for each in answer["findings"]} >= {"jobs.0.job", "paused"}
    assert (answer["ok"], service.celonis.sent) == (False, [])


def test_a_definition_is_checked_instead_of_the_stored_one() -> None:
    service = service_of()
    service.job("other")
    definition = {"data_pool": POOL, "jobs": [{"job": "other"}]}
    answer = checked(service, request=CheckRequest(definition=definition))
    assert answer["ok"]
    assert {arguments for _, arguments, _ in service.celonis.sent} == {"other"}


def test_without_time_the_rest_is_left_out() -> None:
    service = service_of()
    answer = checked(service, seconds=1.05)
    assert levels(answer)[-1] == ("warning", "")
    assert len(service.celonis.sent) < 4


def test_an_unknown_pipeline_is_an_error() -> None:
    def unknown(name: str) -> Definition:
        raise UnknownPipeline(name, where="/stack")

    checker = PipelineChecker(unknown, lambda _: service_of().celonis.client)
    with pytest.raises(RefreshError, match="no pipeline named"):
        checker.check("none", CheckRequest(), ServiceHarness().deadline())

"""The parts put together: what lives as long as the process, and what is read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from celonis_refresh import wiring
from celonis_refresh.aws.caching import TtlCache
from celonis_refresh.aws.configuration import ConfigurationUnavailable, SecretUnreadable
from celonis_refresh.celonis import client as client_module
from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import Connection
from celonis_refresh.celonis.errors import CelonisUnavailable, ConnectionInvalid, SecretProblem
from celonis_refresh.celonis.rate_limiter import NoRateLimit
from celonis_refresh.errors import Problem, RefreshError
from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.errors import InvalidDefinition, UnknownPipeline
from celonis_refresh.steps.cancel import StepCanceller
from celonis_refresh.steps.step import StepContext
from tests.fakes.clock import FakeClock
from tests.fakes.service import JOB, RUN, ServiceHarness, job_definition
from tests.unit.celonis.exchange import API_KEY, ScriptedCelonis, ScriptedResponse, json_reply, session_to


def test_a_connection_that_was_changed_is_used_after_five_minutes_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = Connection("moves", "https://old.eu-1.celonis.cloud", API_KEY)
    clock, celonis = FakeClock(), ScriptedCelonis(*[json_reply({"id": "j", "status": None})] * 3)
    kept = TtlCache(lambda _: stored, wiring.CONNECTION_SECONDS, clock)
    monkeypatch.setattr(wiring, "connections", lambda: kept)
    monkeypatch.setattr(wiring, "table", lambda: None)
    monkeypatch.setattr(wiring, "SharedRateLimiter", lambda *_: NoRateLimit())
    monkeypatch.setattr(client_module, "make_session", lambda: session_to(celonis))
    definition = job_definition(connection="moves")

    wiring.client_for(definition).job("p", "j")
    stored = Connection("moves", "https://new.eu-1.celonis.cloud", API_KEY)
    wiring.client_for(definition).job("p", "j")
    clock.sleep(300.0)
    wiring.client_for(definition).job("p", "j")
    hosts = [sent.url.split("/")[2].split(".")[0] for sent in celonis.sent]
    assert hosts == ["old", "old", "new"]


PAGE = "https://{host}/integration/ui/pools/pool-1/data-configuration/data-jobs?jobId=job-a"


def test_page_addresses_of_another_team_than_the_connection_name_both_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = Connection("emea", "https://emea.eu-1.celonis.cloud", API_KEY)
    monkeypatch.setattr(wiring, "connections", lambda: TtlCache(lambda _: stored, 300, FakeClock()))
    jobs = [{"job": PAGE.format(host="Apac.eu-1.celonis.cloud")}]
    with pytest.raises(InvalidDefinition) as caught:
        wiring.client_for(job_definition(connection="emea", data_pool="pool-1", jobs=jobs))
    (problem,) = caught.value.problems
    assert problem.field == "jobs.0.job"
    assert "names apac.eu-1.celonis.cloud, but connection 'emea' has emea.eu-1.celonis.cloud" in str(
        caught.value
    )


def listing(answer: Callable[[int | None], list[str]]) -> Callable[[], Any]:
    return lambda: SimpleNamespace(pipelines=answer)


def unknown() -> UnknownPipeline:
    return UnknownPipeline("otx", where="/s/pipelines/otx")


def test_an_unknown_pipeline_leaves_a_function_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int | None] = []

    def names(limit: int | None) -> list[str]:
        limits.append(limit)
        return ["ptp", "otc"]

    monkeypatch.setattr(wiring, "parameters", listing(names))
    with wiring.naming_pipelines():
        pass
    assert limits == [], "nothing is read before there is such an error"
    with pytest.raises(UnknownPipeline, match=r"Known pipelines: otc, ptp\."), wiring.naming_pipelines():
        raise unknown()
    assert limits == [wiring.MAX_KNOWN]


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationUnavailable("/s/pipelines/"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParametersByPath"),
    ],
)
def test_an_unknown_pipeline_stays_that_where_the_known_ones_cannot_be_listed(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(limit: int | None) -> list[str]:
        raise error

    monkeypatch.setattr(wiring, "parameters", listing(fails))
    with pytest.raises(UnknownPipeline) as caught, wiring.naming_pipelines():
        raise unknown()
    assert caught.value.existing is None
    assert "could not be listed" in caplog.text


@dataclass
class FakeConnectionSecrets:
    """Gives the connection of a ServiceHarness while its secret can be used. ``error``: why it cannot be."""

    service: ServiceHarness
    error: RefreshError | None = None

    def client_for(self, _: Definition) -> CelonisClient:
        if self.error:
            raise self.error
        return self.service.celonis.client


@pytest.fixture
def connection_secrets(monkeypatch: pytest.MonkeyPatch) -> FakeConnectionSecrets:
    """One run with one job, over the parts as the functions put them together."""
    service = ServiceHarness()
    service.job().add_past_start(6000.0)
    service.open(job_definition())
    connection_secrets = FakeConnectionSecrets(service)
    monkeypatch.setattr(wiring, "client_for", connection_secrets.client_for)
    service.context = StepContext(service.records, service.leases, wiring.target_for, service.clock)
    return connection_secrets


UNUSABLE = [
    SecretUnreadable("'stack/connections/default'", "does not exist"),
    ConnectionInvalid("default", [SecretProblem("auth.key", "is wrong", "the value as Celonis shows it")]),
    InvalidDefinition("The definition", [Problem("data_pool", "names another host")]),
]


@pytest.mark.parametrize("error", UNUSABLE, ids=lambda error: error.name)
def test_a_secret_that_cannot_be_used_for_a_while_ends_no_run_that_has_begun(
    connection_secrets: FakeConnectionSecrets, error: RefreshError
) -> None:
    service = connection_secrets.service
    service.start("job-0")
    connection_secrets.error = error
    for _ in range(3):
        assert service.wait(service.check("job-0"))["status"] == "RUNNING"
    assert error.message in str(service.state("job-0")["last_error"])
    connection_secrets.error = None
    assert service.run_step("job-0") == "SUCCEEDED"
    assert len(service.celonis.jobs[JOB].mine) == 1


def test_a_step_that_waits_to_be_started_waits_for_a_secret_as_well(
    connection_secrets: FakeConnectionSecrets,
) -> None:
    service = connection_secrets.service
    service.celonis.jobs[JOB].add_past_start(1.0, seconds=60.0)
    assert service.wait(service.start("job-0"))["status"] == "WAITING"
    connection_secrets.error = UNUSABLE[0]
    for task in (service.check, service.start, service.check):
        assert service.wait(task("job-0"))["status"] == "WAITING"
    connection_secrets.error = None
    assert service.run_step("job-0") == "SUCCEEDED"


def test_a_secret_that_stays_unusable_ends_the_step_with_its_timeout_and_the_reason(
    connection_secrets: FakeConnectionSecrets,
) -> None:
    service = connection_secrets.service
    service.start("job-0")
    connection_secrets.error = UNUSABLE[0]
    assert service.run_step("job-0") == "JobTimedOut"
    assert "'stack/connections/default' does not exist" in str(service.state("job-0")["message"])


@pytest.mark.parametrize("error", UNUSABLE, ids=lambda error: error.name)
def test_a_secret_that_cannot_be_used_at_the_start_fails_the_run_with_the_reason(
    connection_secrets: FakeConnectionSecrets, error: RefreshError
) -> None:
    connection_secrets.error = error
    with pytest.raises(type(error)) as caught:
        connection_secrets.service.start("job-0")
    assert str(caught.value) == str(error)
    assert connection_secrets.service.celonis.sent == []


def test_a_refused_start_whose_credentials_cannot_be_read_anew_counts_as_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = [Connection("rotated", "https://team.eu-1.celonis.cloud", API_KEY)]

    def read(_: str) -> Connection:
        if not stored:
            raise UNUSABLE[0]
        return stored.pop()

    celonis = ScriptedCelonis(ScriptedResponse(401), ScriptedResponse(401))
    kept = TtlCache(read, wiring.CONNECTION_SECONDS, FakeClock())
    monkeypatch.setattr(wiring, "connections", lambda: kept)
    monkeypatch.setattr(wiring, "table", lambda: None)
    monkeypatch.setattr(wiring, "SharedRateLimiter", lambda *_: NoRateLimit())
    monkeypatch.setattr(client_module, "make_session", lambda: session_to(celonis))
    client = wiring.client_for(job_definition(connection="rotated"))
    with pytest.raises(CelonisUnavailable, match="does not exist") as caught:
        client.execute_job("p", "j", "FULL")
    assert not caught.value.may_have_started


def stop(connection_secrets: FakeConnectionSecrets, usable_after: float) -> list[str]:
    """What a stopped run says about its job, whose secret is usable again ``usable_after`` seconds later."""
    service = connection_secrets.service
    service.start("job-0")
    connection_secrets.error = UNUSABLE[0]
    usable_from = service.clock.now + usable_after

    def sleep(seconds: float) -> None:
        service.clock.sleep(seconds)
        if service.clock.now >= usable_from:
            connection_secrets.error = None

    canceller = StepCanceller(wiring.target_for, service.clock, sleep)
    return canceller.stop(service.records.get(RUN), service.deadline(297.0)).messages


def test_a_job_is_cancelled_once_its_secret_can_be_used_again(
    connection_secrets: FakeConnectionSecrets,
) -> None:
    connection_secrets.service.celonis.jobs[JOB].seconds = 1000.0
    assert stop(connection_secrets, 20.0) == [f"Data job {JOB} was cancelled."]


def test_a_job_whose_secret_stays_unusable_for_settle_is_left_and_the_reason_is_given(
    connection_secrets: FakeConnectionSecrets,
) -> None:
    began = connection_secrets.service.clock.now
    (sentence,) = stop(connection_secrets, 1e9)
    assert "could not be determined: Celonis cannot be called: The secret" in sentence
    assert connection_secrets.service.clock.now - began < 140.0
